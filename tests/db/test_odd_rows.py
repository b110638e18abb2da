"""Cells and rows that no program of the original's writes: whatever they hold, they go out and can come back."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pattern_stream.errors import InvalidCell
from pattern_stream.schema.mapping.record_to_row import record_unmapper
from pattern_stream.schema.model.cells import NotUtf8
from pattern_stream.schema.model.records import DECLARED, MemoryBlock, Record
from pattern_stream.schema.model.scopes import ResolvedScope, Selection
from tests.db.read.test_extension import block, entry, of_version_3, require_all_once, require_order, run
from tests.db.walking import EVERYTHING, Walked, stored_rows, walk
from tests.db.worlds import AT, add_agent, build

pytestmark = pytest.mark.anyio

BAD = NotUtf8(b"\xff\xfe.")

ODD_LEAVES = [
    ("messages", "role", "'pirate'"), ("messages", "content_json", "'{broken'"), ("messages", "content_json", "9e999"),
    ("messages", "created_at", "'yesterday'"), ("messages", "id", "NULL"), ("messages", "id", "x'00ff'"),
    ("messages", "source", "CAST(x'fffe2e' AS TEXT)"), ("messages", "position", "x'31'"),
    ("messages", "agent_id", "CAST(x'fffe2e' AS TEXT)"),
    ("archival_entries", "metadata", "'{broken'"), ("archival_entries", "content", "CAST(x'fffe2e' AS TEXT)"),
    ("archival_entries", "created_at", "CAST(x'fffe2e' AS TEXT)"), ("archival_entries", "chunk_index", "'x'"),
    ("archive_summaries", "depth", "'deep'"), ("group_members", "role", "'[]'"),
    ("group_members", "joined_at", "CAST(x'fffe2e' AS TEXT)"), ("shared_block_agents", "permission", "'all'"),
]  # fmt: skip
ODD_CELLS = [
    ("archival_entries", "metadata", "'null'", "null"), ("archival_entries", "chunk_index", "NULL", None),
    ("messages", "source_metadata", "' null '", " null "), ("agents", "tool_rules", "'null'", "null"),
    ("group_members", "capabilities", "'null'", "null"),
    ("group_members", "capabilities", "NULL", None), ("messages", "is_archived", "3", 3),
    ("agents", "status", "'asleep'", "asleep"), ("agents", "config", "9e999", inf),
    ("agents", "system_prompt", "CAST(x'fffe2e' AS TEXT)", BAD), ("agents", "name", "x'0a'", b"\n"),
    ("agent_groups", "pattern_type", "'mob'", "mob"), ("memory_blocks", "pinned", "'p'", "p"),
    ("memory_blocks", "label", "CAST(x'fffe2e' AS TEXT)", BAD), ("memory_blocks", "metadata", "'{'", "{"),
]  # fmt: skip
ODD_PARENTS = [
    ("agents", "id", "NULL"), ("agents", "id", "x'61'"), ("agents", "id", "CAST(x'fffe2e' AS TEXT)"),
    ("agent_groups", "id", "CAST(x'fffe2e' AS TEXT)"), ("memory_blocks", "id", "x'62'"),
    ("memory_blocks", "agent_id", "CAST(x'fffe2e' AS TEXT)"), ("memory_blocks", "loro_snapshot", "'text'"),
    ("memory_blocks", "frontier", "7"),
]  # fmt: skip
KEYS = {"group_members": '["g","a"]', "shared_block_agents": '["b","a"]'}


def furnished(path: Path) -> Path:
    """Two of everything that version 3 carries, the second of which nobody touches."""
    build(path, messages=[("m1", "1"), ("m2", "2")])
    with closing(sqlite3.connect(path)) as connection:
        add_agent(connection, "other")
        connection.commit()
    return run(
        path,
        *(f"INSERT INTO agent_groups VALUES ('{g}', '{g}', NULL, 'dynamic', '{{}}', '{AT}', '{AT}')" for g in "gh"),
        *(f"INSERT INTO group_members VALUES ('{g}', 'a', NULL, '{AT}', '[]')" for g in "gh"),
        block("b"), block("c"),
        *(f"INSERT INTO shared_block_agents VALUES ('{b}', 'a', 'append', '{AT}')" for b in "bc"),
        *(f"INSERT INTO memory_block_updates (block_id, seq, update_blob, byte_size, created_at, is_active) "
          f"VALUES ('{b}', 1, x'02', 1, '{AT}', 0)" for b in "bc"),
        entry("e1", "a"), entry("e2", "a", "e1"),
        *(f"INSERT INTO archive_summaries VALUES ('s{n}', 'a', 't', '1', '2', 3, NULL, 0, '{AT}')" for n in (1, 2)),
    )  # fmt: skip


FIRST = {
    "agents": "id = 'a'", "agent_groups": "id = 'g'", "memory_blocks": "id = 'b'", "messages": "id = 'm1'",
    "archival_entries": "id = 'e1'", "archive_summaries": "id = 's1'", "group_members": "group_id = 'g'",
    "shared_block_agents": "block_id = 'b'",
}  # fmt: skip


@pytest.mark.parametrize(("table", "column", "value"), ODD_LEAVES)
async def test_rows_that_version_3_cannot_hold(tmp_path: Path, table: str, column: str, value: str) -> None:
    """They are in the table beyond, as stored, with those that stand beside them in the version 3 part."""
    path = run(furnished(tmp_path / "a.db"), f"UPDATE {table} SET {column} = {value} WHERE {FIRST[table]}")
    walked = await walk(path)

    require_all_once(walked, stored_rows(path))
    require_order(walked)
    assert 1 == len(walked.tables[table])
    assert 1 == len(of_version_3(walked, DECLARED[table]))
    assert not walked.cells


@pytest.mark.parametrize(("table", "column", "value", "cell"), ODD_CELLS)
async def test_cells_that_would_not_come_back(
    tmp_path: Path, table: str, column: str, value: str, cell: object
) -> None:
    """The row is in the version 3 part, and the cell beside it as it is stored."""
    path = run(furnished(tmp_path / "a.db"), f"UPDATE {table} SET {column} = {value} WHERE {FIRST[table]}")
    walked = await walk(path)

    require_all_once(walked, stored_rows(path))
    key = KEYS.get(table) or FIRST[table].partition("'")[2].rstrip("'")
    assert [(table, key, column, cell)] == walked.cells
    assert type(cell) is type(walked.cells[0][3])
    assert table not in walked.tables


@pytest.mark.parametrize(("table", "column", "value"), ODD_PARENTS)
async def test_parents_that_nothing_can_name(tmp_path: Path, table: str, column: str, value: str) -> None:
    """Agents, groups and memory blocks with such an id go out as rows, and all that hangs on them too."""
    path = run(furnished(tmp_path / "a.db"), f"UPDATE {table} SET {column} = {value} WHERE {FIRST[table]}")
    walked = await walk(path)

    require_all_once(walked, stored_rows(path))
    require_order(walked)
    assert 1 == len(walked.tables[table])


async def test_without_tables_bad_text_is_refused_as_ever(tmp_path: Path) -> None:
    """A portable archive has no place for it, and says where it is."""
    path = run(
        build(tmp_path / "a.db", messages=[("m1", "1"), ("m2", "2")]),
        "UPDATE messages SET source = CAST(x'fffe2e' AS TEXT) WHERE id = 'm2'",
    )
    with pytest.raises(InvalidCell, match="no UTF-8") as caught:
        await walk(path, Selection())
    assert {"table": "messages", "row_id": "m2", "field": "source"} == caught.value.where.as_dict()


odd_value = st.sampled_from(
    ["NULL", "0", "1", "-3", "1.5", "9e999", "-9e999", "''", "'x'", "'null'", "'{}'", "'[]'", "'[\"a\"]'", "x''",
     "x'ff'", "CAST(x'fffe2e' AS TEXT)", "CAST(x'610062' AS TEXT)", f"'{AT}'", "'a'", "'b'", "'g'", "'active'",
     "zeroblob(9)", "'{\"type\":\"observer\",\"more\":1}'", "'1.0'", "'-0'"]
)  # fmt: skip
odd_updates = st.lists(
    st.tuples(
        st.sampled_from(
            [(record.table, column) for record in DECLARED.values() for column in record.columns]
            + [("memory_block_updates", column) for column in ("block_id", "frontier", "source")]
            + [("messages", "mood"), ("memory_blocks", "embedding_model")]
        ),
        odd_value,
        st.booleans(),
    ),
    max_size=6,
)


def returned(walked: Walked, record: type[Record], row: dict[str, Any]) -> dict[str, Any]:
    """A row as an import would have it: from its record, with its cells put in last."""
    if record is MemoryBlock:
        row = row | {"loro_snapshot": b""}
    made = dict(zip(record.columns, record_unmapper(record).unmap([row], lambda finding: None)[0], strict=True))
    if record is MemoryBlock:
        made["loro_snapshot"], made["frontier"] = walked.bases[row["id"]]
    key = [row[name] for name in record.key]
    named = key[0] if len(key) == 1 else json.dumps(key, separators=(",", ":"), ensure_ascii=False)
    return made | {column: cell for table, of, column, cell in walked.cells if (table, of) == (record.table, named)}


def equal(ours: Any, theirs: Any, *, is_json: bool) -> bool:
    """Storage class and content; JSON by value, where an integer -0 is a float."""
    if is_json and type(ours) is str and type(theirs) is str and ours != theirs:
        return sorted_json(ours) == sorted_json(theirs)
    return type(ours) is type(theirs) and bool(ours == theirs)


def sorted_json(text: str) -> str:
    """JSON text as everybody would write the same value."""
    return json.dumps(
        json.loads(text, parse_int=lambda digits: -0.0 if digits == "-0" else int(digits)), sort_keys=True
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(updates=odd_updates)
async def test_any_odd_cells_come_back(tmp_path_factory: pytest.TempPathFactory, updates: list[Any]) -> None:
    """Whatever is in any cell: every row goes out once, and those of version 3 come back cell by cell."""
    path = furnished(tmp_path_factory.mktemp("odd") / "a.db")
    run(path, "ALTER TABLE messages ADD COLUMN mood")
    for (table, column), value, first in updates:
        where = FIRST.get(table, "seq = 1") if first else "1"
        try:
            run(path, f"UPDATE OR IGNORE {table} SET {column} = {value} WHERE {where}")
        except sqlite3.IntegrityError:
            continue
    walked, stored = await walk(path), stored_rows(path)

    require_all_once(walked, stored)
    for table, record in DECLARED.items():
        kept = {tuple(row[name] for name in record.key): row for row in stored[table]}
        kinds = {field.column: field.kind in ("json", "strings", "role") for field in record.fields}
        for row in walked.records[record]:
            theirs = kept[tuple(row[name] for name in record.key)]
            ours = returned(walked, record, row)
            assert not [
                (table, name, ours.get(name), cell)
                for name, cell in theirs.items()
                if not equal(ours.get(name), cell, is_json=kinds.get(name, False))
            ]


def test_selection_of_everything() -> None:
    """What these tests walk with is what a default constellation archive has."""
    assert EVERYTHING.with_tables(ResolvedScope("constellation"))
    assert not EVERYTHING.with_tables(ResolvedScope("agent", "a"))
