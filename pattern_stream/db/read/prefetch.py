"""Messages read ahead of an export by processes of their own, which see the same moment of the database.

An export spends most of its time on messages, each by itself: fetch, map, encode. Python does one thing at a time, so
for many messages this is given to other processes, range by range of positions, in turn; what comes back is spliced in
order. They only ever do what is plain. A range, or the rest of one, that they cannot do is read here as if there were
no other process, so errors, findings and bytes are the same; so it is where one does not start, or dies.

The same moment: a third connection looks at the database before this export's transaction begins, and again when the
others' have begun. Where nothing was committed in between, all of them see the same. Otherwise they are sent home.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from anyio import to_thread

from pattern_stream.db.connection.opening import READ_PRAGMAS, reader_uri
from pattern_stream.db.read.prefetch_worker import FRAME_BYTES
from pattern_stream.db.read.query import Query
from pattern_stream.db.read.ranges import TOTAL_ORDER, by_position, message_order, range_bounds, ranges
from pattern_stream.db.read.reading import Reading
from pattern_stream.errors import DatabaseError
from pattern_stream.format import LARGE_CELL_BYTES, MAX_BLOCK_CONTAINERS
from pattern_stream.items import Encoded, Piece, Rows
from pattern_stream.schema.model.records import Message
from pattern_stream.workers.frames import READY
from pattern_stream.workers.process import Gone, Worker, may_help
from pattern_stream.workers.slots import Slots

WORKER: Final = "pattern_stream.db.read.prefetch_worker"
WORKERS: Final = 2
SLOTS: Final = 6
SLOT_BYTES: Final = 2 * FRAME_BYTES
"""What a worker has ready: some frames, each of FRAME_BYTES and what came last. Larger ones go through its pipe."""

LEAST_MESSAGES: Final = 20_000
"""For fewer of them, starting processes costs more than they gain."""

LEAST_FILE_BYTES: Final = 8 * 1024 * 1024
"""A smaller database cannot hold so many."""

LONGEST_MESSAGE_BYTES: Final = MAX_BLOCK_CONTAINERS // 4
"""Of a message up to this size nothing but its bytes need be known here, whatever is in it."""

ASKED_AHEAD: Final = 4
"""Requests that a process has at a time."""


class Watch:
    """Tells whether something was committed to a database, or another put in its place, since this was made. Blocks."""

    def __init__(self, path: Path, uri: str) -> None:
        self.uri = uri
        self._path = path
        self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=0, check_same_thread=False)
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


class Asked(NamedTuple):
    """A range of an agent's messages, and who was asked for it: None reads it here."""

    agent_id: str
    query: Query
    worker: Worker | None


@dataclass(slots=True)
class Ahead:
    """The processes that read ahead, and whether they may: asked for, started, found to see the same moment."""

    watch: Watch
    workers: list[Worker]
    _checked: bool = False
    _turn: int = 0
    _agents: deque[str] = field(default_factory=deque)
    _planned: deque[tuple[str, Iterator[Query]]] = field(default_factory=deque)
    _asked: deque[Asked] = field(default_factory=deque)

    def line_up(self, agent_ids: Sequence[str]) -> None:
        """Whose messages will be read, in this order: the processes go on with the next while others are at work here.

        Memory: one id an agent.
        """
        self._agents = deque(agent_ids)

    async def messages(self, reading: Reading, agent_id: str) -> AsyncGenerator[Rows | Piece | Encoded]:
        """The messages of an agent in order: Encoded, and what `reading` itself finds where that cannot be."""
        if not self._agents or self._agents[0] != agent_id:
            self._leave_others(agent_id)
        if not self._asked and not self._planned:
            await self._plan(reading, agent_id)
        self._agents.popleft()
        finished = False
        try:
            await self._ask(reading)
            while self._asked and self._asked[0].agent_id == agent_id:
                async with aclosing(self._range(reading, self._asked.popleft())) as events:
                    async for event in events:
                        yield event
                await self._ask(reading)
            finished = True
        finally:
            if not finished:  # answers would be taken for those of other requests
                self.end()

    def end(self) -> None:
        """Send the processes home."""
        for worker in self.workers:
            worker.end()
        self.workers.clear()

    def _leave_others(self, agent_id: str) -> None:
        """For an agent that was not lined up, or out of turn: nothing that was asked for others may be in the way."""
        if self._asked:
            self.end()
        self._asked.clear()
        self._planned.clear()
        self.line_up([agent_id])

    async def _plan(self, reading: Reading, agent_id: str) -> None:
        """Divide the messages of an agent."""
        bounds = await range_bounds(reading, agent_id) if await self._ready() else []
        order = TOTAL_ORDER if bounds else await message_order(reading, agent_id)
        self._planned.append((agent_id, ranges(reading, agent_id, order, bounds)))

    async def _ready(self) -> bool:
        """Whether there is anybody to ask. Looked at once, when the first is to be asked."""
        if not self._checked:
            self._checked = True
            try:
                greetings = [(await worker.hear()).kind for worker in self.workers]
            except Gone:
                greetings = []
            if set(greetings) != {READY} or not await to_thread.run_sync(self.watch.is_unchanged):
                self.end()
        return any(worker.alive for worker in self.workers)

    async def _ask(self, reading: Reading) -> None:
        """Ask the processes in turn, so that each has something to do, for one agent more where one is nearly done."""
        while len(self._asked) < ASKED_AHEAD * WORKERS and self._planned:
            agent_id, queries = self._planned[0]
            if (query := next(queries, None)) is not None:
                self._asked.append(Asked(agent_id, query, self._asked_worker(query)))
                continue
            self._planned.popleft()
            if self._agents and (following := self._agents[0]) not in (asked.agent_id for asked in self._asked):
                await self._plan(reading, following)

    def _asked_worker(self, query: Query) -> Worker | None:
        alive = [worker for worker in self.workers if worker.alive]
        if not alive or "above" not in query.parameters:
            return None
        self._turn += 1
        worker = alive[self._turn % len(alive)]
        return worker if worker.ask((by_position(query), query.sql, dict(query.parameters))) else None

    async def _range(self, reading: Reading, asked: Asked) -> AsyncGenerator[Rows | Piece | Encoded]:
        """The messages of one query: from the process, and the rest of them from here."""
        done, query = 0, asked.query
        if asked.worker is not None:
            with suppress(Gone):
                kind = b"m"
                while kind == b"m":
                    kind, (ids, positions, sizes, most), data = await asked.worker.hear()
                    encoded = Encoded(ids, positions, sizes, most, data)
                    done += len(encoded.ids)
                    yield encoded
                    del encoded, data  # or two frames are alive while the next one is heard
                if kind == b"e":
                    return
        rest = replace(query, body=f"{query.body} LIMIT -1 OFFSET {done}") if done else query
        async with aclosing(reading.records(Message, rest)) as events:
            async for event in events:
                yield event


@asynccontextmanager
async def watched(path: Path) -> AsyncGenerator[Watch | None]:
    """Begin to watch a database, before a transaction begins that others are to share. None where it does not pay.

    What is wrong with the database is for who opens it next to say.
    """
    watch = None
    with suppress(sqlite3.Error, OSError, DatabaseError):
        if may_help() and path.stat().st_size >= LEAST_FILE_BYTES:
            watch = await to_thread.run_sync(Watch, path, reader_uri(path))
    try:
        yield watch
    finally:
        if watch is not None:
            watch.close()


@asynccontextmanager
async def reading_ahead(watch: Watch | None) -> AsyncGenerator[Ahead | None]:
    """Start processes that read messages ahead, where a database is watched. They are not waited for."""
    if watch is None:
        yield None
        return
    opening = (watch.uri, {"timeout": 0.0}, list(READ_PRAGMAS), LARGE_CELL_BYTES, LONGEST_MESSAGE_BYTES)
    ahead = Ahead(watch, [])
    try:
        with suppress(OSError):
            for _ in range(WORKERS):
                ahead.workers.append(Worker.start(WORKER, opening, Slots(SLOTS, SLOT_BYTES), to_say=True))
        yield ahead
    finally:
        ahead.end()
