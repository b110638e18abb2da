"""Rows go in whole or not at all, meet what is there by the rules, and leave every index and reference sound."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.db.connection.opening import open_writer
from pattern_stream.db.write.sink import LoadOptions, begin, holds_rows, short_switch_interval, write_rows
from pattern_stream.errors import DatabaseBusy, DatabaseStorage, MalformedNode, NameConflict
from pattern_stream.items import Open, Ref, RowEvent
from pattern_stream.schema.model.nodes import AgentExport, MemoryBlockExport
from pattern_stream.stages.mapping import unmap_records
from tests.db.importing import (
    agent,
    assert_sound,
    attachments,
    block,
    entries,
    flat,
    group,
    load,
    messages,
    query,
    summaries,
)
from tests.db.worlds import build
from tests.drive import feed

pytestmark = pytest.mark.anyio

SKIP, REPLACE = LoadOptions("skip"), LoadOptions("replace")


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database with one agent `a` and a message `m0`."""
    return build(tmp_path / "c.db", messages=[("m0", '{"Text":"old"}')])


async def test_parents_come_in_any_order(db: Path) -> None:
    """Children before parents, summaries before their predecessors, attachments before their blocks."""
    tree = agent("b", entries("b", ("e2", "e1"), ("e1", None)), summaries("b", ("s2", "s1"), ("s1", None)))
    loaded, found = await load(db, [*tree, attachments(("x", "b")), *block("x", "_constellation_")])

    assert [("e1", None), ("e2", "e1")] == query(db, "SELECT id, parent_entry_id FROM archival_entries ORDER BY id")
    assert [("s2", "s1")] == query(db, "SELECT id, previous_summary_id FROM archive_summaries WHERE id = 's2'")
    assert [] == found
    assert {
        "agents": 1,
        "archival_entries": 2,
        "archive_summaries": 2,
        "memory_blocks": 1,
        "shared_block_agents": 1,
    } == loaded.rows
    assert_sound(db)


async def test_what_refers_to_nothing_is_mended_and_said(db: Path) -> None:
    """A parent outside the archive is cut, an attachment or member without both ends left out."""
    tree = agent("b", entries("b", ("e1", "elsewhere")), summaries("b", ("s1", "elsewhere")))
    loaded, found = await load(db, [*tree, *group("g", ["b", "gone"]), attachments(("gone", "b"))])

    assert ["parent-missing", "parent-missing", "ends-missing", "ends-missing"] == [finding.code for finding in found]
    assert [(None,)] == query(db, "SELECT parent_entry_id FROM archival_entries")
    assert (1, 0) == (loaded.rows["group_members"], loaded.rows["shared_block_agents"])
    assert_sound(db)


async def test_a_message_without_its_agent_is_named(db: Path) -> None:
    """A reference that cannot be mended refuses everything and names table, row and field."""
    with pytest.raises(MalformedNode, match="refers to a row of agents") as caught:
        await load(db, agent("b", messages("nobody", ["m1"])))

    assert ("messages", "m1", "agent_id") == (
        caught.value.where.table,
        caught.value.where.row_id,
        caught.value.where.field,
    )
    assert [("a",)] == query(db, "SELECT id FROM agents")


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_dry_run_sees_the_same(db: Path, dry_run: bool) -> None:
    """It counts what would go in, finds what would not, and keeps nothing."""
    loaded, _ = await load(db, agent("b", messages("b", ["m1"])), dry_run=dry_run)
    with pytest.raises(MalformedNode):
        await load(db, agent("c", messages("nobody", ["m2"])), dry_run=dry_run)

    assert {"agents": 1, "messages": 1} == loaded.rows
    assert (1 if dry_run else 2) == len(query(db, "SELECT id FROM agents"))


async def test_all_conflicts_are_told_at_once(db: Path) -> None:
    """An agent's id, another's name, a group's, blocks and rows: one error lists them, and nothing was written."""
    blocks = [*block("x", "b"), *block("v", "b", "second"), *block("w", "b", "third")]
    await load(db, [*agent("b", blocks, messages("b", [f"n{i}" for i in range(30)])), *group("g", ["b"])])
    before = db.read_bytes()
    tree = [
        *agent("b", block("x", "b"), messages("b", [f"n{i}" for i in range(30)])),
        *agent("c", name="a"),
        *agent("d", block("v", "d"), block("y", "b", "third")),
        *group("g", ["b"]),
    ]
    with pytest.raises(NameConflict) as caught:
        await load(db, tree)

    lines = caught.value.message.split("\n")
    assert "found 36 things that are in the database already, expected none; nothing was written" == lines[0]
    assert [
        "agent b ('b') is there, named 'b'",
        "memory block x ('persona' of b) is there",
        "agent c: its name 'a' is that of agent a in the database",
        "memory block v is there, owned by b, not by d",
        "memory block y: its label 'third' of owner b is that of memory block w",
        "group g ('g') is there, named 'g'",
    ] == lines[1:7]
    assert "rows: 30 in messages" == lines[7]
    assert (20, "and 10 more rows") == (sum(line.startswith("messages n") for line in lines), lines[-1])
    assert before == db.read_bytes()


async def test_skip_leaves_what_is_there_with_all_it_owns(db: Path) -> None:
    """Rows of a skipped agent stay out even where they are new; another agent of the archive goes in."""
    tree = [*agent("a", block("x", "a"), messages("a", ["m0", "m9"])), *agent("b"), attachments(("x", "a"))]
    loaded, _ = await load(db, tree, SKIP)

    assert {"agents": 1} == loaded.rows
    assert {"agents": 1, "memory_blocks": 1, "messages": 2, "shared_block_agents": 1} == loaded.skipped
    assert [("m0", '{"Text":"old"}')] == query(db, "SELECT id, content_json FROM messages")
    assert_sound(db)


async def test_replace_updates_in_place(db: Path) -> None:
    """The row keeps its rowid, its terms leave the index, and what the archive does not carry stays."""
    await load(db, agent("b", messages("b", ["m1", "m2"], text="first")))
    before = query(db, "SELECT rowid FROM messages WHERE id = 'm1'")
    await load(db, agent("b", messages("b", ["m1", "m3"], text="second"), name="other"), REPLACE)

    assert before == query(db, "SELECT rowid FROM messages WHERE id = 'm1'")
    assert [("other",)] == query(db, "SELECT name FROM agents WHERE id = 'b'")
    assert [("m2",)] == query(
        db, "SELECT m.id FROM messages_fts f JOIN messages m ON m.rowid = f.rowid WHERE messages_fts MATCH 'first'"
    )
    assert_sound(db)


async def test_a_replaced_block_loses_its_old_edits(db: Path) -> None:
    """Updates and checkpoints go, others' stay, and a new edit counts on above every number ever used."""
    await load(db, [*agent("b", block("x", "b", last_seq=3)), *agent("c", block("y", "c"))])
    with closing(sqlite3.connect(db)) as connection:
        for name in ("x", "y"):
            connection.execute(
                "INSERT INTO memory_block_updates (block_id, seq, update_blob, byte_size, created_at) "
                "VALUES (?, 9, x'00', 1, '')",
                (name,),
            )
            connection.execute(
                "INSERT INTO memory_block_checkpoints (block_id, snapshot, created_at) VALUES (?, x'00', '')", (name,)
            )
        connection.execute("UPDATE memory_blocks SET embedding_model = 'kept'")
        connection.commit()
    await load(db, agent("b", block("x", "b", last_seq=5)), REPLACE)

    assert [("x", 9, "kept"), ("y", 0, "kept")] == query(
        db, "SELECT id, last_seq, embedding_model FROM memory_blocks ORDER BY id"
    )
    assert [("y",)] == query(db, "SELECT block_id FROM memory_block_updates")
    assert [("y",)] == query(db, "SELECT block_id FROM memory_block_checkpoints")
    assert_sound(db)


@pytest.mark.parametrize("options", [SKIP, REPLACE])
async def test_a_taken_name_is_always_a_conflict(db: Path, options: LoadOptions) -> None:
    """Skip and replace act on equal ids only."""
    with pytest.raises(NameConflict, match="its name 'a' is that of agent a in the database"):
        await load(db, agent("b", name="a"), options)


async def test_one_block_of_two_agents_stays_with_the_first(db: Path) -> None:
    """As another node with the same id, or as a link again: the second agent gets access."""
    again: list[RowEvent] = [Ref(MemoryBlockExport, "memory_block_cids", "x")]
    tree = flat([agent("b", block("x", "b")), agent("c", block("x", "c")), agent("d", *again)])
    _, found = await load(db, tree)

    assert [("x", "b")] == query(db, "SELECT id, agent_id FROM memory_blocks")
    assert [("x", "c", "read_write"), ("x", "d", "read_write")] == query(
        db, "SELECT block_id, agent_id, permission FROM shared_block_agents"
    )
    assert ["block-of-several", "block-of-several"] == [finding.code for finding in found]


async def test_a_label_twice_gets_a_number(db: Path) -> None:
    """Within one archive, under one owner."""
    _, found = await load(db, agent("b", block("x", "b"), block("y", "b"), block("z", "b")))

    assert [("x", "persona"), ("y", "persona (2)"), ("z", "persona (3)")] == query(
        db, "SELECT id, label FROM memory_blocks ORDER BY id"
    )
    assert ["label-twice", "label-twice"] == [finding.code for finding in found]


@pytest.mark.parametrize("count", [1, 600, 5000])
async def test_a_row_twice_is_refused_and_named(db: Path, count: int) -> None:
    """Two rows of one archive with one id exclude each other, with triggers and without."""
    ids = [f"n{i}" for i in range(count)]
    with pytest.raises(MalformedNode, match=r"UNIQUE constraint failed: messages\.id") as caught:
        await load(db, agent("b", messages("b", ids), messages("b", ["z", "n0"])))

    assert ("messages", "n0") == (caught.value.where.table, caught.value.where.row_id)
    assert 1 == len(query(db, "SELECT id FROM messages"))
    assert_sound(db)


@pytest.mark.parametrize("at", [0, 1, 255, 511, 512, 599])
async def test_a_row_twice_in_one_statement_is_named(tmp_path: Path, at: int) -> None:
    """Wherever it is among rows that go in together, in a database that had none."""
    db = build(tmp_path / "empty.db")
    ids = [f"n{i}" for i in range(600)]
    ids.insert(at + 1, f"n{at}")
    with pytest.raises(MalformedNode, match=r"UNIQUE constraint failed: messages\.id") as caught:
        await load(db, agent("b", messages("b", ids)), into_empty=True)

    assert ("messages", f"n{at}") == (caught.value.where.table, caught.value.where.row_id)
    assert [(0,)] == query(db, "SELECT count(*) FROM messages")
    assert_sound(db)


@pytest.mark.parametrize("into_empty", [False, True])
@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_reference_to_nothing_is_refused_and_named(tmp_path: Path, into_empty: bool, dry_run: bool) -> None:
    """Whether SQLite counts broken references row by row or all are looked at in the end."""
    db = build(tmp_path / "empty.db")
    with pytest.raises(MalformedNode, match="refers to a row of agents") as caught:
        await load(db, agent("b", messages("elsewhere", ["n0"])), into_empty=into_empty, dry_run=dry_run)

    assert ("messages", "n0", "agent_id") == (
        caught.value.where.table,
        caught.value.where.row_id,
        caught.value.where.field,
    )
    assert [(0,)] == query(db, "SELECT count(*) FROM messages")
    assert_sound(db)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("coming", [0, 1000])
async def test_old_broken_references_are_nothing_to_an_import(db: Path, dry_run: bool, coming: int) -> None:
    """A row of the database that refers to nothing refuses neither a real import nor a dry run, of few messages or of
    more than there are; a new one both.
    """
    with closing(sqlite3.connect(db)) as connection:
        connection.execute(
            "INSERT INTO messages (id, agent_id, position, role, content_json, created_at) "
            "VALUES ('old', 'gone', '1', 'user', '{}', '')"
        )
        connection.commit()
    loaded, _ = await load(db, agent("b", messages("b", ["m1"])), dry_run=dry_run, messages=coming)
    with pytest.raises(MalformedNode, match="refers to a row of agents") as caught:
        await load(db, agent("c", messages("nobody", ["m2"])), dry_run=dry_run, messages=coming)

    assert {"agents": 1, "messages": 1} == loaded.rows
    assert not (dry_run or coming) or caught.value.where.row_id == "m2"
    assert (2 if dry_run else 3) == len(query(db, "SELECT id FROM messages"))


@pytest.mark.parametrize(("coming", "counts"), [(1, 1), (2, 0)])
async def test_many_messages_are_not_counted_one_by_one(db: Path, coming: int, counts: int) -> None:
    """Into a database with one message: SQLite counts broken references of another one, and not of two."""
    async with open_writer(db) as connection:
        await begin(connection, messages=coming)

        assert [(counts,)] == await connection.execute("PRAGMA foreign_keys")


async def test_an_agent_twice_is_refused(db: Path) -> None:
    """Two agents of one archive with one id."""
    with pytest.raises(MalformedNode, match="agent is in the archive twice"):
        await load(db, [*agent("b"), *agent("b")])


async def test_large_imports_go_round_the_triggers(db: Path) -> None:
    """Rows that came before and after the triggers were taken away are all found, and the triggers are back."""
    parts = [messages("b", [f"n{part}-{i}" for i in range(500)], text=f"word{part}") for part in range(8)]
    await load(db, agent("b", *parts, block("x", "b")))

    for part in range(8):
        assert [(500,)] == query(db, f"SELECT count(*) FROM messages_fts WHERE messages_fts MATCH 'word{part}'")
    assert [(1,)] == query(db, "SELECT count(*) FROM memory_blocks_fts WHERE memory_blocks_fts MATCH 'persona'")
    assert_sound(db)


async def test_large_replacing_imports_keep_the_index(db: Path) -> None:
    """Old terms of replaced rows go, new rows' come, while the triggers after INSERT are away."""
    ids = [f"n{i}" for i in range(3000)]
    await load(db, agent("b", messages("b", ids, text="before")))
    more = [f"k{i}" for i in range(1500)]
    await load(db, agent("b", messages("b", more, text="new"), messages("b", ids, text="after")), REPLACE)

    counts = [
        query(db, f"SELECT count(*) FROM messages_fts WHERE messages_fts MATCH '{word}'")[0][0]
        for word in ("before", "after", "new")
    ]
    assert [0, 3000, 1500] == counts
    assert_sound(db)


async def test_batches_of_others_are_kept_apart(db: Path) -> None:
    """A batch id that another agent has here becomes another snowflake, one for the whole batch; one's own stays."""
    taken, own = "31358194177998848", "31358194177998849"
    await load(db, agent("b", messages("b", ["m1"], batch=taken)))
    tree = agent("c", messages("c", ["m2", "m3"], batch=taken), messages("c", ["m4"], batch=own))
    await load(db, tree, LoadOptions(batch_key=bytes(range(32))))

    (second, third, fourth) = query(db, "SELECT batch_id FROM messages WHERE agent_id = 'c' ORDER BY id")
    assert second == third
    assert taken != second[0]
    assert int(taken) >> 16 == int(second[0]) >> 16
    assert (own,) == fourth


async def test_a_locked_database_is_busy(db: Path) -> None:
    """Somebody else's transaction: exit 11, after the time that was given."""
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with open_writer(db, busy_timeout_ms=50) as connection:
            with pytest.raises(DatabaseBusy):
                await begin(connection)


async def test_a_full_disk_is_storage(db: Path) -> None:
    """The file cannot grow: exit 9, nothing kept, nothing left open."""
    async with open_writer(db) as connection:
        await connection.execute("PRAGMA max_page_count = 60")
        await connection.execute("PRAGMA cache_size = 10")
        await begin(connection)
        tree = agent("b", *(messages("b", [f"n{part}-{i}" for i in range(500)]) for part in range(9)))
        with pytest.raises(DatabaseStorage, match="full"):
            await write_rows(connection, unmap_records(feed(tree)))

    assert [("a",)] == query(db, "SELECT id FROM agents")
    assert_sound(db)


async def test_an_upstream_that_breaks_leaves_nothing(db: Path) -> None:
    """Its error comes out as it is; the rows that went in are gone with the transaction."""

    async def breaking() -> AsyncGenerator[RowEvent]:
        async for event in unmap_records(
            feed(agent("b", *(messages("b", [f"{part}-{i}" for i in range(500)]) for part in range(4))))
        ):
            yield event
        raise RuntimeError("upstream broke")

    async with open_writer(db) as connection:
        await begin(connection)
        with pytest.raises(RuntimeError, match="upstream broke"):
            await write_rows(connection, breaking())

    assert [("a",)] == query(db, "SELECT id FROM agents")


async def test_holds_rows(tmp_path: Path, db: Path) -> None:
    """A database counts as living when any carried table has a row."""
    async with open_writer(db) as connection:
        living = await holds_rows(connection)
        await connection.execute("DELETE FROM messages")
        await connection.execute("DELETE FROM agents")
        empty = await holds_rows(connection)

    assert (True, False) == (living, empty)


async def test_no_parent_node_is_needed(db: Path) -> None:
    """A part of an archive may come without what was around it."""
    events = agent("b")
    assert isinstance(events[0], Open)
    assert AgentExport is events[0].node

    loaded, _ = await load(db, [messages("a", ["m7"]), *events])

    assert {"agents": 1, "messages": 1} == loaded.rows


def test_the_switch_interval_is_short_and_then_as_before() -> None:
    """Also when what they were short for fails."""
    before, within = sys.getswitchinterval(), []

    def work() -> None:
        with short_switch_interval():
            within.append(sys.getswitchinterval())
            raise KeyError

    with pytest.raises(KeyError):
        work()

    assert [True] == [interval < before for interval in within]
    assert before == sys.getswitchinterval()
