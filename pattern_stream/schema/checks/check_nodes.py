"""Decoded blocks against the declarations: what a node must hold before anybody believes it.
Source: docs/format.md#presence-and-null, #nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pattern_stream.codec.dagcbor import Link
from pattern_stream.errors import MalformedNode, Where
from pattern_stream.schema.checks.check_records import record_checker
from pattern_stream.schema.checks.check_rows import check_columns, check_history_columns, check_rows
from pattern_stream.schema.checks.version_4 import EXTERNAL, check_paged, is_paged, lift_external
from pattern_stream.schema.mapping.wire_values import (
    U64,
    Wrong,
    choice,
    expect_map,
    instant,
    integer,
    join,
    links,
    malformed,
    strings,
    typed,
)
from pattern_stream.schema.model.nodes import (
    CELL_COLUMNS,
    CELLS_KEY,
    EXPORT_TYPES,
    EXTENSIONS,
    LINEAGE_KEYS,
    STATS_KEYS,
    Edge,
    ExportManifest,
    MessageChunk,
    NodeType,
)
from pattern_stream.schema.model.records import Record

_PLAIN_LINEAGE: Final = frozenset({str, int, type(None)})


def check_node(node: type[NodeType], value: Any, path: str = "", *, version_4: bool = False) -> dict[str, Any]:
    """A decoded block of a declared type: known keys only, links as CIDs. Raises MalformedNode naming the field.

    `version_4`: of an archive of version 4, where a collection may be Paged, and a value of a record External. Version
    3 has an unknown key or no array in their place. Extensions may have them in any archive.
    """
    expect_map(value, path)
    version_4 = version_4 or node in EXTENSIONS
    checked: dict[str, Any] = {}
    if node.record is not None:
        checked = _single(node.record, value, path, version_4)
    for edge in node.edges:
        checked[edge.name] = _edge(edge, value, join(path, edge.name), version_4)
    if node is ExportManifest:
        checked |= {key: value[key] for key in LINEAGE_KEYS if type(value.get(key)) in _PLAIN_LINEAGE and key in value}
    elif node is MessageChunk and version_4:
        # Rule: a record with values outside it is alone in its block: readers need no room for neighbours.
        count = len(checked["messages"])
        if count > 1 and any(EXTERNAL in record for record in value["messages"]):
            message = f"found {count} records in a chunk that has values outside it, expected one"
            raise MalformedNode(message, where=Where(field=join(path, "messages")))
    return checked


def _single(record: type[Record], value: dict[str, Any], path: str, version_4: bool) -> dict[str, Any]:
    if not version_4 or EXTERNAL not in value:
        return record_checker(record).check_single(value, path)
    lifted, moved = lift_external(record, value, path)
    return record_checker(record).check_single(lifted, path) | moved


def _edge(edge: Edge, value: dict[str, Any], place: str, version_4: bool) -> Any:
    if edge.name not in value:
        if edge.nullable or edge.optional:
            return None
        raise MalformedNode(f"found no {edge.name}, which must be there", where=Where(field=place))
    found = value[edge.name]
    if found is None and edge.nullable:
        return None
    try:
        if version_4 and is_paged(edge, found):
            return check_paged(found)
        return _EDGES[edge.kind](found, edge, place, version_4)
    except ValueError as error:
        raise malformed(error, found, place) from error


def _stats(value: Any) -> dict[str, int]:
    stats = typed(value, dict)
    for key in STATS_KEYS:
        if key not in stats:
            raise Wrong(f"found no {key}, which must be there")
    return {key: integer(stats[key], 0, U64) for key in STATS_KEYS}


def _inline(value: Any, edge: Edge, place: str, version_4: bool) -> list[dict[str, Any]]:
    nodes = typed(value, list)
    of: Any = edge.of
    return [check_node(of, node, f"{place}[{index}]", version_4=version_4) for index, node in enumerate(nodes)]


def _records(value: Any, edge: Edge, place: str, version_4: bool) -> list[dict[str, Any]]:
    of: Any = edge.of
    records = typed(value, list)
    if version_4 and any(type(record) is dict and EXTERNAL in record for record in records):
        return [_record(record, edge, f"{place}[{index}]", version_4) for index, record in enumerate(records)]
    return record_checker(of).check(records, place)


def _record(value: Any, edge: Edge, place: str, version_4: bool) -> dict[str, Any]:
    of: Any = edge.of
    expect_map(value, place)
    return _single(of, value, place, version_4)


def _part(value: Any, edge: Edge, place: str, version_4: bool) -> dict[str, Any]:
    of: Any = edge.of
    part = check_node(of, value, place, version_4=version_4)
    if edge.name == CELLS_KEY and (names := tuple(column["name"] for column in part["columns"])) != CELL_COLUMNS:
        raise Wrong(f"found columns {', '.join(names)}, expected {', '.join(CELL_COLUMNS)}")
    return part


def _tables(value: Any, edge: Edge, place: str, version_4: bool) -> dict[str, dict[str, Any]]:
    of: Any = edge.of
    return {
        name: check_node(of, table, join(place, name), version_4=version_4)
        for name, table in typed(value, dict).items()
    }


def _link_map(value: Any, edge: Edge, place: str, version_4: bool) -> dict[str, bytes]:
    return {key: typed(link, Link).cid for key, link in typed(value, dict).items()}


_VALUES: Final[dict[str, Callable[[Any], Any]]] = {
    "u32": lambda value: integer(value, 0, 2**32 - 1),
    "u64": lambda value: integer(value, 0, U64),
    "text": lambda value: typed(value, str),
    "instant": instant,
    "strings": strings,
    "stats": _stats,
    "export_type": lambda value: choice(value, frozenset(EXPORT_TYPES.values())),
    "columns": check_columns,
    "history_columns": check_history_columns,
}
_EDGES: Final[dict[str, Callable[[Any, Edge, str, bool], Any]]] = {
    "record": _record,
    "records": _records,
    "links": lambda value, edge, place, version_4: links(value),
    "link_map": _link_map,
    "inline": _inline,
    "link": lambda value, edge, place, version_4: typed(value, Link).cid,
    "octets": lambda value, edge, place, version_4: typed(value, bytes),
    "value": lambda value, edge, place, version_4: _VALUES[edge.check](value),
    "part": _part,
    "tables": _tables,
    "rows": lambda value, edge, place, version_4: check_rows(value, place, version_4=version_4),
}
