"""Messages read ahead of an export by processes of their own, which see the same moment of the database.

An export spends most of its time on messages, each by itself: fetch, map, encode. Python does one thing at a time, so
for many messages this is given to other processes, range by range of positions, in turn; what comes back is spliced in
order. They only ever do what is plain. A range, or the rest of one, that they cannot do is read here as if there were
no other process, so errors, findings and bytes are the same; so it is where one does not start, or dies.

The same moment: a third connection looks at the database before this export's transaction begins, and again when the
others' have begun. Where nothing was committed in between, all of them see the same. Otherwise they are sent home.
"""

from __future__ import annotations

import asyncio
import marshal
import os
import sqlite3
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from anyio import to_thread

import pattern_stream
from pattern_stream.db.ahead_worker import FRAME, LENGTH
from pattern_stream.db.cursor import batches
from pattern_stream.db.held import where
from pattern_stream.db.open import READ_PRAGMAS, reader_uri
from pattern_stream.db.query import Query
from pattern_stream.db.reading import Reading
from pattern_stream.errors import DatabaseError, PatternStreamError
from pattern_stream.format import LARGE_CELL_BYTES, MAX_BLOCK_CONTAINERS
from pattern_stream.items import Encoded, Piece, Rows
from pattern_stream.schema.records import Message

if sys.platform != "win32":
    import fcntl

WORKER: Final = Path(__file__).with_name("ahead_worker.py")
WORKERS: Final = 2
LEAST_MESSAGES: Final = 20_000
"""Below, starting processes costs more than they gain."""

LEAST_FILE_BYTES: Final = 8 * 1024 * 1024
"""A smaller database cannot hold so many."""

RANGE_ROWS: Final = 1024
"""Messages of one request."""

LONGEST_MESSAGE_BYTES: Final = MAX_BLOCK_CONTAINERS // 4
"""Of a message up to this size nothing but its bytes need be known here, whatever is in it."""

ASKED_AHEAD: Final = 2
"""Requests that a process has at a time."""

HELD_BYTES: Final = 1024 * 1024
"""Bytes of one process's answers that are taken out of its pipe before they are wanted."""

READ_BYTES: Final = 256 * 1024
_PIPE_BYTES: Final = 1024 * 1024
_F_SETPIPE_SZ: Final = 1031
"""Linux: fcntl command that sets the capacity of a pipe."""


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


class Gone(Exception):
    """The process has ended, or said what it should not."""


@dataclass(slots=True)
class Worker:
    """One process. After Gone it is never asked again.

    Memory: HELD_BYTES of what it said and nobody heard yet, and what fits its pipe.
    """

    process: subprocess.Popen[bytes]
    alive: bool = True
    _said: deque[bytes] = field(default_factory=deque)
    _said_bytes: int = 0
    _listening: bool = False
    _woken: asyncio.Future[None] | None = None

    @classmethod
    def start(cls, opening: tuple[Any, ...]) -> Worker:
        """Start one and tell it what to open. Raises OSError."""
        root = os.fspath(Path(pattern_stream.__file__).resolve().parents[1])
        process = subprocess.Popen(
            [sys.executable, "-I", os.fspath(WORKER), root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        worker = cls(process)
        _widen(worker._out)
        worker.ask(opening)
        return worker

    def ask(self, request: tuple[Any, ...]) -> None:
        """Send a request: small, so that it does not block."""
        body = marshal.dumps(request)
        try:
            _pipe(self.process.stdin).write(LENGTH.pack(len(body)) + body)
        except OSError:
            self.alive = False

    async def hear(self) -> tuple[bytes, Encoded]:
        """The next frame. Raises Gone, and from then on."""
        try:
            kind, about_bytes, data_bytes = FRAME.unpack(await self._exactly(FRAME.size))
            ids, positions, sizes, most = marshal.loads(await self._exactly(about_bytes))
            return kind, Encoded(ids, positions, sizes, most, await self._exactly(data_bytes))
        except (ValueError, EOFError, TypeError, Gone) as error:
            self._forget()
            raise Gone from error

    def _forget(self) -> None:
        """What it may have said yet is for requests that are answered here."""
        self.alive = False
        self._listen(on=False)
        self._said.clear()
        self._said_bytes = 0

    def end(self) -> None:
        """End the process and reap it."""
        self._forget()
        with suppress(OSError):
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    @property
    def _out(self) -> int:
        return _pipe(self.process.stdout).fileno()

    async def _exactly(self, length: int) -> bytes:
        """So many bytes. Raises Gone at the end."""
        while self._said_bytes < length:
            if not self.alive:
                raise Gone
            self._listen(on=True)
            self._woken = asyncio.get_running_loop().create_future()
            await self._woken
        taken = self._take(length)
        self._listen(on=self.alive and self._said_bytes < HELD_BYTES)
        return taken

    def _take(self, length: int) -> bytes:
        pieces: list[bytes] = []
        self._said_bytes -= length
        while length:
            piece = self._said.popleft()
            if len(piece) > length:
                self._said.appendleft(piece[length:])
                piece = piece[:length]
            pieces.append(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _listen(self, *, on: bool) -> None:
        """Take what the process says whenever this one has nothing else to do, so that it need not wait; or do not."""
        if on != self._listening:
            self._listening = on
            loop = asyncio.get_running_loop()
            loop.add_reader(self._out, self._hear_some) if on else loop.remove_reader(self._out)

    def _hear_some(self) -> None:
        try:
            piece = os.read(self._out, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._said.append(piece)
        self._said_bytes += len(piece)
        self.alive = self.alive and bool(piece)
        if not piece or self._said_bytes >= HELD_BYTES:
            self._listen(on=False)
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)


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
        bounds = await _bounds(reading, agent_id) if await self._ready() else []
        order = await message_order(reading, agent_id)
        self._planned.append((agent_id, _ranges(reading, agent_id, order, bounds)))

    async def _ready(self) -> bool:
        """Whether there is anybody to ask. Looked at once, when the first is to be asked."""
        if not self._checked:
            self._checked = True
            try:
                greetings = [(await worker.hear())[0] for worker in self.workers]
            except Gone:
                greetings = []
            if set(greetings) != {b"r"} or not await to_thread.run_sync(self.watch.is_unchanged):
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
        worker.ask((query.sql, dict(query.parameters)))
        return worker

    async def _range(self, reading: Reading, asked: Asked) -> AsyncGenerator[Rows | Piece | Encoded]:
        """The messages of one query: from the process, and the rest of them from here."""
        done, query = 0, asked.query
        if asked.worker is not None:
            with suppress(Gone):
                kind = b"m"
                while kind == b"m":
                    kind, encoded = await asked.worker.hear()
                    done += len(encoded.ids)
                    yield encoded
                    del encoded  # or two frames are alive while the next one is heard
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
        if sys.platform != "win32" and _processors() > 1 and path.stat().st_size >= LEAST_FILE_BYTES:
            watch = await to_thread.run_sync(Watch, path, reader_uri(path))
    try:
        yield watch
    finally:
        if watch is not None:
            watch.close()


@asynccontextmanager
async def reading_ahead(watch: Watch | None, message_count: int) -> AsyncGenerator[Ahead | None]:
    """Start processes that read messages ahead, for as many messages as make it worth while."""
    if watch is None or message_count < LEAST_MESSAGES:
        yield None
        return
    opening = (watch.uri, {"timeout": 0.0}, list(READ_PRAGMAS), LARGE_CELL_BYTES, LONGEST_MESSAGE_BYTES)
    ahead = Ahead(watch, [])
    try:
        with suppress(OSError):
            for _ in range(WORKERS):
                ahead.workers.append(Worker.start(opening))
        yield ahead
    finally:
        ahead.end()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def message_order(reading: Reading, agent_id: str) -> str:
    """The ORDER BY of an agent's messages: total, so that equal databases give equal bytes.

    The index has them by position; sorting by id as well costs a third of the fetch, and positions rarely tie.
    """
    tie = "SELECT 1 FROM messages WHERE agent_id = :id GROUP BY position HAVING count(*) > 1 LIMIT 1"
    return f"ORDER BY t.position DESC{', t.id' if await _all(reading, tie, agent_id) else ''}"


def living_messages(reading: Reading) -> str:
    """The WHERE of the messages of an agent, `:id`, that are not deleted."""
    return where("t.agent_id = :id", reading.held.living("t"))


async def _bounds(reading: Reading, agent_id: str) -> list[Any]:
    """The positions at which ranges of RANGE_ROWS messages end, but for the last; none where it does not pay.

    They are found in the index on positions, without a look at the messages. Where there is none, or a position is not
    one, nothing is divided.
    """
    living = living_messages(reading)
    nth = f"SELECT t.position FROM messages t {living}{{}} ORDER BY t.position DESC LIMIT 1 OFFSET {RANGE_ROWS - 1}"
    sql = f"""WITH RECURSIVE bound(position) AS (SELECT ({nth.format("")}) UNION ALL
        SELECT ({nth.format(" AND t.position < bound.position")}) FROM bound WHERE bound.position IS NOT NULL)
        SELECT position FROM bound WHERE position IS NOT NULL"""
    odd = f"SELECT 1 FROM messages t {living} AND t.position IS NULL LIMIT 1"
    try:
        plan = [str(row[3]) for row in await _all(reading, f"EXPLAIN QUERY PLAN {sql}", agent_id)]
        searches = [step for step in plan if step.startswith("SEARCH t USING")]
        if len(searches) != 2 or any("TEMP B-TREE" in step for step in plan) or await _all(reading, odd, agent_id):
            return []
        return [row[0] for row in await _all(reading, sql, agent_id)]
    except PatternStreamError:
        return []  # reading the messages will say more


async def _all(reading: Reading, sql: str, agent_id: str) -> list[Any]:
    async with aclosing(batches(reading.connection, sql, {"id": agent_id}, table=Message.table)) as found:
        return [row async for batch in found for row in batch]


def _ranges(reading: Reading, agent_id: str, order: str, bounds: Sequence[Any]) -> Iterator[Query]:
    """The messages of an agent as queries of neighbouring ranges, which leave out and repeat nothing."""
    living = living_messages(reading)
    if not bounds:
        yield reading.query(Message, f"{living} {order}", agent_id)
        return
    for above, below in zip([None, *bounds], [*bounds, None], strict=True):
        upper = "" if above is None else " AND t.position < :above"
        lower = "" if below is None else " AND t.position >= :below"
        query = reading.query(Message, f"{living}{upper}{lower} {order}", agent_id)
        yield replace(query, parameters={**query.parameters, "above": above, "below": below})


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise Gone
    return pipe


def _widen(descriptor: int) -> None:
    """Let a pipe hold what a process has ready while somebody else is heard; nobody waits for it in a system call."""
    os.set_blocking(descriptor, False)
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.fcntl(descriptor, _F_SETPIPE_SZ, _PIPE_BYTES)
