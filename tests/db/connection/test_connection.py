"""One connection: bounded batches, one hop a call, errors that name file, table and row; ours or a caller's."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import tracemalloc
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from pattern_stream import ExportOptions, export_archive
from pattern_stream.db.connection.connection import FETCH_ROWS, Connection
from pattern_stream.db.connection.opening import open_reader, open_writer
from pattern_stream.errors import (
    CorruptDatabase,
    DatabaseBusy,
    DatabaseError,
    ExitCode,
    InvalidCell,
    NameConflict,
    UnsupportedSchema,
    UsageError,
)
from pattern_stream.format import BATCH_BYTES, BATCH_ROWS
from tests.db.worlds import build

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "
MESSAGES = "SELECT id, content_json FROM messages ORDER BY rowid"


def filler(number: int, size: int = 1500) -> tuple[str, str]:
    """A message whose content stands in one place of the file only."""
    return f"m{number:05d}", f"<{number:05d}>".ljust(size, ".")


async def read(path: Path, sql: str, *parameters: object) -> list[list[tuple[Any, ...]]]:
    """All batches of a statement."""
    async with open_reader(path) as connection:
        return [batch async for batch in connection.rows(sql, parameters, table="messages")]


async def test_small_rows_come_in_full_batches(tmp_path: Path) -> None:
    """Light rows: every batch but the last is full, all rows are there, in order."""
    found = await read(build(tmp_path / "a.db"), COUNT.format(rows=1500) + "SELECT i, 'x' FROM n")

    assert [*[FETCH_ROWS] * 11, 1500 - 11 * FETCH_ROWS] == [len(batch) for batch in found]
    assert list(range(1, 1501)) == [row[0] for batch in found for row in batch]


async def test_empty_result(tmp_path: Path) -> None:
    """No rows, no batch."""
    assert [] == await read(build(tmp_path / "a.db"), "SELECT 1 WHERE ? = 2", 3)


async def test_heavy_rows_are_bounded_in_memory(tmp_path: Path) -> None:
    """512 rows of 480 KB, 246 MB in all, never take more than a batch, a piece and change."""
    path = build(tmp_path / "a.db")
    heavy = COUNT.format(rows=512) + "SELECT i, printf('%.*c', 480000, 'x') FROM n"
    lengths = []
    async with open_reader(path) as connection:
        tracemalloc.start()
        async with aclosing(connection.rows(heavy, table="n")) as found:
            async for batch in found:
                lengths.append(len(batch))
                del batch
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert 512 == sum(lengths)
    assert max(lengths) <= BATCH_BYTES // 480_000 + 4
    assert peak < 10 * MIB


@pytest.mark.parametrize("every", [1, 3])
async def test_a_column_that_turns_heavy_is_noticed(tmp_path: Path, every: int) -> None:
    """Cells that are large against all experience cost about a piece once, whether in every row or here and there."""
    large = 200_000
    turning = (
        COUNT.format(rows=1500)
        + f"SELECT i, 'k', CASE WHEN i > 700 AND i % {every} = 0 THEN printf('%.*c', {large}, 'x') ELSE 'x' END FROM n"
    )
    weights = []
    async with open_reader(build(tmp_path / "a.db")) as connection:
        async for batch in connection.rows(turning, table="n"):
            weights.append(sum(len(row[2]) for row in batch))

    assert sum(weight > BATCH_BYTES + 2 * large for weight in weights) <= 1
    assert max(weights) < BATCH_BYTES + 128 * large


async def test_a_plain_cursor_of_ours_is_bounded(tmp_path: Path) -> None:
    """The driver's own `fetchmany` on a connection of ours has the same bound."""
    heavy = COUNT.format(rows=50) + "SELECT zeroblob(1000000) FROM n"
    async with open_reader(build(tmp_path / "a.db")) as connection:
        cursor = await connection.run(lambda raw: raw.execute(heavy))
        found = []
        while rows := await connection.run(lambda _: cursor.fetchmany(BATCH_ROWS)):
            found.append(len(rows))
        await connection.run(lambda _: cursor.close())

    assert 50 == sum(found)
    assert max(found) <= 8


async def test_somebody_elses_engine(tmp_path: Path) -> None:
    """A connection that was not opened here gives the same rows under the same bound."""
    path = build(tmp_path / "a.db")
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with engine.connect() as theirs:
        connection = await Connection.of(theirs)
        heavy = COUNT.format(rows=50) + "SELECT i, zeroblob(1000000) FROM n"
        found = [[row[0] for row in batch] async for batch in connection.rows(heavy, table="n")]
    await engine.dispose()

    assert path == connection.path
    assert list(range(1, 51)) == [number for batch in found for number in batch]
    assert max(map(len, found)) <= 8


async def test_early_stop_closes_the_statement(tmp_path: Path) -> None:
    """After an early stop no statement is left open: a table that was being read can be dropped."""
    path = build(tmp_path / "a.db", messages=map(filler, range(2000)))
    async with open_writer(path) as connection:
        async with aclosing(connection.rows(MESSAGES, table="messages")) as found:
            await anext(found)
            with pytest.raises(DatabaseBusy, match="locked"):
                await connection.execute("DROP TABLE messages")
        await connection.execute("DROP TABLE messages")


async def test_closing_after_the_connection(tmp_path: Path) -> None:
    """A stream that is closed after its connection closes quietly."""
    path = build(tmp_path / "a.db", messages=map(filler, range(2000)))
    async with open_reader(path) as connection:
        found = connection.rows(MESSAGES, table="messages")
        await anext(found)
    await found.aclose()


@pytest.mark.parametrize("bad", [0, 3, 700, 1999])
async def test_text_that_is_no_utf8_names_its_row(tmp_path: Path, bad: int) -> None:
    """Table, row id and column of the cell, wherever in a batch it is; BLOBs beside it are not taken for it."""
    path = build(tmp_path / "a.db", messages=map(filler, range(2000)))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE messages SET content_json = CAST(x'41ff42' AS TEXT) WHERE id = ?", (f"m{bad:05d}",))
        connection.execute("UPDATE messages SET source = x'fffe' WHERE id <> ?", (f"m{bad:05d}",))
        connection.commit()

    with pytest.raises(InvalidCell, match="found text that is no UTF-8") as caught:
        await read(path, "SELECT source, id, content_json FROM messages ORDER BY id")
    found = caught.value.where.as_dict()
    assert {"table": "messages", "row_id": "None", "field": "content_json"} == found
    with pytest.raises(InvalidCell) as caught:
        await read(path, "SELECT id, source, content_json FROM messages WHERE length(id) > ? ORDER BY id", 3)
    assert {"table": "messages", "row_id": f"m{bad:05d}", "field": "content_json"} == caught.value.where.as_dict()
    assert ExitCode.CORRUPT == caught.value.exit_code


async def test_an_id_that_is_no_utf8_is_shown_escaped(tmp_path: Path) -> None:
    """Where the cell that names the row is itself at fault, its bytes are shown."""
    path = build(tmp_path / "a.db", messages=map(filler, range(3)))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE messages SET id = CAST(x'41ff42' AS TEXT) WHERE id = 'm00001'")
        connection.commit()

    with pytest.raises(InvalidCell) as caught:
        await read(path, MESSAGES)
    assert {"table": "messages", "row_id": "A\\xffB", "field": "id"} == caught.value.where.as_dict()


async def test_text_stays_text_after_a_failure(tmp_path: Path) -> None:
    """The search for a bad cell leaves the connection as it was."""
    path = build(tmp_path / "a.db", messages=[("m1", "1")])
    async with open_reader(path) as connection:
        with pytest.raises(InvalidCell):
            _ = [b async for b in connection.rows("SELECT CAST(x'ff' AS TEXT)", table="t")]
        after = [b async for b in connection.rows("SELECT id FROM messages", table="t")]

    assert [[("m1",)]] == after


async def test_damaged_page_names_the_row_before(tmp_path: Path) -> None:
    """A damaged page of messages is exit 4, naming the table and a row before it.

    It is the last good one or the one before that: sqlite3 looks a row ahead and keeps back the row before a failure.
    """
    path = build(tmp_path / "a.db", messages=map(filler, range(2000)), journal="DELETE")
    data = bytearray(path.read_bytes())
    page = data.index(b"<01234>") // 4096
    first = min(int(found) for found in re.findall(rb"<(\d{5})>", data[page * 4096 : (page + 1) * 4096]))
    data[page * 4096 : page * 4096 + 8] = b"\xde\xad\xbe\xef" * 2
    path.write_bytes(data)

    with pytest.raises(CorruptDatabase, match=f"is damaged .*, after row m({first - 1:05d}|{first - 2:05d})") as caught:
        await read(path, MESSAGES)
    assert {"table": "messages"} == caught.value.where.as_dict()
    assert ExitCode.CORRUPT == caught.value.exit_code


async def test_missing_column_is_a_matter_of_schema(tmp_path: Path) -> None:
    """A statement that asks for what an older schema lacks is exit 5, naming the table."""
    with pytest.raises(UnsupportedSchema, match="no such column: absent") as caught:
        await read(build(tmp_path / "a.db"), "SELECT absent FROM messages")
    assert {"table": "messages"} == caught.value.where.as_dict()


def test_opening_needs_no_sqlalchemy() -> None:
    """Reading and writing a database import the driver alone: SQLAlchemy takes longer to load than all of ours."""
    script = (
        "import sys, pattern_stream.pipelines.exporting, pattern_stream.pipelines.importing, "
        "pattern_stream.pipelines.listing, pattern_stream.pipelines.verifying; "
        "print('sqlalchemy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "False" == run.stdout.strip()


async def test_an_export_of_a_callers_connection(tmp_path: Path) -> None:
    """The same archive as by path; its own database is not written over."""
    path = build(tmp_path / "a.db", messages=[("m1", "1"), ("m2", "2")])
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    options, made = ExportOptions(exported_at="2026-01-02T03:04:05Z"), []
    async with engine.connect() as theirs, open_reader(path) as ours:
        databases: list[Path | Connection | AsyncConnection] = [theirs, ours, path]
        for number, database in enumerate(databases):
            out = tmp_path / f"{number}.car"
            made.append((await export_archive(database, out, options=options)).root)
        for database in databases[:2]:
            with pytest.raises(UsageError, match="the database that is exported"):
                await export_archive(database, path)
    await engine.dispose()

    assert 1 == len(set(made))


async def test_of_keeps_ours(tmp_path: Path) -> None:
    """A connection that was opened here is handed on as it is; one in memory has no path."""
    async with open_reader(build(tmp_path / "a.db")) as connection:
        assert connection is await Connection.of(connection)
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.connect() as theirs:
        assert (await Connection.of(theirs)).path is None
    await engine.dispose()


async def test_errors_name_file_and_table(tmp_path: Path) -> None:
    """Whatever SQLite raises, in one statement or in a function on the thread, is one of ours with the path."""
    path = build(tmp_path / "a.db")
    async with open_writer(path) as connection:
        with pytest.raises(NameConflict, match=r"a\.db"):
            await connection.execute_many("INSERT INTO coordination_state VALUES (?, '1', '', NULL)", [("x",), ("x",)])
        with pytest.raises(InvalidCell) as caught:
            await connection.execute("SELECT CAST(x'ff' AS TEXT)", table="agents")
        with pytest.raises(DatabaseError):
            await connection.run(lambda raw: raw.execute("INSERT INTO group_members VALUES ('g', 'a', NULL, '', '[]')"))

    assert "agents" == caught.value.where.table
