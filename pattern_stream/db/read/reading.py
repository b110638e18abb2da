"""What the readers of a database share: its tables, what of them goes where, and rows with their large cells."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from pattern_stream.db.catalog.catalog import Catalog, read_catalog
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.read.fetch import Fetched, fetch, pieces
from pattern_stream.db.read.included_rows import Held, read_held
from pattern_stream.db.read.parent_order import carry_instant_key
from pattern_stream.db.read.query import Query, record_query
from pattern_stream.items import Cells, Piece, Row, Rows
from pattern_stream.schema.model.records import Record


@dataclass(frozen=True, slots=True)
class Found:
    """One row, and where its large cells are to be read."""

    row: Row
    query: Query
    fetched: Fetched


@dataclass(frozen=True, slots=True)
class Reading:
    """A database being read on a borrowed connection. `lenient`: text that is no UTF-8 is NotUtf8, else an error."""

    connection: Connection
    catalog: Catalog
    held: Held
    lenient: bool

    def query(self, record: type[Record], tail: str, subject: str | None = None, extra: Sequence[str] = ()) -> Query:
        """Rows of one record type, see `record_query`."""
        return record_query(self.catalog, record, tail, subject, extra)

    def batches(self, query: Query) -> AsyncGenerator[Fetched]:
        """The rows of a query in batches."""
        return fetch(self.connection, query, lenient=self.lenient)

    async def each(self, query: Query) -> AsyncGenerator[Found]:
        """The rows of a query, one by one."""
        async with aclosing(self.batches(query)) as found:
            async for fetched in found:
                for row in fetched.rows:
                    yield Found(row, query, fetched)

    async def records(self, record: type[Record], query: Query) -> AsyncGenerator[Rows | Piece]:
        """The rows of a query as events, with the pieces of large cells."""
        async with aclosing(self.batches(query)) as found:
            async for fetched in found:
                yield Rows(record, fetched.rows)
                async for piece in self.pieces(query, fetched):
                    yield piece
                del fetched

    async def cells(self, query: Query) -> AsyncGenerator[Cells | Piece]:
        """The same for rows of any table."""
        async with aclosing(self.batches(query)) as found:
            async for fetched in found:
                yield Cells(query.table.name, fetched.rows)
                async for piece in self.pieces(query, fetched):
                    yield piece
                del fetched

    async def pieces(self, query: Query, fetched: Fetched) -> AsyncGenerator[Piece]:
        """The bytes of the large cells of a batch, if there are any."""
        if fetched.address is not None:
            async with aclosing(pieces(self.connection, query, fetched)) as found:
                async for piece in found:
                    yield piece


async def open_reading(connection: Connection, *, with_tables: bool) -> Reading:
    """Look at a database. With tables, everything has somewhere to go, so nothing is refused for its text."""
    await connection.run(carry_instant_key)
    catalog = await read_catalog(connection)
    held = await read_held(connection, catalog, with_tables=with_tables)
    return Reading(connection, catalog, held, lenient=with_tables)
