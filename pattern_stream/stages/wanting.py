"""What is still wanted of the open nodes of a walk: links, nodes inside nodes, ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pattern_stream.items import Close, Node
from pattern_stream.schema.nodes import NodeType


@dataclass(slots=True)
class Links:
    """Links of one key of an open node, from `at` on still wanted."""

    node: type[NodeType]
    field: str
    cids: list[bytes]
    parent: str
    at: int = 0


@dataclass(slots=True)
class Inline:
    """Nodes without blocks of their own, from `at` on still to be handed on, and the block that holds them."""

    node: type[NodeType]
    values: list[dict[str, Any]]
    cid: bytes
    offset: int
    at: int = 0


CLOSE = Close()
Task = Links | Inline | Close


def children_of(node: Node) -> Iterator[Task]:
    """What a node links to and holds inline, key by key in the order of the bytes."""
    name = noun_of(node)
    for edge in node.node.branches:
        value, of = node.value[edge.name], edge.of
        if edge.kind == "inline":
            yield Inline(of, value, node.cid, node.offset or 0)  # type: ignore[arg-type]  # an inline edge's
        else:
            cids = list(value.values()) if edge.kind == "link_map" else value
            yield Links(of, edge.name, cids, name)  # type: ignore[arg-type]  # a link's type is a node's


def noun_of(node: Node) -> str:
    if node.node.record is not None:
        return f"{node.node.record.noun} {node.value['id']!r}"
    edge = node.node.embedded()
    if edge is None or edge.of is None:
        return "the constellation"
    return f"{edge.of.noun} {node.value[edge.name]['id']!r}"  # type: ignore[union-attr]  # a record edge's
