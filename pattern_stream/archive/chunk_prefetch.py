"""Chunks of messages decoded ahead of the walk by a worker, so that decoding and storing run beside each other.

Most of the bytes of an archive are messages, and a chunk of them needs no other block: it is decoded, checked and made
into rows wherever there is a processor for it. Sections wait in order until the answers are there. The walk decodes a
chunk without an answer itself, see `ordered_prefetch`.
"""

from __future__ import annotations

import marshal
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import field
from functools import partial
from typing import Any, Final

from pattern_stream.budget import BUDGET, Budget
from pattern_stream.errors import ArchiveError, Finding, Report
from pattern_stream.format import MAX_BLOCK_BYTES
from pattern_stream.items import MadeRows, Section
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.streams import closing
from pattern_stream.workers.channel import spare_processors
from pattern_stream.workers.ordered_prefetch import OrderedPrefetch, Requested
from pattern_stream.workers.slots import Slots

WORKER: Final = "pattern_stream.archive.chunk_prefetch_worker"

_CHUNK_START: Final = b"\x68messages"
"""The first key of a chunk of messages, behind the head of its map. Source: docs/format.md#message-chunks."""


@dataclass(slots=True)
class _QueuedSection:
    """A section, the slot with its copy for the worker, and whether that has its rows now."""

    section: Section
    slot: int | None
    answered: bool = False


@dataclass(slots=True)
class _QueuedFindings:
    """Findings between two sections: the first of each code, and how many there are. A log only counts the others."""

    report: Report
    found: dict[str, tuple[Finding, int]] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        first, count = self.found.get(finding.code, (finding, 0))
        self.found[finding.code] = first, count + 1

    def report_all(self) -> None:
        for first, count in self.found.values():
            for _ in range(count):
                self.report(first)


@dataclass(slots=True)
class ChunkPrefetch:
    """Sections of one archive on their way to the walk. `made`: rows that a worker made of the section that came last.

    `with_rows`: without, chunks are checked and counted, and their rows are not made. Of `asked_count` chunks that a
    worker was asked for, it decoded `answered_count`; the last `useless_count` were decoded here after
    all, or by nobody.

    Memory:  the slots, and `most_waiting_bytes` of sections; the worker some 30 MB.
    """

    with_rows: bool = True
    budget: Budget = BUDGET
    made: dict[bytes, MadeRows] = field(default_factory=dict)
    asked_count: int = 0
    answered_count: int = 0
    useless_count: int = 0
    prefetch: OrderedPrefetch[_QueuedSection | _QueuedFindings] = field(default_factory=OrderedPrefetch)
    _slots: Slots | None = None
    _free: list[int] = field(default_factory=list)
    _seen_bytes: int = 0
    _waiting_bytes: int = 0

    async def sections(self, sections: AsyncIterator[Section]) -> AsyncGenerator[Section]:
        """The same sections in the same order. While one is looked at, `made` has its rows by its CID, if any."""
        queue, fault, ended = self.prefetch.queue, None, False
        async with closing(sections):
            while queue or not ended:
                if queue and (ended or self._is_full()):
                    queued = queue.popleft()
                    if isinstance(queued.item, _QueuedFindings):
                        queued.item.report_all()
                        continue
                    await self._receive(queued, queued.item)
                    yield queued.item.section
                    self._release(queued.item)
                    continue
                try:
                    section = await anext(sections)
                except StopAsyncIteration:
                    ended = True
                    continue
                except ArchiveError as error:  # the sections before it have their turn first
                    fault, ended = error, True
                    continue
                # small sections are passed on first: there may be a million
                if (len(section.data) < self.budget.least_chunk_bytes and not queue) or not await self._takes(section):
                    yield section
            if fault is not None:
                raise fault

    def in_turn(self, report: Report) -> Report:
        """Reports findings of the reader after the sections before them, as if no section had waited.

        Of very many in a row each one further is reported as the first of its code.
        """

        def report_later(finding: Finding) -> None:
            queue = self.prefetch.queue
            if not queue:
                report(finding)
                return
            last = queue[-1].item
            if isinstance(last, _QueuedSection) or len(queue) <= 2 * self.budget.most_waiting:
                self.prefetch.add(last := _QueuedFindings(report))
            last.add(finding)

        return report_later

    def end(self) -> None:
        """End the worker and give everything back."""
        self.prefetch.end()
        self._slots = None

    def _is_full(self) -> bool:
        """Whether the first in the queue must go on: there is no slot for another chunk, or no room.

        Without rows there is little else to do here: chunks that find no slot wait too, to be decoded here.
        """
        if self.prefetch.queue[0].source is None or (self.with_rows and not self._free):
            return True
        return (
            self._waiting_bytes > self.budget.most_waiting_bytes or len(self.prefetch.queue) > self.budget.most_waiting
        )

    async def _takes(self, section: Section) -> bool:
        """Whether this section waits: the worker was asked for it, or others wait before it."""
        slot = None
        if await self._is_prefetched(section) and self._free and self._slots is not None:
            slot = self._free.pop()
            self._slots.put(slot, section.data)
        elif not self.prefetch.queue:
            return False
        request = None if slot is None else (slot, len(section.data), self.with_rows)
        self.asked_count += self.prefetch.add(_QueuedSection(section, slot), request)
        self._waiting_bytes += len(section.data)
        return True

    async def _is_prefetched(self, section: Section) -> bool:
        """Whether a worker is to be asked for this one; counts bytes of chunks, and starts a worker when it is time."""
        budget, size = self.budget, len(section.data)
        if not budget.least_chunk_bytes <= size <= MAX_BLOCK_BYTES or not section.data.startswith(_CHUNK_START, 1):
            return False
        if self.useless_count >= budget.most_useless or not spare_processors(budget.processors):
            return False
        self._seen_bytes += size
        if self._slots is None and self._seen_bytes >= budget.least_prefetch_bytes:
            with suppress(OSError):
                self._slots = Slots(budget.chunk_slots, budget.chunk_slot_bytes)
                self._free = list(range(budget.chunk_slots))
                self.prefetch.start(WORKER, (), [self._slots], answers_in_slots=False)
            if not self.prefetch.workers:
                self.useless_count = budget.most_useless
            return False
        return await self.prefetch.is_ready(budget.chunk_start_seconds)

    async def _receive(self, queued: Requested[Any], item: _QueuedSection) -> None:
        """Take what the worker made of a section into `made`."""
        self._waiting_bytes -= len(item.section.data)
        if (slot := item.slot) is not None:
            frame = await queued.receive()
            if frame is None or not queued.complete:
                return
            item.answered = True
            self.answered_count += 1
            fields, count, sizes = frame.about
            self.made[item.section.cid] = MadeRows(fields, count, partial(self._rows, slot, sizes))

    def _release(self, item: _QueuedSection) -> None:
        """The section was looked at: nobody reads its rows any more."""
        if item.slot is not None:
            left = self.made.pop(item.section.cid, None)
            self.useless_count = 0 if item.answered and left is None else self.useless_count + 1
            self._free.append(item.slot)

    def _rows(self, slot: int, sizes: list[int]) -> Iterator[list[Any]]:
        offset = 0
        for size in sizes:
            if self._slots is None:
                return
            batch: Any = marshal.loads(self._slots.get(slot, size, offset))
            yield batch
            offset += size


@contextmanager
def open_chunk_prefetch(*, with_rows: bool = True, budget: Budget = BUDGET) -> Iterator[ChunkPrefetch]:
    """Decodes chunks ahead, once there are enough of them; ends its worker."""
    prefetch = ChunkPrefetch(with_rows, budget)
    try:
        yield prefetch
    finally:
        prefetch.end()
