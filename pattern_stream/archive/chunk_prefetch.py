"""Chunks of messages decoded ahead of the walk by workers, so that decoding and storing run beside each other.

Most of the bytes of an archive are messages, and a chunk of them needs nothing of any other block: it is decoded,
checked and made into rows wherever there is a processor for it. Sections wait in order until the answers are there.
Workers only ever do what is plain. A chunk that they cannot do is decoded by the walk as if there were no worker, so
errors, findings and rows are the same; so it is where one does not start, or dies.
"""

from __future__ import annotations

import asyncio
import marshal
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from pattern_stream.errors import ArchiveError, Finding, Report
from pattern_stream.format import MAX_BLOCK_BYTES
from pattern_stream.items import MadeRows, Row, Section
from pattern_stream.workers.frames import READY
from pattern_stream.workers.process import Gone, Said, Worker, may_help
from pattern_stream.workers.slots import Slots

WORKER: Final = "pattern_stream.archive.chunk_prefetch_worker"
LEAST_BYTES: Final = 4 * 1024 * 1024
"""Bytes of chunks after which a worker is started: for fewer it costs more than it gains. Ours."""

LEAST_CHUNK_BYTES: Final = 16 * 1024
SLOTS: Final = 5
SLOT_BYTES: Final = MAX_BLOCK_BYTES * 3 // 2
"""A chunk, and the rows it is made into, which have names of columns no more, but quotes around their JSON."""

MOST_WAITING_BYTES: Final = 6 * 1024 * 1024
"""Bytes of sections that wait for an answer, or behind one that does."""

MOST_WAITING: Final = 256
"""Sections, and findings, that do: small ones cost more here than their bytes."""

MOST_USELESS: Final = 8
"""Chunks that were decoded for nothing, after which no more are: an archive in no order, or with something odd."""

_CHUNK_START: Final = b"\x68messages"
"""The first key of a chunk of messages, behind the head of its map. Source: v3 5.4."""


@dataclass(slots=True)
class _Waiting:
    """A section, and where a worker was given it; or a finding of the reader, and whom to tell."""

    section: Section | None = None
    slot: int | None = None
    tell: Callable[[], None] | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.section.data) if self.section is not None else 0


@dataclass(slots=True)
class _Crowd:
    """More findings than wait one by one: the first of each code, and how many there are. A log only counts them."""

    report: Report
    found: dict[str, tuple[Finding, int]] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        first, count = self.found.get(finding.code, (finding, 0))
        self.found[finding.code] = first, count + 1

    def tell(self) -> None:
        for first, count in self.found.values():
            for _ in range(count):
                self.report(first)


@dataclass(slots=True)
class Decoding:
    """Sections of one archive on their way to the walk. `made`: what workers made of the section that came last.

    `with_rows`: without, chunks are checked and counted, and their rows are not made.

    Memory:  the slots, and MOST_WAITING_BYTES of sections; the worker some 30 MB.
    """

    with_rows: bool = True
    made: dict[bytes, MadeRows] = field(default_factory=dict)
    worker: Worker | None = None
    _slots: Slots | None = None
    _free: list[int] = field(default_factory=list)
    _ready: asyncio.Task[Said] | None = None
    _seen_bytes: int = 0
    _useless: int = 0
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _waiting_bytes: int = 0

    async def sections(self, sections: AsyncIterator[Section]) -> AsyncGenerator[Section]:
        """The same sections in the same order. While one is looked at, `made` has what is known of it by its CID."""
        fault: ArchiveError | None = None
        try:
            try:
                async for section in sections:
                    # what is small is looked at first: there may be a million
                    if (len(section.data) < LEAST_CHUNK_BYTES and not self._waiting) or not self._takes(section):
                        yield section
                        continue
                    while self._is_full:
                        first = await self._next()
                        if first.section is not None:
                            yield first.section
                        self._done(first)
            except ArchiveError as error:  # what came before it has its turn first
                fault = error
            while self._waiting:
                first = await self._next()
                if first.section is not None:
                    yield first.section
                self._done(first)
            if fault is not None:
                raise fault
        finally:
            close = getattr(sections, "aclose", None)
            if close is not None:
                await close()

    def _takes(self, section: Section) -> bool:
        """Whether this one waits now: it was given to the worker, or others wait before it."""
        slot = self._asked(section) if self._is_chunk(section) else None
        if slot is None and not self._waiting:
            return False
        self._waiting.append(_Waiting(section, slot))
        self._waiting_bytes += len(section.data)
        return True

    def in_turn(self, report: Report) -> Report:
        """Tells what the reader finds when the sections before it have been looked at, as if none had waited.

        Of very many in a row each one further is told as the first of its code.
        """
        crowd, place = _Crowd(report), _Waiting()

        def tell(finding: Finding) -> None:
            nonlocal crowd, place
            if not self._waiting:
                report(finding)
            elif len(self._waiting) <= 2 * MOST_WAITING:
                self._waiting.append(_Waiting(tell=lambda: report(finding)))
            else:
                if self._waiting[-1] is not place:
                    crowd = _Crowd(report)
                    place = _Waiting(tell=crowd.tell)
                    self._waiting.append(place)
                crowd.add(finding)

        return tell

    @property
    def _is_full(self) -> bool:
        """Whether the first of those that wait must go on: there is no slot for another chunk, or no room.

        Without rows there is little else to do here: what finds no slot waits too, to be decoded here.
        """
        if not self._waiting:
            return False
        if self._waiting[0].slot is None or (self.with_rows and not self._free):
            return True
        return self._waiting_bytes > MOST_WAITING_BYTES or len(self._waiting) > MOST_WAITING

    async def _next(self) -> _Waiting:
        """The section that has waited longest; `made` has what was made of it."""
        waiting = self._waiting.popleft()
        self._waiting_bytes -= waiting.size_bytes
        if waiting.tell is not None:
            waiting.tell()
        if waiting.section is not None and waiting.slot is not None:
            made = await self._answer(waiting.slot)
            if made is not None:
                self.made[waiting.section.cid] = made
            else:
                self._useless += 1
        return waiting

    def _done(self, waiting: _Waiting) -> None:
        """The section was looked at: nobody reads what was made of it any more."""
        if waiting.section is not None and waiting.slot is not None:
            self._useless += self.made.pop(waiting.section.cid, None) is not None
            self._free.append(waiting.slot)

    def _is_chunk(self, section: Section) -> bool:
        """Whether somebody is to be asked about this one; counts, and starts a worker when it is time."""
        size = len(section.data)
        if not LEAST_CHUNK_BYTES <= size <= MAX_BLOCK_BYTES or not section.data.startswith(_CHUNK_START, 1):
            return False
        if self._useless >= MOST_USELESS or not may_help():
            return False
        self._seen_bytes += size
        if self.worker is None and self._seen_bytes >= LEAST_BYTES:
            self._start()
        return self._is_ready()

    def _start(self) -> None:
        self._useless = MOST_USELESS  # unless all of it succeeds
        with suppress(OSError):
            self.worker = Worker.start(WORKER, (), Slots(SLOTS, SLOT_BYTES))
            self._slots = self.worker.slots
            self._ready = asyncio.ensure_future(self.worker.hear())
            self._ready.add_done_callback(_look)
            self._free = list(range(SLOTS))
            self._useless = 0

    def _is_ready(self) -> bool:
        """Whether the worker can be asked. Nobody waits for it to start: chunks are decoded here meanwhile."""
        if self.worker is None or self._ready is None or not self._ready.done():
            return False
        return self.worker.alive and self._ready.exception() is None and self._ready.result().kind == READY

    def _asked(self, section: Section) -> int | None:
        if self._slots is None or self.worker is None or not self._free:
            return None
        slot = self._free.pop()
        self._slots.put(slot, section.data)
        self.worker.ask((slot, len(section.data), self.with_rows))
        return slot

    async def _answer(self, slot: int) -> MadeRows | None:
        """What the worker made of the chunk in a slot, None where it is not plain or the worker is gone."""
        if self.worker is None:
            return None
        with suppress(Gone):
            kind, about, _ = await self.worker.hear()
            if kind == b"d":
                fields, count, sizes = about
                return MadeRows(fields, count, lambda: self._rows(slot, sizes))
        return None

    def _rows(self, slot: int, sizes: list[int]) -> Iterator[list[Row]]:
        offset = 0
        for size in sizes:
            rows: Any = marshal.loads(self._slots.get(slot, size, offset)) if self._slots is not None else []
            yield rows
            offset += size

    def end(self) -> None:
        """End the worker and give everything back."""
        if self.worker is not None:
            self.worker.end()
        if self._ready is not None:
            self._ready.cancel()
        self._slots = self.worker = None


def _look(ready: asyncio.Task[Said]) -> None:
    """Whether it failed is asked later, or never."""
    if not ready.cancelled():
        ready.exception()


@contextmanager
def decoding_ahead(*, with_rows: bool = True) -> Iterator[Decoding]:
    """Something that decodes chunks ahead, once there are enough of them."""
    decoding = Decoding(with_rows)
    try:
        yield decoding
    finally:
        decoding.end()
