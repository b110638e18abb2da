"""Rows by their keys, a batch at a time: for comparing what an archive carries with what a database holds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from pattern_stream.db.columns import Columns
from pattern_stream.db.cursor import batches
from pattern_stream.items import Row
from pattern_stream.schema.records import Member, MemoryBlock, MemoryUpdate, Record, SharedAttachment

_KEYS: Final[dict[type[Record], tuple[str, ...]]] = {
    Member: ("group_id", "agent_id"),
    SharedAttachment: ("block_id", "agent_id"),
}


def key_columns(record: type[Record]) -> tuple[str, ...]:
    """The columns that tell one row of a record type from all others."""
    return _KEYS.get(record, ("id",))


async def rows_by_key(
    connection: AsyncConnection, columns: Columns, record: type[Record], keys: Sequence[tuple[str, ...]]
) -> list[Row]:
    """The rows with these keys, in `record.columns` order; those that are not there are left out.

    Memory:  the rows found: no more than the keys, which come in batches.
    Raises:  CorruptDatabase, InvalidCell, DatabaseBusy, UnsupportedSchema.
    """
    names = key_columns(record)
    places = ", ".join([f"({', '.join('?' * len(names))})"] * len(keys))
    alias = "b" if record is MemoryBlock else "t"
    wanted = ", ".join(f'{alias}."{name}"' for name in names)
    sql = f"SELECT {columns.select(record, alias)} FROM {record.table} {alias} WHERE ({wanted}) IN (VALUES {places})"
    parameters = [part for key in keys for part in key]
    found: list[Row] = []
    async with aclosing(
        batches(connection, sql, parameters, table=record.table, key_column=record.key_column)
    ) as fetched:
        async for batch in fetched:
            found += batch
    return found


async def active_updates(connection: AsyncConnection, columns: Columns, block_id: str) -> list[tuple[int, bytes]]:
    """The active updates of a memory block as (seq, update), in seq order; none where the schema has no such table."""
    table = MemoryUpdate.table
    if not columns.has(table):
        return []
    active = "AND t.is_active = 1" if columns.has(table, "is_active") else ""
    sql = f"SELECT {columns.select(MemoryUpdate, 't')} FROM {table} t WHERE t.block_id = ? {active} ORDER BY t.seq"
    seq, blob = MemoryUpdate.index("seq"), MemoryUpdate.index("update_blob")
    found: list[tuple[int, bytes]] = []
    async with aclosing(batches(connection, sql, (block_id,), table=table)) as fetched:
        async for batch in fetched:
            found += [(row[seq], row[blob]) for row in batch]
    return found
