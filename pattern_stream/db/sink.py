"""The end of the import line: rows into a database, in one transaction that the caller commits or drops."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import aiosqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from pattern_stream.db.conflicts import LoadOptions
from pattern_stream.db.dangling import foreign_key_fault
from pattern_stream.db.failures import translated
from pattern_stream.db.loading import CARRIED, Loaded, Loader
from pattern_stream.errors import PatternStreamError, Report, ignore_findings
from pattern_stream.format import BATCH_BYTES
from pattern_stream.items import Open, RowEvent, Rows

__all__ = ["LoadOptions", "Loaded", "begin", "commit", "holds_rows", "write_rows"]

Result = TypeVar("Result")

_EVENTS_AT_ONCE: Final = 128
_ROWS_AT_ONCE: Final = 256
"""A hop to the driver's thread costs 0.1 ms: small events go together."""

_PARCELS_AHEAD: Final = 4
"""Parcels that may wait for the driver's thread while more is decoded. Each holds about a megabyte."""


@dataclass(slots=True)
class _Parcel:
    """Events that go to the driver's thread together."""

    events: list[RowEvent] = field(default_factory=list)
    rows: int = 0
    size_bytes: int = 0

    def add(self, event: RowEvent) -> bool:
        """Take one more; whether the parcel is full."""
        self.events.append(event)
        if isinstance(event, Rows):
            self.rows += len(event.rows)
            if self.rows < _ROWS_AT_ONCE:
                self.size_bytes += sum(map(_weight, event.rows))
        elif isinstance(event, Open) and event.record is not None:
            self.size_bytes += _weight(event.record)
        full = self.rows >= _ROWS_AT_ONCE or len(self.events) >= _EVENTS_AT_ONCE
        return full or self.size_bytes >= BATCH_BYTES // 4


async def write_rows(
    connection: AsyncConnection,
    events: AsyncIterator[RowEvent],
    options: LoadOptions = LoadOptions(),  # noqa: B008  frozen
    report: Report = ignore_findings,
) -> Loaded:
    """Take in a whole tree of rows. The next batch is made while the last one goes in.

    In:      a connection inside a transaction with deferred foreign keys (`begin`); events as `unmap_records` yields
             them, parents in any order.
    Out:     counts. Nothing is committed.
    Memory:  a few parcels of rows, SQLite's page cache, one entry per agent and group.
    Raises:  NameConflict naming all that is taken; MalformedNode for rows that exclude each other; DatabaseBusy,
             DatabaseStorage, CorruptDatabase.
    Source:  design 5; database 3 to 9.
    """
    driver = await _driver(connection)
    pending: deque[asyncio.Future[None]] = deque()
    parcel = _Parcel()
    with translated():
        loader = await _on_thread(driver, Loader, driver._conn, options, report)
        try:
            async with aclosing(_closable(events)) as source:
                async for event in source:
                    if parcel.add(event):
                        pending.append(asyncio.ensure_future(_on_thread(driver, loader.add, parcel.events)))
                        parcel = _Parcel()
                        if len(pending) > _PARCELS_AHEAD:
                            await pending.popleft()
            for one in pending:
                await one
            await _on_thread(driver, loader.add, parcel.events)
            return await _on_thread(driver, loader.finish)
        finally:
            await _settle(pending)


async def begin(connection: AsyncConnection) -> None:
    """Take the write lock. Foreign keys are looked at when it is given back, so rows may come in any order."""
    with translated():
        await connection.exec_driver_sql("PRAGMA temp_store = FILE")
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
        await connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")


async def commit(connection: AsyncConnection, *, dry_run: bool = False) -> None:
    """Keep everything, or with `dry_run` nothing. Raises MalformedNode naming a row that refers to nothing."""
    driver = await _driver(connection)
    with translated():
        await _on_thread(driver, _end, driver._conn, dry_run)


async def holds_rows(connection: AsyncConnection) -> bool:
    """Whether any table that an archive carries has rows."""
    any_row = " OR ".join(f"EXISTS (SELECT 1 FROM {record.table})" for record in CARRIED)
    with translated():
        return bool((await connection.exec_driver_sql(f"SELECT {any_row}")).scalar_one())


def _end(connection: sqlite3.Connection, dry_run: bool) -> None:
    """# Trap: SQLite counts broken references but does not name them; where it counts any, they are looked for."""
    if dry_run:
        fault = foreign_key_fault(connection)
        connection.execute("ROLLBACK")
        if fault is not None:
            raise fault
        return
    try:
        connection.execute("COMMIT")
    except sqlite3.IntegrityError as error:
        raise (foreign_key_fault(connection) or error) from error


async def _driver(connection: AsyncConnection) -> aiosqlite.Connection:
    driver = (await connection.get_raw_connection()).driver_connection
    if not isinstance(driver, aiosqlite.Connection):
        raise PatternStreamError(f"connection is {type(driver).__name__}, expected one of aiosqlite")
    return driver


async def _on_thread(driver: aiosqlite.Connection, work: Callable[..., Result], *arguments: Any) -> Result:
    """Run a function on the connection's own thread; when cancelled, stop SQLite there.

    aiosqlite has no public way to run more than one statement in one hop; its version is bounded for that reason.
    """
    try:
        result: Result = await driver._execute(work, *arguments)  # type: ignore[no-untyped-call]
        return result
    except asyncio.CancelledError:
        with suppress(ValueError):  # closed already
            await driver.interrupt()
        raise


async def _settle(pending: Iterable[asyncio.Future[None]]) -> None:
    """Let parcels under way end, so that nothing runs on after us; their faults, if any, are not the first."""
    for one in pending:
        one.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


async def _closable(events: AsyncIterator[RowEvent]) -> Any:
    try:
        async for event in events:
            yield event
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


def _weight(row: tuple[Any, ...]) -> int:
    return sum(len(cell) for cell in row if isinstance(cell, (str, bytes)))
