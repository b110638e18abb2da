"""Where sections wait until the header is known: memory first, then unlinked files that vanish with the program.

Two areas: the leaves in the order they came, and the inserts, which are the blocks of nodes that closed after their
children and belong before them. Writing and loading block, so the writer does both in a thread; the rest is plain.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from pattern_stream.errors import FileMissing, StorageFull, TransportError, storage_error
from pattern_stream.format import COPY_BYTES, SPOOL_MEMORY_BYTES, SPOOL_RESERVE_BYTES

_WINDOW_BYTES: Final = 256 * 1024
"""Bytes loaded at once where many small pieces are read one after another."""


class Area:
    """Bytes appended at the end and read back by offset. `tail`: those still in memory, all of them before a flush."""

    __slots__ = ("_file", "_stored_bytes", "_window", "_window_offset", "tail")

    def __init__(self) -> None:
        self.tail = bytearray()
        self._file: IO[bytes] | None = None
        self._stored_bytes = 0
        self._window = b""
        self._window_offset = 0

    @property
    def size(self) -> int:
        """All bytes of the area, wherever they are."""
        return self._stored_bytes + len(self.tail)

    @property
    def descriptor(self) -> int | None:
        """The file that holds the whole area after a flush, None while it is in memory."""
        return self._file.fileno() if self._file is not None else None

    def append(self, head: bytes, data: bytes) -> None:
        """Put a section at the end."""
        self.tail += head
        self.tail += data

    def flush(self, folder: Path) -> None:
        """Move what is in memory to the end of the file. Blocks. Raises OSError."""
        if self._file is None:
            self._file = _open_nameless(folder)
        with memoryview(self.tail) as tail:
            _write_all(self._file, tail)
        self._stored_bytes += len(self.tail)
        self.tail.clear()

    def peek(self, offset: int, count: int) -> bytes | bytearray | None:
        """A piece that is at hand in memory, None where it must be loaded."""
        if self._file is None:
            return self.tail[offset : offset + count]
        start = offset - self._window_offset
        if start >= 0 and start + count <= len(self._window):
            return self._window[start : start + count]
        return None

    def load(self, offset: int, count: int) -> bytes:
        """A piece out of the file, with what follows it for the next `peek`. Blocks. Raises OSError."""
        if self._file is None:
            raise ValueError("an area in memory has nothing to load")
        self._file.seek(offset)
        self._window = self._file.read(max(count, _WINDOW_BYTES))
        self._window_offset = offset
        if len(self._window) < count:
            raise TransportError(f"spool ends at {offset + len(self._window)} bytes, expected {offset + count}")
        return self._window[:count]

    def close(self) -> None:
        """Give file and memory back."""
        if self._file is not None:
            self._file.close()
        self.tail = bytearray()
        self._window = b""


class Spool:
    """The two areas with their common budget of memory and their common folder.

    Memory:  `memory_bytes` until it spills, then about 1 MiB and one section.
    Raises:  StorageFull before the disk is full, TransportError where no folder can be written: from `flush`.
    """

    def __init__(self, folders: Sequence[Path], *, memory_bytes: int = SPOOL_MEMORY_BYTES) -> None:
        self.leaves = Area()
        self.inserts = Area()
        self._folders = folders
        self._folder: Path | None = None
        self._limit_bytes = memory_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leaves.close()
        self.inserts.close()

    @property
    def size(self) -> int:
        """Bytes of all sections so far."""
        return self.leaves.size + self.inserts.size

    @property
    def pending_bytes(self) -> int:
        """Bytes that are still in memory."""
        return len(self.leaves.tail) + len(self.inserts.tail)

    @property
    def is_due(self) -> bool:
        """Whether enough is in memory to be written."""
        return len(self.leaves.tail) + len(self.inserts.tail) >= self._limit_bytes

    @property
    def is_on_disk(self) -> bool:
        """Whether anything was written to a file."""
        return self._folder is not None

    def flush(self) -> None:
        """Write what is in memory to the files, which are made at the first call. Blocks."""
        folder = self._chosen_folder()
        with self._translated(folder):
            self._check_room(folder)
            self.leaves.flush(folder)
            self.inserts.flush(folder)

    def _chosen_folder(self) -> Path:
        """The folder of the files: the first candidate where one can be made, for good."""
        if self._folder is None:
            self._folder = _first_usable(self._folders)
            self._limit_bytes = COPY_BYTES
        return self._folder

    def _check_room(self, folder: Path) -> None:
        """Rule: refuse before the disk is full, so that other programs do not meet a full disk."""
        needed = self.pending_bytes + SPOOL_RESERVE_BYTES
        if (free := shutil.disk_usage(folder).free) < needed:
            raise StorageFull(
                f"spool in {folder} holds {self.size - self.pending_bytes} bytes and needs {needed} more, "
                f"{free} bytes are free",
                hint="free some space, or name another folder with --spool-dir",
            )

    @contextmanager
    def _translated(self, folder: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            held = self.size - self.pending_bytes
            raise storage_error(error, f"spool in {folder} holds {held} bytes and cannot grow") from error


def spool_folders(spool_dir: Path | None, near: Path | None) -> list[Path]:
    """Where the spool may lie, best first. A folder that was asked for is the only one.

    `near`: the folder of the output file. $TMPDIR and /var/tmp come before the default, since /tmp may be memory.

    Raises:  FileMissing: the folder that was asked for is not there.
    """
    if spool_dir is not None:
        if not spool_dir.is_dir():
            raise FileMissing(f"spool folder {spool_dir} is not there, expected a folder that exists")
        return [spool_dir]
    named = os.environ.get("TMPDIR")
    folders = [near, Path(named) if named else None, Path("/var/tmp"), _default_folder()]
    return list(dict.fromkeys(folder for folder in folders if folder is not None))


def _default_folder() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:  # no default can be written; another candidate may do
        return None


def _first_usable(folders: Sequence[Path]) -> Path:
    """The first folder where a file can be made.

    Raises:  TransportError: none will do; the last reason is told.
    """
    refusal = OSError("there is none")
    for folder in folders:
        try:
            _open_nameless(folder).close()
        except OSError as error:
            refusal = error
        else:
            return folder
    tried = ", ".join(str(folder) for folder in folders)
    raise storage_error(refusal, f"no spool can be made in any of: {tried}") from refusal


def _open_nameless(folder: Path) -> IO[bytes]:
    """A file without a name (O_TMPFILE, or unlinked at once; deleted on close on Windows), mode 0600."""
    # An IO[bytes] that is unbuffered: its `write` may take less than it was given.
    opened: IO[bytes] = tempfile.TemporaryFile(dir=folder, prefix=".pattern-stream-", buffering=0)  # noqa: SIM115
    return opened


def _write_all(file: IO[bytes], data: memoryview) -> None:
    written = 0
    while written < len(data):
        with data[written:] as rest:
            written += file.write(rest)
