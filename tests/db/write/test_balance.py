"""What the owner's triggers and constraints do to an import: nothing half, nothing lost in silence, nothing doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from pattern_stream.db.write.sink import LoadOptions
from pattern_stream.errors import ExitCode, MalformedNode, NameConflict
from pattern_stream.items import RecordEvent
from tests.db.importing import agent, load, messages, query, table
from tests.db.worlds import build
from tests.db.write.test_table_rows import FOLDER, execute, folder

pytestmark = pytest.mark.anyio

SKIP, EMPTY = LoadOptions("skip"), LoadOptions(into_empty=True)
NO = "BEGIN SELECT RAISE({}); END"


@pytest.fixture
def living(tmp_path: Path) -> Path:
    """A database with one agent `a`."""
    return build(tmp_path / "living.db")


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A database of the full schema without a row."""
    path = build(tmp_path / "empty.db")
    execute(path, "DELETE FROM agents")
    return path


def folders(count: int) -> list[RecordEvent]:
    """A table of so many rows."""
    return table("folders", FOLDER, *(folder(f"f{number}") for number in range(count)))


@pytest.mark.parametrize("ddl", [
    "CREATE TRIGGER t AFTER INSERT ON folders WHEN new.id = 'f90' " + NO.format("ROLLBACK, 'no'"),
    "CREATE TRIGGER t BEFORE INSERT ON messages WHEN new.id = 'm3' " + NO.format("ROLLBACK, 'no'"),
    "CREATE UNIQUE INDEX u ON folders (path_type)",
])  # fmt: skip
async def test_nothing_is_written_after_the_end_of_the_transaction(living: Path, ddl: str) -> None:
    """A rule that rolls back, and one that aborts, leave the database as it was."""
    execute(living, ddl)

    with pytest.raises(MalformedNode):
        await load(living, [*agent("b", messages("b", ["m1", "m2", "m3", "m4"])), *folders(200)])

    assert [("a",)] == query(living, "SELECT id FROM agents")
    assert [] == query(living, "SELECT id FROM folders") + query(living, "SELECT id FROM messages")


async def test_a_constraint_never_rolls_back(living: Path) -> None:
    """Its own clause is overridden."""
    execute(living, "CREATE TABLE u (k TEXT UNIQUE ON CONFLICT ROLLBACK)")

    with pytest.raises(NameConflict) as caught:
        await load(living, table("u", ("k",), ("a",), ("b",), ("b",)))

    assert "u" == caught.value.where.table
    assert [] == query(living, "SELECT * FROM u")


@pytest.mark.parametrize("ddl", [
    "CREATE TRIGGER t BEFORE INSERT ON folders WHEN new.id = 'f7' " + NO.format("IGNORE"),
    "CREATE TRIGGER t AFTER INSERT ON folders WHEN new.id = 'f7' BEGIN DELETE FROM folders WHERE id = 'f2'; END",
])  # fmt: skip
async def test_rows_that_vanish_end_the_import_or_are_counted(living: Path, ddl: str) -> None:
    """By the count of the statement or by that of the table."""
    execute(living, ddl)

    with pytest.raises(NameConflict) as caught:
        await load(living, folders(100))
    loaded, _ = await load(living, folders(100), SKIP)

    assert (ExitCode.CONFLICT, "folders") == (caught.value.exit_code, caught.value.where.table)
    assert ({"folders": 99}, {"folders": 1}) == (loaded.rows, loaded.skipped)
    assert [(99,)] == query(living, "SELECT count(*) FROM folders")


@pytest.mark.parametrize("clause", ["IGNORE", "REPLACE"])
async def test_a_constraint_with_a_clause_of_its_own(living: Path, clause: str) -> None:
    """Rows that it would swallow end the import, naming one, or are counted as skipped."""
    execute(living, f"CREATE TABLE u (k TEXT UNIQUE ON CONFLICT {clause})")
    rows = table("u", ("k",), ("a",), ("b",), ("b",))

    with pytest.raises(NameConflict) as caught:
        await load(living, rows)
    loaded, _ = await load(living, rows, SKIP)

    assert "u" == caught.value.where.table
    assert ({"u": 2}, {"u": 1}) == (loaded.rows, loaded.skipped)


async def test_rows_that_triggers_add_are_seen(living: Path) -> None:
    """In a table that the archive brings rows for too."""
    add = "INSERT INTO log SELECT 'new ' || new.id"
    execute(living, "CREATE TABLE log (what)", f"CREATE TRIGGER t AFTER INSERT ON folders BEGIN {add}; END")

    with pytest.raises(NameConflict, match="6 more rows than before, expected 3"):
        await load(living, [*folders(3), *table("log", ("what",), *((f"new f{number}",) for number in range(3)))])

    await load(living, folders(3))
    assert [(3,)] == query(living, "SELECT count(*) FROM log")


async def test_the_clause_of_a_trigger_stays(living: Path) -> None:
    """An INSERT OR IGNORE of the owner's is not made an error by the clause of the statement outside."""
    add = "INSERT OR IGNORE INTO seen VALUES (new.agent_id)"
    execute(living, "CREATE TABLE seen (k UNIQUE)", f"CREATE TRIGGER t AFTER INSERT ON messages BEGIN {add}; END")
    await load(living, agent("b", messages("b", ["m1", "m2"])))

    assert [("b",)] == query(living, "SELECT * FROM seen")


QUIET = [
    ('CREATE TRIGGER "no BEFORE" AFTER INSERT ON folders BEGIN INSERT INTO log VALUES (1); END', 0),
    ("CREATE TRIGGER [t]/* BEFORE */ -- x\n after INSERT ON folders BEGIN INSERT INTO log VALUES (1); END", 0),
    ("CREATE TRIGGER after BEFORE INSERT ON folders BEGIN INSERT INTO log VALUES (1); END", 2),
    ("CREATE TRIGGER t INSERT ON folders BEGIN INSERT INTO log VALUES (1); END", 2),
]


@pytest.mark.parametrize(("trigger", "fired"), QUIET)
async def test_only_guards_fire_in_an_empty_database(empty: Path, trigger: str, fired: int) -> None:
    """And all triggers are there afterwards."""
    execute(empty, "CREATE TABLE log (what)", trigger)
    triggers = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name"
    before = query(empty, triggers)
    await load(empty, folders(2), EMPTY, into_empty=True)

    assert [(fired,)] == query(empty, "SELECT count(*) FROM log")
    assert before == query(empty, triggers)


async def test_a_plugins_own_index_is_kept(empty: Path) -> None:
    """The rows of a virtual table are in no archive: its triggers fire in an empty database too."""
    add = "INSERT INTO found(rowid, name) VALUES (new.rowid, new.name)"
    execute(empty, "CREATE VIRTUAL TABLE found USING fts5(name, content='folders')",
            f"CREATE TRIGGER t AFTER INSERT ON folders BEGIN {add}; END")  # fmt: skip
    await load(empty, folders(2), EMPTY, into_empty=True)

    assert [(2,)] == query(empty, "SELECT rowid FROM found WHERE found MATCH 'f1'")
