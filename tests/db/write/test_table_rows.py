"""Tables beyond version 3 go in whole, by name, and meet what is there by their own keys."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any

import pytest

from pattern_stream.db.connection.opening import open_writer
from pattern_stream.db.write.sink import LoadOptions, holds_rows
from pattern_stream.errors import ExitCode, MalformedNode, NameConflict, UnknownContent
from pattern_stream.items import RecordEvent
from pattern_stream.schema.model.cells import NotUtf8
from tests.db.importing import agent, assert_sound, block, group, load, messages, query, table
from tests.db.worlds import build

pytestmark = pytest.mark.anyio

SKIP, REPLACE, DROP = LoadOptions("skip"), LoadOptions("replace"), LoadOptions(drop_unknown=True)
AT = "2026-01-02T03:04:05+00:00"
FOLDER = ("id", "name", "path_type", "embedding_model", "created_at")
TASK = ("id", "title", "parent_task_id", "tags", "created_at", "updated_at")
MESSAGE = ("id", "agent_id", "position", "batch_id", "role", "content_json", "content_preview", "created_at",
           "is_deleted")  # fmt: skip
BLOCK = ("id", "agent_id", "label", "description", "block_type", "loro_snapshot", "content_preview", "is_active",
         "created_at", "updated_at", "last_seq")  # fmt: skip
UPDATE = ("id", "block_id", "seq", "update_blob", "byte_size", "created_at")


def folder(number: str, name: str | None = None) -> tuple[Any, ...]:
    """A row of folders."""
    return (number, name or f"name of {number}", "local", "m", AT)


def task(number: str, parent: str | None = None, tags: Any = None) -> tuple[Any, ...]:
    """A row of tasks."""
    return (number, f"title {number}", parent, tags, AT, AT)


def message(number: str, owner: str, text: str = "deleted words", batch: Any = None) -> tuple[Any, ...]:
    """A deleted message."""
    return (number, owner, number, batch, "user", f'{{"Text":"{text}"}}', text, AT, 1)


def inactive(number: str, owner: str, label: str = "old", last_seq: int = 0) -> tuple[Any, ...]:
    """An inactive memory block."""
    return (number, owner, label, "d", "core", b"", f"text of {number}", 0, AT, AT, last_seq)


def update(number: int, block_id: str, seq: int) -> tuple[Any, ...]:
    """An edit of a memory block."""
    return (number, block_id, seq, b"\x01", 1, AT)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database with one agent `a` and a message `m0`."""
    return build(tmp_path / "c.db", messages=[("m0", '{"Text":"old"}')])


def execute(path: Path, *statements: str) -> None:
    """Change a database from outside."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


async def test_rows_keep_their_storage_classes(db: Path) -> None:
    """Text that is no UTF-8, infinities, BLOBs and numbers come out as they were, whatever the column's affinity."""
    cells = [NotUtf8(b"\xff\x00a"), inf, -inf, b"\x00\xff", 7, 1.5, "text", None, "[1, 2]", -(2**63), "é"]
    rows = [task(f"t{number}", tags=cell) for number, cell in enumerate(cells)]
    loaded, found = await load(db, table("tasks", TASK, *rows))

    with closing(sqlite3.connect(db)) as connection:
        connection.text_factory = bytes
        stored = connection.execute("SELECT typeof(tags), tags FROM tasks ORDER BY length(id), id").fetchall()
    assert [
        (b"text", b"\xff\x00a"), (b"real", inf), (b"real", -inf), (b"blob", b"\x00\xff"), (b"integer", 7),
        (b"real", 1.5), (b"text", b"text"), (b"null", None), (b"text", b"[1, 2]"),
        (b"integer", -(2**63)), (b"text", "é".encode()),
    ] == stored  # fmt: skip
    assert ({"tasks": len(cells)}, []) == (loaded.rows, found)
    assert_sound(db)


async def test_children_before_parents_and_many_rows(db: Path) -> None:
    """Foreign keys are looked at in the end; full statements and the rest of them go in."""
    rows = [task(f"t{number}", parent=f"t{number + 1}") for number in range(1299)]
    loaded, _ = await load(db, table("tasks", TASK, *rows, task("t1299")))

    assert [(1300, 1299)] == query(db, "SELECT count(*), count(parent_task_id) FROM tasks")
    assert {"tasks": 1300} == loaded.rows
    assert_sound(db)


async def test_a_row_that_refers_to_nothing_is_named(db: Path) -> None:
    """With its table and key; nothing is kept."""
    with pytest.raises(MalformedNode, match="refers to a row of tasks") as caught:
        await load(db, table("tasks", TASK, task("t1", parent="gone")))

    assert ("tasks", "t1") == (caught.value.where.table, caught.value.where.row_id)
    assert [] == query(db, "SELECT * FROM tasks")


NEVER = [
    ("nowhere", ("id",), ("1",)),
    ("sqlite_sequence", ("name", "seq", "more"), ("messages", 1, 2)),
    ("_sqlx_migrations", ("version",), (99,)),
    ("messages_fts", ("content_preview",), ("x",)),
    ("messages_fts_data", ("id", "block"), (10, b"")),
    ("embeddings", ("id",), ("1",)),
    ("vectors_chunks", ("chunk_id",), (1,)),
    ("a_view", ("id",), ("1",)),
    ("Tasks", TASK, task("t1")),
    ('tasks" (id) VALUES (1); --', ("id",), ("1",)),
]


@pytest.mark.parametrize(("name", "columns", "row"), NEVER)
async def test_what_no_archive_may_write_is_unknown(
    db: Path, name: str, columns: tuple[str, ...], row: tuple[Any, ...]
) -> None:
    """SQLite's own tables, notes of migrations, what belongs to virtual tables, views, and other spellings."""
    execute(
        db,
        "CREATE VIEW a_view AS SELECT id FROM agents",
        "CREATE TABLE vectors_chunks (chunk_id INTEGER PRIMARY KEY)",
        "PRAGMA writable_schema = ON",
        "INSERT INTO sqlite_schema VALUES "
        "('table', 'vectors', 'vectors', 0, 'CREATE VIRTUAL TABLE vectors USING vec0(x)')",
    )
    with pytest.raises(UnknownContent) as caught:
        await load(db, table(name, columns, row))
    loaded, found = await load(db, table(name, columns, row), DROP)

    assert (ExitCode.UNSUPPORTED, True) == (caught.value.exit_code, "--drop-unknown" in str(caught.value.hint))
    assert ({name: 1}, {}) == (loaded.dropped, loaded.rows)
    assert ["unknown-dropped"] == [finding.code for finding in found]


async def test_everything_unknown_is_told_at_once(db: Path) -> None:
    """Tables and columns with their numbers of rows, one line each; a generated column of the database among them."""
    execute(db, "ALTER TABLE folders ADD COLUMN loud TEXT GENERATED ALWAYS AS (upper(name))")
    tree = [
        *agent("b"),
        *table("folders", (*FOLDER, "loud", "newer"), (*folder("f1"), "X", 1), (*folder("f2"), "Y", 2)),
        *table("new_table", ("id",), (1,), (2,), (3,)),
    ]
    with pytest.raises(UnknownContent) as caught:
        await load(db, tree)

    assert [
        "found 3 tables or columns that the database has no place for, expected none; nothing was written",
        "column 'loud' of folders: no such column here (2 rows)",
        "column 'newer' of folders: no such column here (2 rows)",
        "table 'new_table': no such table here (3 rows)",
    ] == caught.value.message.split("\n")
    assert [("a",)] == query(db, "SELECT id FROM agents")


async def test_what_is_known_of_the_rest_goes_in(db: Path) -> None:
    """With drop_unknown the other columns of a table are written, and what was left out is counted and said."""
    rows = [(*folder("f1"), 1), (*folder("f2"), 2)]
    tree = [*table("folders", (*FOLDER, "newer"), *rows), *table("new_table", ("id",), (1,))]
    loaded, found = await load(db, tree, DROP)

    assert [("f1",), ("f2",)] == query(db, "SELECT id FROM folders ORDER BY id")
    assert {"folders.newer": 2, "new_table": 1} == loaded.dropped
    assert [("unknown-dropped", "folders"), ("unknown-dropped", "new_table")] == [
        (finding.code, finding.where.table) for finding in found
    ]


async def test_a_table_of_somebody_else_is_restored_where_it_is(db: Path) -> None:
    """Without a primary key rows are added; without rowids they meet by their key; odd names are no danger."""
    execute(
        db,
        'CREATE TABLE "odd ""name" ("a b" TEXT, rowid INTEGER)',
        "CREATE TABLE flat (id TEXT PRIMARY KEY, cell) WITHOUT ROWID",
        "INSERT INTO flat VALUES ('x', 'old')",
    )
    odd = table('odd "name', ("a b", "rowid"), ("one", 1), ("one", 1))
    await load(db, odd)
    await load(db, odd)
    with pytest.raises(NameConflict, match="rows: 1 in flat"):
        await load(db, table("flat", ("id", "cell"), ("x", "new"), ("y", "new")))
    await load(db, table("flat", ("id", "cell"), ("x", "new"), ("y", "new")), REPLACE)

    assert [("one", 1)] * 4 == query(db, 'SELECT * FROM "odd ""name"')
    assert [("x", "new"), ("y", "new")] == query(db, "SELECT * FROM flat")


async def test_a_table_marked_untranslated_is_refused(db: Path) -> None:
    """It is there, but its old ids beside all new ones would be wrong."""
    execute(db, "CREATE TABLE more (agent_id TEXT)")
    tree = table("more", ("agent_id",), ("a",), untranslated=True)
    with pytest.raises(UnknownContent, match="not known where its ids are"):
        await load(db, tree)
    loaded, _ = await load(db, tree, DROP)

    assert ({"more": 1}, []) == (loaded.dropped, query(db, "SELECT * FROM more"))


async def test_fail_names_rows_that_are_there(db: Path) -> None:
    """By the primary key of each table; nothing is written."""
    endpoint = ("agent_id", "did", "endpoint_type")
    tree = [
        *table("folders", FOLDER, folder("f1"), folder("f2")),
        *table("agent_atproto_endpoints", endpoint, ("a", "did:1", "feed")),
    ]
    await load(db, tree)
    with pytest.raises(NameConflict) as caught:
        await load(db, [*agent("b"), *tree])

    assert [
        "rows: 1 in agent_atproto_endpoints, 2 in folders",
        "folders f1", "folders f2", "agent_atproto_endpoints a feed",
    ] == caught.value.message.split("\n")[1:]  # fmt: skip
    assert [("a",)] == query(db, "SELECT id FROM agents")


async def test_skip_and_replace_act_on_equal_keys(db: Path) -> None:
    """Skipped rows stay as they are, replaced ones are updated in place, new ones are added."""
    await load(db, table("folders", FOLDER, folder("f1", "first")))
    again = table("folders", FOLDER, folder("f1", "second"), folder("f2"))
    skipped, _ = await load(db, again, SKIP)
    before = query(db, "SELECT rowid, name FROM folders WHERE id = 'f1'")
    replaced, _ = await load(db, again, REPLACE)

    assert ({"folders": 1}, {"folders": 1}) == (skipped.rows, skipped.skipped)
    assert ({"folders": 2}, {}) == (replaced.rows, replaced.skipped)
    assert [(1, "first")] == before
    assert [(1, "second")] == query(db, "SELECT rowid, name FROM folders WHERE id = 'f1'")
    assert_sound(db)


@pytest.mark.parametrize("options", [LoadOptions(), SKIP, REPLACE])
async def test_another_unique_thing_that_is_taken_is_a_conflict(db: Path, options: LoadOptions) -> None:
    """A name that a row with another key has: named, whatever is done with equal keys."""
    await load(db, table("folders", FOLDER, folder("f1", "books")))
    with pytest.raises(NameConflict, match="row f2 of folders: its name 'books' is that of row f1 in the database"):
        await load(db, table("folders", FOLDER, folder("f2", "books")), options)

    assert [("f1",)] == query(db, "SELECT id FROM folders")


@pytest.mark.parametrize("rows", [[folder("f1"), folder("f1", "other")], [folder("f1", "x"), folder("f2", "x")]])
async def test_rows_of_an_archive_that_exclude_each_other(db: Path, rows: list[tuple[Any, ...]]) -> None:
    """By key or by name: no conflict with the database, but a malformed archive, and the row is named."""
    with pytest.raises(MalformedNode, match="UNIQUE constraint failed") as caught:
        await load(db, table("folders", FOLDER, *rows))

    assert ("folders", rows[1][0]) == (caught.value.where.table, caught.value.where.row_id)


async def test_a_row_twice_is_refused_where_it_replaces(db: Path) -> None:
    """The second would quietly update the first."""
    await load(db, table("folders", FOLDER, folder("f1")))
    with pytest.raises(MalformedNode, match="row is in the archive twice"):
        await load(db, table("folders", FOLDER, folder("f1", "x"), folder("f1", "y")), REPLACE)


@pytest.mark.parametrize(
    ("columns", "row", "words"),
    [
        (FOLDER, (*folder("f1")[:-1], None), "NOT NULL constraint failed"),
        (FOLDER, folder("f1")[:-1], "row has 4 cells, expected 5"),
        (("id", "id"), ("f1", "f2"), "two columns of one name"),
    ],
)
async def test_rows_that_no_table_takes(db: Path, columns: tuple[str, ...], row: tuple[Any, ...], words: str) -> None:
    """A malformed archive, never a traceback."""
    with pytest.raises(MalformedNode, match=words):
        await load(db, table("folders", columns, row))


async def test_deleted_messages_are_indexed_once(db: Path) -> None:
    """Rows of an indexed table count towards going round the triggers, and are found afterwards."""
    tree = [
        *agent("b", messages("b", [f"n{number}" for number in range(1900)])),
        *table("messages", MESSAGE, *(message(f"d{number}", "b") for number in range(300))),
    ]
    loaded, _ = await load(db, tree)

    assert [(300,)] == query(db, "SELECT count(*) FROM messages_fts WHERE messages_fts MATCH 'deleted'")
    assert 2200 == loaded.rows["messages"]
    assert_sound(db)


async def test_rows_of_a_skipped_owner_stay_out(db: Path) -> None:
    """Messages, entries, blocks, attachments and members share their owner's fate, edits that of their block."""
    await load(db, group("g", ["a"]))
    entry = ("id", "agent_id", "content", "created_at")
    attachment = ("block_id", "agent_id", "permission", "attached_at")
    member = ("group_id", "agent_id", "joined_at")
    tree: list[RecordEvent] = [
        *agent("a"), *group("g", ["a"]), *agent("b"),
        *table("messages", MESSAGE, message("d1", "a"), message("d2", "b")),
        *table("group_members", member, ("g", "b", AT)),
        *table("memory_blocks", BLOCK, inactive("x", "a"), inactive("y", "b")),
        *table("archival_entries", entry, ("e1", "a", "c", AT), ("e2", "elsewhere", "c", AT)),
        *table("shared_block_agents", attachment, ("y", "a", "read_only", AT), ("y", "b", "read_only", AT)),
        *table("memory_block_updates", UPDATE, update(1, "x", 1), update(2, "y", 1)),
    ]  # fmt: skip
    loaded, _ = await load(db, tree, SKIP)

    assert [("d2",)] == query(db, "SELECT id FROM messages WHERE is_deleted")
    assert [("y",)] == query(db, "SELECT id FROM memory_blocks")
    assert [("e2",)] == query(db, "SELECT id FROM archival_entries")
    assert [("y", "b")] == query(db, "SELECT block_id, agent_id FROM shared_block_agents")
    assert [("y",)] == query(db, "SELECT block_id FROM memory_block_updates")
    assert [("a",)] == query(db, "SELECT agent_id FROM group_members")
    skipped = {name: count for name, count in loaded.skipped.items() if name not in ("agents", "agent_groups")}
    assert {
        "messages": 1, "group_members": 2, "memory_blocks": 1, "archival_entries": 1, "shared_block_agents": 1,
        "memory_block_updates": 1,
    } == skipped  # fmt: skip
    assert_sound(db)


async def test_a_replaced_inactive_block_loses_its_old_edits(db: Path) -> None:
    """As an active one does: old updates go, new ones come, and numbers go on above the highest ever used."""
    first = [
        *table("memory_blocks", BLOCK, inactive("x", "a")),
        *table("memory_block_updates", UPDATE, update(1, "x", 9)),
    ]
    await load(db, first)
    second = [
        *table("memory_blocks", BLOCK, inactive("x", "a", last_seq=2)),
        *table("memory_block_updates", UPDATE, update(1, "x", 1)),
    ]
    await load(db, second, REPLACE)

    assert [(1,)] == query(db, "SELECT seq FROM memory_block_updates")
    assert [(9,)] == query(db, "SELECT last_seq FROM memory_blocks")
    assert_sound(db)


async def test_a_row_of_another_owner_is_always_a_conflict(db: Path) -> None:
    """A message or block that is there is only ever replaced by its owner's."""
    await load(db, agent("b", block("x", "b")))
    tree = [
        *table("messages", MESSAGE, message("m0", "b")),
        *table("memory_blocks", BLOCK, inactive("x", "a")),
    ]
    with pytest.raises(NameConflict, match="rows: 1 in memory_blocks, 1 in messages"):
        await load(db, tree, REPLACE)


async def test_a_label_that_is_taken_is_a_conflict(db: Path) -> None:
    """Labels are unique with their owner."""
    await load(db, agent("b", block("x", "b", "persona")))
    with pytest.raises(NameConflict, match="its label 'persona' of owner b is that of memory block x"):
        await load(db, table("memory_blocks", BLOCK, inactive("y", "b", "persona")), SKIP)


async def test_batches_are_kept_apart_with_their_messages(db: Path) -> None:
    """A deleted message, and a queued one, get the batch id that the others of their batch got."""
    taken = "31358194177998848"
    await load(db, agent("b", messages("b", ["m1"], batch=taken)))
    queued = ("id", "target_agent_id", "content", "batch_id")
    tree = [
        *agent("c", messages("c", ["m2"], batch=taken)),
        *table("messages", MESSAGE, message("m3", "c", batch=taken)),
        *table("queued_messages", queued, ("q1", "c", "x", taken), ("q2", "b", "x", taken)),
    ]
    await load(db, tree, LoadOptions(batch_key=bytes(range(32))))

    (new,) = {row[0] for row in query(db, "SELECT batch_id FROM messages WHERE agent_id = 'c'")}
    assert taken != new
    assert [(new,), (taken,)] == query(db, "SELECT batch_id FROM queued_messages ORDER BY id")


async def test_ends_that_are_missing_are_mended_as_ever(db: Path) -> None:
    """An attachment of a block that is nowhere stays out with a warning; a parent that is nowhere is cut."""
    tree = [
        *table("archival_entries", ("id", "agent_id", "content", "parent_entry_id", "created_at"),
               ("e1", "_constellation_", "c", "gone", AT)),
        *table("shared_block_agents", ("block_id", "agent_id", "permission", "attached_at"),
               ("gone", "a", "admin", AT)),
    ]  # fmt: skip
    loaded, found = await load(db, tree)

    assert ["parent-missing", "ends-missing"] == [finding.code for finding in found]
    assert ({"archival_entries": 1}, []) == (loaded.rows, query(db, "SELECT * FROM shared_block_agents"))
    assert_sound(db)


async def test_edits_of_a_block_that_the_archive_does_not_hold(db: Path) -> None:
    """They are never added to one of the database: a conflict, or skipped."""
    await load(db, agent("b", block("x", "b")))
    tree = table("memory_block_updates", UPDATE, update(1, "x", 1))
    with pytest.raises(NameConflict, match="memory_block_updates of memory block x"):
        await load(db, tree, REPLACE)
    loaded, _ = await load(db, tree, SKIP)
    with pytest.raises(MalformedNode, match="refers to a row of memory_blocks"):
        await load(db, table("memory_block_updates", UPDATE, update(1, "gone", 1)))

    assert ({"memory_block_updates": 1}, []) == (loaded.skipped, query(db, "SELECT * FROM memory_block_updates"))


async def test_any_row_makes_a_database_a_living_one(tmp_path: Path) -> None:
    """Not only agents and what is theirs; the notes of migrations do not count."""
    path = build(tmp_path / "c.db")
    execute(path, "DELETE FROM agents")
    found = []
    for _ in range(2):
        async with open_writer(path) as connection:
            found.append(await holds_rows(connection))
        await load(path, table("folders", FOLDER, folder("f1")), SKIP)

    assert [False, True] == found
