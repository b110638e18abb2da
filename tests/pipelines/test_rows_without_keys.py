"""Rows of tables without a key are told apart by their rowids; AUTOINCREMENT never gives an id again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pattern_stream.errors import NameConflict
from pattern_stream.format import LARGE_CELL_BYTES
from pattern_stream.pipelines.creating import create_database
from pattern_stream.pipelines.exporting import export_archive
from pattern_stream.pipelines.importing import ImportOptions, import_archive
from pattern_stream.pipelines.verifying import verify_archive

pytestmark = pytest.mark.anyio

KEYLESS = {
    "plain": ("t (body)", "rowid"),
    "a column named rowid": ('t (body, rowid TEXT, "_ROWID_")', "oid"),
    "a unique column": ("t (body UNIQUE COLLATE NOCASE)", "rowid"),
}


@pytest.fixture
async def source(tmp_path: Path) -> Path:
    return await create_database(tmp_path / "s.db")


def run(path: Path, *statements: str, cells: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The rows of the last of some statements, to which the cells go."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements[:-1]:
            connection.execute(statement)
        return connection.execute(statements[-1], cells).fetchall()


async def restored(source: Path, *ddl: str) -> Path:
    """An empty database that has these tables besides, after an archive of another came in."""
    target, archive = source.with_name("t.db"), source.with_name("a.car")
    await create_database(target)
    run(target, *ddl)
    await export_archive(source, archive)
    await import_archive(archive, target)
    return target


@pytest.mark.parametrize("name", KEYLESS)
async def test_rows_keep_their_rowids(source: Path, name: str) -> None:
    """Whatever name the rowid can be read by; verified against both databases, with large cells too."""
    ddl, rowid = KEYLESS[name]
    run(
        source,
        f"CREATE TABLE {ddl}",
        f"INSERT INTO t ({rowid}, body) VALUES (-3, 'a'), (7, 'b'), (9, ?)",
        cells=("c" * (LARGE_CELL_BYTES + 1),),
    )
    target = await restored(source, f"CREATE TABLE {ddl}")
    of_both = [
        await verify_archive(source.with_name("a.car"), against=path, both_ways=True) for path in (source, target)
    ]

    every = f"SELECT {rowid}, * FROM t ORDER BY 1"
    assert run(source, every) == run(target, every)
    assert [False, False] == [found.against.differs for found in of_both if found.against is not None]


@pytest.mark.parametrize("how", ["skip", "replace"])
async def test_a_second_import_doubles_nothing(source: Path, how: Any) -> None:
    """Equal rows are the same rows; a further one comes in, at its own rowid."""
    run(source, "CREATE TABLE t (body)", "INSERT INTO t (rowid, body) VALUES (3, 'a'), (7, NULL)")
    target = await restored(source, "CREATE TABLE t (body)")
    run(target, "DELETE FROM t WHERE rowid = 3")
    again = await import_archive(source.with_name("a.car"), target, options=ImportOptions(on_conflict=how))

    assert [(3, "a"), (7, None)] == run(target, "SELECT rowid, body FROM t ORDER BY 1")
    assert (1, 1) == (again.rows["t"], again.skipped["t"])


async def test_keys_with_null_in_them(source: Path) -> None:
    """NULL in a key finds no row, so all cells do: nothing is doubled, and equal rows of one archive all come in."""
    ddl = "CREATE TABLE t (a TEXT, b, PRIMARY KEY (a, b))"
    run(source, ddl, "INSERT INTO t VALUES (NULL, 1), (NULL, 1), ('x', NULL), ('x', 2)")
    target = await restored(source, ddl)
    compared = await verify_archive(source.with_name("a.car"), against=target, both_ways=True)
    assert compared.against is not None
    assert not compared.against.differs
    run(target, "DELETE FROM t WHERE a = 'x' AND b IS NULL")
    await import_archive(source.with_name("a.car"), target, options=ImportOptions(on_conflict="skip"))

    assert [(None, 1), (None, 1), ("x", None), ("x", 2)] == run(target, "SELECT * FROM t ORDER BY 1, 2")


@pytest.mark.parametrize(("how", "body"), [("fail", None), ("skip", "of another"), ("replace", "a")])
async def test_another_row_at_that_rowid_is_a_conflict(source: Path, how: Any, body: str | None) -> None:
    """Only the letters' case differs, which the column's own collation would not see."""
    ddl = "CREATE TABLE t (body COLLATE NOCASE)"
    run(source, ddl, "INSERT INTO t (rowid, body) VALUES (3, 'a')")
    target = await restored(source, ddl)
    run(target, "UPDATE t SET body = 'A'" if body is None else "UPDATE t SET body = 'of another'")
    options = ImportOptions(on_conflict=how)
    against = await verify_archive(source.with_name("a.car"), against=target)
    if body is None:
        with pytest.raises(NameConflict, match="t 3"):
            await import_archive(source.with_name("a.car"), target, options=options)
    else:
        await import_archive(source.with_name("a.car"), target, options=options)
        assert [(3, body)] == run(target, "SELECT rowid, body FROM t")

    assert against.against is not None
    assert 1 == against.against.count


async def test_a_key_of_the_target_counts_alone(source: Path) -> None:
    """Where the target's table has a key, or no rowid at all, rowids of the archive say nothing."""
    run(source, "CREATE TABLE t (a, rowid_of)", "INSERT INTO t (rowid, a) VALUES (3, 'x'), (5, 'y')")
    target = await restored(source, "CREATE TABLE t (a TEXT PRIMARY KEY, rowid_of) WITHOUT ROWID")
    found = await verify_archive(source.with_name("a.car"), against=target)

    assert [("x",), ("y",)] == run(target, "SELECT a FROM t ORDER BY 1")
    assert found.against is not None
    assert 0 == found.against.count


AUTO = "CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, what)"


@pytest.mark.parametrize(("there", "expected"), [(2, 6), (9, 10)])
async def test_the_larger_mark_counts(source: Path, there: int, expected: int) -> None:
    """Of a table without a row left, beside a mark of the target's own."""
    run(source, AUTO, "INSERT INTO jobs (id) VALUES (5)", "DELETE FROM jobs")
    target = await restored(source, AUTO, f"INSERT INTO jobs (id) VALUES ({there})", "DELETE FROM jobs")
    found = await verify_archive(source.with_name("a.car"), against=target, both_ways=True)
    run(target, "INSERT INTO jobs (what) VALUES ('next')")

    assert [(expected,)] == run(target, "SELECT id FROM jobs")
    assert found.against is not None
    assert not found.against.differs


async def test_a_lower_mark_differs(source: Path) -> None:
    """A database that would give an id of the archive's again is not what the archive holds."""
    run(source, AUTO, "INSERT INTO jobs (id) VALUES (5)", "DELETE FROM jobs")
    target = await restored(source, AUTO)
    run(target, "UPDATE sqlite_sequence SET seq = 4")
    found = await verify_archive(source.with_name("a.car"), against=target)

    assert found.against is not None
    assert ["sqlite_sequence"] == [one.where.table for one in found.against.log.findings()]


async def test_a_mark_without_a_table_is_said(source: Path) -> None:
    """There is nothing that would give ids."""
    run(source, AUTO, "INSERT INTO jobs (id) VALUES (5)", "DELETE FROM jobs")
    archive = source.with_name("a.car")
    exported = await export_archive(source, archive)
    result = await import_archive(archive, source.with_name("new.db"))

    assert {"sqlite_sequence": 1} == {
        name: count for name, count in exported.beyond.items() if name.startswith("sqlite")
    }
    assert ["sequence-left-out"] == [one.code for one in result.findings if one.where.table == "sqlite_sequence"]
