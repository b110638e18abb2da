"""The history of memory blocks goes in as it was stored, and shares the fate of its block."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pattern_stream.db.write.living_document import LivingDocument
from pattern_stream.db.write.sink import LoadOptions
from pattern_stream.errors import MalformedNode, NameConflict, ProtocolError, UnknownContent
from pattern_stream.items import Cells, MemoryHistory, RecordEvent
from pattern_stream.schema.model.cells import HISTORY_COLUMNS, NotUtf8
from tests.db.importing import agent, assert_sound, block, load, query, rows_of, table
from tests.db.worlds import build

pytestmark = pytest.mark.anyio

SKIP, REPLACE, DROP = LoadOptions("skip"), LoadOptions("replace"), LoadOptions(drop_unknown=True)
AT = "2026-01-02T03:04:05+00:00"
UPDATES, CHECKPOINTS = "memory_block_updates", "memory_block_checkpoints"


def update(number: int | None, block_id: str, seq: int, *, active: int = 1, source: Any = "agent") -> tuple[Any, ...]:
    """An edit."""
    return (number, block_id, seq, bytes([seq]), 1, source, AT, b"\x00", active)


def checkpoint(number: int, block_id: str) -> tuple[Any, ...]:
    """A checkpoint."""
    return (number, block_id, b"snapshot", AT, 3, None)


def edited(
    block_id: str, owner: str, *rows: tuple[Any, ...], checkpoints: tuple[tuple[Any, ...], ...] = (), last_seq: int = 9
) -> list[RecordEvent]:
    """A memory block with its history."""
    inside = [*rows_of(UPDATES, *rows), *rows_of(CHECKPOINTS, *checkpoints)]
    return block(block_id, owner, f"label of {block_id}", inside, last_seq=last_seq, history=MemoryHistory(None, None))


def stored(path: Path, columns: str = "id, block_id, seq") -> list[tuple[Any, ...]]:
    """The edits that a database has."""
    return query(path, f"SELECT {columns} FROM memory_block_updates ORDER BY id")


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database with one agent `a`."""
    return build(tmp_path / "c.db")


async def test_rows_come_back_as_they_were(db: Path) -> None:
    """Every cell of active and undone edits and of checkpoints, odd ones too, with their numbers."""
    rows = [update(3, "x", 1), update(7, "x", 2, active=0, source=NotUtf8(b"\xff")), update(8, "x", 3, source=None)]
    loaded, found = await load(db, agent("b", edited("x", "b", *rows, checkpoints=(checkpoint(5, "x"),), last_seq=12)))

    with closing(sqlite3.connect(db)) as connection:
        connection.text_factory = lambda raw: raw.decode() if raw != b"\xff" else NotUtf8(raw)
        assert rows == connection.execute("SELECT * FROM memory_block_updates ORDER BY id").fetchall()
    assert [checkpoint(5, "x")] == query(db, "SELECT * FROM memory_block_checkpoints")
    assert [(12,)] == query(db, "SELECT last_seq FROM memory_blocks")
    assert ({"agents": 1, "memory_blocks": 1, UPDATES: 3, CHECKPOINTS: 1}, []) == (loaded.rows, found)
    assert_sound(db)


async def test_the_next_number_is_above_all(db: Path) -> None:
    """`sqlite_sequence` follows what was written."""
    await load(db, agent("b", edited("x", "b", update(41, "x", 1), update(7, "x", 2))))
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO memory_block_updates (block_id, seq, update_blob, byte_size, created_at) "
            "VALUES ('x', 5, '', 0, '')"
        )

    assert [7, 41, 42] == [row[0] for row in stored(db)]


async def test_taken_numbers_become_new_ones_in_order(db: Path) -> None:
    """From the first number of a block that is taken, its rows get new ones, so that their order stays; others keep
    theirs."""
    await load(db, agent("b", edited("x", "b", update(5, "x", 1), update(20, "x", 2))))
    tree = agent(
        "c",
        edited("y", "c", update(4, "y", 1), update(5, "y", 2), update(6, "y", 3)),
        edited("z", "c", update(7, "z", 1)),
    )
    loaded, _ = await load(db, tree)

    assert [
        (4, "y", 1), (5, "x", 1), (7, "z", 1), (20, "x", 2), (21, "y", 2), (22, "y", 3),
    ] == stored(db)  # fmt: skip
    assert 4 == loaded.rows[UPDATES]
    assert_sound(db)


async def test_many_rows_of_which_one_is_taken(db: Path) -> None:
    """A full statement that is refused goes in row by row, up to the one at fault."""
    await load(db, agent("b", edited("x", "b", update(300, "x", 1))))
    rows = [(number, "y", number, b"", 0, None, AT, None, 1) for number in range(1, 601)]
    await load(db, agent("c", edited("y", "c", *rows)))

    found = query(db, "SELECT id, seq FROM memory_block_updates WHERE block_id = 'y' ORDER BY seq")
    assert [number if number < 300 else number + 1 for number in range(1, 601)] == [number for number, _ in found]
    assert 600 == len(found)
    assert_sound(db)


async def test_no_number_is_so_high_that_others_run_out(db: Path) -> None:
    """Beside others it becomes a new one; in a database without agents it stays what it was."""
    highest = 2**63 - 1
    await load(db, agent("b", edited("x", "b", update(highest, "x", 1))))
    empty = build(db.with_name("empty.db"))
    with closing(sqlite3.connect(empty, isolation_level=None)) as connection:
        connection.execute("DELETE FROM agents")
    await load(empty, agent("b", edited("x", "b", update(highest, "x", 1))))

    assert [(1, "x", 1)] == stored(db)
    assert [(highest, "x", 1)] == stored(empty)


async def test_replaced_blocks_have_the_new_history_only(db: Path) -> None:
    """Old rows go before new ones come, and the highest number ever used is remembered."""
    await load(db, agent("b", edited("x", "b", update(1, "x", 30), checkpoints=(checkpoint(1, "x"),))))
    await load(db, agent("b", edited("x", "b", update(1, "x", 1), update(2, "x", 2))), REPLACE)

    assert [(1, "x", 1), (2, "x", 2)] == stored(db)
    assert [] == query(db, "SELECT * FROM memory_block_checkpoints")
    assert [(30,)] == query(db, "SELECT last_seq FROM memory_blocks")
    assert_sound(db)


async def test_skipped_blocks_keep_theirs(db: Path) -> None:
    """Whether the block or its agent is skipped; the rows are counted."""
    await load(
        db, [*agent("b", edited("x", "b", update(1, "x", 1))), *edited("u", "_constellation_", update(2, "u", 1))]
    )
    tree = [
        *agent("b", edited("x", "b", update(7, "x", 8)), edited("y", "b", update(8, "y", 1))),
        *edited("u", "_constellation_", update(9, "u", 3)),
    ]
    loaded, _ = await load(db, tree, SKIP)

    assert [(1, "x", 1), (2, "u", 1)] == stored(db)
    assert (3, 3, {}) == (loaded.skipped[UPDATES], loaded.skipped["memory_blocks"], loaded.rows)


async def test_a_block_twice_has_one_history(db: Path) -> None:
    """Of the first one; the second only brings access."""
    await load(db, [*agent("b", edited("x", "b", update(1, "x", 1))), *agent("c", edited("x", "c", update(2, "x", 2)))])

    assert [(1, "x", 1)] == stored(db)
    assert [("x", "c")] == query(db, "SELECT block_id, agent_id FROM shared_block_agents")


async def test_a_conflict_writes_nothing(db: Path) -> None:
    """The block that is there keeps its edits."""
    await load(db, agent("b", edited("x", "b", update(1, "x", 1))))
    with pytest.raises(NameConflict, match="memory block x"):
        await load(db, agent("b", edited("x", "b", update(2, "x", 2))))

    assert [(1, "x", 1)] == stored(db)


async def test_other_columns(db: Path) -> None:
    """Fewer columns get their defaults; more are refused or dropped, with their rows counted."""
    older = {UPDATES: ("id", "block_id", "seq", "update_blob", "byte_size", "created_at"), CHECKPOINTS: ()}
    newer = {UPDATES: (*HISTORY_COLUMNS[UPDATES], "mood"), CHECKPOINTS: HISTORY_COLUMNS[CHECKPOINTS]}
    first = block("x", "b", "x", Cells(UPDATES, [(1, "x", 1, b"", 0, AT)]), history=MemoryHistory(None, None, older))
    await load(db, agent("b", first))
    second = block(
        "y", "c", "y", Cells(UPDATES, [(*update(2, "y", 1), "good")]), history=MemoryHistory(None, None, newer)
    )
    with pytest.raises(UnknownContent, match="column 'mood' of memory_block_updates"):
        await load(db, agent("c", second))
    loaded, _ = await load(db, agent("c", second), DROP)

    assert [(1, None, 1), (2, "agent", 1)] == stored(db, "id, source, is_active")
    assert {"memory_block_updates.mood": 1} == loaded.dropped


async def test_rows_of_another_block_are_refused(db: Path) -> None:
    """A block's history is its own."""
    await load(db, agent("b", block("x", "b")))
    with pytest.raises(MalformedNode, match="names another one"):
        await load(db, agent("c", edited("y", "c", update(1, "x", 1))))


async def test_two_edits_of_one_number_are_refused(db: Path) -> None:
    """Two rows of the archive exclude each other."""
    with pytest.raises(MalformedNode, match="UNIQUE constraint failed"):
        await load(db, agent("b", edited("x", "b", update(1, "x", 1), update(2, "x", 1))))


async def test_rows_outside_of_a_block_are_refused(db: Path) -> None:
    """No stage of this package sends them."""
    with pytest.raises(ProtocolError, match="outside of the table or memory block"):
        await load(db, agent("b", rows_of(UPDATES, update(1, "x", 1))))


async def test_a_table_of_edits_keeps_its_order_too(db: Path) -> None:
    """Edits of blocks that are rows beyond version 3 themselves; taken numbers become new ones."""
    await load(db, agent("b", edited("x", "b", update(2, "x", 1))))
    blocks = ("id", "agent_id", "label", "description", "block_type", "loro_snapshot", "created_at", "updated_at")
    tree = [
        *table("memory_blocks", blocks, ("y", "a", "y", "d", "core", b"", AT, AT)),
        *table(UPDATES, HISTORY_COLUMNS[UPDATES], update(1, "y", 1), update(2, "y", 2), update(3, "y", 3)),
    ]
    await load(db, tree)

    assert [(1, "y", 1), (2, "x", 1), (3, "y", 2), (4, "y", 3)] == stored(db)
    assert_sound(db)


async def test_a_history_that_nothing_takes_the_place_of_is_reported(db: Path) -> None:
    """A block replaced by an archive without history loses its edits, with a warning of their number."""
    await load(db, agent("b", edited("x", "b", update(1, "x", 1), update(2, "x", 2))))
    _, again = await load(db, agent("b", edited("x", "b", update(3, "x", 1))), REPLACE)
    _, without = await load(db, agent("b", block("x", "b")), REPLACE)
    _, nothing = await load(db, agent("b", block("x", "b")), REPLACE)

    assert [] == again
    assert [("history-gone", "x")] == [(finding.code, finding.where.row_id) for finding in without]
    assert "1 memory_block_updates" in without[0].message
    assert [] == nothing


async def test_edits_stay_while_nobody_changes_them(db: Path) -> None:
    """The document was the same when it was looked at; one more edit, or another one, and it is not."""
    await load(db, agent("b", edited("x", "b", update(1, "x", 1), update(2, "x", 2, active=0))))
    with closing(sqlite3.connect(db)) as connection:
        living = LivingDocument.read(connection, "x")
    assert living is not None
    keep = LoadOptions("replace", kept_edits={"x": living.digest})
    _, kept = await load(db, agent("b", block("x", "b")), keep)
    assert [(1, "x", 1), (2, "x", 2)] == stored(db)
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("UPDATE memory_block_updates SET is_active = 1")
    _, changed = await load(db, agent("b", block("x", "b")), keep)

    assert [[], ["history-gone"]] == [[one.code for one in found] for found in (kept, changed)]
    assert [] == stored(db)
