"""Keeps sections until the header is known: in memory first, then in files that vanish with the program.

Two areas: the leaves in the order they came, and the inserts, which are the blocks of nodes that closed after their
children and belong before them. Writing and loading block, so the writer does both in a thread; the rest is plain.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from anyio import to_thread

from pattern_stream.budget import BUDGET, Budget
from pattern_stream.errors import TransportError, storage_errors
from pattern_stream.files.temporary import open_temporary, require_space
from pattern_stream.format import COPY_BYTES

_WINDOW_BYTES: Final = 256 * 1024
"""Bytes loaded at once where many small pieces are read one after another."""


class Area:
    """Bytes appended at the end and read back by offset: from memory until `file` is set, then from that file.

    `size`: all bytes, wherever they are. `pending_bytes`: bytes in memory that nobody has taken.
    """

    __slots__ = ("_pending", "_window", "_window_offset", "file", "pending_bytes", "size")

    def __init__(self) -> None:
        self.size = 0
        self.pending_bytes = 0
        self.file: IO[bytes] | None = None
        self._pending: list[bytes] = []
        self._window = b""
        self._window_offset = 0

    def append(self, head: bytes, data: bytes) -> None:
        """Put a section at the end, without a copy."""
        self._pending += (head, data)
        self.pending_bytes += len(head) + len(data)
        self.size += len(head) + len(data)

    def take(self) -> list[bytes]:
        """The bytes in memory, which the caller stores. What was taken before must have been stored."""
        taken, self._pending, self.pending_bytes = self._pending, [], 0
        return taken

    def peek(self, offset: int, count: int) -> bytes | None:
        """A piece from memory, None where it must be loaded."""
        if self.file is None:
            if len(self._pending) != 1:
                self._pending = [b"".join(self._pending)]
            return self._pending[0][offset : offset + count]
        start = offset - self._window_offset
        if start >= 0 and start + count <= len(self._window):
            return self._window[start : start + count]
        return None

    def load(self, file: IO[bytes], offset: int, count: int) -> bytes:
        """A piece out of the file, with what follows it for the next `peek`. Blocks. Raises OSError."""
        file.seek(offset)
        self._window = file.read(max(count, _WINDOW_BYTES))
        self._window_offset = offset
        if len(self._window) < count:
            raise TransportError(f"spool ends at {offset + len(self._window)} bytes, expected {offset + count}")
        return self._window[:count]

    async def read(self, offset: int, count: int, doing: str = "reading the spool") -> bytes:
        """A piece from wherever it is, once all was stored. `doing`: for the message of a TransportError."""
        piece = self.peek(offset, count)
        if piece is None and self.file is not None:
            with storage_errors(doing):
                piece = await to_thread.run_sync(self.load, self.file, offset, count)
        return piece or b""

    def close(self) -> None:
        """Give file and memory back."""
        if self.file is not None:
            with suppress(OSError):  # after a failed write the rest would be tried again, and nobody wants it
                self.file.close()
        self._pending = []
        self._window = b""


class Spool:
    """The two areas with their common budget of memory and their common folder.

    Memory:  `spool_memory_bytes` until it spills, then about 1 MiB and one section, twice while a flush is under way.
    Raises:  StorageFull before the disk is full, TransportError where no folder can be written: from `store`.
    """

    def __init__(self, folders: Sequence[Path], *, budget: Budget = BUDGET) -> None:
        self.leaves = Area()
        self.inserts = Area()
        self._folders = folders
        self._folder: Path | None = None
        self._reserve_bytes = budget.spool_reserve_bytes
        self._limit_bytes = budget.spool_memory_bytes
        self._taken: list[tuple[Area, list[bytes]]] = []
        self._taken_bytes = 0
        self._stored_bytes = 0

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
        return self.leaves.pending_bytes + self.inserts.pending_bytes

    @property
    def is_due(self) -> bool:
        """Whether enough is in memory to be written."""
        return self.pending_bytes >= self._limit_bytes

    @property
    def is_on_disk(self) -> bool:
        """Whether anything was written to a file."""
        return self._folder is not None

    @property
    def device(self) -> int | None:
        """The file system of the files, as `st_dev` has it."""
        return None if self.leaves.file is None else os.fstat(self.leaves.file.fileno()).st_dev

    def flush(self) -> None:
        """Write what is in memory to the files, which are made at the first call. Blocks."""
        self.take()
        self.store()

    def take(self) -> None:
        """Set aside what is in memory for `store`, which may then run in another thread while more is appended."""
        self._taken_bytes = self.pending_bytes
        self._taken = [(area, area.take()) for area in (self.leaves, self.inserts)]

    def store(self) -> None:
        """Write what was taken. Blocks."""
        if self._folder is None:
            self.leaves.file, self._folder = open_temporary(self._folders, "spool")
            self.inserts.file, _ = open_temporary([self._folder], "spool")
            self._limit_bytes = COPY_BYTES
        holder = f"spool in {self._folder} holds {self._stored_bytes} bytes"
        with storage_errors(f"{holder} and cannot grow"):
            require_space(self._folder, self._taken_bytes + self._reserve_bytes, holder)
            for area, pieces in self._taken:
                if area.file is not None:
                    area.file.writelines(pieces)
                    area.file.flush()
        self._taken = []
        self._stored_bytes += self._taken_bytes
        self._taken_bytes = 0
