"""Rows of a query, whatever is in their cells: a large cell comes in pieces, text that is no UTF-8 as its bytes.

The usual path costs nothing more. The statement runs with a limit on the length of a cell, and SQLite stops before
a longer one without reading it; from there on rows are found by rowid (or key) first, and then read one by one. At text
that is no UTF-8 the statement runs again with a slower way to make text, past the rows that were handed out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace

import anyio

from pattern_stream.db.catalog.catalog import Catalog, read_catalog
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.cursor import NeedsCare
from pattern_stream.db.read.by_rowid import AddressedReader, CellReader, lenient_text
from pattern_stream.db.read.parent_order import carry_instant_key
from pattern_stream.db.read.plan import Event, Plan, from_source
from pattern_stream.db.read.query import Address, Query, record_query
from pattern_stream.db.read.row_selection import IncludedRows, read_included
from pattern_stream.errors import InvalidCell, LimitExceeded, Where
from pattern_stream.format import MAX_PENDING_BYTES
from pattern_stream.items import Cells, Piece, Row, RowEvent, Rows
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.cells import Large
from pattern_stream.schema.model.records import Record

RowPlan = Plan[RowEvent, None]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A batch of rows of a query. Where a row has Large cells it is alone, and `address` says where it is."""

    query: Query
    rows: list[Row]
    address: Address | None = None


def itself(fetched: Fetched) -> Plan[Fetched, None]:
    """A batch as an event."""
    yield fetched


def fetch(
    connection: Connection, query: Query, visit: Callable[[Fetched], Plan[Event, None]], *, lenient: bool
) -> Plan[Event, None]:
    """Visit the rows of a query batch by batch: Large in place of cells over LARGE_CELL_BYTES.

    `lenient`: NotUtf8 in place of text that is no UTF-8, which else is an error.
    Memory:  one batch.
    Raises:  InvalidCell, LimitExceeded, CorruptDatabase and the other database errors.
    """
    table, key_column = query.table.name, query.key_column
    source = connection.rows(query.sql, query.parameters, table=table, key_column=key_column, careful=True)
    handed = passed = 0  # rows handed out; rows that the statement under way has given
    while True:
        try:
            rows = yield source
        except InvalidCell:
            if not lenient:
                raise
            source = connection.rows(query.sql, query.parameters, table=table, careful=True, text=lenient_text)
            passed = 0
            continue
        except NeedsCare as error:
            if not query.table.address:
                found = f"found what cannot be read at once in a table without rowid and key ({error.__cause__})"
                raise LimitExceeded(found, where=Where("source", table=table)) from error
            break
        if rows is None:
            return
        passed += len(rows)
        if passed > handed:
            fresh, handed = passed - handed, passed
            yield from visit(Fetched(query, rows if fresh == len(rows) else rows[-fresh:]))
        del rows  # or two batches are alive while the next one is fetched
    reader, passed = AddressedReader(query, lenient=lenient), 0
    source = connection.rows(query.addresses_sql, query.parameters, table=table)
    while (batch := (yield source)) is not None:
        addresses = batch[max(handed - passed, 0) :]
        passed += len(batch)
        while addresses:
            rows, large = yield connection.run(reader.take, addresses)
            address, addresses = addresses[0], addresses[len(rows) :]
            yield from visit(Fetched(query, rows, address if large else None))
            del rows


def pieces(connection: Connection, fetched: Fetched) -> Plan[Piece, None]:
    """The bytes of the Large cells of a batch, if there are any, in the order of the columns."""
    if fetched.address is not None:
        for index, cell in enumerate(fetched.rows[0]):
            if type(cell) is Large:
                yield from from_source(cell_pieces(connection, fetched, index))


async def cell_pieces(connection: Connection, fetched: Fetched, index: int) -> AsyncGenerator[Piece]:
    """The bytes of one Large cell of a row that is alone in its batch, under the name of its column.

    Memory:  one piece; two copies of the cell where its table has no rowid.
    """
    if fetched.address is None:
        return
    query, large = fetched.query, fetched.rows[0][index]
    reader = CellReader(query, index, fetched.address, text=large.text)
    try:
        while data := await connection.run(reader.read):
            yield Piece(query.names[index], data)
    finally:
        with anyio.CancelScope(shield=True):
            await connection.run(reader.close)


@dataclass(frozen=True, slots=True)
class FetchedRow:
    """One row, and the batch with it."""

    row: Row
    batch: Fetched


@dataclass(frozen=True, slots=True)
class Reading:
    """A database being read on a borrowed connection. `lenient`: text that is no UTF-8 is NotUtf8, else an error.

    `longest_whole`: bytes of the longest cell that may be a part of a memory document.
    """

    connection: Connection
    catalog: Catalog
    included: IncludedRows
    lenient: bool
    longest_whole: int = MAX_PENDING_BYTES

    @classmethod
    async def of(cls, connection: Connection, *, with_tables: bool, longest_whole: int = MAX_PENDING_BYTES) -> Reading:
        """Look at a database. With tables, everything has a place in the archive, so no text is refused."""
        await connection.run(carry_instant_key)
        catalog = await read_catalog(connection)
        included = await read_included(connection, catalog, with_tables=with_tables)
        return cls(connection, catalog, included, with_tables, longest_whole)

    def query(self, record: type[Record], tail: str, subject: str | None = None, extra: Sequence[str] = ()) -> Query:
        """Rows of one record type, see `record_query`."""
        return replace(record_query(self.catalog, record, tail, subject, extra), longest_whole=self.longest_whole)

    def batches(self, query: Query, visit: Callable[[Fetched], RowPlan]) -> RowPlan:
        """Visit the rows of a query batch by batch."""
        return fetch(self.connection, query, visit, lenient=self.lenient)

    def each(self, query: Query, visit: Callable[[FetchedRow], RowPlan]) -> RowPlan:
        """Visit the rows of a query one by one."""

        def visit_batch(fetched: Fetched) -> RowPlan:
            for row in fetched.rows:
                yield from visit(FetchedRow(row, fetched))

        return self.batches(query, visit_batch)

    def records(self, record: type[Record], query: Query) -> RowPlan:
        """The rows of a query as events, with the pieces of large cells."""

        def visit(fetched: Fetched) -> RowPlan:
            yield Rows(record, fetched.rows)
            yield from self.pieces(fetched)

        return self.batches(query, visit)

    def cells(self, query: Query) -> RowPlan:
        """The same for rows of any table."""

        def visit(fetched: Fetched) -> RowPlan:
            yield Cells(query.table.name, fetched.rows)
            yield from self.pieces(fetched)

        return self.batches(query, visit)

    def pieces(self, fetched: Fetched) -> Plan[Piece, None]:
        """The bytes of the large cells of a batch, if there are any."""
        return pieces(self.connection, fetched)

    def all(self, query: Query) -> Plan[RowEvent, list[FetchedRow]]:
        """The few rows of a query at once."""
        found: list[FetchedRow] = []

        def visit(fetched: Fetched) -> RowPlan:
            found.extend(FetchedRow(row, fetched) for row in fetched.rows)
            yield from ()

        yield from self.batches(query, visit)
        return found
