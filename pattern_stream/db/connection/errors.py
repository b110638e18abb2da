"""Turns the errors of SQLite and its driver into the package's own.

SQLite's result code decides, and the text only where the code says nothing.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pattern_stream.errors import (
    DESCRIPTORS_HINT,
    CorruptDatabase,
    DatabaseBusy,
    DatabaseError,
    DatabaseNotFound,
    DatabaseStorage,
    InvalidCell,
    LimitExceeded,
    NameConflict,
    OutOfResources,
    PatternStreamError,
    UnsupportedSchema,
    Where,
)

_WAL_HINT: Final = (
    "a database in WAL mode is read with the help of its -shm file, which cannot be made or written there: "
    "copy the database together with its -wal file to a folder that can be written, and read the copy"
)

_NO_DATABASE_HINT: Final = "an archive is no database: inspect shows what is in one, import makes a database of it"
_DAMAGE_HINT: Final = (
    "`sqlite3 FILE .recover` writes out what can still be read of it; a disk that fails to read looks the same, "
    "and the system's log names it"
)

_MISSING_WORDS: Final = (
    "no such table",
    "no such column",
    "no such module",
    "has no column",
    "no such collation sequence",
    "no such function",
    "unknown function",
    "unsafe use of",
    "foreign key mismatch",
    "malformed database schema",
)
_READONLY_WAL: Final = {
    sqlite3.SQLITE_READONLY_RECOVERY,
    sqlite3.SQLITE_READONLY_CANTLOCK,
    sqlite3.SQLITE_READONLY_CANTINIT,
    sqlite3.SQLITE_READONLY_DIRECTORY,
    sqlite3.SQLITE_CANTOPEN_DIRTYWAL,
}
_STORAGE: Final = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_NOLFS,
}
_TAKEN: Final = {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY}


def translate(error: sqlite3.Error, *, path: Path | None = None, table: str | None = None) -> PatternStreamError:
    """Our error for one of the driver's. `path` and `table` are for the message."""
    return _ours(error, "the database" if path is None else f"database {path}", path).at(Where(table=table))


@contextmanager
def translated(path: Path | None = None, *, table: str | None = None) -> Iterator[None]:
    """Translate what SQLite raises inside; everything else passes."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path=path, table=table) from error


def _ours(error: sqlite3.Error, name: str, path: Path | None) -> PatternStreamError:
    code = int(getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR)  # none where the driver raises it
    match code & 0xFF:  # the low byte of an extended result code is the primary one
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            waited = "stayed locked by another program for the whole time it was waited for"
            return DatabaseBusy(f"{name} {waited} ({error})")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_FORMAT:
            # Trap: SQLite takes an I/O error of the disk, while it reads a page, for damage of the file
            return CorruptDatabase(f"{name} is damaged ({error})", hint=_DAMAGE_HINT)
        case sqlite3.SQLITE_NOTADB:
            return CorruptDatabase(
                f"{name} is no SQLite database, or an encrypted one ({error})", hint=_NO_DATABASE_HINT
            )
        case sqlite3.SQLITE_CANTOPEN if path is not None and not path.exists():
            return DatabaseNotFound(f"no file at {path}, expected a constellation database")
        case sqlite3.SQLITE_CANTOPEN if not _has_descriptors():
            return OutOfResources(f"{name} cannot be opened: {os.strerror(errno.EMFILE)}", hint=DESCRIPTORS_HINT)
        case sqlite3.SQLITE_CANTOPEN if path is not None and path.with_name(f"{path.name}-wal").exists():
            # the database itself can be read, so SQLite could not open the WAL's index
            return DatabaseStorage(f"{name} cannot be read or written: {error}", hint=_WAL_HINT)
        case found if found in _STORAGE:
            hint = _WAL_HINT if code in _READONLY_WAL else None
            return DatabaseStorage(f"{name} cannot be read or written: {error}", hint=hint)
        case sqlite3.SQLITE_TOOBIG:
            return LimitExceeded(f"a row of {name} is larger than SQLite's limit for one value ({error})")
        case sqlite3.SQLITE_CONSTRAINT:
            family = NameConflict if code in _TAKEN else DatabaseError
            return family(f"{name} refuses a row ({error})")
        case sqlite3.SQLITE_MISMATCH:
            return InvalidCell(f"{name} refuses a value of the wrong type ({error})")
    message = str(error)
    if any(words in message for words in _MISSING_WORDS):
        return UnsupportedSchema(f"{name} lacks what is needed here ({message})")
    if message.startswith("Could not decode to UTF-8"):
        return InvalidCell(f"{name} holds text that is no UTF-8")
    return PatternStreamError(f"SQLite failed on {name}: {message}")


def _has_descriptors() -> bool:
    """Whether as many files can be opened as SQLite needs for one database: it does not say why it cannot."""
    opened: list[int] = []
    try:
        for _ in range(2):
            opened += os.pipe()
    except OSError:
        return False
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return True
