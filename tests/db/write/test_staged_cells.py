"""Large cells are put together from their pieces, in any kind of row, without being in memory before they are whole."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pattern_stream.db.connection.opening import open_writer
from pattern_stream.db.write.sink import LoadOptions, begin, commit, write_rows
from pattern_stream.errors import LimitExceeded, ProtocolError
from pattern_stream.items import Close, MemoryHistory, Open, Piece, Records, RowEvent, Rows
from pattern_stream.schema.model.cells import HISTORY_COLUMNS, Large, NotUtf8
from pattern_stream.schema.model.records import ArchivalEntry, Message
from tests.db.importing import agent, assert_sound, block, load, messages, query, rows_of, single_cells, table
from tests.db.worlds import build

pytestmark = pytest.mark.anyio

AT = "2026-01-02T03:04:05+00:00"
REPLACE = LoadOptions("replace")
TEXT = '{"Text":"' + "many words é " * 10_000 + '"}'
FILE = ("id", "folder_id", "name", "content", "uploaded_at")
FOLDER = table("folders", ("id", "name", "path_type", "embedding_model", "created_at"), ("f", "f", "local", "m", AT))
MEASURED_BYTES = 64 * 1024 * 1024
CACHE_BYTES = 64 * 1024 * 1024
SLACK_BYTES = 44 * 1024 * 1024
"""What is measured beside the copies of the cell: pieces under way, SQLite's bookkeeping, the heap."""


def pieces(column: str, content: str | bytes, size: int = 50_001) -> list[Piece]:
    """A cell in pieces."""
    data = content.encode() if isinstance(content, str) else content
    return [Piece(column, data[at : at + size]) for at in range(0, len(data), size)]


def large(content: str | bytes) -> Large:
    """What stands for a cell in its row."""
    return Large(len(content.encode() if isinstance(content, str) else content), isinstance(content, str))


def with_large(events: list[Any], column: str, content: str) -> list[Any]:
    """Records of one with a large cell and its pieces."""
    found: list[Any] = []
    for event in events:
        if isinstance(event, Records) and len(event.records) == 1:
            found.append(Records(event.record, [event.records[0] | {column: large(content)}]))
            found += pieces(column, content)
        else:
            found.append(event)
    return found


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database with one agent `a` and a message `m0`."""
    return build(tmp_path / "c.db", messages=[("m0", '{"Text":"old"}')])


@pytest.mark.parametrize("options", [LoadOptions(), REPLACE])
@pytest.mark.parametrize("column", ["content_json", "content_preview"])
async def test_a_large_cell_of_a_message(db: Path, options: LoadOptions, column: str) -> None:
    """New, and in place of another; in an indexed column its words are found, and those before are not."""
    before = agent("b", messages("b", ["m1"], text="before"))
    if options is REPLACE:
        await load(db, before)
    await load(db, with_large(before, column, TEXT), options)

    assert [(TEXT, "text")] == query(db, f"SELECT {column}, typeof({column}) FROM messages WHERE id = 'm1'")
    words = query(db, "SELECT count(*) FROM messages_fts WHERE messages_fts MATCH 'many'")
    assert [(1 if column == "content_preview" else 0,)] == words
    assert_sound(db)


async def test_a_large_row_among_many(db: Path) -> None:
    """Rows that wait for a full statement go in before it, and the index goes round the triggers as ever."""
    tree = [
        *agent(
            "b",
            messages("b", [f"n{number}" for number in range(3000)], text="small"),
            *with_large([messages("b", ["m1"])], "content_preview", TEXT),
            messages("b", [f"k{number}" for number in range(700)], text="small"),
        )
    ]
    loaded, _ = await load(db, tree)

    assert [(3702, 1)] == query(db, "SELECT count(*), sum(content_preview LIKE '%many words%') FROM messages")
    assert [(3700,)] == query(db, "SELECT count(*) FROM messages_fts WHERE messages_fts MATCH 'small'")
    assert [(1,)] == query(db, "SELECT count(*) FROM messages_fts WHERE messages_fts MATCH 'many'")
    assert 3701 == loaded.rows["messages"]
    assert_sound(db)


async def test_opens_have_large_cells_too(db: Path) -> None:
    """Agents and memory blocks: in any text, also the ones that are looked at on the way."""
    tree = agent("b", block("x", "b"))
    opened, inner = tree[0], tree[1]
    assert isinstance(opened, Open)
    assert isinstance(inner, Open)
    agent_record = opened.record | {"system_prompt": large(TEXT), "name": large("n" * 70_000)}
    block_record = inner.record | {"label": large("l" * 70_000), "content_preview": large(TEXT)}
    events = [
        Open(opened.node, agent_record, "b"), *pieces("name", "n" * 70_000), *pieces("system_prompt", TEXT),
        replace(inner, record=block_record), *pieces("label", "l" * 70_000),
        *pieces("content_preview", TEXT), *tree[2:],
    ]  # fmt: skip
    await load(db, events)

    assert [(TEXT, "n" * 70_000)] == query(db, "SELECT system_prompt, name FROM agents WHERE id = 'b'")
    assert [(TEXT, "l" * 70_000)] == query(db, "SELECT content_preview, label FROM memory_blocks")
    assert_sound(db)


async def test_rows_of_tables(db: Path) -> None:
    """A BLOB and text that is no UTF-8; several in one row; an empty one, which has no pieces."""
    content, name = bytes(range(256)) * 1000, "n" * 60_000
    one = ("x", "f", large(name), large(content), AT)
    two = ("y", "f", "y", Large(3, True), AT)
    three = ("z", "f", "z", Large(0, False), AT)
    tree = [
        *FOLDER,
        *table("folder_files", FILE, one, *pieces("name", name), *pieces("content", content), two,
               Piece("content", b"\xff\xfe\x00"), three),
    ]  # fmt: skip
    loaded, _ = await load(db, tree)

    assert [("x", "blob", name, content)] == query(
        db, "SELECT id, typeof(content), name, content FROM folder_files WHERE id = 'x'"
    )
    assert [("text", b"\xff\xfe\x00"), ("blob", b"")] == query(
        db, "SELECT typeof(content), CAST(content AS BLOB) FROM folder_files WHERE id > 'x' ORDER BY id"
    )
    assert {"folders": 1, "folder_files": 3} == loaded.rows
    assert_sound(db)


async def test_large_keys_meet_what_is_there(db: Path) -> None:
    """A key of any size is found again, and replaced in place."""
    key = "k" * 80_000
    columns = ("key", "value", "updated_at")
    row = (large(key), '"first"', AT)
    tree = [*table("coordination_state", columns, row, *pieces("key", key))]
    await load(db, tree)
    again = [*table("coordination_state", columns, (large(key), '"second"', AT), *pieces("key", key))]
    await load(db, again, REPLACE)

    assert [(key, '"second"')] == query(db, "SELECT key, value FROM coordination_state")


async def test_large_edits_and_cells(db: Path) -> None:
    """In the history of a memory block, and as a single cell of an indexed table."""
    blob = bytes(range(256)) * 2000
    row = (1, "x", 1, large(blob), len(blob), None, AT, None, 1)
    inside = [*rows_of("memory_block_updates", row), *pieces("update_blob", blob)]
    tree = [
        *agent("b", block("x", "b", "persona", *inside, history=MemoryHistory(None, None, HISTORY_COLUMNS))),
        *single_cells(("memory_blocks", "x", "content_preview", large(TEXT)), *pieces("value", TEXT)),
    ]
    await load(db, tree)

    assert [(blob,)] == query(db, "SELECT update_blob FROM memory_block_updates")
    assert [(TEXT,)] == query(db, "SELECT content_preview FROM memory_blocks")
    assert [(1,)] == query(db, "SELECT count(*) FROM memory_blocks_fts WHERE memory_blocks_fts MATCH 'many'")
    assert_sound(db)


async def test_what_is_not_wanted_is_taken_and_forgotten(db: Path) -> None:
    """Pieces of a table that is dropped, and of a row that is skipped."""
    tree = table("nowhere", ("cell",), (large(TEXT),), *pieces("cell", TEXT))
    loaded, _ = await load(db, tree, LoadOptions(drop_unknown=True))
    skipped, _ = await load(
        db, with_large(agent("a", messages("a", ["m1"])), "content_json", TEXT), LoadOptions("skip")
    )

    assert ({"nowhere": 1}, {"agents": 1, "messages": 1}) == (loaded.dropped, skipped.skipped)
    assert [("m0",)] == query(db, "SELECT id FROM messages")


ROW = ("x", "f", "x", Large(10, True), AT)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([Piece("content", b"x")], "found a piece of 'content', expected none"),
        ([ROW], "10 bytes of 'content' missing"),
        ([ROW, Piece("content", b"12345")], "5 bytes of 'content' missing"),
        ([ROW, Piece("content", b"12345"), ("y", "f", "y", b"", AT)], "5 bytes of 'content' missing"),
        ([ROW, Piece("name", b"12345")], "found a piece of 'name', expected one of 'content'"),
        ([ROW, Piece("content", b"12345678901")], "found a piece of 11 bytes, expected 1 to 10"),
        ([ROW, Piece("content", b"")], "found a piece of 0 bytes, expected 1 to 10"),
        ([ROW, Piece("content", b"1234567890"), Piece("content", b"1")], "found a piece of 'content', expected none"),
    ],
)
async def test_pieces_that_do_not_fit(db: Path, rows: list[Any], words: str) -> None:
    """Too few, too many, of another column, or of nothing: refused, and nothing is kept."""
    with pytest.raises(ProtocolError, match=words):
        await load(db, [*FOLDER, *table("folder_files", FILE, *rows)])

    assert [] == query(db, "SELECT id FROM folders")


@pytest.mark.parametrize("size_bytes", [2_000_000_000, 2**64, -1])
async def test_a_cell_larger_than_any_may_be(db: Path, size_bytes: int) -> None:
    """Refused before any room is made for it."""
    with pytest.raises(LimitExceeded, match=f"cell is {size_bytes} bytes, limit of SQLite is") as caught:
        await load(db, table("folder_files", FILE, ("x", "f", "x", Large(size_bytes, False), AT)))

    assert "content" == caught.value.where.field


async def test_an_archive_that_ends_among_pieces(db: Path) -> None:
    """The end of the events is no end of the cell."""
    opened = table("folder_files", FILE)[0]
    with pytest.raises(ProtocolError, match="10 bytes of 'content' missing"):
        await load(db, [*FOLDER, opened, *rows_of("folder_files", ROW)])


# --- memory -------------------------------------------------------------------------------------------------------


async def import_large(path: Path, kind: str, size_bytes: int) -> str:
    """Import one row with a cell of that size, made on the way; the digest of the cell."""
    digest = hashlib.sha256()
    filler = b"words of no great meaning, " * 40_000

    def made() -> Iterator[Piece]:
        for at in range(0, size_bytes, 900_000):
            data = filler[: min(900_000, size_bytes - at)]
            digest.update(data)
            yield Piece({"entry": "content", "message": "content_json"}.get(kind, "content"), data)

    def events() -> Iterator[RowEvent]:
        if kind == "file":
            yield from FOLDER  # type: ignore[misc]
            yield from table("folder_files", FILE, ("x", "f", "x", Large(size_bytes, False), AT))[:2]  # type: ignore[misc]
        else:
            yield Rows(*_row_of(kind, size_bytes))
        yield from made()
        if kind == "file":
            yield Close()

    async def flowing() -> Any:
        for event in events():
            yield event

    async with open_writer(path) as connection:
        await begin(connection)
        await write_rows(connection, flowing())
        await commit(connection)
    return digest.hexdigest()


def _row_of(kind: str, size_bytes: int) -> tuple[Any, list[tuple[Any, ...]]]:
    record = Message if kind == "message" else ArchivalEntry
    cells: dict[str, Any] = {
        "id": "x", "agent_id": "a", "position": "1", "role": "user", "created_at": AT, "is_archived": 0,
        "is_deleted": 0, "content_json": Large(size_bytes, True), "content": Large(size_bytes, True),
    }  # fmt: skip
    return record, [tuple(cells.get(column) for column in record.columns)]


_CHILD = """
import resource, sys
from pathlib import Path
import anyio
from tests.db.write.test_staged_cells import import_large
anyio.run(import_large, Path(sys.argv[1]), sys.argv[2], 1_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
digest = anyio.run(import_large, Path(sys.argv[1] + ".2"), sys.argv[2], int(sys.argv[3]))
print(digest, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("kind", ["message", "file", "entry"])
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_a_large_cell_costs_two_copies_of_itself(tmp_path: Path, kind: str) -> None:
    """Peak memory of a process that takes in 64 MiB in one cell, above what it needs for a small one: SQLite makes two
    copies of a row that it inserts or indexes, and its page cache fills. A third copy would be out of the bound."""
    first, second = build(tmp_path / "c.db"), build(tmp_path / "c.db.2")
    command = [sys.executable, "-c", _CHILD, str(first), kind, str(MEASURED_BYTES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    digest, before, peak = done.stdout.split()
    growth = (int(peak) - int(before)) * 1024

    places = {"message": "content_json FROM messages", "entry": "content FROM archival_entries"}
    column, place = places.get(kind, "content FROM folder_files").split(" ", 1)
    with closing(sqlite3.connect(second)) as connection:
        (stored,) = connection.execute(f"SELECT CAST({column} AS BLOB) {place} WHERE id = 'x'").fetchone()
    assert digest == hashlib.sha256(stored).hexdigest()
    assert growth <= 2 * MEASURED_BYTES + CACHE_BYTES + SLACK_BYTES


def test_not_utf8_is_no_blob() -> None:
    """The marker of text that is no UTF-8 is a kind of bytes, so that nothing may take it for a BLOB."""
    assert isinstance(NotUtf8(b"\xff"), bytes)
