"""Messages read ahead by other processes: the same rows, the same errors, and nobody left behind."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import anyio
import pytest

from pattern_stream.budget import BUDGET, Budget
from pattern_stream.codec.dagcbor import encode_records
from pattern_stream.db.connection.opening import open_reader
from pattern_stream.db.ddl.create import schema_statements
from pattern_stream.db.read.fetch import Reading
from pattern_stream.db.read.prefetch import MessagePrefetch, open_message_prefetch
from pattern_stream.db.read.prefetch_worker import MessageEncoder
from pattern_stream.db.read.ranges import TOTAL_ORDER
from pattern_stream.db.read.scope_reader import read_scope
from pattern_stream.errors import InvalidCell, ignore_findings
from pattern_stream.items import Encoded, RowEvent, Rows
from pattern_stream.schema.mapping.row_to_record import row_mapper
from pattern_stream.schema.model.records import Message
from pattern_stream.schema.model.scopes import ResolvedScope
from pattern_stream.workers.process import Worker, WorkerDied
from tests.acceptance.world import World, making
from tests.drive import collect

pytestmark = pytest.mark.anyio

ROWS = 7
SMALL = Budget(processors=2, least_file_bytes=1, range_rows=ROWS)
"""A few rows are enough to be worth it, on one processor too."""

CONSTELLATION = ResolvedScope("constellation")


def fill(world: World, agent: str, positions: Iterator[int] | range, **odd: dict[str, Any]) -> None:
    """An agent with a message for each position; `odd`: other cells of the message that is named so."""
    world.add("agents", id=agent)
    for number, position in enumerate(positions):
        name = f"{agent}{number}"
        world.add("messages", **{"id": name, "agent_id": agent, "position": f"{position:019}", **odd.get(name, {})})


def build(path: Path, **odd: dict[str, Any]) -> Path:
    """Agents with many messages, few, none, and with positions that tie."""
    with making(path) as world:
        fill(world, "a", range(100), **odd)
        fill(world, "b", range(ROWS - 1))
        fill(world, "c", range(0))
        fill(world, "d", iter([number // 10 for number in range(60)]))
    return path


@asynccontextmanager
async def reading(
    path: Path, budget: Budget = SMALL
) -> AsyncGenerator[tuple[MessagePrefetch | None, AsyncGenerator[RowEvent]]]:
    """The rows of a constellation, with processes ahead."""
    async with (
        open_message_prefetch(path, budget) as found,
        open_reader(path) as connection,
        aclosing(read_scope(connection, CONSTELLATION, prefetch=found)) as events,
    ):
        yield found, events


def encoded(events: list[RowEvent]) -> list[tuple[str, bytes]]:
    """Every message, by its id, in order, whoever encoded it."""
    found: list[tuple[str, bytes]] = []
    for event in events:
        if isinstance(event, Encoded):
            parts = [
                event.data[end - size : end] for size, end in zip(event.sizes, accumulate(event.sizes), strict=True)
            ]
            found += zip(event.ids, parts, strict=True)
        elif isinstance(event, Rows) and event.record is Message:
            records = row_mapper(Message).map(event.rows, ignore_findings)
            found += zip([record["id"] for record in records], encode_records(records), strict=True)
    return found


async def alone(path: Path) -> list[tuple[str, bytes]]:
    """The same without other processes."""
    async with open_reader(path) as connection:
        return encoded(await collect(read_scope(connection, CONSTELLATION)))


def ahead_count(events: list[RowEvent]) -> int:
    """How many messages came from other processes."""
    return sum(len(event.ids) for event in events if isinstance(event, Encoded))


async def test_the_same_messages_in_the_same_order(tmp_path: Path) -> None:
    """Ranges are put together without a gap and without a repetition, where positions tie too."""
    path = build(tmp_path / "a.db")
    async with reading(path) as (_, events):
        found = await collect(events)

    assert 166 == len(encoded(found))
    assert await alone(path) == encoded(found)
    assert 160 == ahead_count(found)


async def test_one_agent_alone(tmp_path: Path) -> None:
    """An agent is read ahead wherever it is met, not only in its turn of a constellation."""
    path = build(tmp_path / "a.db")
    async with open_message_prefetch(path, SMALL) as ahead, open_reader(path) as reader:
        found = [
            await collect(read_scope(reader, ResolvedScope("agent", name), prefetch=ahead)) for name in ("d", "a", "c")
        ]
    everything = dict(await alone(path))

    assert [60, 100, 0] == [ahead_count(events) for events in found]
    assert all(everything[name] == part for events in found for name, part in encoded(events))


async def test_agents_out_of_their_turn(tmp_path: Path) -> None:
    """Whoever was lined up and does not come leaves nothing behind that could be taken for another's."""
    path = build(tmp_path / "a.db")
    async with open_message_prefetch(path, SMALL) as ahead, open_reader(path) as reader:
        assert ahead is not None
        read = await Reading.of(reader, with_tables=False)
        ahead.schedule(["a", "d"])
        found = [await collect(ahead.messages(read, name)) for name in ("a", "b", "d")]
    everything = await alone(path)

    assert everything == [pair for events in found for pair in encoded(list(events))]


async def test_what_is_said_of_a_message_holds(tmp_path: Path) -> None:
    """Position and length belong to the message, and no message has more arrays and maps than it is said to have."""
    path = build(tmp_path / "a.db", a50={"content_json": '{"Text":[[],{},[{}]]}', "source_metadata": "[[]]"})
    async with reading(path) as (_, events):
        found = [event for event in await collect(events) if isinstance(event, Encoded)]
    said = {name: most for event in found for name, most in zip(event.ids, event.most_containers, strict=True)}
    positions = [position for event in found for position in event.positions]

    assert said["a50"] >= 1 + 5 + 2
    assert {f"{number:019}" for number in range(100)} == set(positions)


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"content_json": "17"}, id="a bare number"),
        pytest.param({"content_json": '{"Text":"' + "x" * 100_000 + '"}'}, id="a long message"),
        pytest.param({"content_json": "[" * 200 + '"' + "x" * 500 + '"' + "]" * 200}, id="deep JSON"),
    ],
)
async def test_what_is_not_plain_is_read_here(tmp_path: Path, odd: dict[str, Any]) -> None:
    """The rest of such a range comes as rows, in its place, and everything else from the processes."""
    path = build(tmp_path / "a.db", a50=odd)
    async with reading(path) as (_, events):
        found = await collect(events)

    assert await alone(path) == encoded(found)
    assert "a50" not in [name for event in found if isinstance(event, Encoded) for name in event.ids]
    assert 160 - ROWS <= ahead_count(found) < 160


async def test_ids_that_fill_a_pipe_are_read_here(tmp_path: Path) -> None:
    """Requests wait for each other in a pipe, and an id may be any text: nobody is asked for such an agent."""
    long = "x" * 20_000
    with making(tmp_path / "a.db") as world:
        fill(world, "a", range(100))
        fill(world, "b" + long, range(100))
    with anyio.fail_after(60):
        async with reading(tmp_path / "a.db") as (found, events):
            read = await collect(events)

    assert found is not None
    assert await alone(tmp_path / "a.db") == encoded(read)


@pytest.fixture
def no_frame_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame of a process is one to wait for."""
    monkeypatch.setattr(Worker, "at_hand", False)


@pytest.mark.usefixtures("no_frame_is_there")
@pytest.mark.parametrize("frame_bytes", [1, BUDGET.message_frame_bytes])
@pytest.mark.parametrize("here_bytes", [1, BUDGET.encoded_here_bytes])
@pytest.mark.parametrize("cell", ['"plain"', "17"])
async def test_this_process_encodes_what_it_would_wait_for(
    tmp_path: Path, frame_bytes: int, here_bytes: int, cell: str
) -> None:
    """Little at a time or all it can, in many frames or one, with a message that is not plain: the same messages."""
    path = build(tmp_path / "a.db", a50={"content_json": cell}, d55={"content_json": cell})
    budget = replace(SMALL, message_frame_bytes=frame_bytes, encoded_here_bytes=here_bytes)
    async with reading(path, budget) as (ahead, events):
        assert ahead is not None
        found = [(event, here_count(ahead)) async for event in events]

    assert await alone(path) == encoded([event for event, _ in found])
    assert any(count for _, count in found)


def here_count(ahead: MessagePrefetch) -> int:
    """How many ranges that wait are encoded by this process."""
    workers: list[object] = list(ahead.prefetch.workers)
    return sum(asked.source is not None and asked.source not in workers for asked in ahead.prefetch.queue)


@pytest.mark.usefixtures("no_frame_is_there")
async def test_whoever_leaves_closes_the_database(tmp_path: Path) -> None:
    """A range that is encoded in part when the reader goes does not keep the database open: its WAL is put away."""
    path = build(tmp_path / "a.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    budget = replace(SMALL, message_frame_bytes=1, encoded_here_bytes=1)
    async with reading(path, budget) as (ahead, events):
        assert ahead is not None
        async for event in events:
            if isinstance(event, Encoded) and here_count(ahead):
                break

    assert here_count(ahead)
    assert [path] == list(tmp_path.iterdir())


async def test_an_error_is_the_same(tmp_path: Path) -> None:
    """Text that is no UTF-8 is refused with table, row and column, as without other processes."""
    path = build(tmp_path / "a.db", a50={"source": sqlite3.Binary(b"x")})
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE messages SET source = CAST(x'ff' AS TEXT) WHERE id = 'a50'")
    async with reading(path) as (_, events):
        with pytest.raises(InvalidCell) as caught:
            await collect(events)
    with pytest.raises(InvalidCell) as expected:
        await alone(path)

    assert (expected.value.message, expected.value.where) == (caught.value.message, caught.value.where)
    assert "a50" == caught.value.where.row_id


async def test_processes_that_die_are_made_up_for(tmp_path: Path) -> None:
    """Killed in the middle: all messages are there, once."""
    path = build(tmp_path / "a.db")
    found: list[RowEvent] = []
    async with reading(path) as (ahead, events):
        assert ahead is not None
        async for event in events:
            found.append(event)
            if ahead_count(found) == 3 * ROWS:
                for worker in ahead.prefetch.workers:
                    worker.channel.process.kill()
                    worker.channel.process.wait()

    assert await alone(path) == encoded(found)
    assert ahead_count(found) < 160


async def test_another_moment_is_not_read(tmp_path: Path) -> None:
    """A commit after the transaction began, before those of the processes did: they are sent home."""
    path = build(tmp_path / "a.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    expected = await alone(path)
    async with open_message_prefetch(path, SMALL) as ahead, open_reader(path) as reader:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE messages SET content_json = '\"changed\"'")
        found = await collect(read_scope(reader, CONSTELLATION, prefetch=ahead))

    assert expected == encoded(found)
    assert 0 == ahead_count(found)


async def test_another_file_is_not_read(tmp_path: Path) -> None:
    """A database put in the place of the one that is open is another one."""
    path = build(tmp_path / "a.db")
    other = build(tmp_path / "b.db", a50={"content_json": '"other"'})
    expected = await alone(path)
    async with open_message_prefetch(path, SMALL) as ahead, open_reader(path) as reader:
        os.replace(other, path)
        found = await collect(read_scope(reader, CONSTELLATION, prefetch=ahead))

    assert expected == encoded(found)
    assert 0 == ahead_count(found)


async def test_without_an_index_nothing_is_divided(tmp_path: Path) -> None:
    """Every range would be a walk through all messages."""
    path = build(tmp_path / "a.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("DROP INDEX idx_messages_deleted; DROP INDEX idx_messages_agent_position")
    async with reading(path) as (_, events):
        found = await collect(events)

    assert await alone(path) == encoded(found)
    assert 0 == ahead_count(found)


async def test_a_position_that_is_none_is_refused_as_ever(tmp_path: Path) -> None:
    """Ranges end at positions; where one cannot be read, the reading of the row says so."""
    path = build(tmp_path / "a.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE messages SET position = CAST(x'ff' AS TEXT) WHERE agent_id = 'a'")
    async with reading(path) as (_, events):
        with pytest.raises(InvalidCell) as caught:
            await collect(events)

    assert ("messages", "position") == (caught.value.where.table, caught.value.where.field)


async def test_nobody_is_left_behind(tmp_path: Path) -> None:
    """Leaving in the middle ends the processes, and so does the end."""
    path = build(tmp_path / "a.db")
    async with reading(path) as (ahead, events):
        assert ahead is not None
        workers = list(ahead.prefetch.workers)
        async for event in events:
            if isinstance(event, Encoded):
                break

    assert 1 == len(workers)
    assert all(worker.channel.process.returncode is not None for worker in workers)


async def test_a_process_ends_with_its_input(tmp_path: Path) -> None:
    """Whoever asked may be killed: a process whose input ends goes by itself."""
    path = build(tmp_path / "a.db")
    async with open_message_prefetch(path, SMALL) as ahead:
        assert ahead is not None
        worker = ahead.prefetch.workers[0]
        greeting, *_ = await worker.receive()
        assert worker.channel.process.stdin is not None
        worker.channel.process.stdin.close()
        with pytest.raises(WorkerDied):
            await worker.receive()

        assert b"r" == greeting
        assert 0 == worker.channel.process.wait(timeout=60)


async def test_little_is_not_worth_it(tmp_path: Path) -> None:
    """A small file, one processor: nothing is watched, and nobody is asked."""
    path = build(tmp_path / "a.db")
    for budget in (replace(SMALL, processors=1), replace(SMALL, least_file_bytes=10**9)):
        async with open_message_prefetch(path, budget) as ahead:
            assert ahead is None


def test_ties_are_found_wherever_they_are() -> None:
    """Ten messages, each with the position of the one before it or the next: rows come in pieces, and no piece hides a
    tie. Whole runs of equal positions are sorted by id, which here is not how they are stored.
    """
    total = f"SELECT {', '.join(f't.{name}' for name in Message.columns)} FROM messages t {TOTAL_ORDER}"
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in schema_statements():
            connection.execute(statement)
        for ties in range(2**9):
            connection.execute("DELETE FROM messages")
            for name, position in zip(
                "jihgfedcba", accumulate((ties >> at & 1 for at in range(9)), initial=0), strict=True
            ):
                World(connection).add("messages", id=name, agent_id="a", position=f"{position:019}")
            expected = [row[Message.index("id")] for row in connection.execute(total)]

            assert ([b"e"], expected) == answered(connection, total)


def answered(connection: sqlite3.Connection, total: str) -> tuple[list[bytes], list[str]]:
    """What a process says of all messages: the kinds of its frames, and the ids in them."""
    said: list[tuple[bytes, list[str]]] = []
    quick = total.removesuffix(", t.id")
    MessageEncoder(connection, 10**6, BUDGET.message_frame_bytes).answer(
        lambda kind, columns, _: said.append((kind, columns[0])), quick, total, {}
    )
    return [kind for kind, _ in said], [name for _, names in said for name in names]
