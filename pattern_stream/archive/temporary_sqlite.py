"""A SQLite file that has no name any more: it vanishes with the program, however that ends."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pattern_stream.errors import StorageFull, TransportError, storage_error

_PRAGMAS: Final = """
    PRAGMA page_size = 16384; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;
"""


def open_unlinked(folders: Sequence[Path], tables: str) -> tuple[sqlite3.Connection, Path]:
    """A database in a file that has lost its name already, in the first folder where one can be made.

    The name goes as soon as SQLite has the file open, which is at the first look into it: a kill leaves none behind.
    """
    handle, name, folder = _first_file(folders)
    os.close(handle)
    try:
        database = sqlite3.connect(name, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA schema_version").fetchone()
    finally:
        os.unlink(name)
    database.executescript(_PRAGMAS + tables)
    database.execute("BEGIN")
    return database, folder


def _first_file(folders: Sequence[Path]) -> tuple[int, str, Path]:
    first: OSError | None = None
    for folder in folders:
        try:
            handle, name = tempfile.mkstemp(prefix=".pattern-stream-", suffix=".shelf", dir=folder)
        except OSError as error:
            first = first or error
        else:
            return handle, name, folder
    tried = ", ".join(map(str, folders))
    failure = first or FileNotFoundError("no folder was given")
    raise storage_error(failure, f"no file for blocks that came too early can be made in any of: {tried}") from failure


def read_at(descriptor: int, count: int, offset: int) -> bytes:
    """So many bytes of a file from an offset, fewer only where it ends: a system may give less at a time. Blocks."""
    data = os.pread(descriptor, count, offset)
    while len(data) < count and (more := os.pread(descriptor, count - len(data), offset + len(data))):
        data += more
    return data


@contextmanager
def reading_again() -> Iterator[None]:
    """What the disk says when a block is read from the archive's file once more, as an error of ours."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, "reading the archive again") from error


@contextmanager
def storage() -> Iterator[None]:
    """What SQLite and the disk say, as errors of ours."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, "writing blocks that came too early") from error
    except sqlite3.Error as error:
        full = "full" in str(error)
        kind = StorageFull if full else TransportError
        hint = "--spool-dir names another folder"
        raise kind(f"the shelf for blocks that came too early could not be used: {error}", hint=hint) from error
