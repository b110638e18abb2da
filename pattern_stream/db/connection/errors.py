"""SQLite's errors as this package's own: the door of the room.

SQLite's result code decides, and the text only where the code says nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pattern_stream.errors import (
    CorruptDatabase,
    DatabaseBusy,
    DatabaseError,
    DatabaseNotFound,
    DatabaseStorage,
    InvalidCell,
    LimitExceeded,
    NameConflict,
    PatternStreamError,
    UnsupportedSchema,
    Where,
)

PRIMARY_CODE: Final = 0xFF
"""The low byte of an extended result code is the primary one."""

WAL_HINT: Final = (
    "a database in WAL mode is read with the help of its -shm file, which cannot be made or written there: "
    "copy the database together with its -wal file to a folder that can be written, and read the copy"
)

DAMAGE_HINT: Final = (
    "`sqlite3 FILE .recover` writes out what can still be read of it; a disk that fails to read looks the same, "
    "and the system's log names it"
)

_MISSING_WORDS: Final = (
    "no such table",
    "no such column",
    "no such module",
    "has no column",
    "malformed database schema",
)
_READONLY_WAL: Final = {
    sqlite3.SQLITE_READONLY_RECOVERY,
    sqlite3.SQLITE_READONLY_CANTLOCK,
    sqlite3.SQLITE_READONLY_CANTINIT,
    sqlite3.SQLITE_READONLY_DIRECTORY,
    sqlite3.SQLITE_CANTOPEN_DIRTYWAL,
}
_TAKEN: Final = {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY}


def translate(
    error: Exception, *, path: Path | None = None, table: str | None = None, row_id: str | None = None
) -> PatternStreamError:
    """Our error for one of sqlite3. In: any exception; one of ours comes back with blanks filled."""
    where = Where(table=table, row_id=row_id)
    if isinstance(error, PatternStreamError):
        return error.at(where)
    family = _FAMILIES.get(_code(error) & PRIMARY_CODE, _other)
    return family(error, "the database" if path is None else f"database {path}", path).at(where)


@contextmanager
def translated(path: Path | None = None, *, table: str | None = None) -> Iterator[None]:
    """Translate what SQLite raises inside; everything else passes."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path=path, table=table) from error


def _code(error: Exception) -> int:
    """SQLite's extended result code; 1 (generic) where the error comes from the driver alone."""
    return int(getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR)


def _busy(error: Exception, name: str, path: Path | None) -> PatternStreamError:
    return DatabaseBusy(f"{name} stayed locked by another program for the whole time it was waited for ({error})")


def _damaged(error: Exception, name: str, path: Path | None) -> PatternStreamError:
    """# Trap: SQLite takes an I/O error of the disk, while it reads a page, for damage of the file."""
    return CorruptDatabase(f"{name} is damaged ({error})", hint=DAMAGE_HINT)


def _no_database(error: Exception, name: str, path: Path | None) -> PatternStreamError:
    return CorruptDatabase(f"{name} is no SQLite database, or an encrypted one ({error})")


def _storage(error: Exception, name: str, path: Path | None) -> PatternStreamError:
    if path is not None and _code(error) & PRIMARY_CODE == sqlite3.SQLITE_CANTOPEN and not path.exists():
        return DatabaseNotFound(f"no file at {path}, expected a constellation database")
    hint = WAL_HINT if _code(error) in _READONLY_WAL or _wal_out_of_reach(error, path) else None
    return DatabaseStorage(f"{name} cannot be read or written: {error}", hint=hint)


def _wal_out_of_reach(error: Exception, path: Path | None) -> bool:
    """Whether SQLite could not open a file although the database itself can be read: then it is the WAL's index."""
    if path is None or _code(error) & PRIMARY_CODE != sqlite3.SQLITE_CANTOPEN:
        return False
    return path.with_name(path.name + "-wal").exists()


def _too_large(error: Exception, name: str, path: Path | None) -> PatternStreamError:
    return LimitExceeded(f"a row of {name} is larger than SQLite's limit for one value ({error})")


def _constraint(error: Exception, name: str, path: Path | None) -> PatternStreamError:
    family = NameConflict if _code(error) in _TAKEN else DatabaseError
    return family(f"{name} refuses a row ({error})")


def _mismatch(error: Exception, name: str, path: Path | None) -> PatternStreamError:
    return InvalidCell(f"{name} refuses a value of the wrong type ({error})")


def _other(error: Exception, name: str, path: Path | None) -> PatternStreamError:
    message = str(error)
    if any(words in message for words in _MISSING_WORDS):
        return UnsupportedSchema(f"{name} lacks what is needed here ({message})")
    if message.startswith("Could not decode to UTF-8"):
        return InvalidCell(f"{name} holds text that is no UTF-8")
    return PatternStreamError(f"SQLite failed on {name}: {message}")


_FAMILIES: Final[dict[int, Callable[[Exception, str, Path | None], PatternStreamError]]] = {
    sqlite3.SQLITE_BUSY: _busy,
    sqlite3.SQLITE_LOCKED: _busy,
    sqlite3.SQLITE_PROTOCOL: _busy,
    sqlite3.SQLITE_CORRUPT: _damaged,
    sqlite3.SQLITE_FORMAT: _damaged,
    sqlite3.SQLITE_NOTADB: _no_database,
    sqlite3.SQLITE_CANTOPEN: _storage,
    sqlite3.SQLITE_PERM: _storage,
    sqlite3.SQLITE_READONLY: _storage,
    sqlite3.SQLITE_IOERR: _storage,
    sqlite3.SQLITE_FULL: _storage,
    sqlite3.SQLITE_AUTH: _storage,
    sqlite3.SQLITE_NOLFS: _storage,
    sqlite3.SQLITE_TOOBIG: _too_large,
    sqlite3.SQLITE_CONSTRAINT: _constraint,
    sqlite3.SQLITE_MISMATCH: _mismatch,
}
