"""Databases row by row: JSON as values, timestamps as instants, all else storage class and bytes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from pattern_stream.schema.mapping.instants import parse_instant
from pattern_stream.schema.model.fields import Field
from pattern_stream.schema.model.records import (
    Agent,
    ArchivalEntry,
    ArchiveSummary,
    Group,
    Member,
    MemoryBlock,
    Message,
    Record,
    SharedAttachment,
)

CARRIED: tuple[type[Record], ...] = (
    Agent,
    Group,
    Member,
    MemoryBlock,
    SharedAttachment,
    ArchivalEntry,
    Message,
    ArchiveSummary,
)
FOLDED = ("loro_snapshot", "frontier")
"""Columns of a memory block that an export recomputes. So is its preview, in an archive that is no whole backup."""

LEFT_BEHIND: dict[type[Record], str] = {
    Message: "is_deleted = 0",
    MemoryBlock: "is_active = 1",
    ArchivalEntry: "agent_id IN (SELECT id FROM agents)",
    SharedAttachment: "block_id IN (SELECT id FROM memory_blocks WHERE is_active = 1)",
}
"""What of a table an archive of everything carries."""

Row = dict[str, Any]


def carried_rows(path: Path, record: type[Record], *, whole: bool = False) -> list[Row]:
    """The rows of a table that an archive carries, or all, as comparable values, in the order of their text."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        there = {name for (name,) in connection.execute(f"SELECT name FROM pragma_table_info('{record.table}')")}
        made_anew = (*FOLDED, "content_preview") if record is MemoryBlock else FOLDED
        fields = [field for field in record.fields if field.column not in made_anew]
        listed = ", ".join(field.column if field.column in there else str(field.missing) for field in fields)
        needed = LEFT_BEHIND.get(record, "1")
        where = "1" if whole or needed.split()[0] not in there else needed
        rows = connection.execute(f"SELECT {listed} FROM {record.table} WHERE {where}").fetchall()
    found = [{field.column: comparable(field, cell) for field, cell in zip(fields, row, strict=True)} for row in rows]
    return sorted(found, key=repr)


def comparable(field: Field, cell: Any) -> Any:
    """A cell as what it means. SQL NULL and JSON null are one on the wire; so are NULL and 0, NULL and []."""
    if cell is None:
        return field.null_as
    if field.kind == "instant":
        return parse_instant(cell)
    if field.kind in ("json", "role", "strings") and isinstance(cell, str):
        value = json.loads(cell, parse_int=_integer)
        return repr(_sorted(value)) if field.kind == "json" and value is not None else value
    return repr(cell) if field.kind == "json" else cell


def compare(source: Path, target: Path, renaming: Callable[[type[Record], Row], Row] = lambda record, row: row) -> None:
    """Every carried row of the source is in the target, and nothing else. `renaming`: what new ids make of a row."""
    for record in CARRIED:
        expected = sorted((renaming(record, row) for row in carried_rows(source, record)), key=repr)

        assert expected == carried_rows(target, record, whole=True), record.table


def search(path: Path, word: str) -> list[tuple[Any, ...]]:
    """Texts of messages and entries, and labels of blocks, in which full-text search finds a word.

    Previews of blocks are not searched: an archive that is no whole backup has them made anew.
    """
    with closing(sqlite3.connect(path)) as connection:
        found: list[tuple[Any, ...]] = []
        for table, base, column in (
            ("messages_fts", "messages", "content_preview"),
            ("archival_fts", "archival_entries", "content"),
            ("memory_blocks_fts", "memory_blocks", "label"),
        ):
            kept = {"messages": "b.is_deleted = 0", "memory_blocks": "b.is_active = 1"}.get(
                base, "b.agent_id IN (SELECT id FROM agents)"
            )
            if (
                base == "messages"
                and not connection.execute(
                    "SELECT 1 FROM pragma_table_info('messages') WHERE name = 'is_deleted'"
                ).fetchone()
            ):
                kept = "1"
            sql = (
                f"SELECT b.{column} FROM {table} f JOIN {base} b ON b.rowid = f.rowid WHERE {table} MATCH ? AND {kept}"
            )
            searched = "{label description} : " if base == "memory_blocks" else ""
            found += connection.execute(sql, (f'{searched}"{word}"',)).fetchall()
    return sorted(found, key=repr)


def _integer(digits: str) -> int | float:
    value = int(digits)
    return value if -(2**63) <= value < 2**64 and digits != "-0" else float(digits)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
