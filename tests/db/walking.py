"""What `read_scope` gives of a database, sorted by where it goes; and the database itself, read by other means."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pattern_stream.db.connection.opening import open_reader
from pattern_stream.db.read.scope_reader import read_scope
from pattern_stream.items import Cells, Close, Open, OpenHistory, OpenTable, Piece, Records, RowEvent
from pattern_stream.schema.mapping.lossy_types import LossyTypes
from pattern_stream.schema.model.cells import Large, NotUtf8
from pattern_stream.schema.model.nodes import MemoryBlockExport
from pattern_stream.schema.model.records import MemoryUpdate, Record
from pattern_stream.schema.model.scopes import ResolvedScope, Selection
from pattern_stream.stages.mapping import Mapping, record_of

EVERYTHING = Selection(portable=False)
WHOLE = ResolvedScope("constellation")


@dataclass(slots=True)
class Walked:
    """The rows of a walk. `records`: by type, those that version 3 holds; `tables`: of tables beyond, as dicts by
    column; `cells`: (table, key, column, value); `history`: (table, row as a dict) in order; `bases`: by memory block.
    """

    events: list[RowEvent] = field(default_factory=list)
    records: dict[type[Record], list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    cells: list[tuple[Any, ...]] = field(default_factory=list)
    history: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    bases: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    oddities: LossyTypes = field(default_factory=LossyTypes)


async def walk(
    path: Path, selection: Selection = EVERYTHING, scope: ResolvedScope = WHOLE, *, keep_events: bool = True
) -> Walked:
    """Read a scope event by event, mapping each as the export line does."""
    walked = Walked()
    sorter = _Sorter(walked)
    mapping = Mapping(oddities=walked.oddities if selection.with_tables(scope) else None)
    async with open_reader(path) as connection:
        async for event in read_scope(connection, scope, selection, walked.oddities):
            if keep_events:
                walked.events.append(event)
            sorter.add(event, mapping)
    return walked


class _Sorter:
    def __init__(self, walked: Walked) -> None:
        self._walked = walked
        self._open: list[Open] = []
        self._last: list[tuple[dict[str, Any], str]] = []

    def add(self, event: RowEvent, mapping: Mapping) -> None:
        if isinstance(event, Piece):
            self._add_piece(event)
            return
        assert all(large.bytes == 0 for row, column in self._last if isinstance(large := row[column], Large))
        self._last = []
        if isinstance(event, Cells):
            self._add_cells(event)
        elif isinstance(event, Close):
            self._open.pop()
        elif getattr(event, "record", None) is not MemoryUpdate:
            self._add_mapped(event, mapping)

    def _add_mapped(self, event: RowEvent, mapping: Mapping) -> None:
        mapped = mapping.map(event)
        if isinstance(mapped, Records):
            self._walked.records[mapped.record] += mapped.records
            self._last = _larges(mapped.records)
        if isinstance(event, Open) and isinstance(mapped, Open):
            self._open.append(event)
            if mapped.record is not None:
                self._walked.records[record_of(event.node)].append(mapped.record)
                self._last = _larges([mapped.record])
            if isinstance(event, OpenHistory):
                block = next(o for o in reversed(self._open) if o.node is MemoryBlockExport)
                self._walked.bases[block.record[0]] = (event.stored.base, event.stored.frontier)

    def _add_cells(self, event: Cells) -> None:
        inside = self._open[-1]
        if isinstance(inside, OpenHistory):
            rows = [dict(zip(inside.stored.columns[event.table], row, strict=True)) for row in event.rows]
            self._walked.history += [(event.table, row) for row in rows]
        else:
            assert isinstance(inside, OpenTable)
            rows = [dict(zip(inside.column_names, row, strict=True)) for row in event.rows]
            if inside.table is None:
                self._walked.cells += [tuple(row.values()) for row in rows]
            else:
                assert inside.table == event.table
                self._walked.tables.setdefault(event.table, []).extend(rows)
        self._last = _larges(rows)
        assert not self._last or len(rows) == 1

    def _add_piece(self, piece: Piece) -> None:
        """Only the length is kept of what is large, and what it begins with."""
        row, column = self._last[0]
        assert piece.column == column
        row[column] = Large(row[column].bytes - len(piece.data), row[column].text)
        row.setdefault(f"{column}:data", b"")
        row[f"{column}:data"] += piece.data
        if row[column].bytes == 0:
            del self._last[0]


def _larges(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    return [(row, column) for row in rows for column, cell in row.items() if type(cell) is Large]


def _text(raw: bytes) -> str | NotUtf8:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return NotUtf8(raw)


def stored_rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table that holds anything of its own, by another route: names and all. Rows without a key
    have their rowids; highest ids are there where no row shows them."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = _text
        listed = connection.execute("SELECT name, type FROM pragma_table_list WHERE schema = 'main'").fetchall()
        virtual = [name for name, kind in listed if kind == "virtual"]
        own = [
            name
            for name, kind in listed
            if kind == "table"
            and not name.startswith(("sqlite_", "_sqlx_migrations"))
            and not any(name.startswith(f"{owner}_") for owner in virtual)
        ]
        found = {}
        for name in own:
            table = '"' + name.replace('"', '""') + '"'
            described = connection.execute("SELECT lower(name), pk FROM pragma_table_xinfo(?)", (name,)).fetchall()
            keyless = not any(pk for _, pk in described) and "rowid" not in dict(described)
            cursor = connection.execute(f"SELECT {'rowid AS rowid, ' if keyless else ''}* FROM {table}")
            names = [column[0] for column in cursor.description]
            found[name] = [dict(zip(names, row, strict=True)) for row in cursor]
        if any(name == "sqlite_sequence" for name, _ in listed):
            marks = connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
            highest = {name: connection.execute(f'SELECT max(rowid) FROM "{name}"').fetchone()[0] for name, _ in marks}
            above = [{"name": name, "seq": mark} for name, mark in marks if mark > (highest[name] or 0)]
            found |= {"sqlite_sequence": above} if above else {}
    return found
