"""Rules of the target database, triggers and constraints of its owner: an import ends whole, or changes nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pattern_stream.db.write.quiet_triggers import fires_after
from pattern_stream.demo.database import make_demo
from pattern_stream.errors import ExitCode, MalformedNode, NameConflict, PatternStreamError
from pattern_stream.pipelines.creating import create_database
from pattern_stream.pipelines.exporting import export_archive
from pattern_stream.pipelines.importing import ImportOptions, import_archive

pytestmark = pytest.mark.anyio


def script(database: Path, sql: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(sql)


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(sql).fetchall()


def dump(database: Path) -> list[str]:
    """All of a database as text, so that nothing that stays behind is overlooked."""
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.iterdump())


async def backup(folder: Path, sql: str = "", *, messages: int = 20) -> Path:
    """A whole backup of a demo after some statements; the demo is `source.db` beside it."""
    await make_demo(folder / "source.db", messages=messages)
    script(folder / "source.db", sql)
    await export_archive(folder / "source.db", folder / "backup.car")
    return folder / "backup.car"


async def target(folder: Path, sql: str) -> Path:
    """An empty database with rules of its owner."""
    await create_database(folder / "target.db")
    script(folder / "target.db", sql)
    return folder / "target.db"


OWN_TABLE = "CREATE TABLE u (k TEXT); INSERT INTO u VALUES ('a'), ('b'), ('b');"


# --- an import that the target ends ------------------------------------------------------------------------------

ENDINGS = [
    "CREATE TRIGGER no BEFORE INSERT ON tasks WHEN (SELECT count(*) FROM tasks) >= 3"
    " BEGIN SELECT RAISE(ROLLBACK, 'x'); END",
    "CREATE TRIGGER no BEFORE INSERT ON messages WHEN (SELECT count(*) FROM messages) >= 9"
    " BEGIN SELECT RAISE(ROLLBACK, 'x'); END",
    "CREATE TRIGGER no BEFORE UPDATE ON agents BEGIN SELECT RAISE(ROLLBACK, 'x'); END;"
    "CREATE TRIGGER yes BEFORE INSERT ON agent_groups BEGIN UPDATE agents SET name = name; END",
    "CREATE TABLE u (k TEXT UNIQUE ON CONFLICT ROLLBACK)",
    "CREATE TABLE u (k TEXT NOT NULL, n INTEGER DEFAULT 7 CHECK (n < 7))",
]


@pytest.mark.parametrize("sql", ENDINGS, ids=range(len(ENDINGS)))
async def test_a_transaction_that_the_target_ends_leaves_nothing(tmp_path: Path, sql: str) -> None:
    """RAISE(ROLLBACK), ON CONFLICT ROLLBACK: an error, and the database is as it was, to the row."""
    archive = await backup(tmp_path, OWN_TABLE)
    database = await target(tmp_path, sql if "TABLE u" in sql else f"CREATE TABLE u (k TEXT); {sql}")
    before = dump(database)

    with pytest.raises(PatternStreamError) as caught:
        await import_archive(archive, database)

    assert caught.value.exit_code in (ExitCode.CORRUPT, ExitCode.CONFLICT)
    assert before == dump(database)


# --- rows that the target swallows -------------------------------------------------------------------------------

SWALLOWED = {
    "messages": "CREATE TRIGGER no BEFORE INSERT ON messages WHEN new.role = 'tool' BEGIN SELECT RAISE(IGNORE); END",
    "archival_entries": "CREATE TRIGGER no BEFORE INSERT ON archival_entries BEGIN SELECT RAISE(IGNORE); END",
    "shared_block_agents": "CREATE TRIGGER no BEFORE INSERT ON shared_block_agents BEGIN SELECT RAISE(IGNORE); END",
    "notable_events": "CREATE TRIGGER no BEFORE INSERT ON notable_events BEGIN SELECT RAISE(IGNORE); END",
    "memory_block_updates": "CREATE TRIGGER no BEFORE INSERT ON memory_block_updates WHEN new.seq = 2"
    " BEGIN SELECT RAISE(IGNORE); END",
    "events": "CREATE TRIGGER no BEFORE INSERT ON handoff_notes BEGIN DELETE FROM events; END",
}


@pytest.mark.parametrize("table", sorted(SWALLOWED))
async def test_rows_that_are_let_pass_are_no_success(tmp_path: Path, table: str) -> None:
    """RAISE(IGNORE), or a guard that deletes: refused with the table, exit 7, and nothing stays."""
    archive = await backup(tmp_path)
    database = await target(tmp_path, SWALLOWED[table])
    before = dump(database)

    with pytest.raises(NameConflict) as caught:
        await import_archive(archive, database)

    assert table == caught.value.where.table
    assert "--on-conflict skip" in str(caught.value.hint)
    assert before == dump(database)


async def test_skip_counts_the_rows_that_are_let_pass(tmp_path: Path) -> None:
    """The way out: what came is what is stored and what was skipped."""
    archive = await backup(tmp_path)
    database = await target(tmp_path, SWALLOWED["messages"])

    result = await import_archive(archive, database, options=ImportOptions(on_conflict="skip"))

    (stored,) = rows(database, "SELECT count(*) FROM messages")[0]
    assert stored == result.rows["messages"] < 20
    assert 20 == stored + result.skipped["messages"]


@pytest.mark.parametrize("clause", ["IGNORE", "REPLACE"])
async def test_a_constraint_does_not_choose(tmp_path: Path, clause: str) -> None:
    """UNIQUE ON CONFLICT IGNORE or REPLACE of a target would lose one of two rows: refused, and nothing stays."""
    archive = await backup(tmp_path, OWN_TABLE)
    database = await target(tmp_path, f"CREATE TABLE u (k TEXT UNIQUE ON CONFLICT {clause})")
    before = dump(database)

    with pytest.raises(NameConflict, match="would not be stored"):
        await import_archive(archive, database)

    assert before == dump(database)


# --- triggers of the owner ---------------------------------------------------------------------------------------

OWNED = {
    "audit": (
        "CREATE TABLE audit (what TEXT); CREATE TRIGGER au AFTER INSERT ON agents"
        " BEGIN INSERT INTO audit VALUES ('new ' || new.name); END;",
        "INSERT INTO audit SELECT 'new ' || name FROM agents;",
        "audit",
    ),
    "counter": (
        'CREATE TABLE counts (name TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID;CREATE TRIGGER "after [it]" /* AFTER */'
        " AFTER INSERT ON messages BEGIN INSERT INTO counts VALUES ('m', 1) ON CONFLICT DO UPDATE SET n = n + 1; END;",
        "INSERT INTO counts VALUES ('m', 20);",
        "counts",
    ),
    "change": (
        "CREATE TABLE log (id INTEGER PRIMARY KEY, label TEXT); CREATE TRIGGER up AFTER UPDATE ON memory_blocks"
        " BEGIN INSERT INTO log (label) VALUES (new.label); END;",
        "INSERT INTO log (label) VALUES ('once');",
        "log",
    ),
}


@pytest.mark.parametrize("name", sorted(OWNED))
async def test_a_backup_comes_back_into_its_own_schema(tmp_path: Path, name: str) -> None:
    """AFTER triggers are quiet while rows come back, as the rows that they made come too; then they are there again."""
    schema, made, table = OWNED[name]
    archive = await backup(tmp_path, schema + made)
    database = await target(tmp_path, schema)

    result = await import_archive(archive, database)

    wanted = f"SELECT * FROM {table} ORDER BY 1"
    triggers = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name"
    assert rows(tmp_path / "source.db", wanted) == rows(database, wanted)
    assert rows(tmp_path / "source.db", triggers) == rows(database, triggers)
    assert "quiet-triggers" in {finding.code for finding in result.findings}


async def test_a_guard_still_refuses(tmp_path: Path) -> None:
    """BEFORE triggers fire: one that refuses keeps the backup out."""
    archive = await backup(tmp_path)
    database = await target(
        tmp_path, "CREATE TRIGGER guard BEFORE INSERT ON agents BEGIN SELECT RAISE(ABORT, 'no agents here'); END"
    )

    with pytest.raises(MalformedNode, match="no agents here"):
        await import_archive(archive, database)


async def test_full_text_of_the_owner_is_read_anew(tmp_path: Path) -> None:
    """A plugin's own index over a table of the schema finds what came back."""
    schema = """CREATE VIRTUAL TABLE plugin USING fts5(name, content='agents', content_rowid='rowid');
        CREATE TRIGGER plugin_ai AFTER INSERT ON agents
        BEGIN INSERT INTO plugin(rowid, name) VALUES (new.rowid, new.name); END;"""
    archive = await backup(tmp_path)
    database = await target(tmp_path, schema)
    await import_archive(archive, database)
    (name,) = rows(database, "SELECT name FROM agents LIMIT 1")[0]

    assert [(1,)] == rows(database, f"SELECT count(*) FROM plugin WHERE plugin MATCH '\"{name}\"'")


@pytest.mark.parametrize(
    ("sql", "after"),
    [
        ("CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END", True),
        ("CREATE TRIGGER x BEFORE INSERT ON t BEGIN SELECT 1; END", False),
        ("CREATE TRIGGER x INSERT ON t BEGIN SELECT 1; END", False),
        ('CREATE TRIGGER "after" insert ON t BEGIN SELECT 1; END', False),
        ("CREATE TRIGGER [a b] -- BEFORE\n after delete ON t BEGIN SELECT 1; END", True),
        ("CREATE TRIGGER IF NOT EXISTS main.`x` /* before */ After UPDATE ON t BEGIN SELECT 1; END", True),
        ("CREATE TRIGGER x INSTEAD OF INSERT ON v BEGIN SELECT 1; END", False),
    ],
)
async def test_when_a_trigger_fires(sql: str, after: bool) -> None:
    """Told by the word that follows the trigger's name, whatever that name is."""
    assert after is fires_after(sql)


# --- rows that refer to nothing ----------------------------------------------------------------------------------

ORPHANS = [
    "DELETE FROM agents WHERE name = 'Tern';",
    "UPDATE tasks SET agent_id = 'gone' WHERE rowid IN (SELECT rowid FROM tasks LIMIT 1);",
    "UPDATE archival_entries SET parent_entry_id = 'gone' WHERE rowid IN (SELECT rowid FROM archival_entries LIMIT 2);",
    "UPDATE shared_block_agents SET block_id = 'gone' WHERE rowid IN (SELECT rowid FROM shared_block_agents LIMIT 1);",
]


@pytest.mark.parametrize("sql", ORPHANS, ids=range(len(ORPHANS)))
async def test_a_restore_takes_rows_as_they_were(tmp_path: Path, sql: str) -> None:
    """Into a missing and into an empty database: every row comes back, orphans are listed, nothing is invented."""
    archive = await backup(tmp_path, sql)
    empty = await target(tmp_path, "")
    checks = 'SELECT "table", parent FROM pragma_foreign_key_check ORDER BY 1, 2'
    expected = rows(tmp_path / "source.db", checks)
    for database in (tmp_path / "missing.db", empty):
        result = await import_archive(archive, database)

        assert expected == rows(database, checks) != []
        assert {table for table, _ in expected} == {
            finding.where.table for finding in result.findings if finding.code == "orphans"
        }


@pytest.mark.parametrize("rule", [None, "keep", "drop"])
async def test_a_living_database_wants_a_word(tmp_path: Path, rule: Any) -> None:
    """Refused, naming every table; `keep` takes the rows, `drop` leaves them out and counts them."""
    archive = await backup(tmp_path, ORPHANS[0])
    living = await target(
        tmp_path,
        """INSERT INTO coordination_state VALUES ('own', '1', '2026-01-01', NULL);
        INSERT INTO memory_block_updates (block_id, seq, update_blob, byte_size, created_at)
        VALUES ('gone long ago', 1, x'00', 1, '2026-01-01T00:00:00+00:00');""",
    )
    earlier, options = orphans_of(living), ImportOptions(orphans=rule)
    if rule is None:
        before = dump(living)
        with pytest.raises(MalformedNode) as caught:
            await import_archive(archive, living, options=options)
        assert "rows refer to nothing:" in caught.value.message
        assert "--orphans keep" in str(caught.value.hint)
        assert before == dump(living)
        return
    result = await import_archive(archive, living, options=options)

    assert (earlier < orphans_of(living)) is (rule == "keep")
    assert bool(result.dropped) is (rule == "drop")


def orphans_of(database: Path) -> set[tuple[Any, ...]]:
    return set(rows(database, "SELECT * FROM pragma_foreign_key_check"))
