"""Rows by their keys, a batch at a time: for comparing an archive with a database."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from pattern_stream.db.catalog.catalog import Catalog, Table
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.db.read.fetch import Fetched, cell_pieces, fetch, itself
from pattern_stream.db.read.plan import Plan, drive, from_source
from pattern_stream.db.read.query import Query, active_updates_tail, record_query, table_query
from pattern_stream.errors import DocumentTooLarge, InvalidCell, UnsupportedSchema, Where
from pattern_stream.format import MAX_PENDING_BYTES
from pattern_stream.items import Piece, Row
from pattern_stream.schema.model.cells import NotUtf8
from pattern_stream.schema.model.records import MemoryBlock, MemoryUpdate, Record


async def rows_by_key(
    connection: Connection,
    catalog: Catalog,
    record: type[Record],
    keys: Sequence[tuple[Any, ...]],
) -> list[Row]:
    """The rows with these keys, in `record.columns` order; those that are not there are left out.

    A cell over LARGE_CELL_BYTES is Large: `large_cell` reads it. Text that is no UTF-8 is NotUtf8.
    Memory:  the rows found: no more than the keys, which come in batches.
    Raises:  CorruptDatabase, DatabaseBusy, UnsupportedSchema.
    """
    alias = "b" if record is MemoryBlock else "t"
    where, parameters = _where([f"{alias}.{quoted(name)}" for name in record.key], keys)
    query = replace(record_query(catalog, record, where), parameters=parameters)
    return await _all(connection, query)


async def table_rows_by_key(connection: Connection, table: Table, keys: Sequence[tuple[Any, ...]]) -> list[Row]:
    """The rows of any ordinary table with these primary keys, all stored columns in physical order, in no order.

    A cell over LARGE_CELL_BYTES is Large: `large_cell` reads it. Text that is no UTF-8 is NotUtf8, in keys too.
    Memory:  the rows found: no more than the keys, which come in batches.
    Raises:  CorruptDatabase, DatabaseBusy; UnsupportedSchema: a table without a primary key.
    """
    return await _all(connection, _by_keys(table, keys))


async def large_cell(connection: Connection, table: Table, key: tuple[Any, ...], column: str) -> AsyncGenerator[bytes]:
    """The bytes of a Large cell of the row with this key, VALUE_PIECE_BYTES at a time."""
    query = _by_keys(table, [key])
    index = query.names.index(column)

    def visit(fetched: Fetched) -> Plan[Piece, None]:
        return from_source(cell_pieces(connection, fetched, index))

    async with aclosing(drive(fetch(connection, query, visit, lenient=True))) as pieces:
        async for piece in pieces:
            yield piece.data


async def _all(connection: Connection, query: Query) -> list[Row]:
    async with aclosing(drive(fetch(connection, query, itself, lenient=True))) as batches:
        return [row async for fetched in batches for row in fetched.rows]


def _by_keys(table: Table, keys: Sequence[tuple[Any, ...]]) -> Query:
    if not table.key:
        raise UnsupportedSchema("found no primary key, expected one to find rows by", where=Where(table=table.name))
    where, parameters = _where([table.key_part("t", column) for column in table.key], keys)
    return replace(table_query(table, f"{table.source('t')} {where}"), parameters=parameters)


def _where(columns: Sequence[str], keys: Sequence[tuple[Any, ...]]) -> tuple[str, dict[str, Any]]:
    """The condition that picks rows by their keys, and its parameters."""
    parts = [part for key in keys for part in key]
    marks = [f"CAST(:k{n} AS TEXT)" if type(part) is NotUtf8 else f":k{n}" for n, part in enumerate(parts)]
    width = len(columns)
    places = ", ".join(f"({', '.join(marks[at : at + width])})" for at in range(0, len(marks), width))
    return f"WHERE ({', '.join(columns)}) IN (VALUES {places})", {f"k{n}": part for n, part in enumerate(parts)}


async def active_updates(
    connection: Connection, catalog: Catalog, block_id: str, most_bytes: int = MAX_PENDING_BYTES
) -> list[tuple[int, bytes]]:
    """The active updates of a memory block as (seq, update), in seq order; none where the schema has no such table.

    Memory:  `most_bytes`, by default as many as an export gathers.
    Raises:  DocumentTooLarge: they are more; InvalidCell: no number or bytes; CorruptDatabase, DatabaseBusy.
    """
    if not catalog.has(MemoryUpdate.table):
        return []
    query = record_query(catalog, MemoryUpdate, active_updates_tail(catalog), block_id)
    seq, blob = MemoryUpdate.index("seq"), MemoryUpdate.index("update_blob")
    where = Where(table=MemoryUpdate.table, row_id=block_id, field="update_blob")
    found: list[tuple[int, bytes]] = []
    gathered = 0
    async with aclosing(drive(fetch(connection, query, itself, lenient=True))) as batches:
        async for fetched in batches:
            for row in fetched.rows:
                if type(row[seq]) is not int or type(row[blob]) is not bytes:
                    message = f"found an update with {type(row[blob]).__name__}, expected bytes"
                    raise InvalidCell(message, where=where)
                found.append((row[seq], row[blob]))
                gathered += len(row[blob])
            if gathered > most_bytes:
                message = f"updates are over {gathered} bytes, limit is {most_bytes} bytes"
                raise DocumentTooLarge(message, where=where)
    return found
