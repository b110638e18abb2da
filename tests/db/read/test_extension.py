"""Everything of a constellation goes out, once: in the version 3 part, in histories, or in tables beyond."""

from __future__ import annotations

import gzip
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pattern_stream.demo.database import make_demo
from pattern_stream.items import Cells, Open, OpenTable, Ref, Rows
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.nodes import AgentExport, MemoryBlockExport
from pattern_stream.schema.model.records import (
    DECLARED,
    Agent,
    MemoryBlock,
    Message,
    Record,
    SharedAttachment,
    canonical,
)
from pattern_stream.schema.model.scopes import ResolvedScope, Selection
from tests.db.walking import Walked, stored_rows, walk
from tests.db.worlds import AT, build

pytestmark = pytest.mark.anyio

FIXTURES = ("family", "quiet", "edges", "numbers", "oversize", "many", "schema-3", "schema-6", "schema-10")
HISTORY = tuple(HISTORY_COLUMNS)


def frozen(row: dict[str, Any]) -> tuple[Any, ...]:
    """A row as a value that can be counted: columns sorted by name, cells with their types."""
    return tuple((name, type(cell).__name__, cell) for name, cell in sorted(row.items()))


def of_version_3(walked: Walked, record: type[Record]) -> list[tuple[Any, ...]]:
    """The keys of the rows in the version 3 part; attachments stand in groups and in the list of all."""
    keys = [tuple(row[name] for name in record.key) for row in walked.records[record]]
    return list(dict.fromkeys(keys)) if record is SharedAttachment else keys


def require_all_once(walked: Walked, stored: dict[str, list[dict[str, Any]]]) -> None:
    """Every row of every table is in exactly one place; those outside the version 3 part cell by cell."""
    for table, rows in stored.items():
        beyond = walked.tables.get(table, [])
        historic = [row for name, row in walked.history if name == table]
        record = DECLARED.get(table)
        if record is None:
            assert Counter(map(frozen, rows)) == Counter(map(frozen, [*beyond, *historic])), table
            continue
        keys = Counter(tuple(row[name] for name in record.key) for row in rows)
        gone = Counter(tuple(row[name] for name in record.key) for row in beyond)
        assert keys == gone + Counter(of_version_3(walked, record)), table
        assert not Counter(map(frozen, beyond)) - Counter(map(frozen, rows)), table
    assert set(walked.tables) <= set(stored)


def require_order(walked: Walked) -> None:
    """Tables in canonical key order, cells first; none is empty; attachments before the blocks of no agent."""
    opened = [event.table for event in walked.events if isinstance(event, OpenTable)]
    assert opened == sorted(opened, key=lambda name: (name is not None, canonical(name or "")))
    assert len(set(opened)) == len(opened)
    assert all(event.rows for event in walked.events if isinstance(event, (Rows, Cells)))


@pytest.mark.parametrize("name", FIXTURES)
async def test_databases_of_the_real_program(shared: Path, tmp_path: Path, name: str) -> None:
    """Each of them, all tables: every row once, nothing odd, stored documents as they are."""
    path = tmp_path / "fixture.db"
    path.write_bytes(gzip.decompress((shared / "fixtures" / name / "constellation.db.gz").read_bytes()))
    walked, stored = await walk(path), stored_rows(path)

    require_all_once(walked, stored)
    require_order(walked)
    blocks = {row["id"]: row for row in stored["memory_blocks"]}
    assert {key: (blocks[key]["loro_snapshot"], blocks[key].get("frontier")) for key in walked.bases} == walked.bases
    assert not walked.oddities.rows
    assert not walked.oddities.cells


async def test_demonstration(tmp_path: Path) -> None:
    """The demonstration has everything that may have to go beyond version 3, and all of it goes out."""
    path = tmp_path / "demo.db"
    await make_demo(path, messages=400, seed=3)
    walked, stored = await walk(path), stored_rows(path)

    require_all_once(walked, stored)
    require_order(walked)
    assert {"messages", "memory_blocks", "archival_entries"} < set(walked.tables)
    assert set(stored) - set(DECLARED) - set(HISTORY) <= set(walked.tables)
    assert any(row["is_deleted"] == 1 for row in walked.tables["messages"])
    assert all(row["is_active"] == 0 for row in walked.tables["memory_blocks"])
    assert any(table == "memory_block_updates" and row["is_active"] == 0 for table, row in walked.history)
    assert any(table == "memory_block_checkpoints" for table, _ in walked.history)
    assert [("memory_blocks", row["id"], "embedding_model", row["embedding_model"])
            for row in sorted(stored["memory_blocks"], key=lambda row: str(row["id"]))
            if row["embedding_model"] is not None and row["is_active"]] == walked.cells  # fmt: skip


def run(path: Path, *statements: str | tuple[str, Sequence[Any]]) -> Path:
    """Write into a database what no program should, foreign keys off."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            sql, parameters = (statement, ()) if isinstance(statement, str) else statement
            connection.execute(sql, parameters)
        connection.commit()
    return path


def block(block_id: object, owner: object = "a", *, active: object = 1) -> tuple[str, list[Any]]:
    """One memory block."""
    columns = "id, agent_id, label, description, block_type, loro_snapshot, is_active, created_at, updated_at"
    sql = f"INSERT INTO memory_blocks ({columns}) VALUES (?, ?, ?, 'd', 'core', x'01', ?, '{AT}', '{AT}')"
    return sql, [block_id, owner, f"label of {block_id!r}", active]


def entry(entry_id: object, owner: object, parent: object = None) -> tuple[str, list[Any]]:
    """One archival entry."""
    return f"INSERT INTO archival_entries VALUES (?, ?, 'text', NULL, 0, ?, '{AT}')", [entry_id, owner, parent]


async def test_a_portable_archive_has_none_of_it(tmp_path: Path) -> None:
    """Portable, and by the class's default: no tables, no cells, no history; agents with history: no tables."""
    path = tmp_path / "demo.db"
    await make_demo(path, messages=50, seed=3)
    portable = await walk(path, Selection())
    agent = ResolvedScope("agent", portable.records[Agent][0]["id"])
    historic = await walk(path, Selection(portable=False, history=True), agent)

    assert not portable.tables
    assert not portable.bases
    assert historic.bases
    assert historic.history
    assert not historic.tables
    assert not historic.cells


async def test_rows_that_were_left_out_stay_out(tmp_path: Path) -> None:
    """Without messages and without archival entries the tables beyond have none of them either, nor cells of them."""
    path = tmp_path / "demo.db"
    await make_demo(path, messages=50, seed=3)
    run(path, "ALTER TABLE messages ADD COLUMN mood TEXT", "UPDATE messages SET mood = 'fine'")
    walked = await walk(path, Selection(portable=False, messages=False, archival=False))
    full = await walk(path)

    assert {"messages", "archival_entries"} == set(full.tables) - set(walked.tables)
    assert Message not in walked.records
    assert "messages" not in {cell[0] for cell in walked.cells}
    assert "messages" in {cell[0] for cell in full.cells}


async def test_rows_whose_other_end_is_missing(tmp_path: Path) -> None:
    """Owners, groups, members and blocks that are not there: what names them goes out as rows of tables, once."""
    path = run(
        build(tmp_path / "a.db", messages=[("m1", "1"), ("m2", "2")]),
        "INSERT INTO agent_groups VALUES ('g', 'g', NULL, 'dynamic', '{}', 'x', 'x')",
        f"UPDATE agent_groups SET created_at = '{AT}', updated_at = '{AT}'",
        "UPDATE messages SET agent_id = 'gone' WHERE id = 'm2'",
        *(f"INSERT INTO group_members VALUES ('{g}', '{a}', NULL, '{AT}', '[]')"
          for g, a in [("g", "a"), ("g", "gone"), ("none", "a")]),
        block("own"), block("inactive", active=0), block("odd", active=7), block("theirs", "gone"), block("g's", "g"),
        block("reached", "gone", active=0), block("unreached", "gone", active=0),
        *(f"INSERT INTO shared_block_agents VALUES ('{b}', '{a}', 'append', '{AT}')"
          for b, a in [("own", "a"), ("own", "gone"), ("none", "a"), ("inactive", "a"), ("reached", "a")]),
        *(f"INSERT INTO memory_block_updates (block_id, seq, update_blob, byte_size, created_at, is_active) "
          f"VALUES ('{b}', {s}, x'02', 1, '{AT}', 0)"
          for b, s in [("own", 1), ("own", 2), ("inactive", 1), ("none", 1), ("odd", 1)]),
        f"INSERT INTO memory_block_checkpoints (block_id, snapshot, created_at) VALUES ('none', x'01', '{AT}')",
        entry("e1", "a"), entry("e2", "g"), entry("e3", "_constellation_"),
        *(f"INSERT INTO archive_summaries VALUES ('{s}', '{a}', 't', '1', '2', 3, NULL, 0, '{AT}')"
          for s, a in [("s1", "a"), ("s2", "gone")]),
    )  # fmt: skip
    walked = await walk(path)
    beyond = {table: [row["id"] for row in rows if "id" in row] for table, rows in walked.tables.items()}

    require_all_once(walked, stored_rows(path))
    require_order(walked)
    assert ["m2"] == beyond["messages"]
    assert ["inactive", "odd", "unreached"] == beyond["memory_blocks"]
    assert ["e2", "e3"] == beyond["archival_entries"]
    assert ["s2"] == beyond["archive_summaries"]
    assert [3, 4, 5] == beyond["memory_block_updates"]
    assert [1] == beyond["memory_block_checkpoints"]
    assert [("g", "gone"), ("none", "a")] == [(m["group_id"], m["agent_id"]) for m in walked.tables["group_members"]]
    assert [("inactive", "a"), ("none", "a"), ("own", "gone")] == [
        (s["block_id"], s["agent_id"]) for s in walked.tables["shared_block_agents"]
    ]


@pytest.mark.parametrize("value", [1, 2, -1, "'yes'", "x'00'", 0.5])
async def test_whatever_is_not_zero_is_deleted(tmp_path: Path, value: object) -> None:
    """Only 0 is a living message; all else travels as a row of the table, whatever it is."""
    path = run(
        build(tmp_path / "a.db", messages=[("m1", "1"), ("m2", "2"), ("m3", "3")]),
        f"UPDATE messages SET is_deleted = {value} WHERE id <> 'm2'",
    )
    walked = await walk(path)

    require_all_once(walked, stored_rows(path))
    assert ["m1", "m3"] == [row["id"] for row in walked.tables["messages"]]


async def test_a_group_that_is_not_there_reaches_nothing(tmp_path: Path) -> None:
    """An inactive block is in the version 3 part where a group reaches it, and only then."""
    path = run(
        build(tmp_path / "a.db"),
        f"INSERT INTO agent_groups VALUES ('another', 'g', NULL, 'dynamic', '{{}}', '{AT}', '{AT}')",
        f"INSERT INTO group_members VALUES ('none', 'a', NULL, '{AT}', '[]')",
        block("b", "gone", active=0),
        f"INSERT INTO shared_block_agents VALUES ('b', 'a', 'append', '{AT}')",
    )
    walked = await walk(path)

    require_all_once(walked, stored_rows(path))
    assert {"group_members", "memory_blocks", "shared_block_agents"} == set(walked.tables)


async def test_attachments_come_before_the_blocks_of_no_agent(tmp_path: Path) -> None:
    """So that a page of the attachments can stand before the blocks that are linked after them."""
    path = run(
        build(tmp_path / "a.db"), block("own"), block("free", "_constellation_"),
        f"INSERT INTO shared_block_agents VALUES ('own', 'a', 'append', '{AT}')",
    )  # fmt: skip
    events = (await walk(path)).events
    kinds = [
        event.record[0] if isinstance(event, Open) and event.node is MemoryBlockExport else type(event).__name__
        for event in events
        if (isinstance(event, Open) and event.node is MemoryBlockExport)
        or (isinstance(event, Rows) and event.record is SharedAttachment)
        or (isinstance(event, Ref) and event.node is AgentExport)
    ]

    assert ["own", "Rows", "free", "Ref"] == kinds


async def test_the_stored_document_is_the_base(tmp_path: Path) -> None:
    """An empty document starts from the newest checkpoint, and yet its base is what is stored: nothing."""
    path = run(
        build(tmp_path / "a.db"), block("b"), block("c"),
        "UPDATE memory_blocks SET loro_snapshot = x'', frontier = x'07' WHERE id = 'b'",
        *(f"INSERT INTO memory_block_checkpoints (block_id, snapshot, created_at) VALUES ('b', {s}, '{AT}')"
          for s in ("x'0a'", "x'0b'")),
    )  # fmt: skip
    walked = await walk(path)
    opened = [event for event in walked.events if isinstance(event, Open) and event.node is MemoryBlockExport]

    assert [b"\x0b", b"\x01"] == [event.record[MemoryBlock.index("loro_snapshot")] for event in opened]
    assert {"b": (b"", b"\x07"), "c": (b"\x01", None)} == walked.bases
    assert [b"\x0a", b"\x0b"] == [row["snapshot"] for _, row in walked.history]


async def test_parents_come_first(tmp_path: Path) -> None:
    """Rows that refer to their own table: by depth, then key; rows on a cycle last; also without a rowid."""
    path = run(
        build(tmp_path / "a.db"),
        *(entry(e, "_constellation_", parent) for e, parent in
          [("a3", "b2"), ("b2", "c1"), ("c1", None), ("d1", "elsewhere"), ("a9", "z9"), ("z9", "a9"), ("a0", "in v3")]),
        entry("in v3", "a"),
        "CREATE TABLE twigs (k INTEGER, up INTEGER REFERENCES twigs, PRIMARY KEY (k)) WITHOUT ROWID",
        "CREATE INDEX up ON twigs (up)",
        "INSERT INTO twigs VALUES (1, 3), (2, NULL), (3, 2), (4, 4), (5, 3)",
    )  # fmt: skip
    walked = await walk(path)

    require_all_once(walked, stored_rows(path))
    assert ["a0", "c1", "d1", "b2", "a3", "a9", "z9"] == [row["id"] for row in walked.tables["archival_entries"]]
    assert [2, 3, 1, 5, 4] == [row["k"] for row in walked.tables["twigs"]]


async def test_rows_come_in_key_order(tmp_path: Path) -> None:
    """By primary key where there is one, whatever the order of insertion; else by rowid."""
    path = run(
        build(tmp_path / "a.db", messages=[(name, "1") for name in ("m3", "m1", "m2")]),
        "UPDATE messages SET is_deleted = 1",
        "CREATE TABLE pairs (v, x TEXT, y INTEGER, PRIMARY KEY (x, y))",
        "INSERT INTO pairs VALUES (1, 'b', 2), (2, 'b', 1), (3, 'a', 3), (4, NULL, 9), (5, NULL, 9)",
        "CREATE TABLE heap (v)",
        "INSERT INTO heap (rowid, v) VALUES (7, 'last'), (2, 'first')",
    )
    walked = await walk(path)

    require_all_once(walked, stored_rows(path))
    assert ["m1", "m2", "m3"] == [row["id"] for row in walked.tables["messages"]]
    assert [4, 5, 3, 2, 1] == [row["v"] for row in walked.tables["pairs"]]
    assert ["first", "last"] == [row["v"] for row in walked.tables["heap"]]


async def test_unknown_columns_are_cells(tmp_path: Path) -> None:
    """Of version 3 rows: what is not NULL, and what is NULL against a default. Of other rows they are in the row."""
    path = run(
        build(tmp_path / "a.db", messages=[("m1", "1"), ("m2", "2"), ("m3", "3")]),
        "UPDATE messages SET is_deleted = 1 WHERE id = 'm3'",
        "ALTER TABLE messages ADD COLUMN mood TEXT",
        "ALTER TABLE messages ADD COLUMN rank REAL DEFAULT 0.5",
        "ALTER TABLE messages ADD COLUMN twice AS (rank * 2)",
        "UPDATE messages SET mood = 'fine' WHERE id <> 'm2'",
        "UPDATE messages SET rank = NULL WHERE id = 'm1'",
        "ALTER TABLE group_members ADD COLUMN note BLOB",
        f"INSERT INTO agent_groups VALUES ('g', 'g', NULL, 'dynamic', '{{}}', '{AT}', '{AT}')",
        f"INSERT INTO group_members VALUES ('g', 'a', NULL, '{AT}', '[]', x'0102')",
    )
    walked = await walk(path)

    assert [
        ("messages", "m1", "mood", "fine"),
        ("messages", "m1", "rank", None),
        ("messages", "m2", "rank", 0.5),
        ("group_members", '["g","a"]', "note", b"\x01\x02"),
    ] == walked.cells
    assert ["fine"] == [row["mood"] for row in walked.tables["messages"]]
    assert "twice" not in walked.tables["messages"][0]
