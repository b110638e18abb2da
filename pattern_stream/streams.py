"""The upstream of a stage or writer: its type, and its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

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
