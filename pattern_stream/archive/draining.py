"""Moves a spool on disk into a file beside it, so that the disk never has to hold the archive twice.

Each area is emptied from its end, and its file is cut while the other one grows: leaves first, of which an archive
mostly consists, then inserts. Most that is on the disk at any time: the archive and one window.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Final

from anyio import to_thread

from pattern_stream.archive.spool import Area
from pattern_stream.errors import storage_errors
from pattern_stream.format import COPY_BYTES
from pattern_stream.items import PlacedWriter, Placement

WINDOW_BYTES: Final = 8 * 1024 * 1024
"""Most bytes that are in both files."""


async def drain(
    area: Area, placements: Iterator[Placement], out: PlacedWriter, advance: Callable[[int], object]
) -> None:
    """Write an area, given as pieces from its end to its beginning, to their places, and cut the area's file.

    Raises:  StorageFull, TransportError.
    """
    file = area.file
    if file is None:
        return
    for window in _windows(placements):
        await out.place(file.fileno(), window)
        with storage_errors("cutting the spool"):
            await to_thread.run_sync(_cut, file, window[-1].offset)
        advance(sum(piece.size for piece in window))


def _windows(placements: Iterator[Placement]) -> Iterator[Sequence[Placement]]:
    """Small pieces together, large ones in parts; still from the end to the beginning."""
    small: list[Placement] = []
    size = 0
    for piece in placements:
        count = piece.size
        if size and size + count > COPY_BYTES:
            yield small
            small, size = [], 0
        if count <= COPY_BYTES:
            small.append(piece)
            size += count
            continue
        for end in range(count, 0, -WINDOW_BYTES):
            begin = max(0, end - WINDOW_BYTES)
            yield [Placement(piece.offset + begin, end - begin, piece.place + begin)]
    if small:
        yield small


def _cut(file: IO[bytes], size: int) -> None:
    os.ftruncate(file.fileno(), size)
