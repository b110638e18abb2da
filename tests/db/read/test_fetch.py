"""Rows with cells that are too large, or that are no text: all rows come, in order, and nothing large is held."""

from __future__ import annotations

import hashlib
import sqlite3
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from pattern_stream.db.catalog.catalog import Catalog, read_catalog
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.opening import open_reader
from pattern_stream.db.read.by_key import large_cell, table_rows_by_key
from pattern_stream.db.read.fetch import Fetched, fetch, itself, pieces
from pattern_stream.db.read.plan import drive
from pattern_stream.db.read.query import Query, record_query, table_query
from pattern_stream.db.read.row_selection import in_order
from pattern_stream.errors import InvalidCell, LimitExceeded, UnsupportedSchema
from pattern_stream.format import LARGE_CELL_BYTES, VALUE_PIECE_BYTES
from pattern_stream.items import Piece, Rows
from pattern_stream.schema.model.cells import Large, NotUtf8
from pattern_stream.schema.model.records import MemoryBlock, Message
from pattern_stream.schema.model.scopes import Selection
from tests.db.read.test_extension import block, run
from tests.db.walking import walk
from tests.db.worlds import AT, build

pytestmark = pytest.mark.anyio

OVER = LARGE_CELL_BYTES + 1
ROWS = 600
MIB = 1024 * 1024


def grid(path: Path, table: str, cells: dict[int, Any], *, rows: int = ROWS, of: str = "BLOB") -> Path:
    """A table `k, v` of small rows, but for the given cells."""
    build(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE grid (k INTEGER, v {of}, w TEXT DEFAULT 'w', {table}")
        connection.executemany("INSERT INTO grid (k, v) VALUES (?, ?)", ((k, cells.get(k, "v")) for k in range(rows)))
        connection.commit()
    return path


SHAPES = {
    "rowid": "PRIMARY KEY (k))",
    "integer key": "PRIMARY KEY (k ASC))",
    "no rowid": "PRIMARY KEY (k)) WITHOUT ROWID",
    "names taken": "oid TEXT, _rowid_ TEXT, rowid INTEGER, PRIMARY KEY (k))",
    "text key": "z TEXT AS (k) VIRTUAL, PRIMARY KEY (k, w)) WITHOUT ROWID",
}


def read(connection: Connection, query: Query, *, lenient: bool = True) -> AsyncGenerator[Fetched]:
    return drive(fetch(connection, query, itself, lenient=lenient))


async def rows_of(path: Path, *, lenient: bool = True) -> tuple[list[int], list[Any], list[tuple[int, str, bytes]]]:
    """The lengths of the batches, all rows, and what came in pieces: (k, column, bytes)."""
    lengths: list[int] = []
    found: list[Any] = []
    large: list[tuple[int, str, bytes]] = []
    async with open_reader(path) as connection:
        table = (await read_catalog(connection)).find("grid")
        query = table_query(table, in_order(table))
        async for fetched in read(connection, query, lenient=lenient):
            lengths.append(len(fetched.rows))
            found += fetched.rows
            gathered: dict[str, list[bytes]] = {}
            async for piece in drive(pieces(connection, fetched)):
                gathered.setdefault(piece.column, []).append(piece.data)
            for column, parts in gathered.items():
                assert {VALUE_PIECE_BYTES} >= set(map(len, parts[:-1]))
                large.append((fetched.rows[0][0], column, b"".join(parts)))
    return lengths, found, large


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("places", [(0, 1), (550,), (3, 511, 512, 599)])
async def test_large_cells_come_in_pieces(tmp_path: Path, shape: str, places: tuple[int, ...]) -> None:
    """Wherever they are, whether found by rowid or key: alone in their batch, the rows around them whole and once."""
    values: dict[int, Any] = {place: bytes([place % 251]) * (OVER + place) for place in places}
    values[5] = b"z" * LARGE_CELL_BYTES
    lengths, found, large = await rows_of(grid(tmp_path / "a.db", SHAPES[shape], values))

    assert list(range(ROWS)) == [row[0] for row in found]
    assert [(place, "v", values[place]) for place in places] == large
    assert [Large(OVER + place, text=False) for place in places] == [found[place][1] for place in places]
    assert values[5] == found[5][1]
    assert all(row[1] in ("v", b"v") for row in found if row[0] not in values)
    assert len(places) <= lengths.count(1)


@pytest.mark.parametrize("shape", SHAPES)
async def test_large_text_is_known_as_text(tmp_path: Path, shape: str) -> None:
    """Its length is in bytes, its pieces are its UTF-8; a second large cell in the row comes after the first."""
    text = "äß€" * (OVER // 7 + 1)
    path = grid(tmp_path / "a.db", SHAPES[shape], {9: text}, of="TEXT", rows=20)
    key = "w" if "w)" in SHAPES[shape] else "k"
    if key == "k":
        run(path, ("UPDATE grid SET w = CAST(zeroblob(?) AS TEXT) WHERE k = 9", [OVER]))
    _, found, large = await rows_of(path)

    assert Large(len(text.encode()), text=True) == found[9][1]
    assert (9, "v", text.encode()) == large[0]
    assert ([(9, "w", bytes(OVER))] if key == "k" else []) == large[1:]
    assert list(range(20)) == [row[0] for row in found]


async def test_text_in_a_database_of_utf16(tmp_path: Path) -> None:
    """Pieces are UTF-8 whatever the encoding of the database."""
    path = tmp_path / "a.db"
    text = "ä" * OVER
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        connection.execute("CREATE TABLE agents (id)")
        connection.execute("CREATE TABLE grid (k, v)")
        connection.execute("INSERT INTO grid VALUES (1, 'v'), (2, ?)", (text,))
        connection.commit()
    _, found, large = await rows_of(path)

    assert [(1, "v"), (2, Large(2 * OVER, text=True))] == found
    assert [(2, "v", text.encode())] == large


@pytest.mark.parametrize("shape", SHAPES)
async def test_text_that_is_no_utf8(tmp_path: Path, shape: str) -> None:
    """It comes as its bytes, from then on too, among large cells; BLOBs of the same bytes stay BLOBs."""
    path = grid(tmp_path / "a.db", SHAPES[shape], {3: b"\xff", 580: b"z" * OVER}, of="")
    run(path, *(f"UPDATE grid SET v = CAST(x'41ff' AS TEXT) WHERE k = {k}" for k in (2, 550, 590)))
    _, found, large = await rows_of(path)

    assert [2, 550, 590] == [row[0] for row in found if type(row[1]) is NotUtf8]
    assert b"\xff" == found[3][1]
    assert type(found[3][1]) is bytes
    assert [580] == [k for k, _, _ in large]
    assert list(range(ROWS)) == [row[0] for row in found]


async def test_a_key_that_is_no_utf8(tmp_path: Path) -> None:
    """A row without rowid is found again by such a key, and by a key of bytes that look the same."""
    path = run(
        build(tmp_path / "a.db"), "CREATE TABLE grid (k, v, PRIMARY KEY (k)) WITHOUT ROWID",
        "INSERT INTO grid VALUES (CAST(x'41ff' AS TEXT), 1), (x'41ff', 2), ('plain', 3), (4.5, 4), (-1, 5)",
    )  # fmt: skip
    _, found, _ = await rows_of(path)

    assert [(-1, 5), (4.5, 4), (b"A\xff", 1), ("plain", 3), (b"A\xff", 2)] == found
    assert [NotUtf8, bytes] == [type(row[0]) for row in found if isinstance(row[0], bytes)]


async def test_strict_reading_refuses_it_after_a_large_cell(tmp_path: Path) -> None:
    """Where there is no place for such text, the error names the row also in the slow half."""
    path = grid(tmp_path / "a.db", SHAPES["rowid"], {3: b"z" * OVER}, of="", rows=20)
    run(path, "UPDATE grid SET w = CAST(x'41ff' AS TEXT) WHERE k = 7")

    with pytest.raises(InvalidCell) as caught:
        await rows_of(path, lenient=False)
    assert {"table": "grid", "row_id": "7", "field": "w"} == caught.value.where.as_dict()


async def test_a_table_that_cannot_be_addressed(tmp_path: Path) -> None:
    """All names of the rowid taken and no key: such a row is refused, not lost."""
    path = run(
        build(tmp_path / "a.db"), "CREATE TABLE grid (rowid, oid, _rowid_)",
        ("INSERT INTO grid VALUES (1, 2, zeroblob(?))", [OVER]),
    )  # fmt: skip
    with pytest.raises(LimitExceeded, match="without rowid and key"):
        await rows_of(path)


async def test_memory_of_a_large_cell(tmp_path: Path) -> None:
    """40 MiB of text go by with no more than some pieces in Python's memory."""
    path = grid(tmp_path / "a.db", SHAPES["rowid"], {}, rows=3)
    run(path, ("UPDATE grid SET v = CAST(zeroblob(?) AS TEXT) WHERE k = 1", [40 * MIB]))
    digest, count = hashlib.blake2b(), 0
    async with open_reader(path) as connection:
        table = (await read_catalog(connection)).find("grid")
        query = table_query(table, in_order(table))
        tracemalloc.start()
        async for fetched in read(connection, query):
            async for piece in drive(pieces(connection, fetched)):
                digest.update(piece.data)
                count += len(piece.data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert 40 * MIB == count
    assert hashlib.blake2b(bytes(40 * MIB)).digest() == digest.digest()
    assert peak < 6 * VALUE_PIECE_BYTES


async def test_rows_together_larger_than_the_limit(tmp_path: Path) -> None:
    """A row whose cells are each within the limit comes whole, though the sorter would refuse the row."""
    half = LARGE_CELL_BYTES // 2 + 1
    path = run(
        build(tmp_path / "a.db"),
        *(("INSERT INTO messages (id, agent_id, position, role, content_json, content_preview, created_at) "
           f"VALUES (?, 'a', '7', 'user', ?, ?, '{AT}')", [name, f'"{name * half}"', name * half]) for name in "mn"),
    )  # fmt: skip
    walked = await walk(path)

    assert ["m" * half, "n" * half] == [message["content_preview"] for message in walked.records[Message]]


async def test_somebody_elses_engine(tmp_path: Path) -> None:
    """A connection that was not opened here gives the same."""
    path = grid(tmp_path / "a.db", SHAPES["rowid"], {7: b"z" * OVER}, rows=20)
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with engine.connect() as theirs:
        connection = await Connection.of(theirs)
        table = (await read_catalog(connection)).find("grid")
        query = table_query(table, in_order(table))
        found = [fetched async for fetched in read(connection, query)]
        parts = [piece async for piece in drive(pieces(connection, next(f for f in found if f.address)))]
    await engine.dispose()

    assert [7, 1, 12] == [len(fetched.rows) for fetched in found]
    assert b"z" * OVER == b"".join(piece.data for piece in parts)


def large_world(path: Path) -> Path:
    """Large cells in records, in rows beyond, in cells and in history."""
    return run(
        build(path, messages=[("m1", "1"), ("m2", '"' + "x" * OVER + '"'), ("m3", "3")]),
        ("UPDATE agents SET system_prompt = ?", ["y" * OVER]),
        "ALTER TABLE messages ADD COLUMN mood",
        ("UPDATE messages SET mood = ? WHERE id = 'm3'", [b"m" * OVER]),
        block("b"),
        ("UPDATE memory_blocks SET content_preview = ?", ["p" * OVER]),
        ("INSERT INTO memory_block_updates VALUES (1, 'b', 1, ?, 1, NULL, 'x', NULL, 1)", [b"u" * OVER]),
        f"INSERT INTO folders VALUES ('f', 'f', NULL, 'p', NULL, 'e', '{AT}')",
        (f"INSERT INTO folder_files VALUES ('ff', 'f', 'n', NULL, NULL, ?, '{AT}', NULL)", [b"c" * OVER]),
    )  # fmt: skip


async def test_large_cells_all_over_a_scope(tmp_path: Path) -> None:
    """Each is followed by its bytes at once; documents and waiting edits alone are read whole."""
    walked = await walk(large_world(tmp_path / "a.db"))
    sizes = {event.record: [len(row[1]) for row in event.rows] for event in walked.events
             if isinstance(event, Rows) and event.record.table == "memory_block_updates"}  # fmt: skip

    message = next(record for record in walked.records[Message] if record["id"] == "m2")
    assert b'"' + b"x" * OVER + b'"' == message["content_json:data"]
    assert b"c" * OVER == walked.tables["folder_files"][0]["content:data"]
    assert [OVER] == [size for found in sizes.values() for size in found]
    assert b"u" * OVER == walked.history[0][1]["update_blob:data"]
    assert b"p" * OVER == walked.records[MemoryBlock][0]["content_preview:data"]
    assert [("messages", "m3", "mood")] == [cell[:3] for cell in walked.cells]
    columns = [event.column for event in walked.events if isinstance(event, Piece)]
    assert ["system_prompt", "content_preview", "update_blob", "content_json", "value", "content"] == list(
        dict.fromkeys(columns)
    )


async def test_large_cells_of_a_portable_archive(tmp_path: Path) -> None:
    """They travel in pieces there too: it is the archive's version that they decide, not what it holds."""
    walked = await walk(large_world(tmp_path / "a.db"), Selection())

    assert {"system_prompt", "content_preview", "content_json"} == {
        event.column for event in walked.events if isinstance(event, Piece)
    }


async def test_a_document_beyond_all_measure(tmp_path: Path) -> None:
    """What is read whole has a limit too, and the error says which."""
    path = run(build(tmp_path / "a.db"), block("b"), "UPDATE memory_blocks SET loro_snapshot = zeroblob(68000000)")

    with pytest.raises(LimitExceeded, match="is 68000000 bytes, limit is 67108864 bytes") as caught:
        await walk(path)
    assert "loro_snapshot" == caught.value.where.field


async def test_rows_by_key(tmp_path: Path) -> None:
    """Any table, keys of several columns and of any kind; large cells by themselves; what is not there is left out."""
    path = run(
        grid(tmp_path / "a.db", SHAPES["rowid"], {3: b"z" * OVER}, rows=9),
        "CREATE TABLE pairs (x, y, v, PRIMARY KEY (x, y))",
        "INSERT INTO pairs VALUES ('a', 1, 'one'), (CAST(x'ff' AS TEXT), 2, 'two'), (x'ff', 2, 'three')",
        "CREATE TABLE heap (v)",
    )
    async with open_reader(path) as connection:
        catalog = await read_catalog(connection)
        assert ("x", "y") == catalog.find("pairs").key
        assert () == catalog.find("heap").key
        found = await table_rows_by_key(
            connection, catalog.find("pairs"), [("a", 1), (NotUtf8(b"\xff"), 2), ("b", 1), ("a", 2)]
        )
        grids = await table_rows_by_key(connection, catalog.find("grid"), [(3,), (8,), (77,)])
        large = b"".join([part async for part in large_cell(connection, catalog.find("grid"), (3,), "v")])
        with pytest.raises(UnsupportedSchema, match="no primary key"):
            await table_rows_by_key(connection, catalog.find("heap"), [(1,)])
        with pytest.raises(UnsupportedSchema, match="no ordinary table"):
            catalog.find("messages_fts")

    assert ["one", "two"] == [row[2] for row in sorted(found, key=lambda row: str(row[1]))]
    assert [(3, Large(OVER, text=False), "w"), (8, b"v", "w")] == [
        (k, v.encode() if v == "v" else v, w) for k, v, w in grids
    ]
    assert b"z" * OVER == large


def test_records_need_their_table() -> None:
    """A schema without a table that every schema has is refused by name."""
    with pytest.raises(UnsupportedSchema, match="no ordinary table messages"):
        record_query(Catalog({}), Message, "")
