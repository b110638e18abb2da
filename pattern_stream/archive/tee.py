"""Keeps bytes that come once and are needed twice: in memory while they are few, then in a nameless file."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from anyio.to_thread import run_sync

from pattern_stream.archive.spool import Spool
from pattern_stream.budget import BUDGET, Budget
from pattern_stream.format import COPY_BYTES


class Replay:
    """A source read through `first`, to its end, or written by `write`, and then read once more through `again`.

    Memory:  as the spool's.
    Raises:  StorageFull, TransportError.
    """

    def __init__(self, folders: Sequence[Path], *, budget: Budget = BUDGET) -> None:
        self._spool = Spool(folders, budget=budget)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.__exit__(kind, error, trace)

    @property
    def size_bytes(self) -> int:
        """How many bytes have passed."""
        return self._spool.leaves.size

    async def first(self, source: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """The bytes of a source, which the spool keeps as they pass."""
        async for piece in source:
            await self.write(piece)
            yield piece

    async def write(self, data: bytes, /) -> None:
        """Keep some more."""
        self._spool.leaves.append(b"", data)
        if self._spool.is_due:
            await run_sync(self._spool.flush)

    async def again(self) -> AsyncGenerator[bytes]:
        """The same bytes once more."""
        area = self._spool.leaves
        if self._spool.is_on_disk:
            await run_sync(self._spool.flush)
        for offset in range(0, area.size, COPY_BYTES):
            yield await area.read(offset, min(COPY_BYTES, area.size - offset), "reading again what was put aside")
