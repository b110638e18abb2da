"""Where sections wait until the header is known: memory first, then unlinked files that vanish with the program.

Two areas: the leaves in the order they came, and the inserts, which are the blocks of nodes that closed after their
children and belong before them. Writing and loading block, so the writer does both in a thread; the rest is plain.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from pattern_stream.errors import FileMissing, StorageFull, TransportError, storage_error
from pattern_stream.format import COPY_BYTES, SPOOL_MEMORY_BYTES, SPOOL_RESERVE_BYTES

_WINDOW_BYTES: Final = 256 * 1024
"""Bytes loaded at once where many small pieces are read one after another."""

_PIECES_AT_ONCE: Final = 512
"""Pieces given to one call; every system takes 1024."""

_WRITEV: Final[Callable[[int, Sequence[bytes]], int] | None] = getattr(os, "writev", None)


class Area:
    """Bytes appended at the end and read back by offset.

    What was appended stays in memory until it is taken; `store` moves what was taken to the file, in another thread if
    need be, while more is appended. `size`: all bytes, wherever they are.
    """

    __slots__ = ("_file", "_tail", "_taken", "_window", "_window_offset", "size", "tail_bytes", "taken_bytes")

    def __init__(self) -> None:
        self.size = 0
        self.tail_bytes = 0
        self.taken_bytes = 0
        self._tail: list[bytes] = []
        self._taken: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._window = b""
        self._window_offset = 0

    @property
    def descriptor(self) -> int | None:
        """The file that holds the whole area after a flush, None while it is in memory."""
        return self._file.fileno() if self._file is not None else None

    def append(self, head: bytes, data: bytes) -> None:
        """Put a section at the end. It is kept as it is: nothing is copied."""
        self._tail += (head, data)
        self.tail_bytes += len(head) + len(data)
        self.size += len(head) + len(data)

    def take(self) -> None:
        """Set aside what is in memory for the next `store`. What was taken before must have been stored."""
        self._taken, self._tail = self._tail, []
        self.taken_bytes, self.tail_bytes = self.tail_bytes, 0

    def store(self, folder: Path) -> None:
        """Move what was taken to the end of the file. Blocks. Raises OSError."""
        if self._file is None:
            self._file = _open_nameless(folder)
        _write_all(self._file, self._taken)
        self.taken_bytes = 0
        self._taken = []

    def flush(self, folder: Path) -> None:
        """Move what is in memory to the end of the file. Blocks. Raises OSError."""
        self.take()
        self.store(folder)

    def peek(self, offset: int, count: int) -> bytes | None:
        """A piece that is at hand in memory, None where it must be loaded."""
        if self._file is None:
            return self._joined()[offset : offset + count]
        start = offset - self._window_offset
        if start >= 0 and start + count <= len(self._window):
            return self._window[start : start + count]
        return None

    def _joined(self) -> bytes:
        """All that is in memory, in one piece from now on."""
        if len(self._tail) != 1:
            self._tail = [b"".join(self._tail)]
        return self._tail[0]

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
        self._tail = []
        self._taken = []
        self._window = b""


class Spool:
    """The two areas with their common budget of memory and their common folder.

    Memory:  `memory_bytes` until it spills, then about 1 MiB and one section, twice while a flush is under way.
    Raises:  StorageFull before the disk is full, TransportError where no folder can be written: from `store`.
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
        """Bytes that are still in memory and in no flush that is under way."""
        return self.leaves.tail_bytes + self.inserts.tail_bytes

    @property
    def is_due(self) -> bool:
        """Whether enough is in memory to be written."""
        return self.pending_bytes >= self._limit_bytes

    @property
    def is_on_disk(self) -> bool:
        """Whether anything was written to a file."""
        return self._folder is not None

    def flush(self) -> None:
        """Write what is in memory to the files, which are made at the first call. Blocks."""
        self.take()
        self.store()

    def take(self) -> None:
        """Set aside what is in memory for `store`, which may then run in another thread while more is appended."""
        self.leaves.take()
        self.inserts.take()

    def store(self) -> None:
        """Write what was taken. Blocks."""
        folder = self._chosen_folder()
        with self._translated(folder):
            self._check_room(folder)
            self.leaves.store(folder)
            self.inserts.store(folder)

    def _chosen_folder(self) -> Path:
        """The folder of the files: the first candidate where one can be made, for good."""
        if self._folder is None:
            self._folder = _first_usable(self._folders)
            self._limit_bytes = COPY_BYTES
        return self._folder

    def _check_room(self, folder: Path) -> None:
        """Rule: refuse before the disk is full, so that other programs do not meet a full disk."""
        needed = self._taken_bytes + SPOOL_RESERVE_BYTES
        if (free := shutil.disk_usage(folder).free) < needed:
            raise StorageFull(
                f"spool in {folder} holds {self._stored_bytes} bytes and needs {needed} more, {free} bytes are free",
                hint="free some space, or name another folder with --spool-dir",
            )

    @property
    def _taken_bytes(self) -> int:
        return self.leaves.taken_bytes + self.inserts.taken_bytes

    @property
    def _stored_bytes(self) -> int:
        return self.size - self._taken_bytes - self.pending_bytes

    @contextmanager
    def _translated(self, folder: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            held = self._stored_bytes
            raise storage_error(error, f"spool in {folder} holds {held} bytes and cannot grow") from error


def spool_folders(spool_dir: Path | None, near: Path | None) -> list[Path]:
    """Where the spool may lie, best first. A folder that was asked for is the only one.

    `near`: the folder of the output file. $TMPDIR and /var/tmp come before the default, since /tmp may be memory.

    Raises:  FileMissing: the folder that was asked for is not there.
    """
    if spool_dir is not None:
        if not spool_dir.is_dir():
            found = "is no folder" if spool_dir.exists() else "is not there"
            raise FileMissing(f"spool folder {spool_dir} {found}, expected a folder that exists")
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


def _write_all(file: IO[bytes], pieces: Sequence[bytes]) -> None:
    """Write pieces one after another, many in one call where the system can."""
    for start in range(0, len(pieces), _PIECES_AT_ONCE):
        group = pieces[start : start + _PIECES_AT_ONCE]
        if _WRITEV is None:
            _write_whole(file, b"".join(group))
        elif (written := _WRITEV(file.fileno(), group)) < sum(map(len, group)):
            _write_whole(file, b"".join(group)[written:])


def _write_whole(file: IO[bytes], data: bytes) -> None:
    written = 0
    with memoryview(data) as view:
        while written < len(view):
            with view[written:] as rest:
                written += file.write(rest)
