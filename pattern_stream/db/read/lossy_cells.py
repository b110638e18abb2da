"""Cells of version 3 rows that would not come back equal: of columns it does not know, and of values it changes.

Source: v4 4.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

from pattern_stream.db.catalog.catalog import Table
from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.db.read.fetch import Fetched, cell_pieces
from pattern_stream.db.read.query import Query, table_query
from pattern_stream.db.read.reading import Reading
from pattern_stream.db.read.reread import as_record, left_out
from pattern_stream.db.read.row_order_sql import in_order
from pattern_stream.errors import InvalidCell, LimitExceeded, ignore_findings
from pattern_stream.items import CELLS_TABLE, Cells, Piece, Row
from pattern_stream.schema.mapping.lossy_types import LossyTypes
from pattern_stream.schema.mapping.roundtrip import batch_survives, holds, lost_cells
from pattern_stream.schema.mapping.row_to_record import row_mapper
from pattern_stream.schema.model.cells import Large
from pattern_stream.schema.model.records import DECLARED, Record
from pattern_stream.schema.model.scopes import Selection

_VALUE: Final = "value"
_ELSEWHERE: Final = {"loro_snapshot": "x''", "frontier": "NULL"}
_OddCell = tuple[str, Any]
"""The column of a cell, and the cell."""


async def read_cells(reading: Reading, selection: Selection, oddities: LossyTypes) -> AsyncGenerator[Cells | Piece]:
    """Rows of CELL_COLUMNS: tables in canonical key order, rows in key order.

    Memory:  one batch.
    """
    for record in DECLARED.values():
        table = reading.catalog.tables.get(record.table)
        if table is None or record.table in left_out(selection):
            continue
        unknown = tuple(column for column in table.names if column not in record.columns)
        if record in oddities.cells or unknown:
            cells = _CellsOf(reading, table, record, unknown, oddities)
            async with aclosing(cells.events()) as events:
                async for event in events:
                    yield event


@dataclass(frozen=True, slots=True)
class _CellsOf:
    """The cells of one record type. Rows are read whole only where some of this type were odd."""

    reading: Reading
    table: Table
    record: type[Record]
    unknown: tuple[str, ...]
    oddities: LossyTypes

    async def events(self) -> AsyncGenerator[Cells | Piece]:
        """The cells, as rows."""
        query = self._query()
        async with aclosing(self.reading.batches(query)) as found:
            async for fetched in found:
                rows = [cell for row in self._odd(query, fetched) for cell in row]
                small = [row for row in rows if type(row[-1]) is not Large]
                if small:
                    yield Cells(CELLS_TABLE, small)
                for cell in rows:
                    if type(cell[-1]) is Large:
                        yield Cells(CELLS_TABLE, [cell])
                        async for piece in self._pieces(query, fetched, cell):
                            yield piece
                del fetched

    def _query(self) -> Query:
        in_whole = self.reading.held.in_whole(self.table.name, "t")
        if self._is_odd():
            query = table_query(self.table, in_order(self.table, condition=in_whole))
            return replace(query, expressions=tuple(map(_without_document, query.names, query.expressions)))
        names = tuple(dict.fromkeys([*self.record.key, *self.unknown]))
        expressions = tuple(f"t.{quoted(name)}" for name in names)
        says = [
            "1" if column.has_default else f"t.{quoted(column.name)} IS NOT NULL"
            for column in self.table.columns
            if column.name in self.unknown
        ]
        body = in_order(self.table, condition=f"({in_whole}) AND ({' OR '.join(says)})")
        return Query(self.table, "t", names, expressions, body)

    def _is_odd(self) -> bool:
        return self.record in self.oddities.cells or self.record in self.oddities.rows

    def _odd(self, query: Query, fetched: Fetched) -> Iterator[list[Row]]:
        """The odd cells of each row of a batch as rows of CELL_COLUMNS."""
        lost = self._lost(query, fetched) if self._is_odd() else [[]] * len(fetched.rows)
        defaults = {column.name for column in self.table.columns if column.has_default}
        places = {name: index for index, name in enumerate(query.names)}
        for row, odd in zip(fetched.rows, lost, strict=True):
            if odd is not None:
                others = [(name, row[places[name]]) for name in self.unknown]
                said = [(name, cell) for name, cell in others if cell is not None or name in defaults]
                key = _key([row[places[name]] for name in self.record.key])
                yield [(self.table.name, key, column, cell) for column, cell in (*odd, *said)]

    def _lost(self, query: Query, fetched: Fetched) -> list[list[_OddCell] | None]:
        """By row, the declared cells that would not come back equal; None where the row goes as a whole."""
        record_row = as_record(self.record, query.names)
        rows = [record_row(row) for row in fetched.rows]
        try:
            records = row_mapper(self.record).map(rows, ignore_findings)
            if batch_survives(self.record, rows, records):
                return [[]] * len(rows)
        except (InvalidCell, LimitExceeded):
            pass  # found row by row
        present = set(query.names)
        return [
            [(name, cell) for name, cell in lost_cells(self.record, row) if name in present]
            if self.record not in self.oddities.rows or holds(self.record, row)
            else None
            for row in rows
        ]

    async def _pieces(self, query: Query, fetched: Fetched, cell: Row) -> AsyncGenerator[Piece]:
        _, _, column, large = cell
        if fetched.address is not None:
            index = query.names.index(column)
            found = cell_pieces(self.reading.connection, query, index, fetched.address, text=large.text)
            async with aclosing(found) as pieces:
                async for piece in pieces:
                    yield Piece(_VALUE, piece.data)


def _without_document(name: str, expression: str) -> str:
    """Memory documents travel elsewhere."""
    return _ELSEWHERE.get(name, expression)


def _key(cells: list[Any]) -> str:
    """What names the row: its id, or several as a JSON array."""
    if len(cells) == 1:
        return str(cells[0])
    return json.dumps(cells, ensure_ascii=False, separators=(",", ":"))
