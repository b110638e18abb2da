"""What of a constellation version 3 has no place for: cells, rows of its tables, all other tables. Source: v4 3, 4.

It comes after all else, so that by now it is known which of the rows that went by were odd. A database of the
original's own making has none, and the rest is found by indexes; where there are some, tables are read once more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from pattern_stream.db.catalog.catalog import Table
from pattern_stream.db.read.fetch import Fetched
from pattern_stream.db.read.lossy_cells import read_cells
from pattern_stream.db.read.query import table_query
from pattern_stream.db.read.reading import Reading
from pattern_stream.db.read.reread import as_record, left_out, whole_query
from pattern_stream.db.read.row_order_sql import PARTLY_HELD, beyond, beyond_rowids, in_order
from pattern_stream.items import Cells, Close, Open, Piece, RowEvent
from pattern_stream.schema.mapping.lossy_types import LossyTypes
from pattern_stream.schema.mapping.roundtrip import holds
from pattern_stream.schema.model.nodes import CELL_COLUMNS, TableExport
from pattern_stream.schema.model.records import DECLARED, Record
from pattern_stream.schema.model.scopes import Selection

_CELLS = tuple({"name": name, "type": "" if name == "value" else "TEXT"} for name in CELL_COLUMNS)


async def read_beyond(reading: Reading, selection: Selection, oddities: LossyTypes) -> AsyncGenerator[RowEvent]:
    """Cells and tables beyond version 3, each an Open of TableExport, Cells, Close; what is empty is left out.

    In:      `oddities`, complete by now: all rows of the version 3 part have been mapped.
    Out:     the cells first, then tables in canonical key order with rows in key order.
    Memory:  one batch.
    """
    cells = _part(None, list(_CELLS), read_cells(reading, selection, oddities))
    async with aclosing(cells) as events:
        async for event in events:
            yield event
    for table in reading.catalog.tables.values():
        if table.name not in left_out(selection):
            columns = [{"name": column.name, "type": column.type} for column in table.columns]
            async with aclosing(_part(table.name, columns, _rows(reading, table, oddities))) as events:
                async for event in events:
                    yield event


async def _part(
    name: str | None, columns: Sequence[dict[str, Any]], content: AsyncGenerator[Cells | Piece]
) -> AsyncGenerator[RowEvent]:
    """A part with its content, nothing where that is empty."""
    opened = False
    async with aclosing(content) as events:
        async for event in events:
            if not opened:
                yield Open(TableExport, extra={"table": name, "columns": columns})
                opened = True
            yield event
    if opened:
        yield Close()


def _rows(reading: Reading, table: Table, oddities: LossyTypes) -> AsyncGenerator[Cells | Piece]:
    record = DECLARED.get(table.name)
    if record is not None and record in oddities.rows:
        return _Sieve(reading, table, record).rows()
    if table.name not in PARTLY_HELD:
        body = in_order(table)
    elif table.rowid is None:
        body = in_order(table, condition=beyond(reading.held, table))
    else:
        body = in_order(table, rowids=beyond_rowids(reading.held, table))
    return reading.cells(table_query(table, body))


@dataclass(frozen=True, slots=True)
class _Sieve:
    """A declared table gone through again, for rows that version 3 has no place for or cannot hold."""

    reading: Reading
    table: Table
    record: type[Record]

    async def rows(self) -> AsyncGenerator[Cells | Piece]:
        """Those rows, without the cell that says which they are."""
        query = whole_query(self.reading, self.table)
        async with aclosing(self.reading.batches(query)) as found:
            async for fetched in found:
                rows = self._kept(fetched)
                if rows:
                    yield Cells(self.table.name, rows)
                    async for piece in self.reading.pieces(query, fetched):
                        yield piece
                del fetched

    def _kept(self, fetched: Fetched) -> list[tuple[Any, ...]]:
        record_row = as_record(self.record, self.table.names)
        return [row[:-1] for row in fetched.rows if row[-1] or not holds(self.record, record_row(row))]
