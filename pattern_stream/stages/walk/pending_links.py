"""What is still wanted of the open nodes of a walk: links, nodes inside nodes, ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pattern_stream.items import CELLS_TABLE, Close, Node
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.checks.version_4 import Paged
from pattern_stream.schema.model.cells import HISTORY_COLUMNS, External
from pattern_stream.schema.model.nodes import (
    HISTORY_TABLES,
    CheckpointChunk,
    Edge,
    GroupConfigExport,
    History,
    MemoryBlockExport,
    NodeType,
    TableChunk,
    TableExport,
    UpdateChunk,
    ValueChunk,
)
from pattern_stream.stages.walk.expectations import Expected, Pages, PiecesOf, RowsOf


@dataclass(slots=True)
class Links:
    """Links of one key of an open node, from `at` on still wanted.

    `expected`: what their blocks must come to. `pages_of`: they lead to pages of that key's collection, and `within`
    is what the elements must come to. `of`: the key or column of the value whose pieces they lead to.
    """

    node: type[NodeType]
    field: str
    cids: list[bytes]
    parent: str
    at: int = 0
    expected: Expected | None = None
    pages_of: Edge | None = None
    within: Expected | None = None
    of: Any = None


@dataclass(slots=True)
class Inline:
    """Nodes without blocks of their own, from `at` on still to be handed on, and the block that holds them."""

    node: type[NodeType]
    values: list[dict[str, Any]]
    cid: bytes
    offset: int
    at: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """All blocks of a key have come; the node that links them, to say where."""

    expected: Expected
    node: Node


CLOSE = Close()
Task = Links | Inline | Finish | Close

_VALUES_LATER = frozenset({MemoryBlockExport, GroupConfigExport})
"""Nodes whose history, or pages, come before the values outside their record, as their keys do."""


def children_of(node: Node) -> Iterator[Task]:
    """What a node links to and holds inline: values outside its record, then key by key in the order of the bytes."""
    if node.node not in _VALUES_LATER:
        yield from values_of(node)
    for edge in node.node.edges:
        value = node.value[edge.name]
        if value is not None and (edge in node.node.branches or type(value) is Paged):
            yield from _along(node, edge, value)
        if node.node is MemoryBlockExport and edge.name == "history":
            yield from values_of(node)
    if node.node is GroupConfigExport:
        yield from values_of(node)


def _along(node: Node, edge: Edge, value: Any) -> Iterator[Task]:
    of: Any = edge.of
    if edge.kind == "inline" and type(value) is list:
        yield Inline(of, value, node.cid, node.offset or 0)
    elif edge.kind in ("part", "tables"):
        yield Inline(of, _parts(node, edge, value), node.cid, node.offset or 0)
    else:
        yield from _links(node, edge, value)


def _parts(node: Node, edge: Edge, value: Any) -> list[dict[str, Any]]:
    """Parts, with what they need of their parent: the table's name, or the block's id."""
    if edge.kind == "tables":
        return [table | {"table": name} for name, table in value.items()]
    if edge.of is History:
        return [value | {"block_id": node.value["id"]}]
    return [value | {"table": None}]


def _links(node: Node, edge: Edge, value: Any) -> Iterator[Task]:
    of: Any = edge.of
    name, expected = noun_of(node), _expected(node, edge)
    if type(value) is Paged:
        page: Any = edge.page
        pages = Pages(count=value.count)
        yield Links(page, edge.name, value.cids, name, expected=pages, pages_of=edge, within=expected)
        yield Finish(pages, node)
    else:
        cids = list(value.values()) if edge.kind == "link_map" else value
        yield Links(of, edge.name, cids, name, expected=expected)
    if expected is not None:
        yield Finish(expected, node)


def _expected(node: Node, edge: Edge) -> Expected | None:
    if edge.of is TableChunk:
        table = node.value["table"]
        width = len(node.value["columns"])
        return RowsOf(table=CELLS_TABLE if table is None else table, width=width, count=node.value["count"])
    if node.node is History and (edge.of is UpdateChunk or edge.of is CheckpointChunk):
        return RowsOf(width=len((node.value["columns"] or HISTORY_COLUMNS)[HISTORY_TABLES[edge.of]]))
    return None


# --- values outside their record or row ---------------------------------------------------------------------------


def values_of(node: Node) -> Iterator[Task]:
    """The pieces of the values that were moved out of a node's record, or of the one record or row that it has."""
    for key, value in _own_values(node):
        if type(value) is External:
            expected, field = PiecesOf(size=value.bytes), f"external.{key}"
            yield Links(ValueChunk, field, list(value.cids), noun_of(node), expected=expected, of=key)


def has_more(node: Node) -> bool:
    """Whether a node that has no links by its type has some all the same: its values, or collections, are elsewhere."""
    values = (value for _, value in _own_values(node))
    collections = (node.value[edge.name] for edge in node.node.edges)
    return any(type(value) is External for value in values) or any(type(value) is Paged for value in collections)


def _own_values(node: Node) -> Iterator[tuple[Any, Any]]:
    if node.node.record is not None:
        yield from node.value.items()
    elif (edge := node.node.embedded()) is not None:
        yield from node.value[edge.name].items()
    for edge in node.node.edges:
        if edge.kind in ("records", "rows") and type(node.value[edge.name]) is list and len(node.value[edge.name]) == 1:
            (only,) = node.value[edge.name]
            yield from only.items() if type(only) is dict else enumerate(only)


def noun_of(node: Node) -> str:
    """How messages name a node."""
    if node.node.record is not None:
        return f"{node.node.record.noun} {node.value['id']!r}"
    if node.node is TableExport:
        return "the cells beyond version 3" if node.value["table"] is None else f"table {node.value['table']!r}"
    if node.node is History:
        return f"the history of memory block {node.value['block_id']!r}"
    edge = node.node.embedded()
    if edge is None or edge.of is None:
        return "the constellation" if node.node.branches else f"a {node.node.__name__}"
    return f"{edge.of.noun} {node.value[edge.name]['id']!r}"  # type: ignore[union-attr]  # a record edge's
