"""Rows of a query, whatever is in their cells: what is too large comes in pieces, text that is no UTF-8 as its bytes.

The usual path costs nothing more: the statement runs with a limit on the length of a cell, and SQLite stops before
one that is longer, without reading it. From there on rows are found by rowid (or key) first, and then read one by one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import anyio

from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.cursor import NeedsCare
from pattern_stream.db.read.by_rowid import AddressedReader, CellReader
from pattern_stream.db.read.query import Address, Query
from pattern_stream.errors import LimitExceeded, Where
from pattern_stream.items import Piece, Row
from pattern_stream.schema.model.cells import Large


@dataclass(frozen=True, slots=True)
class Fetched:
    """A batch of rows. Where a row has Large cells it is alone, and `address` says where it is."""

    rows: list[Row]
    address: Address | None = None


async def fetch(connection: Connection, query: Query, *, lenient: bool) -> AsyncGenerator[Fetched]:
    """The rows of a query in batches.

    Out:     Rows with Large in place of what is over LARGE_CELL_BYTES, and NotUtf8 where `lenient`.
    Memory:  one batch.
    Raises:  InvalidCell (text that is no UTF-8, unless `lenient`), LimitExceeded, CorruptDatabase and the other
             database errors.
    """
    handed = 0
    try:
        async with aclosing(_quick(connection, query, lenient=lenient)) as found:
            async for fetched in found:
                handed += len(fetched.rows)
                yield fetched
                del fetched  # or two batches are alive while the next one is fetched
        return
    except NeedsCare as error:
        if not query.table.address:
            found_there = f"found what cannot be read at once in a table without rowid and key ({error.__cause__})"
            raise LimitExceeded(found_there, where=Where("source", table=query.table.name)) from error
    async with aclosing(_careful(connection, query, handed, lenient=lenient)) as rest:
        async for fetched in rest:
            yield fetched


async def _quick(connection: Connection, query: Query, *, lenient: bool) -> AsyncGenerator[Fetched]:
    """The rows before one that needs care. Raises NeedsCare."""
    name = query.table.name
    async with aclosing(
        connection.rows(
            query.sql,
            query.parameters,
            table=name,
            key_column=query.key_column,
            careful=True,
            lenient=lenient,
        )
    ) as found:
        async for rows in found:
            yield Fetched(rows)
            del rows


async def _careful(connection: Connection, query: Query, handed: int, *, lenient: bool) -> AsyncGenerator[Fetched]:
    """The rows after the first `handed`, one by one."""
    reader, passed = AddressedReader(query, lenient=lenient), 0
    async with aclosing(connection.rows(query.addresses_sql, query.parameters, table=query.table.name)) as found:
        async for batch in found:
            addresses = batch[max(handed - passed, 0) :]
            passed += len(batch)
            while addresses:
                rows, large = await connection.run(reader.take, addresses)
                here, addresses = addresses[0], addresses[len(rows) :]
                yield Fetched(rows, here if large else None)
                del rows


async def pieces(connection: Connection, query: Query, fetched: Fetched) -> AsyncGenerator[Piece]:
    """The bytes of the Large cells of a batch, if there are any, in the order of the columns.

    Memory:  one piece; two copies of the cell where its table has no rowid.
    """
    if fetched.address is None:
        return
    for index, cell in enumerate(fetched.rows[0]):
        if type(cell) is Large:
            async with aclosing(cell_pieces(connection, query, index, fetched.address, text=cell.text)) as found:
                async for piece in found:
                    yield piece


async def cell_pieces(
    connection: Connection, query: Query, index: int, address: Address, *, text: bool
) -> AsyncGenerator[Piece]:
    """The bytes of one cell, under the name of its column."""
    reader = CellReader(query, index, address, text=text)
    try:
        while data := await connection.run(reader.read):
            yield Piece(query.names[index], data)
    finally:
        with anyio.CancelScope(shield=True):
            await connection.run(reader.close)
