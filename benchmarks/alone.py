"""One stage by itself: its input is made a window ahead, while its clock stands still.

A window, not all of it at once: what a stage takes is as fresh in the processor's caches as it is in the line, and a
large archive does not become gigabytes of Python objects. A stage with threads of its own would work on while its clock
stands; such stages get their whole input beforehand (`run_whole`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

WINDOW = 16
"""Events: of the largest, 16 MB."""

Events = AsyncGenerator[Any]
Stage = Callable[[Events], AsyncIterator[Any]]
Floor = Callable[[list[Any]], object]


@dataclass(slots=True)
class Clock:
    """Seconds while it runs."""

    seconds: float = 0.0
    _since: float = 0.0

    def start(self) -> None:
        """Go on."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Stand still."""
        self.seconds += time.perf_counter() - self._since

    @contextmanager
    def running(self) -> Any:
        """Run for a while."""
        self.start()
        yield
        self.stop()


@dataclass(frozen=True, slots=True)
class Alone:
    """What a stage took by itself, and what nothing but the unavoidable part of its work took on the same input.

    `documents`: memory documents that were looked into, for stages that do little else.
    """

    seconds: float
    floor_seconds: float | None = None
    documents: int | None = None


@dataclass(slots=True)
class Counted:
    """A sandbox's function that counts how often it is called."""

    call: Callable[..., Awaitable[Any]]
    count: int = 0

    async def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        self.count += 1
        return await self.call(*arguments)


async def run_windowed(upstream: Events, stage: Stage, floor: Floor | None = None) -> Alone:
    """Drive a stage that works in turn with its upstream. The floor gets each window before the stage does."""
    own, under = Clock(), Clock()

    async def windows() -> Events:
        async with aclosing(upstream):
            window = [None]
            while window:
                own.stop()
                window = await _next_window(upstream)
                if floor is not None:
                    with under.running():
                        floor(window)
                own.start()
                for event in window:
                    yield event

    with own.running():
        await drain(stage(windows()))
    return Alone(own.seconds, under.seconds if floor is not None else None)


async def _next_window(upstream: Events) -> list[Any]:
    window: list[Any] = []
    async for event in upstream:
        window.append(event)
        if len(window) == WINDOW:
            break
    return window


async def drain(events: AsyncIterator[Any]) -> None:
    """Take everything, keep nothing."""
    async for _ in events:
        pass


async def flow(items: Iterable[Any]) -> Events:
    """What is in memory, as a stage takes it."""
    for item in items:
        yield item
