"""What a database says, read by plain sqlite3 from a copy, so that looking at it changes nothing."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

Contents = dict[str, list[tuple[Any, ...]]]

SUFFIXES: Final = ("", "-wal", "-journal")
"""A database is more than its file: what was committed may be in the WAL, what must be undone is in the journal.
The -shm file is an index that anybody makes anew."""

CLOCK: Final = {"_sqlx_migrations": "installed_on"}
"""Columns that hold when something was done here."""


class Damaged(Exception):
    """A database that is not whole: SQLite's own checks say so."""


def contents(path: Path) -> Contents:
    """All rows of all tables, as a program would find them that opens the database now. Raises Damaged."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        for suffix in SUFFIXES:
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                shutil.copyfile(beside, copy.with_name(copy.name + suffix))
        try:
            with closing(sqlite3.connect(copy)) as connection:
                return _checked(connection)
        except sqlite3.DatabaseError as error:
            raise Damaged(f"{path.name}: {error}") from error


def _checked(connection: sqlite3.Connection) -> Contents:
    found = (
        connection.execute("PRAGMA integrity_check").fetchall()
        + connection.execute("PRAGMA foreign_key_check").fetchall()
    )
    if found != [("ok",)]:
        raise Damaged(f"SQLite's checks say {found[:5]}")
    full_text = [name for name, sql in _tables(connection) if "USING fts5" in sql]
    for name in full_text:
        connection.execute(f"INSERT INTO {name}({name}, rank) VALUES ('integrity-check', 1)")
    connection.rollback()
    plain = [name for name, _ in _tables(connection) if not name.startswith(tuple(full_text) or ("\0",))]
    return {name: sorted(_rows(connection, name), key=repr) for name in plain}


def _tables(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()


def _rows(connection: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    columns = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
    wanted = ", ".join(f'"{name}"' for name in columns if CLOCK.get(table) != name)
    return connection.execute(f"SELECT {wanted} FROM {table}")
