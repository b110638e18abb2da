"""What every pipeline that reads an archive begins with: bytes from wherever they are, unwrapped, a reader, a shelf."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pattern_stream.archive.reader import ArchiveReader, starts_plain
from pattern_stream.archive.shelf import Shelf
from pattern_stream.archive.tee import Replay
from pattern_stream.errors import PatternStreamError, Report, UsageError, storage_errors
from pattern_stream.files.temporary import temporary_folders
from pattern_stream.format import MAX_DOCUMENT_BYTES
from pattern_stream.items import Progress, ProgressCallback
from pattern_stream.legacy.pattern_archive.root import may_be_of_today
from pattern_stream.legacy.source import HEAD_BYTES, LegacyInput
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.streams import closing
from pattern_stream.transport.files import ByteSource, open_input
from pattern_stream.transport.wrapping import WRAPPING_HEAD_BYTES, Unwrapping, unwrap, wrapping_kind

if TYPE_CHECKING:
    from pattern_stream.pipelines.converting import ConversionResult

ArchiveSource = Path | AsyncIterator[bytes] | None
"""Where an archive is read from: a file, any async iterator of bytes, or None for standard input."""


@dataclass(frozen=True, slots=True)
class OpenArchive:
    """An archive that is being read. `reader.open()` has not been called yet.

    `converted`: of an archive of an older version, or of data of another system, the report of its conversion: what is
    read here is then the archive that the conversion made.
    """

    reader: ArchiveReader
    shelf: Shelf
    converted: ConversionResult | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """An input without what lay round it. `head`: its first bytes; `pieces`: all of it, from its beginning, once.

    `path`: the file where its content is the file's own; `folder`: a folder, which has no bytes.
    """

    head: bytes
    pieces: AsyncIterator[bytes]
    path: Path | None = None
    folder: Path | None = None


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
    max_document_bytes: int = MAX_DOCUMENT_BYTES,
) -> AsyncGenerator[OpenArchive]:
    """Open an archive, whatever lies round it. A plain file is looked into again: nothing of it is kept.

    What is no archive of today but can be converted is converted, into a temporary file, and read from there.
    Raises, beside what reading does: what a conversion raises.
    """
    async with AsyncExitStack() as resources:
        opening = open_content(source, stage=stage, progress=progress, unwrapping=unwrapping)
        content = await resources.enter_async_context(opening)
        folders = temporary_folders(spool_dir, near)
        converted = None
        if content.folder is not None or not may_be_of_today(content.head):
            from pattern_stream.pipelines.converting import (  # not needed for what is usual
                ConvertOptions,
                convert_content,
            )

            replay = resources.enter_context(Replay(folders))
            options = ConvertOptions(spool_dir=spool_dir, max_document_bytes=max_document_bytes)
            converted = await convert_content(content, replay, options, near=near, progress=progress)
            if converted is not None:
                content = Content(b"", replay.again())
            elif content.folder is not None:
                raise _no_archive(content.folder)
        plain = _plain_archive(resources, content.path)
        shelf = resources.enter_context(Shelf(folders, archive=plain))
        yield OpenArchive(ArchiveReader(content.pieces, damage=damage), shelf, converted)


def _no_archive(folder: Path) -> UsageError:
    database = folder / "constellation.db"
    hint = f"an archive is made of a database: pattern-stream export --db {database}" if database.is_file() else None
    return UsageError(f"{folder} is a folder, expected an archive", hint=hint)


def is_foreign(content: Content) -> bool:
    """Whether an input is of a format that can be converted."""
    from pattern_stream.legacy.detect import recognise_foreign  # every reader there is

    path, folder = content.folder or content.path, content.folder is not None
    with LegacyInput(path, folder, content.head, content.pieces, ()) as given:
        return recognise_foreign(given) is not None


@asynccontextmanager
async def open_content(
    source: ArchiveSource,
    *,
    stage: str,
    progress: ProgressCallback | None = None,
    unwrapping: Unwrapping = Unwrapping(),
) -> AsyncGenerator[Content]:
    """Open an input, take off what lies round it, and look at its first bytes. Their faults come with `pieces`."""
    async with AsyncExitStack() as resources:
        raw: AsyncIterator[bytes]
        if isinstance(source, Path) and source.is_dir():
            yield Content(b"", _from_beginning(b"", None, None), folder=source)
            return
        if source is None or isinstance(source, Path):
            raw = await resources.enter_async_context(open_input(source))
        else:
            raw = source
        path, total = (raw.path, raw.total_bytes) if isinstance(raw, ByteSource) else (None, None)
        first, raw = await _first_bytes(watched(raw, stage, total, progress), WRAPPING_HEAD_BYTES)
        head, pieces = await _first_bytes(unwrap(raw, unwrapping), HEAD_BYTES)
        await resources.enter_async_context(closing(pieces))
        yield Content(head, pieces, path if wrapping_kind(first) is None else None)


async def _first_bytes(pieces: AsyncIterator[bytes], count: int) -> tuple[bytes, AsyncGenerator[bytes]]:
    """The first `count` bytes, or all there are; and the pieces from their beginning, with any fault of theirs."""
    head, fault = b"", None
    try:
        while len(head) < count and (piece := await anext(pieces, None)) is not None:
            head = head + piece if head else piece
    except PatternStreamError as error:
        fault = error
    return head[:count], _from_beginning(head, pieces, fault)


async def _from_beginning(
    head: bytes, rest: AsyncIterator[bytes] | None, fault: PatternStreamError | None
) -> AsyncGenerator[bytes]:
    if head:
        yield head
    if fault is not None:
        raise fault
    if rest is not None:
        async with closing(rest):
            async for piece in rest:
                yield piece


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
