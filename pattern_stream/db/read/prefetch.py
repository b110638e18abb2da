"""Messages read ahead of an export by worker processes, which see the same moment of the database.

An export spends most of its time on messages, each by itself: fetch, map, encode. Python does one thing at a time, so
many messages are given to workers, range by range of positions; their frames are spliced in order. Where the next frame
is not there yet, this process encodes a range that nobody was asked for. A range, or the rest of one, that is not plain
is read row by row, see `ordered_prefetch`.

The same moment: a third connection looks at the database before this export's transaction begins, and again when those
of the workers have begun. Where nothing was committed in between, all of them see the same. Otherwise they are ended.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from anyio import CancelScope, to_thread

from pattern_stream.budget import BUDGET, Budget
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.cursor import limited
from pattern_stream.db.connection.opening import READ_PRAGMAS, read_mode, reader_uri
from pattern_stream.db.read.fetch import Reading
from pattern_stream.db.read.plan import drive
from pattern_stream.db.read.prefetch_worker import Frame, MessageEncoder
from pattern_stream.db.read.query import Query
from pattern_stream.db.read.ranges import by_position, message_queries
from pattern_stream.errors import DatabaseError, PatternStreamError
from pattern_stream.format import LARGE_CELL_BYTES, MAX_BLOCK_CONTAINERS
from pattern_stream.items import Encoded, Piece, Rows
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.records import Message
from pattern_stream.workers.channel import spare_processors
from pattern_stream.workers.ordered_prefetch import OrderedPrefetch, Requested
from pattern_stream.workers.process import AnswerFrame
from pattern_stream.workers.serving import MORE, REST
from pattern_stream.workers.slots import Slots

WORKER: Final = "pattern_stream.db.read.prefetch_worker"
LONGEST_MESSAGE_BYTES: Final = MAX_BLOCK_CONTAINERS // 4
"""Of a message up to this size nothing but its bytes need be known here, whatever is in it."""


class CommitWatch:
    """Knows whether something was committed to a database, or another put in its place, since this was made. Blocks."""

    def __init__(self, path: Path) -> None:
        self.mode = read_mode(path)
        self.uri = reader_uri(path, self.mode)
        self._path = path
        self._connection = sqlite3.connect(self.uri, uri=True, isolation_level=None, timeout=0, check_same_thread=False)
        try:
            self._version = self._look()
        except (sqlite3.Error, OSError):
            self._connection.close()
            raise

    def is_unchanged(self) -> bool:
        """Whether nothing was."""
        try:
            return bool(self._look() == self._version)
        except (sqlite3.Error, OSError):
            return False

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _look(self) -> tuple[Any, ...]:
        file = self._path.stat()
        return (file.st_dev, file.st_ino, *self._connection.execute("PRAGMA data_version").fetchone())


@dataclass(slots=True)
class _EncodedHere:
    """A range that this process encodes, a frame at a time."""

    connection: Connection
    frames: Generator[Frame]
    held: deque[AnswerFrame] = field(default_factory=deque)
    ended: bool = False
    at_hand: Final = True

    @property
    def held_bytes(self) -> int:
        """Bytes of the messages that wait for their turn."""
        return sum(len(frame.data) for frame in self.held)

    async def encode(self) -> None:
        """One frame more."""
        kind, about, parts = await self.connection.run(self._next)
        self.held.append(AnswerFrame(kind, about, b"".join(parts)))
        self.ended = kind != MORE

    async def receive(self) -> AnswerFrame:
        """The next frame."""
        if not self.held:
            await self.encode()
        return self.held.popleft()

    async def stop(self) -> None:
        """Leave the rest to whoever takes it. # Trap: an open statement would keep the database open after its
        connection.
        """
        if not self.ended:
            self.ended = True
            with CancelScope(shield=True), suppress(ValueError, PatternStreamError):
                await self.connection.run(lambda _: self.frames.close())
            if self.held:
                self.held.append(self.held.pop()._replace(kind=REST))

    def _next(self, raw: sqlite3.Connection) -> Frame:
        with limited(raw):
            return next(self.frames)


class _Range(NamedTuple):
    """A range of an agent's messages."""

    agent_id: str
    query: Query

    @property
    def request(self) -> tuple[str, str, dict[str, Any]] | None:
        """What a worker is asked; None for all messages of an agent that has few."""
        if "above" not in self.query.parameters:
            return None
        return by_position(self.query), self.query.sql, dict(self.query.parameters)


@dataclass(slots=True)
class MessagePrefetch:
    """Messages of one export, agent by agent."""

    watch: CommitWatch
    budget: Budget = BUDGET
    prefetch: OrderedPrefetch[_Range] = field(default_factory=OrderedPrefetch)
    _checked: bool = False
    _encoder: MessageEncoder | None = None
    _agents: deque[str] = field(default_factory=deque)
    _planned: deque[tuple[str, Iterator[Query]]] = field(default_factory=deque)

    def schedule(self, agent_ids: Sequence[str]) -> None:
        """The agents in their order: workers go on with the next one while others are at work here.

        Memory: one id an agent.
        """
        self._agents = deque(agent_ids)

    async def messages(self, reading: Reading, agent_id: str) -> AsyncGenerator[Rows | Piece | Encoded]:
        """The messages of an agent in order: Encoded by workers, or as `reading` itself finds them."""
        queue = self.prefetch.queue
        if not self._agents or self._agents[0] != agent_id:  # not scheduled, or out of turn: drop the work for others
            if queue:
                self.end()
            queue.clear()
            self._planned.clear()
            self.schedule([agent_id])
        if not queue and not self._planned:
            await self._plan(reading, agent_id)
        self._agents.popleft()
        finished, asked = False, None
        try:
            await self._ask(reading)
            while queue and queue[0].item.agent_id == agent_id:
                asked, done = queue.popleft(), 0
                while (frame := await self._receive(reading, asked)) is not None:
                    ids, positions, sizes, most_containers, borders = frame.about
                    encoded = Encoded(ids, positions, sizes, most_containers, borders, frame.data)
                    done += len(ids)
                    yield encoded
                    del encoded, frame  # or two frames are alive while the next one is received
                if not asked.complete:
                    query = asked.item.query
                    rest = replace(query, body=f"{query.body} LIMIT -1 OFFSET {done}") if done else query
                    rows: AsyncGenerator[Any] = drive(reading.records(Message, rest))
                    async with aclosing(rows) as events:
                        async for event in events:
                            yield event
                await self._ask(reading)
            finished = True
        finally:
            for one in queue if asked is None else (asked, *queue):
                if isinstance(one.source, _EncodedHere):
                    await one.source.stop()
            if not finished:  # answers would be taken for those of other requests
                self.end()

    def end(self) -> None:
        """End the workers."""
        self.prefetch.end()

    async def _plan(self, reading: Reading, agent_id: str) -> None:
        """Divide the messages of an agent, if there is a worker to ask."""
        ready = await self.prefetch.is_ready()
        if ready and not self._checked:
            self._checked = True
            if not await to_thread.run_sync(self.watch.is_unchanged):
                self.end()
                ready = False
        queries = await message_queries(reading, agent_id, self.budget.range_rows if ready else 0)
        self._planned.append((agent_id, queries))

    async def _ask(self, reading: Reading) -> None:
        """Ask the workers in turn, so that each has something to do, for one agent more where one is nearly done."""
        most = self.budget.asked_ahead * len(self.prefetch.workers)
        while len(self.prefetch.queue) - len(self._own()) < max(most, 1) and (item := await self._next(reading)):
            self.prefetch.add(item, item.request)

    def _own(self) -> list[_EncodedHere]:
        """What this process encodes of the queue."""
        return [asked.source for asked in self.prefetch.queue if isinstance(asked.source, _EncodedHere)]

    async def _next(self, reading: Reading) -> _Range | None:
        """The next range for which nobody was asked."""
        while self._planned:
            agent_id, queries = self._planned[0]
            if (query := next(queries, None)) is not None:
                return _Range(agent_id, query)
            self._planned.popleft()
            queued = (asked.item.agent_id for asked in self.prefetch.queue)
            if self._agents and (following := self._agents[0]) not in queued:
                await self._plan(reading, following)
        return None

    async def _receive(self, reading: Reading, asked: Requested[_Range]) -> AnswerFrame | None:
        """The next frame of a range; others are encoded here meanwhile."""
        while not asked.at_hand and await self._encode(reading):
            pass
        return await asked.receive()

    async def _encode(self, reading: Reading) -> bool:
        """Encode a frame of the last range that is encoded here, or the first of another one; false where no more may
        wait, or none is left.
        """
        own = self._own()
        if sum(one.held_bytes for one in own) >= self.budget.encoded_here_bytes:
            return False
        if not own or own[-1].ended:
            item = await self._next(reading)
            if item is None or item.request is None:
                self.prefetch.queue += [Requested(item)] if item is not None else []
                return item is not None
            if self._encoder is None:
                longest, frame_bytes = LONGEST_MESSAGE_BYTES, self.budget.message_frame_bytes
                self._encoder = await reading.connection.run(MessageEncoder, longest, frame_bytes)
            own.append(_EncodedHere(reading.connection, self._encoder.frames(*item.request)))
            self.prefetch.queue.append(Requested(item, own[-1]))
        await own[-1].encode()
        return True


@asynccontextmanager
async def open_message_prefetch(path: Path, budget: Budget = BUDGET) -> AsyncGenerator[MessagePrefetch | None]:
    """Watch a database and start workers that read its messages; None where it does not pay.

    Open it before the transaction begins that the workers are to share. Nobody waits for them. Whatever is wrong with
    the database is reported by its next reader.
    """
    prefetch = None
    with suppress(sqlite3.Error, OSError, DatabaseError):
        if spare_processors(budget.processors) and path.stat().st_size >= budget.least_file_bytes:
            prefetch = MessagePrefetch(await to_thread.run_sync(CommitWatch, path), budget)
    if prefetch is None:
        yield None
        return
    uri, frame_bytes = prefetch.watch.uri, budget.message_frame_bytes
    opening = (uri, list(READ_PRAGMAS), LARGE_CELL_BYTES, LONGEST_MESSAGE_BYTES, frame_bytes)
    try:
        # a frame ends with its last message; larger frames go through the pipe
        workers = min(budget.message_workers, spare_processors(budget.processors))
        slots = (Slots(budget.message_slots, 2 * frame_bytes) for _ in range(workers))
        prefetch.prefetch.start(WORKER, opening, slots, answers_in_slots=True)
        yield prefetch
    finally:
        prefetch.end()
        prefetch.watch.close()
