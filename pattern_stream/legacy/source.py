"""What a reader of another format is given, and what it gives: `LegacyInput`, `Reader`, `LegacySource`."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Literal, Protocol, Self, TypeVar

from anyio import to_thread

from pattern_stream.errors import UsageError, storage_errors
from pattern_stream.files.temporary import open_temporary, require_space
from pattern_stream.format import MAX_DOCUMENT_BYTES
from pattern_stream.items import ProgressCallback, RowEvent
from pattern_stream.legacy.conversion import Conversion, Provenance
from pattern_stream.quick_dataclass import dataclass

T = TypeVar("T")

HEAD_BYTES: Final = 64 * 1024
"""Bytes of a file by which its format is recognised."""

_RESERVE_BYTES: Final = 64 * 1024 * 1024
"""Free bytes that a kept copy leaves on its disk, looked at again after as many bytes."""

_PURPOSE: Final = "temporary file for what is converted"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a source is to be read. `now`: the time for sources that tell none. `folders`: for temporary files, best
    first. `archival`: what becomes of archival memory of the original's older versions: entries, or memory blocks.
    `progress`: is told how far reading is, where that takes long before the first row.
    """

    now: str
    folders: Sequence[Path]
    archival: Literal["entries", "blocks"] = "entries"
    max_document_bytes: int = MAX_DOCUMENT_BYTES
    progress: ProgressCallback | None = None


@dataclass(slots=True)
class LegacyInput:
    """What is to be converted: a folder, a file, or bytes that come once. Use as a context manager.

    `path`: the folder, or a file that holds the content as it is; None for a pipe, and for a file inside gzip. `head`:
    the first HEAD_BYTES of the content, without gzip; empty for a folder. `pieces`: the content from its beginning,
    which can be read once, by `pieces` or `file`, not both.
    """

    path: Path | None
    is_folder: bool
    head: bytes
    pieces: AsyncIterator[bytes]
    folders: Sequence[Path]
    _resources: ExitStack = field(default_factory=ExitStack)
    _file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def enter(self, resource: AbstractContextManager[T]) -> T:
        """Open a resource that stays open as long as this input: a temporary database, a file, a zip."""
        return self._resources.enter_context(resource)

    async def file(self) -> IO[bytes]:
        """The whole content as a file to be read anywhere: the file itself, else a copy that has no name.

        Raises:  StorageFull, TransportError; what the content's own stream raises. UsageError for a folder.
        """
        if self.is_folder:
            raise UsageError(f"{self.path} is a folder, expected a file")
        if self._file is None:
            self._file = self.enter(await self._opened())
        self._file.seek(0)
        return self._file

    async def _opened(self) -> IO[bytes]:
        if self.path is not None:
            with storage_errors(f"reading {self.path}"):
                return await to_thread.run_sync(open, self.path, "rb")
        copy, folder = open_temporary(self.folders, _PURPOSE)
        try:
            unlooked = _RESERVE_BYTES
            async for piece in self.pieces:
                unlooked += len(piece)
                if unlooked >= _RESERVE_BYTES:
                    require_space(folder, 2 * _RESERVE_BYTES, f"{_PURPOSE} has {copy.tell()} bytes")
                    unlooked = 0
                with storage_errors(f"writing the {_PURPOSE}"):
                    await to_thread.run_sync(copy.write, piece)
            with storage_errors(f"writing the {_PURPOSE}"):
                copy.flush()
        except BaseException:
            copy.close()
            raise
        return copy

    @property
    def name(self) -> str | None:
        """The last part of the path: a name to show, never one to open."""
        return None if self.path is None else os.path.basename(os.path.abspath(self.path))


class LegacySource(Protocol):
    """A source that was opened: its provenance is known, and its rows can be read, once.

    `rows`: the same events that `db.read.scope_reader.read_scope` gives: one tree of Open ... Close with rows in
    `Record.columns` order and cells as the database stores them. The cell `loro_snapshot` of a memory block is empty
    bytes: the pipeline writes a document with the text of `content_preview`.
    """

    @property
    def provenance(self) -> Provenance: ...

    def rows(self) -> AsyncGenerator[RowEvent]: ...


class Reader(Protocol):
    """One format. `recognise` looks at path and head alone; `open` reads what it needs before the first row.

    What `open` opens for longer than the call goes through `given.enter`. Both it and `rows` raise LegacyError or
    ArchiveError, with a place, for anything that is not as the format wants it.
    """

    @property
    def noun(self) -> str: ...

    def recognise(self, given: LegacyInput) -> bool: ...

    async def open(self, given: LegacyInput, options: ReadOptions, conversion: Conversion) -> LegacySource: ...
