"""Every result code of SQLite has one place in the error tree."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.db.catalog.scope import list_groups, resolve_scope
from pattern_stream.db.connection.errors import translate, translated
from pattern_stream.db.connection.opening import open_reader
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
from pattern_stream.schema.model.scopes import Scope
from tests.acceptance.world import making

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
    """The class, the exit code and the place."""
    error = failure("what SQLite said", code)
    found = translate(error, path=tmp_path, table="t")

    assert family is type(found)
    assert exit_code == found.exit_code
    assert {"table": "t"} == found.where.as_dict()
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


def test_a_full_disk_is_no_missing_file(tmp_path: Path) -> None:
    """Where a write fails it is a matter of storage, also for a database that has no name yet."""
    for message, code in (("database or disk is full", sqlite3.SQLITE_FULL), ("disk I/O error", sqlite3.SQLITE_IOERR)):
        found = translate(failure(message, code), path=tmp_path / "none.db")

        assert DatabaseStorage is type(found)


def test_damage_may_be_the_disks(tmp_path: Path) -> None:
    """SQLite takes a read error for damage, so the hint names both."""
    found = translate(failure("database disk image is malformed", sqlite3.SQLITE_CORRUPT), path=tmp_path)

    assert found.hint is not None
    assert "a disk that fails to read looks the same" in found.hint


@pytest.mark.anyio
@pytest.mark.parametrize("table", ["agents", "group_members"])
async def test_damage_met_by_name_is_told(tmp_path: Path, table: str) -> None:
    """Looking for an agent by name and listing groups translate what SQLite says as everything else does."""
    path = tmp_path / "a.db"
    with making(path) as world:
        world.add("agents", id="a1", name="Anchor")
        world.add("agent_groups", id="g1", name="Harbour")
        world.add("group_members", group_id="g1", agent_id="a1")
    wipe(path, table)
    async with open_reader(path) as connection:
        with pytest.raises(CorruptDatabase, match="is damaged"):
            await (
                resolve_scope(connection, Scope("agent", "Anchor")) if table == "agents" else list_groups(connection)
            )


def wipe(path: Path, table: str) -> None:
    """Overwrite the first page of a table and of each of its indexes."""
    with closing(sqlite3.connect(path)) as connection:
        pages = connection.execute("SELECT rootpage FROM sqlite_schema WHERE tbl_name = ?", (table,)).fetchall()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        for (page,) in pages:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)


def test_hint_for_a_wal_out_of_reach(tmp_path: Path) -> None:
    """Where a WAL lies beside a file that could not be opened, the hint tells how to read it all the same."""
    path = tmp_path / "a.db"
    path.touch()
    error = failure("unable to open database file", sqlite3.SQLITE_CANTOPEN)
    before = translate(error, path=path).hint
    (tmp_path / "a.db-wal").touch()

    assert before is None
    assert "copy the database together with its -wal file" in str(translate(error, path=path).hint)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_READONLY_CANTINIT, sqlite3.SQLITE_READONLY_DIRECTORY])
def test_hint_for_a_folder_where_no_index_can_be_made(code: int) -> None:
    """Such a database cannot be read in its place: the hint tells how."""
    hint = translate(failure("attempt to write a readonly database", code), path=Path("a.db")).hint

    assert "copy the database together with its -wal file" in str(hint)


def test_translated_leaves_other_errors_alone() -> None:
    """Only what SQLite raises is translated, with its cause."""
    with pytest.raises(KeyError), translated():
        raise KeyError("mine")
    with pytest.raises(DatabaseBusy) as caught, translated(table="t"):
        raise failure("locked", sqlite3.SQLITE_BUSY)

    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
