"""Reads the extension tables: lossy cells of version 3 rows, and rows that version 3 records cannot hold.

They come last, when all version 3 rows were mapped, so that the record types with any lossy row are known. A database
of the original's own making has none, and its extension rows are found by indexes; else whole tables are read again.
Source: docs/format.md#extension-tables, #lossy-cells.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, Final

from pattern_stream.db.catalog.catalog import Table
from pattern_stream.db.catalog.sequences import SEQUENCE_COLUMNS, SEQUENCES, marks_above_rows
from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.db.read.fetch import Fetched, Reading, RowPlan, cell_pieces
from pattern_stream.db.read.query import Query, table_query
from pattern_stream.db.read.row_selection import PARTLY_INCLUDED, extension_rowids, in_order, is_extension
from pattern_stream.errors import InvalidCell, LimitExceeded, ignore_findings
from pattern_stream.items import CELLS_TABLE, Cells, Close, OpenTable, Piece, Row
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.lossy_types import LossyTypes
from pattern_stream.schema.mapping.roundtrip import batch_survives, holds, lost_cells
from pattern_stream.schema.mapping.row_to_record import row_mapper
from pattern_stream.schema.model.cells import Large
from pattern_stream.schema.model.nodes import CELL_COLUMNS, CELL_KEY
from pattern_stream.schema.model.records import DECLARED, ArchivalEntry, Message, Record, canonical
from pattern_stream.schema.model.scopes import Selection

_CELLS: Final = [{"name": name, "type": "" if name == "value" else "TEXT"} for name in CELL_COLUMNS]
_SEQUENCES: Final = [{"name": name, "type": ""} for name in SEQUENCE_COLUMNS]
_ELSEWHERE: Final = {"loro_snapshot": "x''", "frontier": "NULL"}
"""Memory documents travel with their blocks, so they are not read again."""


def left_out(selection: Selection) -> frozenset[str]:
    """Tables of which nothing is wanted."""
    unwanted = {Message.table: not selection.messages, ArchivalEntry.table: not selection.archival}
    return frozenset(table for table, out in unwanted.items() if out)


def read_extension(reading: Reading, selection: Selection, lossy_types: LossyTypes) -> RowPlan:
    """Lossy cells and extension tables, each an Open of TableExport, Cells, Close; empty ones are left out.

    In:      `lossy_types`, complete by now: all rows of the version 3 part have been mapped.
    Out:     the cells first, then the tables, both in canonical key order of tables with rows in key order.
    Memory:  one batch.
    """
    without = left_out(selection)
    tables = {name: table for name, table in reading.catalog.tables.items() if name not in without}
    marks = yield reading.connection.run(lambda raw: marks_above_rows(raw, tables))
    part = _Part(None, _CELLS, CELL_KEY)
    for record in DECLARED.values():
        if record.table in tables:
            yield from _LossyCellReader(reading, part, tables[record.table], record, lossy_types).read()
    yield from part.close()
    for name in sorted([*tables, SEQUENCES], key=canonical):
        if name == SEQUENCES:
            part = _Part(name, _SEQUENCES, SEQUENCE_COLUMNS[:1])
        else:
            part = _Part(name, _columns(tables[name]), tables[name].keyed.key)
        if name != SEQUENCES:
            yield from _rows(reading, part, tables[name].keyed, lossy_types)
        elif marks:
            yield from part.add(marks)
        yield from part.close()


def _columns(table: Table) -> list[dict[str, Any]]:
    """The columns of a table; the rowid among them, marked, where nothing else is the key."""
    columns = [{"name": column.name, "type": column.type} for column in table.keyed.columns]
    return columns if table.keyed is table else [columns[0] | {"rowid": True}, *columns[1:]]


@dataclass(slots=True)
class _Part:
    """One extension table, or the lossy cells (None); opened with its first rows. `key`: the names of its key."""

    table: str | None
    columns: Sequence[dict[str, Any]]
    key: Sequence[str]
    is_open: bool = False

    def add(self, rows: list[Row]) -> RowPlan:
        """More rows."""
        if not self.is_open:
            self.is_open = True
            yield OpenTable(table=self.table, columns=self.columns, key_columns=self.key)
        yield Cells(self.table or CELLS_TABLE, rows)

    def close(self) -> RowPlan:
        """The end."""
        if self.is_open:
            yield Close()


def _rows(reading: Reading, part: _Part, table: Table, lossy_types: LossyTypes) -> RowPlan:
    """The extension rows of a table. Where its type has lossy rows, all rows are read, to be looked at one by one."""
    record, included = DECLARED.get(table.name), reading.included
    lossy = record is not None and record in lossy_types.rows
    if lossy:
        query = table_query(table, in_order(table), extra=(is_extension(included, table),))
    elif table.name not in PARTLY_INCLUDED:
        query = table_query(table, in_order(table))
    elif table.rowid is None:
        query = table_query(table, in_order(table, condition=is_extension(included, table)))
    else:
        query = table_query(table, in_order(table, rowids=extension_rowids(included, table)))

    def visit(fetched: Fetched) -> RowPlan:
        rows = fetched.rows
        if record is not None and lossy:
            record_row = _record_row(record, table.names)
            rows = [row[:-1] for row in rows if row[-1] or not holds(record, record_row(row))]
        if rows:
            yield from part.add(rows)
            yield from reading.pieces(fetched)

    return reading.batches(query, visit)


@dataclass(frozen=True, slots=True)
class _LossyCellReader:
    """Cells of version 3 rows that would not come back equal: of columns unknown to version 3, and of changed values.

    Rows are read whole only where some of this type were lossy.
    """

    reading: Reading
    part: _Part
    table: Table
    record: type[Record]
    lossy_types: LossyTypes

    def read(self) -> RowPlan:
        """The cells, as rows of CELL_COLUMNS."""
        unknown = tuple(column for column in self.table.columns if column.name not in self.record.columns)
        included = self.reading.included.in_whole(self.table.name, "t")
        if self.record in self.lossy_types.cells or (unknown and self.record in self.lossy_types.rows):
            query = table_query(self.table, in_order(self.table, condition=included))
            expressions = map(_ELSEWHERE.get, query.names, query.expressions)
            query = replace(query, expressions=tuple(map(str, expressions)))
        elif unknown:
            names = tuple(dict.fromkeys([*self.record.key, *(column.name for column in unknown)]))
            filled = ("1" if column.has_default else f"t.{quoted(column.name)} IS NOT NULL" for column in unknown)
            body = in_order(self.table, condition=f"({included}) AND ({' OR '.join(filled)})")
            query = Query(self.table, "t", names, tuple(f"t.{quoted(name)}" for name in names), body)
        else:
            return
        yield from self.reading.batches(query, self._visit)

    def _visit(self, fetched: Fetched) -> RowPlan:
        cells = list(self._cells(fetched))
        if small := [cell for cell in cells if type(cell[-1]) is not Large]:
            yield from self.part.add(small)
        for cell in cells:
            if type(cell[-1]) is Large:
                yield from self.part.add([cell])
                source = cell_pieces(self.reading.connection, fetched, fetched.query.names.index(cell[2]))
                while (piece := (yield source)) is not None:
                    yield Piece("value", piece.data)

    def _cells(self, fetched: Fetched) -> Iterator[Row]:
        """The cells of a batch; none of a row that is an extension row as a whole."""
        names = fetched.query.names
        places = {name: index for index, name in enumerate(names)}
        for row, lost in zip(fetched.rows, self._lost(fetched), strict=True):
            if lost is None:
                continue
            for column in self.table.columns:
                if column.name not in self.record.columns:
                    cell = row[places[column.name]]
                    if cell is not None or column.has_default:
                        lost.append((column.name, cell))
            key = [row[places[name]] for name in self.record.key]
            named = str(key[0]) if len(key) == 1 else json.dumps(key, ensure_ascii=False, separators=(",", ":"))
            for name, cell in lost:
                yield self.table.name, named, name, cell

    def _lost(self, fetched: Fetched) -> list[list[tuple[str, Any]] | None]:
        """By row, the declared cells that would not come back equal; None where no record can hold the row."""
        rows_lossy = self.record in self.lossy_types.rows
        if self.record not in self.lossy_types.cells and not rows_lossy:
            return [[] for _ in fetched.rows]
        record_row = _record_row(self.record, fetched.query.names)
        rows = [record_row(row) for row in fetched.rows]
        try:
            if batch_survives(self.record, rows, row_mapper(self.record).map(rows, ignore_findings)):
                return [[] for _ in rows]
        except (InvalidCell, LimitExceeded):
            pass  # found row by row
        return [
            None
            if rows_lossy and not holds(self.record, row)
            else [(name, cell) for name, cell in lost_cells(self.record, row) if name in fetched.query.names]
            for row in rows
        ]


def _record_row(record: type[Record], names: Sequence[str]) -> Callable[[Row], Row]:
    """From rows with these columns to rows in `record.columns` order; a column of newer schemas has its default."""
    missing = (field.missing for field in record.fields)
    defaults = tuple(None if sql in (None, "NULL") else ast.literal_eval(str(sql)) for sql in missing)
    places = {name: index for index, name in enumerate(names)}
    first = len(names)
    pick = itemgetter(*(places.get(name, first + index) for index, name in enumerate(record.columns)))
    return lambda row: pick((*row[:first], *defaults))
