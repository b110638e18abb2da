"""Whole reads, writes and copies on descriptors. Everything here blocks and knows no event loop."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from pattern_stream.errors import TransportError
from pattern_stream.format import COPY_BYTES
from pattern_stream.items import Placement

_NOT_HERE: Final = {
    errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.ENOTSOCK, errno.EPERM,
    errno.ENOTSUP, errno.ETXTBSY, errno.EOVERFLOW,
}  # fmt: skip
"""A kernel or file system refuses this kind of copy by one of these; the next kind may do."""

Copy = Callable[[int, int, int, int], int]
"""copy(source, target, offset, count) -> bytes copied, 0 where there is nothing more to copy."""


def write_all(target: int, data: bytes | memoryview) -> None:
    """Write every byte, even where somebody else made the descriptor non-blocking."""
    written = 0
    with memoryview(data) as view:
        while written < len(view):
            try:
                with view[written:] as rest:
                    written += os.write(target, rest)
            except BlockingIOError:
                _is_ready(target, write=True)


def read_some(source: int, count: int = COPY_BYTES) -> bytes:
    """At least one byte, or none at the end of the data; more where it is at hand, so that pipes cost fewer calls."""
    pieces: list[bytes] = []
    total = 0
    while total < count:
        try:
            pieces.append(os.read(source, count - total))
        except BlockingIOError:
            _is_ready(source, write=False)
            continue
        total += len(pieces[-1])
        if not pieces[-1] or not _is_ready(source, write=False, wait=False):
            break
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def copy_range(source: int, target: int, offset: int, count: int) -> None:
    """Copy `count` bytes from `offset` of a file to where `target` stands, inside the kernel where it can be done.

    Raises:  TransportError: the file ends early; OSError.
    """
    done = 0
    for copy in _KERNEL_COPIES:
        done += _copy_while(copy, source, target, offset + done, count - done)
    while done < count:
        piece = os.pread(source, min(COPY_BYTES, count - done), offset + done)
        if not piece:
            raise TransportError(f"file to copy ends at {offset + done} bytes, expected {offset + count}")
        write_all(target, piece)
        done += len(piece)


def place_pieces(source: int, target: int, pieces: Sequence[Placement]) -> None:
    """Copy pieces of a file that follow each other in it, the last first, to their places in another one.

    Raises:  TransportError: the file ends early; OSError.
    """
    if len(pieces) == 1:
        ((offset, count, place),) = pieces
        os.lseek(target, place, os.SEEK_SET)
        copy_range(source, target, offset, count)
        return
    begin = pieces[-1].offset
    data = os.pread(source, pieces[0].offset + pieces[0].size - begin, begin)
    for offset, count, place in pieces:
        part = data[offset - begin : offset - begin + count]
        if len(part) < count:
            raise TransportError(f"file to copy ends at {begin + len(data)} bytes, expected {offset + count}")
        if (written := os.pwrite(target, part, place)) < count:
            os.lseek(target, place + written, os.SEEK_SET)
            write_all(target, part[written:])


def free_bytes(target: int) -> int | None:
    """The room for bytes from where a file or block device stands; None where nobody knows, as of a pipe."""
    found = os.fstat(target)
    if stat.S_ISREG(found.st_mode):
        system = os.statvfs(target)
        held = max(0, found.st_size - os.lseek(target, 0, os.SEEK_CUR))
        return held + system.f_bavail * system.f_frsize if system.f_blocks else None
    if stat.S_ISBLK(found.st_mode):
        place = os.lseek(target, 0, os.SEEK_CUR)
        size = os.lseek(target, 0, os.SEEK_END)
        return size - os.lseek(target, place, os.SEEK_SET)
    return None


def widen_pipe(descriptor: int) -> None:
    """Let a pipe hold 1 MiB where the system allows it: fewer turns between the two ends."""
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, COPY_BYTES)


def _is_ready(descriptor: int, *, write: bool, wait: bool = True) -> bool:
    """Whether a call would not block, waited for if asked."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT if write else select.POLLIN)
    return bool(poll.poll(None if wait else 0))


def _copy_while(copy: Copy, source: int, target: int, offset: int, count: int) -> int:
    """Copies this way while it goes; gives the number of bytes, from none to all."""
    done = 0
    while done < count:
        try:
            step = copy(source, target, offset + done, count - done)
        except BlockingIOError:
            _is_ready(target, write=True)
            continue
        except OSError as error:
            if error.errno in _NOT_HERE:
                break
            raise
        if not step:
            break
        done += step
    return done


def _copy_file_range(source: int, target: int, offset: int, count: int) -> int:
    return os.copy_file_range(source, target, count, offset)


def _sendfile(source: int, target: int, offset: int, count: int) -> int:
    return os.sendfile(target, source, offset, count)


_KERNEL_COPIES: Final[list[Copy]] = [
    copy for name, copy in (("copy_file_range", _copy_file_range), ("sendfile", _sendfile)) if hasattr(os, name)
]
