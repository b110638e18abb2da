"""Opening a database for reading, for writing, or anew: one connection, configured and closed here.

The driver is in autocommit mode: a transaction starts with BEGIN and ends with COMMIT or ROLLBACK.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, Literal

import aiosqlite
import anyio

from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.cursor import BoundedConnection
from pattern_stream.db.connection.errors import translated
from pattern_stream.errors import CorruptDatabase, DatabaseError, DatabaseNotFound, DatabaseStorage, UnsupportedSchema
from pattern_stream.format import BUSY_TIMEOUT_MS

READ_PRAGMAS: Final = (
    "PRAGMA query_only = ON",
    "PRAGMA mmap_size = 0",  # a file that shrinks under a mapping ends the process
    "PRAGMA cache_size = -4000",
    "PRAGMA cell_size_check = ON",
    "PRAGMA trusted_schema = OFF",
)
WRITE_PRAGMAS: Final = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = FULL",  # a commit survives a power cut, also where Pattern has the WAL open
    "PRAGMA wal_autocheckpoint = 0",  # others may write before the rows are copied out of the WAL, see `checkpoint`
    "PRAGMA mmap_size = 0",
    "PRAGMA cache_size = -40000",
)
DATABASE_SUFFIXES: Final = ("", "-journal", "-wal", "-shm")
"""The suffixes of the files in which SQLite keeps a database."""

FRAMES_LOOKED_AT: Final = 4096
"""Frames of a WAL that are searched for the first page."""

_FOREIGN_WAL_HINT: Final = "move it away, if no program has the database open; it may hold commits of the older one"

NEW_LAYOUT: Final = ("memory.db", "messages.db")
"""The files in which the next version of Pattern keeps a constellation."""

NAMED_TABLES: Final = 10
"""Most tables of a foreign database that a message names."""

ReadMode = Literal["mode=ro", "mode=ro&immutable=1", "mode=rw"]

_LEAVES_HINT: Final = (
    "run this as the owner of the database, or while the owner's program has it open, or read a copy of it; "
    "who may write the file and its folder may read it at any time"
)

_HEADERS: Final[dict[tuple[int, int], int]] = {}
"""Descriptors of databases that were looked into, by device and inode.

# Trap: none of them may be closed, as that would drop the locks of every connection of this process."""


@asynccontextmanager
async def open_reader(
    path: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS, mode: ReadMode | None = None
) -> AsyncGenerator[Connection]:
    """A connection inside one read-only transaction, from entry to exit: everything read on it is one moment.

    `mode`: as `read_mode` found it, for a run with several connections, of which any may be the last to close.

    Raises DatabaseNotFound, CorruptDatabase, DatabaseBusy, DatabaseStorage; UnsupportedSchema where the file is no
    constellation database.
    """
    found = _existing(path)
    async with connected(found, mode or read_mode(found), busy_timeout_ms, READ_PRAGMAS) as connection:
        await connection.execute("BEGIN")
        await _require_constellation(connection, found)
        yield connection


@asynccontextmanager
async def open_writer(path: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> AsyncGenerator[Connection]:
    """A connection that may write into an existing database; no transaction is started, and none is committed here.

    Raises as `open_reader`; `require_writable_schema` looks closer.
    """
    found = _existing(path)
    async with connected(found, "mode=rw", busy_timeout_ms, WRITE_PRAGMAS) as connection:
        await _require_constellation(connection, found)
        yield connection


async def checkpoint(connection: Connection) -> None:
    """Copy what was committed out of the WAL, as far as no reader needs it there. Others may write meanwhile.

    A fault keeps the rows in the WAL, where they are as durable: the next checkpoint is anybody's.
    """
    with suppress(DatabaseError):
        await connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def reader_uri(path: Path, mode: ReadMode) -> str:
    """How `open_reader` names a database to SQLite. Raises DatabaseNotFound, DatabaseStorage."""
    return _uri(_existing(path), mode)


def read_mode(path: Path, *, read_only_place: bool | None = None) -> ReadMode:
    """How to open a database for reading, so that nothing stays beside it that was not there.

    In WAL mode SQLite makes a -wal and a -shm file. Whoever closes a connection last removes them, but only if it was
    opened for writing; files of another user that stay keep the owner from writing. A WAL with commits in it is left
    alone: it is read as it is.

    `immutable` would overlook a WAL or hot journal, and changes by others. A database in WAL mode cannot be read from a
    read-only file system otherwise. `read_only_place`: looked up where it is not said.

    Raises:  DatabaseNotFound; DatabaseStorage: such files would stay.
    """
    found = _existing(path)
    journal, wal, shm = (found.with_name(found.name + suffix) for suffix in DATABASE_SUFFIXES[1:])
    if read_only_place is None:
        read_only_place = bool(os.statvfs(found).f_flag & os.ST_RDONLY)
    if any(file.exists() and file.stat().st_size > 0 for file in (wal, journal)):
        if wal.exists() and not shm.exists() and not read_only_place and not _belongs_to_us(found):
            raise _leaves(shm)
        return "mode=ro"
    if read_only_place:
        return "mode=ro&immutable=1"
    files = [found, *(file for file in (wal, shm) if file.exists())]
    if _may(found.parent, os.W_OK | os.X_OK) and all(_may(file, os.R_OK | os.W_OK) for file in files):
        return "mode=rw"
    if not (wal.exists() and shm.exists()) and _is_in_wal_mode(found):
        raise _leaves(wal)
    return "mode=ro"


def _leaves(file: Path) -> DatabaseStorage:
    fault = "reading would leave it behind, and it would keep the owner from writing"
    return DatabaseStorage(f"{file} is not there: {fault}", hint=_LEAVES_HINT)


def _belongs_to_us(path: Path) -> bool:
    return os.geteuid() in (0, path.stat().st_uid)  # SQLite gives the files that root makes to the database's owner


def _may(path: Path, access: int) -> bool:
    return os.access(path, access, effective_ids=os.access in os.supports_effective_ids)


def _is_in_wal_mode(path: Path) -> bool:
    """Whether the header of a database says so. One that cannot be read is reported by its reader."""
    found = path.stat()
    place = (found.st_dev, found.st_ino)
    try:
        if place not in _HEADERS:
            _HEADERS[place] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(_HEADERS[place], 2, 18) == b"\2\2"
    except OSError:
        return False


def _existing(path: Path) -> Path:
    """The regular file behind a path. Trap: it must not be opened here, since closing it would drop SQLite's locks."""
    found = path.resolve()
    try:
        mode = found.stat().st_mode
    except FileNotFoundError as error:
        raise DatabaseNotFound(f"no file at {path}, expected a constellation database") from error
    if stat.S_ISDIR(mode):
        inside = path / "constellation.db"
        hint = f"did you mean {inside}?" if inside.is_file() else None
        raise DatabaseNotFound(f"found a folder at {path}, expected a constellation database", hint=hint)
    if not stat.S_ISREG(mode):
        raise DatabaseStorage(f"found a device or pipe at {path}, expected a constellation database in a regular file")
    return found


def _refuse_foreign_wal(path: Path) -> None:
    """Raise CorruptDatabase where the -wal file beside a database belongs to another one.

    SQLite checks a WAL against itself only, so one that was left by an older database of that name is played back over
    the new one. Known by its page size, or by the first page, whose schema counter never goes back.

    # Trap: closing the database's file drops the locks of every connection of this process. So this looks only where
    nobody can have one (no -shm), or when the database could not be read.
    """
    wal = path.with_name(path.name + "-wal")
    try:
        with open(wal, "rb") as log, open(path, "rb") as database:
            header, log_header = database.read(100), log.read(32)
            if len(header) < 100 or len(log_header) < 32:
                return
            size, log_size = int.from_bytes(header[16:18], "big"), int.from_bytes(log_header[8:12], "big")
            size = 65536 if size == 1 else size
            fault = f"pages of {log_size} bytes, the database of {size}" if size != log_size else ""
            first = None if fault else _first_page_in(log, size)
    except OSError:
        return
    if first is not None and int.from_bytes(first[40:44], "big") < int.from_bytes(header[40:44], "big"):
        fault = "an older schema than the database"
    if fault:
        raise CorruptDatabase(f"{wal} has {fault}: it was left by another database", hint=_FOREIGN_WAL_HINT)


def _first_page_in(log: IO[bytes], page_bytes: int) -> bytes | None:
    """The beginning of the first copy of page 1 in a WAL, None where it is not among the first frames."""
    for frame in range(FRAMES_LOOKED_AT):
        log.seek(32 + frame * (24 + page_bytes))
        head = log.read(24)
        if len(head) < 24:
            return None
        if int.from_bytes(head[:4], "big") == 1:
            page = log.read(100)
            return page if page.startswith(b"SQLite format 3\0") else None
    return None


def _uri(path: Path, mode: str) -> str:
    return f"{path.as_uri()}?{mode}"  # `as_uri` quotes the characters with a meaning in a URI: `?`, `#`, `%`


@asynccontextmanager
async def connected(path: Path, mode: str, busy_timeout_ms: int, pragmas: Sequence[str]) -> AsyncGenerator[Connection]:
    """One configured connection. Closing waits for the statement that runs, so a failure interrupts it first.

    # Trap: closing must not be cancelled, or the driver's thread would be left with the file and its locks.
    """
    if not path.with_name(path.name + "-shm").exists():
        _refuse_foreign_wal(path)
    timeout = busy_timeout_ms / 1000
    driver = aiosqlite.connect(
        _uri(path, mode), uri=True, isolation_level=None, timeout=timeout, factory=BoundedConnection
    )
    thread: Any = getattr(driver, "_thread", driver)  # aiosqlite itself before 0.22
    thread.daemon = True  # or an interpreter that ends while the connection is open would wait for ever
    with translated(path), anyio.CancelScope(shield=True):
        await driver
    connection = Connection(driver, path)
    try:
        for pragma in pragmas:
            await connection.execute(pragma)
        yield connection
    except BaseException:
        connection.interrupt()
        raise
    finally:
        with anyio.CancelScope(shield=True), suppress(sqlite3.Error):
            await driver.close()


async def _require_constellation(connection: Connection, path: Path) -> None:
    """The first read, which starts the snapshot. Raises UnsupportedSchema where this is no constellation database."""
    try:
        rows = await connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    except CorruptDatabase:
        _refuse_foreign_wal(path)
        raise
    names = [str(name) for (name,) in rows]
    if "messages" not in names and all(path.with_name(name).is_file() for name in NEW_LAYOUT):
        found = f"{path} lies beside {' and '.join(NEW_LAYOUT)}: this is the layout of Pattern's next version"
        hint = "archives hold the present layout, one constellation.db; export with the Pattern that made the files"
        raise UnsupportedSchema(f"{found}, expected a constellation database", hint=hint)
    if "agents" not in names:
        found = f"tables {', '.join(names[:NAMED_TABLES])}" if names else "no tables, as an empty file has none"
        raise UnsupportedSchema(f"found {found} in {path}, expected a constellation database, which has a table agents")
