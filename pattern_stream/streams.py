"""The upstream of a stage or writer: its type, and its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Events = AsyncIterator[Item]
"""An upstream: any async iterator. Async generators among them are closed when the stage ends, however it ends."""


@asynccontextmanager
async def closing(events: AsyncIterator[Item]) -> AsyncGenerator[AsyncIterator[Item]]:
    """Close an upstream at the end where it can be closed, as `aclosing` does where it must be."""
    try:
        yield events
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


async def transform(
    events: Events[Any], *steps: Callable[[Any], Any], finish: Callable[[], None] | None = None
) -> AsyncGenerator[Any]:
    """Pass each event through all steps in turn. A step that returns None drops the event; `finish` runs at the end.

    One generator for any number of steps: each further generator would cost time for every event.
    """
    async with closing(events):
        async for event in events:
            for step in steps:
                if (event := step(event)) is None:
                    break
            else:
                yield event
    if finish is not None:
        finish()
