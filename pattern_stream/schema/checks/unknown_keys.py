"""Unknown keys of decoded blocks: readers skip them, but must not skip links behind them.
Source: docs/format.md#version-4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pattern_stream.codec.dagcbor import Link
from pattern_stream.schema.checks.version_4 import EXTERNAL, is_paged
from pattern_stream.schema.mapping.wire_values import join
from pattern_stream.schema.model.nodes import LINEAGE_KEYS, STATS_KEYS, Edge, ExportManifest, NodeType
from pattern_stream.schema.model.records import Record


def unknown_keys(node: type[NodeType], value: Mapping[str, Any]) -> list[str]:
    """Keys of a decoded block that its type does not have; a reader of this version skips them."""
    lineage = LINEAGE_KEYS if node is ExportManifest else ()
    return [key for key in value if key not in node.keys and key not in lineage]


def unknown_links(node: type[NodeType], value: dict[str, Any], path: str = "") -> Iterator[str]:
    """Paths of the unknown keys of a node, at any depth, that hold links. The node has been checked."""
    own = {field.name for field in node.record.wire_fields()} | {EXTERNAL} if node.record is not None else set()
    plain = set(LINEAGE_KEYS) if node is ExportManifest else set()
    yield from _foreign(value, own | {edge.name for edge in node.edges}, path)
    yield from (join(path, key) for key in plain if holds_link(value.get(key)))
    if node.record is not None:
        yield from _in_record(node.record, value, path, flat=True)
    for edge in node.edges:
        if value.get(edge.name) is not None:
            yield from _in_edge(edge, value[edge.name], join(path, edge.name))


def _in_edge(edge: Edge, value: Any, path: str) -> Iterator[str]:
    of: Any = edge.of
    if is_paged(edge, value):
        yield from _foreign(value, {"count", "pages"}, path)
    elif edge.kind == "record":
        yield from _in_record(of, value, path)
    elif edge.kind == "part":
        yield from unknown_links(of, value, path)
    elif edge.kind == "tables":
        for name, table in value.items():
            yield from unknown_links(of, table, join(path, name))
    elif edge.kind in ("records", "inline"):
        look = _in_record if edge.kind == "records" else unknown_links
        for index, element in enumerate(value):
            yield from look(of, element, f"{path}[{index}]")
    elif edge.kind == "rows":
        yield from _in_rows(value, path)
    elif edge.check == "columns":
        for index, column in enumerate(value):
            yield from _foreign(column, {"name", "rowid", "type"}, f"{path}[{index}]")
    elif edge.check == "stats":
        yield from _foreign(value, set(STATS_KEYS), path)


def _in_record(record: type[Record], value: dict[str, Any], path: str, *, flat: bool = False) -> Iterator[str]:
    """JSON fields hold no links: they have been checked. A role may have members beside its own."""
    fields = record.wire_fields()
    if not flat and len(value) > len(fields):
        yield from _foreign(value, {field.name for field in fields} | {EXTERNAL}, path)
    for field in fields:
        if field.kind == "role" and type(value.get(field.name)) is dict:
            yield from _foreign(value[field.name], {"type", "domain"}, join(path, field.name))
    for name, content in value.get(EXTERNAL, {}).items():
        yield from _foreign(content, {"bytes", "chunks"}, join(join(path, EXTERNAL), name))


def _in_rows(rows: list[list[Any]], path: str) -> Iterator[str]:
    for index, row in enumerate(rows):
        for number, cell in enumerate(row):
            if type(cell) is dict and type(cell.get(EXTERNAL)) is dict:
                yield from _foreign(cell[EXTERNAL], {"bytes", "chunks", "text"}, f"{path}[{index}][{number}]")


def _foreign(value: dict[str, Any], known: set[str], path: str) -> Iterator[str]:
    return (join(path, key) for key in value if key not in known and holds_link(value[key]))


def holds_link(value: Any) -> bool:
    """Whether there is a link anywhere in a decoded value."""
    stack = [value]
    while stack:
        current = stack.pop()
        if type(current) is Link:
            return True
        if type(current) is dict:
            stack += current.values()
        elif type(current) is list:
            stack += current
    return False
