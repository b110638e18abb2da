"""Memory that a worker and its parent share, in slots of one size: large bytes need no pipe between them."""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final

_ZEROS: Final = bytes(1024 * 1024)


class Slots:
    """`count` slots of `size_bytes`. Requests and frames settle which of the two may write into one.

    Memory:  all of it, in each process that has it open. Raises OSError where there is not as much.
    """

    def __init__(self, count: int, size_bytes: int) -> None:
        self.count, self.size_bytes = count, size_bytes
        self.descriptor = _nameless(count * size_bytes)
        try:
            self._memory = mmap.mmap(self.descriptor, count * size_bytes)
        except BaseException:
            os.close(self.descriptor)
            raise

    @classmethod
    def opened(cls, descriptor: int, count: int, size_bytes: int) -> Slots:
        """The same memory, in a worker that was given the descriptor."""
        slots = cls.__new__(cls)
        slots.count, slots.size_bytes, slots.descriptor = count, size_bytes, descriptor
        slots._memory = mmap.mmap(descriptor, count * size_bytes)
        return slots

    @property
    def shape(self) -> tuple[int, int, int]:
        """What `opened` needs."""
        return self.descriptor, self.count, self.size_bytes

    def put(self, slot: int, data: bytes, offset: int = 0) -> None:
        """Write bytes, which must fit, into a slot."""
        at = slot * self.size_bytes + offset
        self._memory[at : at + len(data)] = data

    def get(self, slot: int, count: int, offset: int = 0) -> bytes:
        """A copy of bytes of a slot."""
        at = slot * self.size_bytes + offset
        return self._memory[at : at + count]

    def close(self) -> None:
        """Give the memory back, once."""
        if not self._memory.closed:
            self._memory.close()
            os.close(self.descriptor)


def _nameless(size_bytes: int) -> int:
    """A descriptor of memory, or of a file without a name that has its room on the disk already.

    # Trap: a page that cannot be had when it is touched kills whoever touches it.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pattern-stream")
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    with tempfile.TemporaryFile(prefix=".pattern-stream-") as file:
        for start in range(0, size_bytes, len(_ZEROS)):
            file.write(_ZEROS[: size_bytes - start])
        file.flush()
        return os.dup(file.fileno())
