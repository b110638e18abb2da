"""Collations and functions that only another program registers: export goes round them, import names them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.errors import UnknownContent, UnsupportedSchema
from pattern_stream.pipelines.creating import create_database
from pattern_stream.pipelines.exporting import export_archive
from pattern_stream.pipelines.importing import ImportOptions, import_archive
from pattern_stream.pipelines.verifying import verify_archive
from tests.db.worlds import build

pytestmark = pytest.mark.anyio


def as_its_owner(path: Path, *statements: str) -> Path:
    """Run statements as the program does that has the collation and the function."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.create_collation("unicase", lambda a, b: (a.lower() > b.lower()) - (a.lower() < b.lower()))
        connection.create_function("soundex_of", 1, str, deterministic=True)
        for statement in statements:
            connection.execute(statement)
    return path


SOURCES = {
    "a key": "CREATE TABLE decks (name TEXT COLLATE unicase PRIMARY KEY, n INT)",
    "a key of two": "CREATE TABLE decks (n INT, name TEXT COLLATE UNICASE, PRIMARY KEY (name, n))",
    "a unique column": "CREATE TABLE decks (name TEXT COLLATE unicase UNIQUE, n INT)",
    "a column": "CREATE TABLE decks (name TEXT COLLATE unicase, n INT)",
    "parents": "CREATE TABLE decks (name TEXT COLLATE unicase PRIMARY KEY, n TEXT REFERENCES decks)",
}


@pytest.mark.parametrize("name", SOURCES)
async def test_a_collation_stops_no_export(tmp_path: Path, name: str) -> None:
    """All rows are carried, in the order of their bytes, and compared with the database."""
    path = build(tmp_path / "a.db", messages=[("m1", "{}")])
    rows = "('b', 'b'), ('A', 'b'), ('c', NULL)" if name == "parents" else "('b', 1), ('A', 2), ('c', 3)"
    as_its_owner(path, SOURCES[name], f"INSERT INTO decks (name, n) VALUES {rows}", "CREATE INDEX d ON decks (n)")
    exported = await export_archive(path, tmp_path / "a.car")
    found = await verify_archive(tmp_path / "a.car", against=path, both_ways=True)

    assert {"decks": 3} == exported.beyond
    assert found.against is not None
    assert (False, {}) == (found.against.differs, found.against.only_in_database)


async def test_an_index_of_a_declared_table(tmp_path: Path) -> None:
    """Somebody's index on the original's table is never used, nor is it counted by."""
    path = build(tmp_path / "a.db", messages=[("m1", "{}")])
    as_its_owner(path, "CREATE INDEX d ON messages (role COLLATE unicase)", "CREATE INDEX e ON tasks (soundex_of(id))")
    exported = await export_archive(path, tmp_path / "a.car")
    found = await verify_archive(tmp_path / "a.car", against=path, both_ways=True)

    assert 1 == exported.stats["message_count"]
    assert found.against is not None
    assert not found.against.differs


async def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A table without rowids is stored in the order of its key; all others are backed up."""
    path = build(tmp_path / "a.db", messages=[("m1", "{}")])
    as_its_owner(
        path,
        "CREATE TABLE decks (name TEXT COLLATE unicase PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO decks VALUES ('b')",
    )
    exported = await export_archive(path, tmp_path / "a.car")

    assert [("table-unreadable", "decks")] == [(one.code, one.where.table) for one in exported.findings]
    assert 1 == exported.stats["message_count"]


TARGETS = {
    "a key": ("CREATE TABLE decks (name TEXT COLLATE unicase PRIMARY KEY, n INT)", "unicase"),
    "an index": (
        "CREATE TABLE decks (name TEXT PRIMARY KEY, n INT)",
        "CREATE INDEX d ON decks (soundex_of(name))",
        "soundex_of",
    ),
    "a check": ("CREATE TABLE decks (name TEXT PRIMARY KEY, n CHECK (soundex_of(n) <> ''))", "soundex_of"),
    "a trigger": (
        "CREATE TABLE decks (name TEXT PRIMARY KEY, n INT)",
        "CREATE TRIGGER d BEFORE INSERT ON decks BEGIN SELECT soundex_of(new.n); END",
        "soundex_of",
    ),
    "a foreign key": (
        "CREATE TABLE p (a, b)",
        "CREATE TABLE decks (name TEXT PRIMARY KEY, n REFERENCES p (b))",
        "mismatch",
    ),
}


@pytest.mark.parametrize("name", TARGETS)
async def test_an_import_names_what_is_missing(tmp_path: Path, name: str) -> None:
    """Nothing is written; with `drop_unknown` the table stays out and all others come in."""
    source = build(tmp_path / "a.db", messages=[("m1", "{}")])
    as_its_owner(source, "CREATE TABLE decks (name TEXT PRIMARY KEY, n INT)", "INSERT INTO decks VALUES ('b', 1)")
    await export_archive(source, tmp_path / "a.car")
    *ddl, missing = TARGETS[name]
    target = as_its_owner(await create_database(tmp_path / "t.db"), *ddl)
    with pytest.raises(UnknownContent, match=missing) as caught:
        await import_archive(tmp_path / "a.car", target)
    result = await import_archive(tmp_path / "a.car", target, options=ImportOptions(drop_unknown=True))

    assert "decks" in caught.value.message
    assert ({"decks": 1}, 1) == (result.dropped, result.rows["messages"])


async def test_a_table_of_the_original(tmp_path: Path) -> None:
    """Its rows cannot be left out, so an archive with some is refused, as one of a foreign schema is."""
    source = build(tmp_path / "a.db", messages=[("m1", "{}")])
    await export_archive(source, tmp_path / "a.car")
    trigger = "CREATE TRIGGER d BEFORE INSERT ON messages BEGIN SELECT soundex_of(new.id); END"
    target = as_its_owner(await create_database(tmp_path / "t.db"), trigger)
    with pytest.raises(UnsupportedSchema, match="soundex_of"):
        await import_archive(tmp_path / "a.car", target)


async def test_other_tables_are_no_hindrance(tmp_path: Path) -> None:
    """What the archive has no rows of may need anything."""
    source = build(tmp_path / "a.db", messages=[("m1", "{}")])
    await export_archive(source, tmp_path / "a.car")
    target = as_its_owner(
        await create_database(tmp_path / "t.db"), TARGETS["a foreign key"][0], TARGETS["a foreign key"][1]
    )
    result = await import_archive(tmp_path / "a.car", target)

    assert 1 == result.rows["messages"]
