"""How tests drive a line: feed it, dribble bytes into it, collect what comes out."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")


async def collect(items: AsyncIterable[Item]) -> list[Item]:
    """Everything that comes, as a list."""
    return [item async for item in items]


async def feed(items: Iterable[Item]) -> AsyncGenerator[Item]:
    """The items of a list as an upstream."""
    for item in items:
        yield item


async def dribble(data: bytes, count: int = 1) -> AsyncGenerator[bytes]:
    """Bytes in pieces of at most `count`."""
    for at in range(0, len(data), count):
        yield data[at : at + count]


def child_pids() -> set[int]:
    """Processes whose parent is this one, dead ones that were not reaped included."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(path.parent.name))
    return found
