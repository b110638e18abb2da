"""A broken reference is named by its row, whatever the table is like."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.db.write.foreign_keys import broken_references, foreign_key_fault, note_earlier_faults

TABLES = {
    "WITHOUT ROWID": (
        "CREATE TABLE c (id TEXT, n INT, up REFERENCES p, PRIMARY KEY (id, n)) WITHOUT ROWID",
        "c",
        "k 2",
    ),
    "no id": ("CREATE TABLE c (name TEXT PRIMARY KEY, n INT, up REFERENCES p)", "c", "k"),
    "no key": ("CREATE TABLE c (id TEXT, n INT, up REFERENCES p)", "c", "2"),
    "a column named rowid": ("CREATE TABLE c (rowid TEXT PRIMARY KEY, n INT, up REFERENCES p)", "c", "k"),
    "quotes": ("""CREATE TABLE "it's ""c" (id TEXT PRIMARY KEY, n INT, up REFERENCES p)""", "it's \"c", "k"),
    "a quoted column": ('CREATE TABLE c ("a ""b" TEXT PRIMARY KEY, n INT, up REFERENCES p) WITHOUT ROWID', "c", "k"),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_row_is_named(tmp_path: Path, name: str) -> None:
    """By its primary key, else by its rowid; the sound row before it is not."""
    ddl, table, expected = TABLES[name]
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE p (a TEXT PRIMARY KEY)")
        connection.execute("INSERT INTO p VALUES ('here')")
        connection.execute(ddl)
        quoted = table.replace('"', '""')
        connection.execute(f"INSERT INTO \"{quoted}\" VALUES ('j', 1, 'here'), ('k', 2, 'gone')")
        fault = foreign_key_fault(connection)

    assert fault is not None
    assert (table, expected, "up") == (fault.where.table, fault.where.row_id, fault.where.field)


def test_text_that_is_no_utf_8(tmp_path: Path) -> None:
    """A key may be any bytes."""
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE p (a TEXT PRIMARY KEY)")
        connection.execute("CREATE TABLE c (id TEXT PRIMARY KEY, up REFERENCES p)")
        connection.execute("INSERT INTO c VALUES (CAST(x'ff' AS TEXT), 'gone')")
        fault = foreign_key_fault(connection)

    assert fault is not None
    assert "\\xff" == fault.where.row_id


def test_a_key_without_an_answer(tmp_path: Path) -> None:
    """A foreign key to a column that is not unique hides no fault of another table."""
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE p (a TEXT PRIMARY KEY, b)")
        connection.execute("CREATE TABLE b (up REFERENCES p (b))")
        connection.execute("CREATE TABLE c (id TEXT PRIMARY KEY, up REFERENCES p)")
        connection.execute("INSERT INTO c VALUES ('k', 'gone')")
        found = list(broken_references(connection))
        note_earlier_faults(connection)
        connection.execute("INSERT INTO c VALUES ('l', 'gone')")
        fault = foreign_key_fault(connection)

    assert [("c", 1, "p", 0)] == found
    assert fault is not None
    assert "l" == fault.where.row_id
