"""What came with new ids is looked through for old ones, all of it and nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pattern_stream.db.connection.opening import open_writer
from pattern_stream.db.write.leftover_ids import LeftoverIds
from pattern_stream.errors import Finding
from pattern_stream.format import LARGE_CELL_BYTES
from pattern_stream.schema.ids.new_ids import Identity
from tests.db.worlds import AT, build

pytestmark = pytest.mark.anyio

IDENTITY = Identity(bytes(range(32)))
AGENT, OTHER, BLOCK, MESSAGE, ENTRY = "a" * 32, "b" * 32, "mem_" + "c" * 32, "msg_" + "d" * 32, "arch_" + "e" * 32
NOBODY = "0123456789abcdef" * 2


def new(old: str) -> str:
    """The new id of any of these."""
    kinds: dict[str, Any] = {"mem": "memory_block", "msg": "message", "arc": "archival_entry"}
    return IDENTITY.mint(old, kinds.get(old[:3], "agent"))


def fill(connection: sqlite3.Connection, texts: dict[str, str], entry: str = "", preview: str = "") -> None:
    """What an import with new ids would have brought: two agents, a memory block, an entry, messages with `texts`."""
    for name in (AGENT, OTHER):
        connection.execute(
            "INSERT INTO agents (id, name, model_provider, model_name, system_prompt, config, enabled_tools, "
            "created_at, updated_at) VALUES (?, ?, 'p', 'm', '', '{}', '[]', ?, ?)", (new(name), name[:3], AT, AT),
        )  # fmt: skip
    connection.execute(
        "INSERT INTO memory_blocks (id, agent_id, label, description, block_type, char_limit, loro_snapshot, "
        "content_preview, created_at, updated_at) VALUES (?, ?, 'l', 'd', 'core', 1, x'', ?, ?, ?)",
        (new(BLOCK), new(AGENT), preview, AT, AT),
    )
    connection.execute(
        "INSERT INTO archival_entries (id, agent_id, content, created_at) VALUES (?, ?, ?, ?)",
        (new(ENTRY), new(AGENT), entry, AT),
    )
    for number, (message, text) in enumerate(texts.items()):
        connection.execute(
            "INSERT INTO messages (id, agent_id, position, role, content_json, content_preview, created_at) "
            "VALUES (?, ?, ?, 'user', ?, ?, ?)", (new(message), new(AGENT), number, text, text, AT),
        )  # fmt: skip


async def mentions(
    path: Path, named: tuple[str, ...] = (), *, replacing: bool = False, **cells: Any
) -> list[tuple[str, str, str, str]]:
    """Table, column, row and message of what is found after such an import."""
    found: list[Finding] = []
    async with open_writer(path) as connection:
        watched = await LeftoverIds.watch(connection, replacing=replacing)
        await connection.run(lambda driver: fill(driver, **cells))
        await watched.report(IDENTITY, named, found.append)
    assert {("warning", "ids-in-text")} >= {(one.severity, one.code) for one in found}
    return [(one.where.table or "", one.where.field or "", one.where.row_id or "", one.message) for one in found]


async def test_cells_of_a_column_are_one_finding(tmp_path: Path) -> None:
    """With their number, the first of them and an id that it has; a cell counts once."""
    texts = {
        "msg_1": f'{{"Text":"nothing of {NOBODY}"}}',
        MESSAGE: f'{{"Text":"ask {NOBODY} or {OTHER} and {AGENT}"}}',
        "msg_3": f'{{"Text":"see {BLOCK} and {MESSAGE}"}}',
    }
    row = new(MESSAGE)
    expected = f"2 cells still have old ids, such as {OTHER}: ids in text and free JSON are left as they are"

    assert [("messages", "content_json", row, expected)] == await mentions(build(tmp_path / "a.db"), texts=texts)


async def test_documents_by_what_they_show(tmp_path: Path) -> None:
    """The preview of a memory block is the whole text of its document; entries are told apart."""
    found = await mentions(build(tmp_path / "a.db"), texts={}, entry=f"of {ENTRY}", preview=f"I am {AGENT}")

    assert [
        ("archival_entries", "content", new(ENTRY), f"1 cell still has old ids, such as {ENTRY}"),
        ("memory_blocks", "content_preview", new(BLOCK), f"1 document still shows old ids, such as {AGENT}"),
    ] == sorted((*place, message.partition(":")[0]) for *place, message in found)


async def test_what_was_there_is_not_looked_at(tmp_path: Path) -> None:
    """Nor are new ids taken for old ones."""
    path = build(tmp_path / "a.db", messages=[("m1", f'"of {AGENT}"')])

    assert [] == await mentions(path, texts={MESSAGE: f'"of {new(AGENT)} and {new(BLOCK)}"'})


async def test_what_was_there_is_looked_at_where_it_may_be_replaced(tmp_path: Path) -> None:
    """A row that is replaced keeps its place among those that were there."""
    path = build(tmp_path / "a.db", messages=[("m1", f'"of {AGENT}"')])

    ((table, column, row, _),) = await mentions(path, replacing=True, texts={MESSAGE: '"nothing"'})
    assert ("messages", "content_json", "m1") == (table, column, row)


async def test_text_that_is_stored_in_two_bytes(tmp_path: Path) -> None:
    """SQLite can keep text as UTF-16: ids are found, rows are named."""
    path = tmp_path / "wide.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16be'")
        connection.execute("PRAGMA user_version = 1")
    build(path)
    found = await mentions(path, texts={MESSAGE: f'"of {AGENT}"'})

    assert [("content_json", new(MESSAGE))] == [(column, row) for _, column, row, _ in found]
    assert AGENT in found[0][3]


async def test_a_large_key_is_not_read(tmp_path: Path) -> None:
    """The row has its number for a name, and what is in it is found."""
    path = build(tmp_path / "a.db")

    def add(connection: sqlite3.Connection) -> None:
        fill(connection, {})
        sql = "INSERT INTO coordination_state (key, value, updated_at) VALUES (?, ?, ?)"
        connection.execute(sql, ("k" * (LARGE_CELL_BYTES + 1), f'"of {AGENT}"', AT))

    found: list[Finding] = []
    async with open_writer(path) as connection:
        watched = await LeftoverIds.watch(connection)
        await connection.run(add)
        await watched.report(IDENTITY, (), found.append)

    assert [("coordination_state", "value", "rowid 1")] == [
        (one.where.table, one.where.field, one.where.row_id) for one in found
    ]
    assert "too large" not in found[0].message


async def test_odd_ids_of_agents(tmp_path: Path) -> None:
    """They are looked for by name."""
    found = await mentions(build(tmp_path / "a.db"), named=("agent-7", AGENT), texts={MESSAGE: '"ask agent-7"'})

    assert [("content_json", "agent-7")] == [(field, "agent-7") for _, field, _, text in found if "agent-7" in text]


async def test_hashes_without_end_are_not_all_looked_up(tmp_path: Path) -> None:
    """A cell of them costs as much as one of a few hundred."""
    hashes = " ".join(f"{number:032x}" for number in range(5_000))
    texts = {"msg_1": f'"{AGENT} {hashes}"', "msg_2": f'"{hashes} {AGENT}"'}
    counts = [message.partition(" ")[0] for *_, message in await mentions(build(tmp_path / "a.db"), texts=texts)]

    assert ["1"] == counts


async def test_a_cell_that_is_too_large_is_said(tmp_path: Path) -> None:
    """Those around it are looked into, and all that come after."""
    large = f'"{"x" * LARGE_CELL_BYTES} {AGENT}"'
    texts = {f"msg_{number}": f'"of {AGENT}"' for number in range(300)} | {"msg_150": large}
    found = await mentions(build(tmp_path / "a.db"), texts=texts)

    assert [
        f"299 cells still have old ids, such as {AGENT}: ids in text and free JSON are left as they are",
        "1 cell is too large to look for old ids in",
    ] == [message for *_, message in found]


async def test_rows_around_a_large_one_may_have_large_ones_too(tmp_path: Path) -> None:
    """Batches go on behind each of them, to the last row."""
    large = f'"{"x" * LARGE_CELL_BYTES}"'
    texts = {f"msg_{number}": f'"of {AGENT}"' for number in range(400)} | {"msg_0": large, "msg_399": large}
    counts = [message.partition(" ")[0] for *_, message in await mentions(build(tmp_path / "a.db"), texts=texts)]

    assert ["398", "2"] == counts
