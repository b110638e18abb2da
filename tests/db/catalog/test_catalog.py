"""Which tables hold rows of their own, and how SQLite describes them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.db.catalog.catalog import Column, Table, read_catalog, read_targets
from pattern_stream.db.connection.opening import open_reader
from pattern_stream.db.ddl import core_tables, extra_tables
from pattern_stream.schema.model.records import canonical
from tests.db.read.test_extension import run
from tests.db.worlds import build

DECLARED = {table.name for table in (*core_tables.TABLES, *extra_tables.TABLES)}

pytestmark = pytest.mark.anyio


async def described(path: Path, *statements: str) -> dict[str, Table]:
    """The tables of a database after these statements."""
    run(build(path), *statements)
    async with open_reader(path) as connection:
        return dict((await read_catalog(connection)).tables)


async def test_the_original_schema(tmp_path: Path) -> None:
    """All tables but the bookkeeping, in canonical key order; full text and its tables are none."""
    found = await described(tmp_path / "a.db")

    assert sorted(DECLARED - {"_sqlx_migrations"}, key=canonical) == list(found)
    assert {
        "tasks": "parent_task_id",
        "archival_entries": "parent_entry_id",
        "archive_summaries": "previous_summary_id",
    } == {name: table.parent for name, table in found.items() if table.parent}
    assert ("group_id", "agent_id") == found["group_members"].key
    assert Column("is_deleted", "INTEGER", has_default=True) == found["messages"].columns[-1]


async def test_what_is_no_ordinary_table(tmp_path: Path) -> None:
    """Views, virtual tables and theirs, statistics; unknown tables are ordinary, with their stored columns only."""
    found = await described(
        tmp_path / "a.db",
        "CREATE VIEW seen AS SELECT 1",
        "CREATE VIRTUAL TABLE words USING fts5(text)",
        "CREATE TABLE words_of_mine (x, y AS (x + 1), z AS (x + 2) STORED, w VARCHAR(7) DEFAULT NULL)",
        "ANALYZE",
    )
    own = set(found) - DECLARED

    assert {"words_of_mine"} == own
    columns = (Column("x", "", has_default=False), Column("w", "VARCHAR(7)", has_default=True))
    assert Table("words_of_mine", columns, (), "rowid", None, frozenset()) == found["words_of_mine"]


@pytest.mark.parametrize(
    ("sql", "key", "address"),
    [
        ("(a, b, PRIMARY KEY (b, a))", ("b", "a"), ("rowid",)),
        ("(a, b, PRIMARY KEY (b, a)) WITHOUT ROWID", ("b", "a"), ("b", "a")),
        ("(a INTEGER PRIMARY KEY)", ("a",), ("rowid",)),
        ("(ROWID, a)", (), ("_rowid_",)),
        ("(rowid, _rowid_, a)", (), ("oid",)),
        ("(rowid, _rowid_, oid PRIMARY KEY)", ("oid",), ("oid",)),
        ("(rowid, _rowid_, oid)", (), ()),
        ("(a, rowid AS (a + 1))", (), ("_rowid_",)),
    ],
)
async def test_what_finds_one_row(tmp_path: Path, sql: str, key: tuple[str, ...], address: tuple[str, ...]) -> None:
    """The rowid by a name that no column has taken; else the key."""
    found = (await described(tmp_path / "a.db", f"CREATE TABLE t {sql}"))["t"]

    assert key == found.key
    assert address == found.address


@pytest.mark.parametrize(
    ("sql", "index", "parent"),
    [
        ("(k PRIMARY KEY, up REFERENCES t)", "t (up)", "up"),
        ("(k PRIMARY KEY, up REFERENCES T (k))", "t (up, k)", "up"),
        ("(k PRIMARY KEY, up REFERENCES t)", "t (k, up)", None),
        ("(k PRIMARY KEY, up REFERENCES t)", "t (up) WHERE up > 1", None),
        ("(k PRIMARY KEY, other UNIQUE, up REFERENCES t (other))", "t (up)", None),
        ("(k, l, up, over, PRIMARY KEY (k, l), FOREIGN KEY (up, over) REFERENCES t)", "t (up)", None),
        ("(k PRIMARY KEY, up REFERENCES agents)", "t (up)", None),
    ],
)
async def test_the_column_of_the_parent(tmp_path: Path, sql: str, index: str, parent: str | None) -> None:
    """Only where it names the whole key, and an index finds the children."""
    found = await described(tmp_path / "a.db", f"CREATE TABLE t {sql}", f"CREATE INDEX i ON {index}")

    assert parent == found["t"].parent


@pytest.mark.parametrize(
    ("sql", "unique"),
    [
        ("(k PRIMARY KEY, a UNIQUE, b, UNIQUE (b, a))", {("a",), ("b", "a")}),
        ("(k PRIMARY KEY, a, b)", {("b",)}),
        ("(k PRIMARY KEY, b)", {("b",)}),
    ],
)
async def test_further_unique_columns(tmp_path: Path, sql: str, unique: set[tuple[str, ...]]) -> None:
    """All but the key's own; an index over a part of the rows or over an expression is none."""
    indexes = ["CREATE UNIQUE INDEX i ON t (b)"] if len(unique) == 1 else []
    partial = ["CREATE UNIQUE INDEX p ON t (k, b) WHERE b > 1", "CREATE UNIQUE INDEX e ON t (k, b + 1)"]
    found = await described(tmp_path / "a.db", f"CREATE TABLE t {sql}", *indexes, *partial)

    assert unique == set(found["t"].unique)


async def test_the_highest_rowids(tmp_path: Path) -> None:
    """Of each user table; 1 where there are rows and no rowid, None where there are no rows."""
    path = tmp_path / "a.db"
    run(
        build(path, messages=[("m1", "1"), ("m2", "2")]),
        "CREATE TABLE t (k PRIMARY KEY) WITHOUT ROWID",
        "CREATE TABLE u (k PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO t VALUES ('a'), ('b')",
    )
    with closing(sqlite3.connect(path)) as raw:
        found = read_targets(raw)

    assert [2, 1, None, None] == [found[name].highest for name in ("messages", "t", "u", "tasks")]
    assert ["rowid <= 2", "1"] == [found[name].before for name in ("messages", "t")]
