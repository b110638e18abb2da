"""Single cells change the rows that came with the same import, and no other."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pattern_stream.db.write.sink import LoadOptions
from pattern_stream.errors import MalformedNode, NameConflict, UnknownContent
from pattern_stream.schema.model.cells import NotUtf8
from tests.db.importing import (
    agent,
    assert_sound,
    attachments,
    block,
    entries,
    group,
    load,
    messages,
    query,
    single_cells,
)
from tests.db.worlds import build

pytestmark = pytest.mark.anyio

SKIP, REPLACE, DROP = LoadOptions("skip"), LoadOptions("replace"), LoadOptions(drop_unknown=True)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database with one agent `a` and a message `m0`."""
    return build(tmp_path / "c.db", messages=[("m0", '{"Text":"old"}')])


async def test_cells_are_set_by_key(db: Path) -> None:
    """In tables with one key column and with two, in any storage class, with an expression where one is needed."""
    tree = [
        *agent("b", block("x", "b"), entries("b", ("e1", None)), messages("b", ["m1", "m2"])),
        *group("g", ["b"]),
        attachments(("x", "a")),
        *single_cells(
            ("agents", "b", "tool_rules", "null"),
            ("group_members", '["g","b"]', "capabilities", None),
            ("archival_entries", "e1", "chunk_index", None),
            ("memory_blocks", "x", "embedding_model", NotUtf8(b"\xff")),
            ("shared_block_agents", '["x","a"]', "permission", 7.5),
            ("messages", "m2", "source", b"\x00"),
        ),
    ]
    loaded, found = await load(db, tree)

    with closing(sqlite3.connect(db)) as connection:
        connection.text_factory = bytes
        assert [(b"text", b"\xff")] == connection.execute(
            "SELECT typeof(embedding_model), embedding_model FROM memory_blocks"
        ).fetchall()
    assert [("a", None), ("b", "null")] == query(db, "SELECT id, tool_rules FROM agents ORDER BY id")
    assert [(None,)] == query(db, "SELECT capabilities FROM group_members")
    assert [(None,)] == query(db, "SELECT chunk_index FROM archival_entries")
    assert [("7.5",)] == query(db, "SELECT permission FROM shared_block_agents")
    assert [("m0", None), ("m1", None), ("m2", b"\x00")] == query(db, "SELECT id, source FROM messages ORDER BY id")
    assert ([], 2) == (found, loaded.rows["messages"])
    assert_sound(db)


@pytest.mark.parametrize("count", [5, 2500])
async def test_the_full_text_index_follows(db: Path, count: int) -> None:
    """Whether the triggers are away or not: new words are found, old ones are not, nothing is stale."""
    ids = [f"n{number}" for number in range(count)]
    tree = [
        *agent("b", messages("b", ids, text="before")),
        *single_cells(*(("messages", name, "content_preview", "after") for name in ids[:4])),
        *agent("c", messages("c", [f"k{number}" for number in range(count)], text="later")),
    ]
    await load(db, tree)

    counts = [
        query(db, f"SELECT count(*) FROM messages_fts WHERE messages_fts MATCH '{word}'")[0][0]
        for word in ("before", "after", "later")
    ]
    assert [count - 4, 4, count] == counts
    assert_sound(db)


@pytest.mark.parametrize("options", [SKIP, LoadOptions(), REPLACE])
async def test_rows_of_others_stay_as_they_are(db: Path, options: LoadOptions) -> None:
    """A cell of a row that was there, and that the archive does not bring, changes nothing."""
    tree = [
        *agent("b"),
        *single_cells(("messages", "m0", "source", "changed"), ("agents", "a", "description", "changed")),
    ]
    await load(db, tree, options)

    assert [(None,)] == query(db, "SELECT source FROM messages")
    assert [("a", None), ("b", None)] == query(db, "SELECT id, description FROM agents ORDER BY id")


@pytest.mark.parametrize(("options", "expected"), [(SKIP, (None, None)), (REPLACE, ("new", "new"))])
async def test_cells_share_the_fate_of_their_rows(db: Path, options: LoadOptions, expected: tuple[Any, ...]) -> None:
    """Set where the row was replaced, left where it was skipped."""
    tree = agent("b", block("x", "b"), messages("b", ["m1"]))
    await load(db, tree)
    cells = single_cells(("messages", "m1", "source", "new"), ("memory_blocks", "x", "embedding_model", "new"))
    _, found = await load(db, [*tree, *cells], options)

    assert [expected] == query(
        db, "SELECT source, embedding_model FROM messages m JOIN memory_blocks b ON m.agent_id = b.agent_id"
    )
    assert [] == found
    assert_sound(db)


async def test_odd_names_are_met_again(db: Path) -> None:
    """An agent and a block whose names are no UTF-8 since a cell made them so: found by their ids, and replaced."""
    tree = [
        *agent("b", block("x", "b")),
        *single_cells(("agents", "b", "name", NotUtf8(b"\xff")), ("memory_blocks", "x", "label", NotUtf8(b"\xfe"))),
    ]
    await load(db, tree)
    with pytest.raises(NameConflict, match=r"agent b .* is there, named .*xff"):
        await load(db, tree)
    loaded, _ = await load(db, tree, REPLACE)

    assert {"agents": 1, "memory_blocks": 1} == loaded.rows
    assert [("FF", "FE")] == query(
        db, "SELECT hex(a.name), hex(b.label) FROM agents a JOIN memory_blocks b ON a.id = b.agent_id"
    )
    assert_sound(db)


async def test_cells_of_no_row_are_said_once_a_table(db: Path) -> None:
    """With their number and the first of them."""
    tree = [*agent("b"), *single_cells(("messages", "x", "source", 1), ("messages", "y", "source", 1))]
    _, found = await load(db, tree)

    assert [("cell-without-row", "messages", "x")] == [(one.code, one.where.table, one.where.row_id) for one in found]
    assert found[0].message.startswith("2 cells")


async def test_cells_of_rows_that_were_not_wanted_are_nothing_to_say(db: Path) -> None:
    """Where only a part of an archive comes."""
    _, found = await load(db, [*agent("b"), *single_cells(("messages", "x", "source", 1))], LoadOptions(partial=True))

    assert [] == found


async def test_unknown_columns_and_tables(db: Path) -> None:
    """A column that the table lacks, a table that is no declared record: refused, or dropped and counted."""
    tree = [
        *agent("b"),
        *single_cells(
            ("agents", "b", "mood", "good"), ("agents", "b", "description", "d"), ("tasks", "t", "title", "t")
        ),
    ]
    with pytest.raises(UnknownContent, match="column 'mood' of agents"):
        await load(db, tree)
    loaded, _ = await load(db, tree, DROP)

    assert [("d",)] == query(db, "SELECT description FROM agents WHERE id = 'b'")
    assert {"agents.mood": 1, "tasks": 1} == loaded.dropped


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("agents", "b", "id", "c"), "is the key of agents"),
        (("group_members", "b", "role", None), "key is no JSON"),
        (("group_members", '["b"]', "role", None), "key is no array of 2 texts"),
        (("agents", 7, "description", "d"), "expected text for table, key and column"),
        (("agents", "b", "name", None), "NOT NULL constraint failed"),
        (("agents", "b"), "row has 2 cells, expected 4"),
    ],
)
async def test_malformed_cells(db: Path, row: tuple[Any, ...], words: str) -> None:
    """Refused by name, and nothing is kept."""
    with pytest.raises(MalformedNode, match=words):
        await load(db, [*agent("b"), *single_cells(row)])

    assert [("a",)] == query(db, "SELECT id FROM agents")


async def test_a_cell_that_is_taken_is_a_conflict(db: Path) -> None:
    """A name that only the cell has."""
    with pytest.raises(NameConflict, match="row b of agents: its name is taken"):
        await load(db, [*agent("b"), *single_cells(("agents", "b", "name", "a"))])
