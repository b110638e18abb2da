"""Work done ahead of its turn by workers, and taken in order. Whatever they cannot do, the caller does itself.

Workers only do work on the fast path and leave the rest to the caller. So results, findings and errors are the same
without any worker, also where one does not start, or dies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import field
from typing import Any, Generic, Protocol, TypeVar

import anyio

from pattern_stream.quick_dataclass import dataclass
from pattern_stream.workers.process import AnswerFrame, Worker, WorkerDied
from pattern_stream.workers.serving import MORE, READY, REST
from pattern_stream.workers.slots import Slots

Item = TypeVar("Item")


class FrameSource(Protocol):
    """Who owes frames: a worker, or the caller itself, which may do what else it would wait for."""

    @property
    def at_hand(self) -> bool:
        """Whether the next frame need not be waited for."""

    async def receive(self) -> AnswerFrame:
        """The next frame. Raises WorkerDied."""


@dataclass(slots=True)
class Requested(Generic[Item]):
    """An item in its place, and who still owes frames of its answer."""

    item: Item
    source: FrameSource | None = None
    complete: bool = False
    """Whether the source did all of it. Known when there are no more frames."""

    @property
    def at_hand(self) -> bool:
        """Whether `receive` need not wait."""
        return self.source is None or self.source.at_hand

    async def receive(self) -> AnswerFrame | None:
        """The next frame; None after the last one, and where nobody owes any."""
        if self.source is None:
            return None
        try:
            frame = await self.source.receive()
        except WorkerDied:
            self.source = None
            return None
        if frame.kind != MORE:
            self.source, self.complete = None, frame.kind != REST
        return frame


@dataclass(slots=True)
class OrderedPrefetch(Generic[Item]):
    """Items in order, and the workers that get requests in turn."""

    workers: list[Worker] = field(default_factory=list)
    queue: deque[Requested[Item]] = field(default_factory=deque)
    _ready_count: int = 0
    _turn: int = 0

    def start(self, module: str, opening: tuple[Any, ...], slots: Iterable[Slots], *, answers_in_slots: bool) -> None:
        """Start a worker for each of these slots; nobody waits for them. Where the system has no room, none is left."""
        try:
            for each in slots:
                self.workers.append(Worker.start(module, opening, each, answers_in_slots=answers_in_slots))
        except OSError:
            self.end()

    async def is_ready(self, seconds: float | None = None) -> bool:
        """Whether all workers have opened what they need; waits so long for them. They are ended where one cannot."""
        if self._ready_count < len(self.workers):
            with anyio.move_on_after(seconds):
                try:
                    while self._ready_count < len(self.workers):
                        if (await self.workers[self._ready_count].receive()).kind != READY:
                            raise WorkerDied
                        self._ready_count += 1
                except WorkerDied:
                    self.end()
        return self._ready_count == len(self.workers) and any(worker.alive for worker in self.workers)

    def add(self, item: Item, request: tuple[Any, ...] | None = None) -> bool:
        """Queue an item, and send a request for it. Returns whether a worker got it."""
        asked = Requested(item)
        if request is not None and (alive := [worker for worker in self.workers if worker.alive]):
            self._turn += 1
            worker = alive[self._turn % len(alive)]
            asked.source = worker if worker.request(request) else None
        self.queue.append(asked)
        return asked.source is not None

    def end(self) -> None:
        """End the workers. Items in the queue are the caller's work from now on."""
        for worker in self.workers:
            worker.end()
        self.workers.clear()
