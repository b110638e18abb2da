"""Every result code of SQLite has one place in the error tree."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from pattern_stream.db.failures import translate, translated
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
)

CODES = [
    (sqlite3.SQLITE_BUSY, DatabaseBusy, 11),
    (sqlite3.SQLITE_BUSY_SNAPSHOT, DatabaseBusy, 11),
    (sqlite3.SQLITE_LOCKED, DatabaseBusy, 11),
    (sqlite3.SQLITE_PROTOCOL, DatabaseBusy, 11),
    (sqlite3.SQLITE_CORRUPT, CorruptDatabase, 4),
    (sqlite3.SQLITE_CORRUPT_VTAB, CorruptDatabase, 4),
    (sqlite3.SQLITE_NOTADB, CorruptDatabase, 4),
    (sqlite3.SQLITE_CANTOPEN, DatabaseStorage, 9),
    (sqlite3.SQLITE_PERM, DatabaseStorage, 9),
    (sqlite3.SQLITE_READONLY, DatabaseStorage, 9),
    (sqlite3.SQLITE_READONLY_CANTINIT, DatabaseStorage, 9),
    (sqlite3.SQLITE_IOERR, DatabaseStorage, 9),
    (sqlite3.SQLITE_IOERR_READ, DatabaseStorage, 9),
    (sqlite3.SQLITE_FULL, DatabaseStorage, 9),
    (sqlite3.SQLITE_AUTH, DatabaseStorage, 9),
    (sqlite3.SQLITE_TOOBIG, LimitExceeded, 5),
    (sqlite3.SQLITE_CONSTRAINT_UNIQUE, NameConflict, 7),
    (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, NameConflict, 7),
    (sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, DatabaseError, 4),
    (sqlite3.SQLITE_MISMATCH, InvalidCell, 4),
    (sqlite3.SQLITE_MISUSE, PatternStreamError, 1),
]
MESSAGES = [
    ("no such table: agents", UnsupportedSchema, 5),
    ("no such column: frontier", UnsupportedSchema, 5),
    ("no such module: vec0", UnsupportedSchema, 5),
    ("table agents has no column named x", UnsupportedSchema, 5),
    ("Could not decode to UTF-8 column 'x' with text 'y'", InvalidCell, 4),
    ('near "SELEC": syntax error', PatternStreamError, 1),
]


def failure(message: str, code: int | None = None) -> sqlite3.OperationalError:
    """An error as the driver raises it."""
    error = sqlite3.OperationalError(message)
    if code is not None:
        error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(("code", "family", "exit_code"), CODES)
def test_result_codes(tmp_path: Path, code: int, family: type[PatternStreamError], exit_code: int) -> None:
    """The class, the exit code and the place, with or without SQLAlchemy's wrapping."""
    error = failure("what SQLite said", code)
    wrapped = sa.exc.OperationalError("SELECT 1", None, error)

    for found in (
        translate(error, path=tmp_path, table="t", row_id="r"),
        translate(wrapped, path=tmp_path, table="t", row_id="r"),
    ):
        assert family is type(found)
        assert exit_code == found.exit_code
        assert {"table": "t", "row_id": "r"} == found.where.as_dict()
        assert "what SQLite said" in found.message
        assert str(tmp_path) in found.message


@pytest.mark.parametrize(("message", "family", "exit_code"), MESSAGES)
def test_messages_where_the_code_says_nothing(message: str, family: type[PatternStreamError], exit_code: int) -> None:
    """Generic failures are told apart by their words; without a path it is just the database."""
    found = translate(failure(message, sqlite3.SQLITE_ERROR))

    assert (family, exit_code) == (type(found), found.exit_code)
    assert "the database" in found.message or "SQLite failed on the database" in found.message


def test_missing_file_is_not_found(tmp_path: Path) -> None:
    """A file that went away is exit 6, not a matter of storage."""
    found = translate(failure("unable to open database file", sqlite3.SQLITE_CANTOPEN), path=tmp_path / "none.db")

    assert DatabaseNotFound is type(found)


def test_hint_for_a_wal_out_of_reach(tmp_path: Path) -> None:
    """Where a WAL lies beside a file that could not be opened, the hint tells how to read it all the same."""
    path = tmp_path / "a.db"
    path.touch()
    error = failure("unable to open database file", sqlite3.SQLITE_CANTOPEN)
    before = translate(error, path=path).hint
    (tmp_path / "a.db-wal").touch()

    assert before is None
    assert "copy the database together with its -wal file" in str(translate(error, path=path).hint)


def test_our_own_errors_only_get_their_blanks_filled() -> None:
    """An error of ours comes back itself."""
    ours = InvalidCell("mine")

    assert ours is translate(ours, table="t")
    assert "t" == ours.where.table


def test_translated_leaves_other_errors_alone() -> None:
    """Only what SQLite raises is translated, with its cause."""
    with pytest.raises(KeyError), translated():
        raise KeyError("mine")
    with pytest.raises(DatabaseBusy) as caught, translated(table="t"):
        raise failure("locked", sqlite3.SQLITE_BUSY)

    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
