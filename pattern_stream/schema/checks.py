"""Decoded blocks against the declarations: what a node must hold before anybody believes it. Source: v3 2.1, 5."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pattern_stream.codec.dagcbor import Link
from pattern_stream.errors import MalformedNode, Where
from pattern_stream.schema.nodes import EXPORT_TYPES, LINEAGE_KEYS, STATS_KEYS, Edge, ExportManifest, NodeType
from pattern_stream.schema.record_checks import (
    Wrong,
    choice,
    describe_value,
    expect,
    instant,
    integer,
    join,
    record_checker,
    strings,
    typed,
)

__all__ = ["check_node", "describe_value", "record_checker", "unknown_keys"]

_UNSIGNED: Final = {"u32": 2**32 - 1, "u64": 2**64 - 1}
_PLAIN_LINEAGE: Final = frozenset({str, int, type(None)})


def check_node(node: type[NodeType], value: Any, path: str = "") -> dict[str, Any]:
    """A decoded block of a declared type: known keys only, links as CIDs. Raises MalformedNode naming the field."""
    expect(value, dict, path)
    checked: dict[str, Any] = {}
    if node.record is not None:
        checked = record_checker(node.record).check_single(value, path)
    for edge in node.edges:
        checked[edge.name] = _edge(edge, value, join(path, edge.name))
    if node is ExportManifest:
        checked |= {key: value[key] for key in LINEAGE_KEYS if type(value.get(key)) in _PLAIN_LINEAGE and key in value}
    return checked


def unknown_keys(node: type[NodeType], value: Mapping[str, Any]) -> list[str]:
    """Keys of a decoded block that its type does not have; a reader of this version skips them."""
    lineage = LINEAGE_KEYS if node is ExportManifest else ()
    return [key for key in value if key not in node.keys and key not in lineage]


def _edge(edge: Edge, value: dict[str, Any], place: str) -> Any:
    if edge.name not in value:
        if edge.nullable:
            return None
        raise MalformedNode(f"found no {edge.name}, which must be there", where=Where(field=place))
    found = value[edge.name]
    if found is None and edge.nullable:
        return None
    try:
        return _EDGES[edge.kind](found, edge, place)
    except Wrong as error:
        raise MalformedNode(str(error), where=Where(field=place)) from error
    except ValueError as error:
        raise MalformedNode(f"found {describe_value(found)}, {error}", where=Where(field=place)) from error


def _stats(value: Any) -> dict[str, int]:
    stats = typed(value, dict)
    for key in STATS_KEYS:
        if key not in stats:
            raise Wrong(f"found no {key}, which must be there")
    return {key: integer(stats[key], 0, _UNSIGNED["u64"]) for key in STATS_KEYS}


def _link(value: Any) -> bytes:
    found = typed(value, Link)
    return bytes(found.cid)


def _links(value: Any) -> list[bytes]:
    links = typed(value, list)
    for link in links:
        typed(link, Link)
    return [link.cid for link in links]


def _inline(value: Any, edge: Edge, place: str) -> list[dict[str, Any]]:
    nodes = typed(value, list)
    of: Any = edge.of
    return [check_node(of, node, f"{place}[{index}]") for index, node in enumerate(nodes)]


def _records(value: Any, edge: Edge, place: str) -> list[dict[str, Any]]:
    of: Any = edge.of
    return record_checker(of).check(typed(value, list), place)


def _record(value: Any, edge: Edge, place: str) -> dict[str, Any]:
    of: Any = edge.of
    expect(value, dict, place)
    return record_checker(of).check_single(value, place)


_VALUES: Final[dict[str, Callable[[Any], Any]]] = {
    "u32": lambda value: integer(value, 0, _UNSIGNED["u32"]),
    "u64": lambda value: integer(value, 0, _UNSIGNED["u64"]),
    "text": lambda value: typed(value, str),
    "instant": instant,
    "strings": strings,
    "stats": _stats,
    "export_type": lambda value: choice(value, frozenset(EXPORT_TYPES.values())),
}
_EDGES: Final[dict[str, Callable[[Any, Edge, str], Any]]] = {
    "record": _record,
    "records": _records,
    "links": lambda value, edge, place: _links(value),
    "link_map": lambda value, edge, place: {key: _link(link) for key, link in typed(value, dict).items()},
    "inline": _inline,
    "link": lambda value, edge, place: _link(value),
    "octets": lambda value, edge, place: typed(value, bytes),
    "value": lambda value, edge, place: _VALUES[edge.check](value),
}
