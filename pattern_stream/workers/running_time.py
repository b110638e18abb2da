"""A deadline by the time that this process ran. A job that was stopped, or a paused container, is late, not hung."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anyio

TICK_SECONDS: Final = 0.25
FEWEST_TICKS: Final = 8


@contextmanager
def give_up_after(seconds: float) -> Iterator[None]:
    """End the block, without an error, once the event loop ran for so long.

    Ticks are counted, not the clock, and the next one begins where the last one was met. However long the process
    stood still, one tick has passed, and answers that came meanwhile are looked at before the last one.
    """
    loop = asyncio.get_running_loop()
    tick = min(TICK_SECONDS, seconds / FEWEST_TICKS)
    timer: asyncio.TimerHandle

    def wait(left: float) -> None:
        nonlocal timer
        if left > 0:
            timer = loop.call_later(tick, wait, left - tick)
        else:
            scope.cancel()

    with anyio.CancelScope() as scope:
        timer = loop.call_later(tick, wait, seconds - tick)
        try:
            yield
        finally:
            timer.cancel()
