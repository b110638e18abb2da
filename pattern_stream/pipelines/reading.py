"""What every pipeline that reads an archive begins with: bytes from wherever they are, unwrapped, a reader, a shelf."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pattern_stream.archive.reader import ArchiveReader, starts_plain
from pattern_stream.archive.shelf import Shelf
from pattern_stream.errors import Report, storage_errors
from pattern_stream.files.temporary import temporary_folders
from pattern_stream.items import Progress, ProgressCallback
from pattern_stream.streams import closing
from pattern_stream.transport.files import ByteSource, open_input
from pattern_stream.transport.wrapping import Unwrapping, unwrap

ArchiveSource = Path | AsyncIterator[bytes] | None
"""Where an archive is read from: a file, any async iterator of bytes, or None for standard input."""


@dataclass(frozen=True, slots=True)
class OpenArchive:
    """An archive that is being read. `reader.open()` has not been called yet."""

    reader: ArchiveReader
    shelf: Shelf


@asynccontextmanager
async def open_archive(
    source: ArchiveSource,
    *,
    stage: str,
    damage: Report | None = None,
    progress: ProgressCallback | None = None,
    spool_dir: Path | None = None,
    near: Path | None = None,
    unwrapping: Unwrapping = Unwrapping(),
) -> AsyncGenerator[OpenArchive]:
    """Open an archive, whatever lies round it. A plain file is looked into again: nothing of it is kept."""
    async with AsyncExitStack() as resources:
        raw: AsyncIterator[bytes]
        if source is None or isinstance(source, Path):
            raw = await resources.enter_async_context(open_input(source))
        else:
            raw = source
        plain = raw.path if isinstance(raw, ByteSource) else None
        total = raw.total_bytes if isinstance(raw, ByteSource) else None
        folders, archive = temporary_folders(spool_dir, near), _plain_archive(resources, plain)
        shelf = resources.enter_context(Shelf(folders, archive=archive))
        pieces = unwrap(watched(raw, stage, total, progress), unwrapping)
        await resources.enter_async_context(closing(pieces))
        yield OpenArchive(ArchiveReader(pieces, damage=damage), shelf)


async def watched(
    pieces: AsyncIterator[bytes], stage: str, total: int | None, progress: ProgressCallback | None
) -> AsyncGenerator[bytes]:
    """Tell the caller how many bytes have come in."""
    done = 0
    async with closing(pieces):
        async for piece in pieces:
            done += len(piece)
            if progress is not None:
                progress(Progress(stage, done, total, "bytes"))
            yield piece


def _plain_archive(resources: AsyncExitStack, path: Path | None) -> int | None:
    """A descriptor of a regular file that holds the archive as it is, for reading blocks again; None for all else."""
    if path is None:
        return None
    with storage_errors(f"reading {path}"):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        resources.callback(os.close, descriptor)
        return descriptor if starts_plain(os.pread(descriptor, 16, 0)) else None
