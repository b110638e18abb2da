"""What the owner's triggers and constraints do to an import: nothing half, nothing lost in silence, nothing doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from pattern_stream.db.write.sink import LoadOptions
from pattern_stream.errors import ExitCode, MalformedNode, NameConflict
from pattern_stream.items import RecordEvent
from tests.db.importing import agent, attachments, block, group, load, messages, query, single_cells, table
from tests.db.worlds import build
from tests.db.write.test_table_rows import FOLDER, UPDATE, execute, folder, update

pytestmark = pytest.mark.anyio

SKIP, REPLACE, EMPTY = LoadOptions("skip"), LoadOptions("replace"), LoadOptions(into_empty=True)
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


@pytest.mark.parametrize("when", ["BEFORE", "AFTER"])
@pytest.mark.parametrize("clause", ["IGNORE", "REPLACE"])
async def test_a_constraint_with_a_clause_beside_a_trigger(living: Path, clause: str, when: str) -> None:
    """The clause counts there, as the trigger's own statements would lose theirs; the row is named all the same."""
    execute(
        living,
        f"CREATE TABLE u (id TEXT PRIMARY KEY, k TEXT, UNIQUE (k) ON CONFLICT {clause})",
        "CREATE TABLE log (k UNIQUE ON CONFLICT IGNORE)",
        f"CREATE TRIGGER t {when} INSERT ON u BEGIN INSERT OR IGNORE INTO log VALUES (1); END",
    )
    rows = table("u", ("id", "k"), ("1", "a"), ("2", "b"), ("3", "b"), ("4", None), ("5", None))

    with pytest.raises(NameConflict) as caught:
        await load(living, rows)
    loaded, found = await load(living, rows, SKIP)

    assert ("u", "3") == (caught.value.where.table, caught.value.where.row_id)
    assert ({"u": 4}, {"u": 1}) == (loaded.rows, loaded.skipped)
    assert ["rows-let-pass"] == [one.code for one in found]
    assert ["1", "2", "4", "5"] == [row_id for (row_id,) in query(living, "SELECT id FROM u ORDER BY id")]
    changed = table("u", ("id", "k"), ("1", "c"), ("2", "c"))
    with pytest.raises(NameConflict, match="row 2 of u"):
        await load(living, changed, REPLACE)


@pytest.mark.parametrize("rule", ["NOT NULL ON CONFLICT IGNORE", "NOT NULL ON CONFLICT REPLACE DEFAULT 'x'"])
async def test_a_cell_that_may_not_be_null(living: Path, rule: str) -> None:
    """Such a clause loses a row, or what is in it: refused with its row, or skipped."""
    execute(living, f"CREATE TABLE u (id TEXT PRIMARY KEY, k TEXT {rule})")
    rows = table("u", ("id", "k"), ("1", "a"), ("2", None))

    with pytest.raises(NameConflict) as caught:
        await load(living, rows)
    loaded, _ = await load(living, rows, SKIP)

    assert ("u", "2") == (caught.value.where.table, caught.value.where.row_id)
    assert ({"u": 1}, {"u": 1}) == (loaded.rows, loaded.skipped)


async def test_rows_that_triggers_add_are_seen(living: Path) -> None:
    """In a table that the archive brings rows for too."""
    add = "INSERT INTO log SELECT 'new ' || new.id"
    execute(living, "CREATE TABLE log (what)", f"CREATE TRIGGER t AFTER INSERT ON folders BEGIN {add}; END")

    with pytest.raises(NameConflict, match="6 more rows than before, expected 3"):
        await load(living, [*folders(3), *table("log", ("what",), *((f"new f{number}",) for number in range(3)))])

    await load(living, folders(3))
    assert [(3,)] == query(living, "SELECT count(*) FROM log")


def living_rows(content: str) -> list[RecordEvent]:
    """Rows of each way into a table, all of which a database may have already."""
    inside: list[RecordEvent | list[RecordEvent]] = [
        block("x", "b"),
        messages("b", [f"m{number}" for number in range(20)], text=content),
    ]
    ends = [*group("g", ["b"]), attachments(("x", "a"))]
    return [
        *agent("b", *inside, name=content),
        *ends,
        *table("folders", FOLDER, *(folder(f"f{one}", f"{content}{one}") for one in range(3))),
    ]


REPLACED = {
    "messages": "CREATE TRIGGER t BEFORE UPDATE ON messages WHEN new.id = 'm7' " + NO.format("IGNORE"),
    "agents": "CREATE TRIGGER t BEFORE INSERT ON agents " + NO.format("IGNORE"),
    "folders": "CREATE TRIGGER t BEFORE UPDATE ON folders WHEN new.id = 'f1' " + NO.format("IGNORE"),
    "memory_block_updates": "CREATE TRIGGER t BEFORE DELETE ON memory_block_updates " + NO.format("IGNORE"),
    "group_members": "CREATE TRIGGER t AFTER UPDATE ON messages WHEN new.id = 'm9' "
    "BEGIN DELETE FROM group_members; END",
    "shared_block_agents": "CREATE TRIGGER t AFTER UPDATE ON agents BEGIN INSERT INTO shared_block_agents "
    "VALUES ('x', 'b', 'read_only', '2026'); END",
}


@pytest.mark.parametrize("name", sorted(REPLACED))
async def test_replaced_rows_are_proved_too(living: Path, name: str) -> None:
    """Rows that keep their old cells, edits that stay, rows that triggers add or delete: refused by table and row."""
    edits = table("memory_block_updates", UPDATE, update(1, "x", 1), update(2, "x", 2))
    await load(living, [*living_rows("old"), *edits])
    execute(living, REPLACED[name])
    rows = {"messages": "m7", "agents": "b", "folders": "f1", "memory_block_updates": "x"}

    with pytest.raises(NameConflict) as caught:
        await load(living, living_rows("new"), REPLACE)

    assert (name, rows.get(name)) == (caught.value.where.table, caught.value.where.row_id)
    assert [("old",)] == query(living, "SELECT DISTINCT content_preview FROM messages")


async def test_a_replacement_counts_what_it_replaces(living: Path) -> None:
    """Rows that were there and new ones, in one batch of each table; edits that go are no rows that a trigger took."""
    edits = table("memory_block_updates", UPDATE, update(1, "x", 1), update(2, "x", 2))
    await load(living, [*living_rows("old"), *edits])
    execute(living, "DELETE FROM messages WHERE position % 2", "DELETE FROM folders WHERE id = 'f2'",
            "DELETE FROM group_members", "DELETE FROM shared_block_agents",
            "CREATE TRIGGER t AFTER UPDATE ON messages BEGIN SELECT 1; END")  # fmt: skip
    loaded, _ = await load(living, living_rows("new"), REPLACE)

    assert (20, 3) == (loaded.rows["messages"], loaded.rows["folders"])
    assert {
        "agents": 1, "agent_groups": 1, "memory_blocks": 1, "messages": 10, "folders": 2,
    } == +loaded.replaced  # fmt: skip
    assert [(0,)] == query(living, "SELECT count(*) FROM memory_block_updates")


async def test_a_row_that_is_there_as_it_came_is_stored(living: Path) -> None:
    """A trigger that lets changes of nothing pass takes nothing away."""
    same = "new.content_preview IS old.content_preview"
    await load(living, living_rows("old"))
    execute(living, f"CREATE TRIGGER t BEFORE UPDATE ON messages WHEN {same} " + NO.format("IGNORE"))
    loaded, _ = await load(living, living_rows("old"), REPLACE)

    assert (20, 20) == (loaded.rows["messages"], loaded.replaced["messages"])


async def test_a_cell_that_a_trigger_lets_pass(living: Path) -> None:
    """A lossy cell is written after its row, and may not be lost then."""
    execute(living, "CREATE TRIGGER t BEFORE UPDATE ON agents " + NO.format("IGNORE"))
    cell = single_cells(("agents", "b", "description", b"bytes"))

    with pytest.raises(NameConflict) as caught:
        await load(living, [*agent("b"), *cell])
    _, found = await load(living, [*agent("b"), *cell], SKIP)

    assert ("agents", "b") == (caught.value.where.table, caught.value.where.row_id)
    assert ["rows-let-pass"] == [one.code for one in found]


@pytest.mark.parametrize(("trigger", "said"), [
    ("BEFORE INSERT ON folders WHEN new.id < 'f3' " + NO.format("IGNORE"), "3 rows were let pass"),
    ("AFTER INSERT ON folders WHEN new.id = 'f6' BEGIN DELETE FROM folders WHERE id < 'f2'; END", "delete 2 rows"),
    ("AFTER INSERT ON folders WHEN new.id = 'f6' BEGIN INSERT INTO folders (id, name, path_type, embedding_model, "
     "created_at) VALUES ('own', 'own', 'local', 'm', new.created_at); END", "add 1 rows"),
])  # fmt: skip
async def test_skip_says_what_triggers_did(living: Path, trigger: str, said: str) -> None:
    """A warning with the count, whether they keep rows out, take them away or add some."""
    execute(living, f"CREATE TRIGGER t {trigger}")
    loaded, found = await load(living, folders(7), SKIP)

    assert 7 == loaded.rows["folders"] + loaded.skipped["folders"]
    assert [True] == [said in one.message and one.where.table == "folders" for one in found]


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
