"""Whole reads, writes and copies on descriptors. Everything here blocks and knows no event loop."""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pattern_stream.errors import TransportError
from pattern_stream.format import COPY_BYTES

_NOT_HERE: Final = {
    errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.ENOTSOCK, errno.EPERM,
    errno.ENOTSUP, errno.ETXTBSY, errno.EOVERFLOW,
}  # fmt: skip
"""How a kernel or file system says that it does not do this kind of copy; the next kind may do."""

_F_SETPIPE_SZ: Final = 1031
"""Linux: fcntl command that sets the capacity of a pipe."""

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
    pieces = [_read(source, count)]
    total = len(pieces[0])
    while 0 < total < count and pieces[-1] and _is_ready(source, write=False, wait=False):
        pieces.append(_read(source, count - total))
        total += len(pieces[-1])
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def copy_range(source: int, target: int, offset: int, count: int) -> None:
    """Copy `count` bytes from `offset` of a file to where `target` stands, inside the kernel where it can be done.

    Raises:  TransportError: the file ends early; OSError.
    """
    done = 0
    for copy in _KERNEL_COPIES:
        done += _copy_while(copy, source, target, offset + done, count - done)
    while done < count:
        os.lseek(source, offset + done, os.SEEK_SET)
        piece = os.read(source, min(COPY_BYTES, count - done))
        if not piece:
            raise TransportError(f"file to copy ends at {offset + done} bytes, expected {offset + count}")
        write_all(target, piece)
        done += len(piece)


def widen_pipe(descriptor: int) -> None:
    """Let a pipe hold 1 MiB where the system allows it: fewer turns between the two ends."""
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(descriptor, _F_SETPIPE_SZ, COPY_BYTES)


def _read(source: int, count: int) -> bytes:
    while True:
        try:
            return os.read(source, count)
        except BlockingIOError:
            _is_ready(source, write=False)


def _is_ready(descriptor: int, *, write: bool, wait: bool = True) -> bool:
    """Whether a call would not block, waited for if asked."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT if write else select.POLLIN)
    return bool(poll.poll(None if wait else 0))


def _copy_while(copy: Copy, source: int, target: int, offset: int, count: int) -> int:
    """How many bytes went this way, from none to all."""
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
