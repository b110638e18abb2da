"""A broken reference is named by its row, whatever the table is like."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.db.write.conflicts import Loaded
from pattern_stream.db.write.foreign_keys import broken_references, note_earlier_faults, settle_orphans
from pattern_stream.errors import Finding, MalformedNode, ignore_findings

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


def fault_of(connection: sqlite3.Connection) -> MalformedNode | None:
    """What a database with a broken reference is refused with."""
    try:
        settle_orphans(connection, None, Loaded(), ignore_findings)
    except MalformedNode as error:
        return error
    return None


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
        fault = fault_of(connection)

    assert fault is not None
    assert (table, expected, "up") == (fault.where.table, fault.where.row_id, fault.where.field)


def test_text_that_is_no_utf_8(tmp_path: Path) -> None:
    """A key may be any bytes."""
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE p (a TEXT PRIMARY KEY)")
        connection.execute("CREATE TABLE c (id TEXT PRIMARY KEY, up REFERENCES p)")
        connection.execute("INSERT INTO c VALUES (CAST(x'ff' AS TEXT), 'gone')")
        fault = fault_of(connection)

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
        fault = fault_of(connection)

    assert [("c", 1, "p", 0)] == found
    assert fault is not None
    assert "l" == fault.where.row_id


@pytest.mark.parametrize("parent", ["p", "nowhere"])
@pytest.mark.parametrize("rowid", ["", "WITHOUT ROWID"])
def test_all_rows_are_named_in_one_way(tmp_path: Path, rowid: str, parent: str) -> None:
    """Whether they are refused or kept, with a rowid or without, the table that they refer to there or not."""
    said: list[Finding] = []
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE p (a TEXT PRIMARY KEY)")
        connection.execute(f"CREATE TABLE c (id TEXT PRIMARY KEY, up REFERENCES {parent} (a)) {rowid}")
        connection.executemany("INSERT INTO c VALUES (?, 'gone')", [(f"k{number:02}",) for number in range(22)])
        fault = fault_of(connection)
        settle_orphans(connection, "keep", Loaded(), said.append)

    named = ", ".join(f"k{number:02}" for number in range(20)) + " and 2 more"
    assert fault is not None
    assert ("k00", "up") == (fault.where.row_id, fault.where.field)
    assert f"c: 22 rows: {named}" in fault.message
    assert said[0].message.endswith(f"kept as they were: {named}")


@pytest.mark.parametrize("rowid", ["", "WITHOUT ROWID"])
def test_orphans_are_dropped(tmp_path: Path, rowid: str) -> None:
    """With a rowid or without, rows that lose their own parents by it too; others stay, and all are counted."""
    loaded = Loaded()
    loaded.rows["c"] = 5
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE p (a TEXT PRIMARY KEY)")
        connection.execute(
            f"CREATE TABLE c (id TEXT PRIMARY KEY, up REFERENCES p (a), two REFERENCES p (a), own REFERENCES c) {rowid}"
        )
        connection.execute("INSERT INTO p VALUES ('here')")
        connection.executemany(
            "INSERT INTO c VALUES (?, ?, ?, ?)",
            [
                ("a", "gone", "gone", None),
                ("b", "here", "gone", None),
                ("c", "here", None, "b"),
                ("d", "here", None, None),
                ("e", None, None, "d"),
            ],
        )
        settle_orphans(connection, "drop", loaded, list[Finding]().append)
        left = connection.execute("SELECT id FROM c ORDER BY id").fetchall()

    assert [("d",), ("e",)] == left
    assert (2, 3) == (loaded.rows["c"], loaded.dropped["c"])


def test_rows_without_rowid_that_cannot_be_told_apart(tmp_path: Path) -> None:
    """Where some were broken before, none is dropped, and the rows are named."""
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE p (a TEXT PRIMARY KEY)")
        connection.execute("CREATE TABLE c (id TEXT PRIMARY KEY, up REFERENCES p (a)) WITHOUT ROWID")
        connection.execute("INSERT INTO c VALUES ('old', 'gone')")
        note_earlier_faults(connection)
        connection.execute("INSERT INTO c VALUES ('new', 'gone')")
        with pytest.raises(MalformedNode):
            settle_orphans(connection, "drop", Loaded(), list[Finding]().append)

        assert 2 == connection.execute("SELECT count(*) FROM c").fetchone()[0]
