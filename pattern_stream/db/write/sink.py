"""The end of the import line: rows into a database, in one transaction that the caller commits or drops."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pattern_stream.db.catalog.catalog import Catalog
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.db.write.conflicts import Loaded, LoadOptions, Orphans
from pattern_stream.db.write.foreign_keys import note_earlier_faults, settle_orphans
from pattern_stream.db.write.fulltext_index import highest_rowid
from pattern_stream.db.write.loader import Loader
from pattern_stream.errors import FILE_SIZE_HINT, DatabaseStorage, Report, file_size_limit, ignore_findings
from pattern_stream.format import BATCH_BYTES
from pattern_stream.items import Cells, Open, Piece, RowEvent, Rows
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.records import Message
from pattern_stream.streams import closing

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = [
    "LoadOptions",
    "Loaded",
    "begin",
    "commit",
    "holds_rows",
    "note_faults",
    "short_switch_interval",
    "write_rows",
]

_EVENTS_AT_ONCE: Final = 128
_ROWS_AT_ONCE: Final = 256
"""A hop to the driver's thread costs 0.1 ms: small events share one."""

_PARCELS_AHEAD: Final = 32
_BYTES_AHEAD: Final = 8 * 1024 * 1024
"""Parcels and bytes that may wait for the driver's thread while more is decoded: the search index keeps it busy."""

_SAMPLED: Final = 16
"""Of many rows, one of so many is weighed."""

_SWITCH_SECONDS: Final = 0.000_05
"""How long a thread waits for Python's lock before the other one gives it up. Python's own is 5 ms: SQLite, which works
without the lock, would wait for it as long as it worked."""

_LEAST_PAGES: Final = 10
"""The smallest page cache that SQLite works with, and what it writes at a commit when all else is written."""

_SHM_BYTES: Final = 32 * 1024
"""The length of the -shm file of a new database."""


@dataclass(slots=True)
class _Parcel:
    """Events that go to the driver's thread together."""

    events: list[RowEvent] = field(default_factory=list)
    rows: int = 0
    size_bytes: int = 0

    def add(self, event: RowEvent) -> bool:
        """Take one more; whether the parcel is full."""
        self.events.append(event)
        if isinstance(event, (Rows, Cells)):
            self.rows += len(event.rows)
            self.size_bytes += _weight_of(event.rows)
        elif isinstance(event, Open) and event.record is not None:
            self.size_bytes += _weight(event.record)
        elif isinstance(event, Piece):
            self.size_bytes += len(event.data)
        full = self.rows >= _ROWS_AT_ONCE or len(self.events) >= _EVENTS_AT_ONCE
        return full or self.size_bytes >= BATCH_BYTES // 4


async def write_rows(
    connection: Connection | AsyncConnection,
    events: AsyncIterator[RowEvent],
    options: LoadOptions = LoadOptions(),  # noqa: B008  frozen
    report: Report = ignore_findings,
) -> Loaded:
    """Take in a whole tree of rows. The next batch is made while the last one goes in.

    In:      a connection inside a transaction with deferred foreign keys (`begin`); events as `unmap_records` yields
             them, parents in any order.
    Out:     counts. Nothing is committed.
    Memory:  a few parcels of rows, SQLite's page cache, one entry per agent and group.
    Raises:  NameConflict naming all that is taken; UnknownContent naming all that has no place here (unless it is to be
             dropped); MalformedNode for rows that exclude each other; ProtocolError where pieces of a cell are missing;
             DatabaseBusy, DatabaseStorage, CorruptDatabase.
    Reports: unknown-dropped, cell-without-row and what the parts say, all warnings.
    Source:  docs/database.md#full-text-search, #schema, docs/format.md#memory-history.
    """
    connection = await Connection.of(connection)
    pending: deque[asyncio.Future[None]] = deque()
    sizes: deque[int] = deque()
    parcel = _Parcel()
    with short_switch_interval():
        loader = await connection.run(Loader, options, report)

        def add(_: sqlite3.Connection, parcel: list[RowEvent]) -> None:
            loader.add(parcel)

        try:
            async with closing(events) as source:
                async for event in source:
                    if parcel.add(event):
                        pending.append(asyncio.ensure_future(connection.run(add, parcel.events)))
                        sizes.append(parcel.size_bytes)
                        parcel = _Parcel()
                        while len(pending) > _PARCELS_AHEAD or sum(sizes) > _BYTES_AHEAD:
                            await pending.popleft()
                            sizes.popleft()
            for one in pending:
                await one
            await connection.run(add, parcel.events)
            return await connection.run(lambda _: loader.finish())
        finally:  # nothing runs on after us; errors of parcels under way are not the first
            for one in pending:
                one.cancel()
            await asyncio.gather(*pending, return_exceptions=True)


async def begin(
    connection: Connection, *, into_empty: bool = False, orphans: Orphans | None = None, messages: int = 0
) -> None:
    """Take the write lock. Foreign keys are looked at when it is given back, so rows may come in any order.

    By one look at the whole database, at half the price, where it is empty (`into_empty`) or has fewer messages than
    come (`messages`). (While SQLite counts broken references, any row may end its statement, so that it keeps what each
    statement changes: copies of as many pages as there are rows.) `orphans`: so too, as a commit would refuse some.
    """
    few = not into_empty and messages <= await connection.run(highest_rowid, Message.table)
    counted = few and orphans is None
    await connection.execute(f"PRAGMA foreign_keys = {'ON' if counted else 'OFF'}")
    await connection.execute("PRAGMA temp_store = FILE")
    await connection.execute("BEGIN IMMEDIATE")
    await connection.execute("PRAGMA defer_foreign_keys = ON")


async def note_faults(connection: Connection, *, dry_run: bool = False) -> None:
    """Note the references of a database with rows that are broken already, where no commit tells them from new ones:
    SQLite does not count them, or there is none (`dry_run`).
    """
    if dry_run or (await connection.execute("PRAGMA foreign_keys")) == [(0,)]:
        await connection.run(note_earlier_faults)


async def commit(
    connection: Connection,
    *,
    dry_run: bool = False,
    options: LoadOptions = LoadOptions(),  # noqa: B008  frozen
    loaded: Loaded | None = None,
    report: Report = ignore_findings,
) -> None:
    """Keep everything, or with `dry_run` nothing. Raises MalformedNode naming rows that refer to nothing.

    `options`, `loaded`: as for `write_rows` and from it; they say what happens to such rows.
    """
    found = Loaded() if loaded is None else loaded
    rule = "keep" if options.orphans is None and found.whole and options.into_empty else options.orphans
    await connection.run(_end, dry_run, rule, found, report)


def _end(connection: sqlite3.Connection, dry_run: bool, rule: Orphans | None, loaded: Loaded, report: Report) -> None:
    """# Trap: SQLite counts broken references but does not name them; where it counts any, they are looked for."""
    (counted,) = connection.execute("PRAGMA foreign_keys").fetchone()
    if dry_run or not counted:
        settle_orphans(connection, rule, loaded, report)
    if dry_run:
        _require_room(connection)
        connection.execute("ROLLBACK")
        return
    try:
        connection.execute("COMMIT")
    except sqlite3.IntegrityError:
        settle_orphans(connection, None, loaded, report)
        raise


def _require_room(connection: sqlite3.Connection) -> None:
    """Raise DatabaseStorage where the disk has no room for what a commit writes, which a dry run would else not meet.

    A rollback journal stands already, so the database has to grow by its new pages, and a new one gets its -shm. In WAL
    mode a commit writes all pages that were changed, which nobody counts: they go to the -wal now, and SQLite says
    whether they fit.
    """
    (pages,), (page_bytes,) = (connection.execute(f"PRAGMA page_{what}").fetchone() for what in ("count", "size"))
    path = next(Path(file) for _, name, file in connection.execute("PRAGMA database_list") if name == "main")
    (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
    if journal == "wal":
        _write_pages(connection, path.with_name(f"{path.name}-wal"))
        needed = _LEAST_PAGES * page_bytes
        largest = 0
    else:
        largest = pages * page_bytes
        needed = largest - path.stat().st_size + (_SHM_BYTES if journal == "memory" else 0)  # of a new database
    free, most = shutil.disk_usage(path.parent).free, file_size_limit()
    if most is not None and largest > most:
        raise DatabaseStorage(f"the database grows to {largest} bytes, limit is {most}", hint=FILE_SIZE_HINT)
    if needed > free:
        raise DatabaseStorage(f"the import needs {needed} bytes more, but {free} are free in {path.parent}")


def _write_pages(connection: sqlite3.Connection, wal: Path) -> None:
    """Have SQLite write its changed pages, all but _LEAST_PAGES, to the -wal: it does so when its cache is too small.

    Each page that is read into a full cache drives out one; so all tables are read until the -wal grows no more.
    """
    (before,) = connection.execute("PRAGMA cache_size").fetchone()
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0").fetchall()
    connection.execute(f"PRAGMA cache_size = {_LEAST_PAGES}")
    size = -1
    while size < (size := wal.stat().st_size):
        for (table,) in tables:
            connection.execute(f"SELECT count(*) FROM {quoted(table)} NOT INDEXED").fetchone()
    connection.execute(f"PRAGMA cache_size = {before}")


async def holds_rows(connection: Connection) -> bool:
    """Whether any table that an archive may bring rows for has some."""
    return await connection.run(_holds_rows)


def _holds_rows(connection: sqlite3.Connection) -> bool:
    return any(
        connection.execute(f"SELECT EXISTS (SELECT 1 FROM {table.source('t')})").fetchone()[0]
        for table in Catalog.read(connection).tables.values()
    )


@contextmanager
def short_switch_interval() -> Iterator[None]:
    """Have Python's global lock change threads more often, as long as this lasts."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _weight_of(rows: list[tuple[Any, ...]]) -> int:
    if len(rows) < 4 * _SAMPLED:
        return sum(map(_weight, rows))
    return _SAMPLED * sum(map(_weight, rows[::_SAMPLED]))


def _weight(row: tuple[Any, ...]) -> int:
    return sum(len(cell) for cell in row if isinstance(cell, (str, bytes)))
