"""Makes a database beside its place, under a name of our own; it gets its name when all of it is on the disk."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.opening import DATABASE_SUFFIXES, connected
from pattern_stream.errors import DatabaseNotFound, DatabaseStorage, TargetExists, making_folder
from pattern_stream.files.partial import partial_of, reserved, take_name
from pattern_stream.format import BUSY_TIMEOUT_MS

NEW_PRAGMAS: Final = (
    "PRAGMA journal_mode = MEMORY",  # holds only pages that were there before: next to nothing in a new file
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = OFF",  # made durable once, at the end
    "PRAGMA mmap_size = 0",
    "PRAGMA cache_size = -40000",
)


@asynccontextmanager
async def open_new(target: Path, *, keep: bool = True) -> AsyncGenerator[Connection]:
    """A connection to a new, empty database, mode 0600, for a place where there is nothing yet, or an empty file.

    After a clean exit the database has its name, in WAL mode, closed and on the disk; after an error, or where it is
    not to be kept, nothing stays.

    Raises TargetExists: something is there, or another program is making it; DatabaseNotFound: there is no such folder;
    DatabaseStorage: the name leaves no room for SQLite's other files, or the disk fails.
    """
    place = Path(os.path.realpath(target))
    if not is_vacant(place):
        raise TargetExists(f"found a file at {place}, expected none: a new database is to be made there")
    _refuse_beside(place)
    if not place.parent.is_dir():
        found = f"no folder {place.parent}, expected one: a new database is to be made there"
        raise DatabaseNotFound(found, hint=making_folder(place.parent))
    longest_bytes = os.pathconf(place.parent, "PC_NAME_MAX") - max(map(len, DATABASE_SUFFIXES))
    if (name_bytes := len(os.fsencode(place.name))) > longest_bytes:
        found = f"the name of {place} is {name_bytes} bytes, limit is {longest_bytes}: SQLite's other files need room"
        raise DatabaseStorage(found, hint="choose a shorter name")
    partial = partial_of(place)
    with _cleared(partial):
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        async with connected(partial, "mode=rw", BUSY_TIMEOUT_MS, NEW_PRAGMAS) as connection:
            yield connection
            await connection.run(sqlite3.Connection.rollback)  # drops all that was not committed
            await connection.execute("PRAGMA journal_mode = WAL")
        _sync(partial)
        if keep:
            _refuse_beside(place)
            try:
                take_name(partial, place, replace=is_vacant(place) and place.exists())
            except FileExistsError as error:
                raise TargetExists(f"found a file at {place} that was not there before") from error


def is_vacant(path: Path) -> bool:
    """Whether a database can be made there: nothing is there, or a file without a byte."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return True
    return os.path.isfile(path) and found.st_size == 0


def _refuse_beside(place: Path) -> None:
    """Raise TargetExists where SQLite would read more than the new file: a WAL or journal that an older one left.

    # Rule: such a file is never removed or moved here, since it may hold the only copy of somebody's commits.
    """
    beside = [name for suffix in DATABASE_SUFFIXES[1:] if os.path.lexists(name := f"{place}{suffix}")]
    if beside:
        found = (
            f"found {' and '.join(beside)}, expected nothing: a database that is made at {place} would be read with it"
        )
        hint = (
            "another program may still have the old database open; end it, then look into these files or move them away"
        )
        raise TargetExists(found, hint=hint)


def clear_leftovers(target: Path) -> None:
    """Remove the leftovers of a program that was killed when its database had just got its name; files in use stay."""
    partial = partial_of(Path(os.path.realpath(target)))
    if partial.exists() or _lock_of(partial).exists():
        with suppress(TargetExists, OSError), _cleared(partial):
            pass


@contextmanager
def _cleared(partial: Path) -> Iterator[None]:
    """Hold the right to make a database, with nothing of that name at the start and at the end.

    # Trap: the lock is on a file beside it, since closing any descriptor of a database would drop SQLite's own locks.
    """
    with ExitStack() as resources:
        try:
            resources.enter_context(reserved(_lock_of(partial), _files_of(partial)))
        except FileExistsError as error:
            raise TargetExists(f"another program is making {partial}, expected to be the only one") from error
        _remove_database(partial)
        resources.callback(_remove_database, partial)
        yield


def _lock_of(partial: Path) -> Path:
    return partial.with_name(partial.name + ".lock")


def _files_of(database: Path) -> list[Path]:
    return [database.with_name(database.name + suffix) for suffix in DATABASE_SUFFIXES]


def _remove_database(path: Path) -> None:
    for file in _files_of(path):
        file.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise DatabaseStorage(f"database {path} cannot be brought to the disk: {error.strerror or error}") from error
    finally:
        os.close(descriptor)
