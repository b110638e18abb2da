"""Rows that refer to nothing, by table and foreign key: as many as SQLite's own check finds."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.db.connection.opening import open_reader
from pattern_stream.db.read.orphans import Orphans, count_orphans
from pattern_stream.demo.database import make_demo
from pattern_stream.pipelines.exporting import ExportOptions, export_archive
from tests.db.read.test_extension import run
from tests.db.worlds import build

pytestmark = pytest.mark.anyio


async def orphans(path: Path) -> list[Orphans]:
    """The orphans of a database."""
    async with open_reader(path) as connection:
        return await count_orphans(connection)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM agents WHERE name = 'Tern'",
        "DELETE FROM agents",
        "DELETE FROM memory_blocks",
        "DELETE FROM agent_groups",
        "UPDATE tasks SET parent_task_id = 'gone' WHERE id IN (SELECT id FROM tasks LIMIT 2)",
    ],
)
async def test_as_many_as_sqlite_finds(tmp_path: Path, statement: str) -> None:
    """Of the demonstration, after what somebody does in a shell; a whole backup says so, with the counts."""
    path = tmp_path / "a.db"
    await make_demo(path, messages=40)
    assert [] == await orphans(path)
    run(path, statement)
    with closing(sqlite3.connect(path)) as connection:
        expected = Counter(row[0] for row in connection.execute("PRAGMA foreign_key_check"))
    found: Counter[str] = Counter()
    for one in await orphans(path):
        found[one.table] += one.count
    exported = await export_archive(path, tmp_path / "a.car")
    portable = await export_archive(path, tmp_path / "p.car", options=ExportOptions(portable=True))
    said = [one for one in exported.findings if one.code == "orphans"]

    assert expected == found
    assert set(expected) == {one.where.table for one in said}
    assert sum(expected.values()) == sum(int(one.message.split()[0]) for one in said)
    assert not [one for one in portable.findings if one.code == "orphans"]


async def test_keys_of_any_form(tmp_path: Path) -> None:
    """Of two columns, to a named one, without one named; of rows with NULL in it there is nothing to find."""
    path = build(tmp_path / "a.db")
    run(
        path,
        "CREATE TABLE p (a, b, c UNIQUE, PRIMARY KEY (b, a))",
        "CREATE TABLE k (x, y, z REFERENCES p (c), FOREIGN KEY (x, y) REFERENCES P)",
        "CREATE TABLE mismatched (m REFERENCES p (a))",
        "INSERT INTO p VALUES (1, 2, 3)",
        "INSERT INTO k VALUES (2, 1, 3), (1, 2, 4), (NULL, 9, NULL), (2, 1, 4)",
    )

    assert [Orphans("k", "z", "p", 2), Orphans("k", "x", "p", 1)] == sorted(
        await orphans(path), key=lambda one: one.column, reverse=True
    )
