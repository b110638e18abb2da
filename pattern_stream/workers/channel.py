"""A child process and the two pipes to it. Workers of our own code and the document worker talk over one each.

Neither pipe blocks: reading and writing wait in the event loop, so a deadline or a cancelled scope ends them. Ending
awaits nothing, so no process is left by a task that is being cancelled.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import field
from typing import Any, Final, Self

import anyio

from pattern_stream.quick_dataclass import dataclass

READ_BYTES: Final = 256 * 1024
EXIT_POLL_SECONDS: Final = 0.005
_PIPE_BYTES: Final = 1024 * 1024
_F_SETPIPE_SZ: Final = 1031
"""Linux: fcntl command that sets the capacity of a pipe."""


class ChannelClosed(Exception):
    """The process has ended, or closed its pipe."""


@dataclass(slots=True)
class Channel:
    """One process. Memory: READ_BYTES beyond the bytes that were asked for, and those in its pipes."""

    process: subprocess.Popen[bytes]
    _stdin: int
    _stdout: int
    _buffer: bytearray = field(default_factory=bytearray)

    @classmethod
    def start(cls, arguments: Sequence[str], stderr: Any = subprocess.DEVNULL, **options: Any) -> Self:
        """Start a Python process without site folders. `options`: see `subprocess.Popen`. Raises OSError."""
        process = subprocess.Popen(
            [sys.executable, "-I", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, bufsize=0, **options,
        )  # fmt: skip
        if process.stdin is None or process.stdout is None:  # never, since both were asked for
            raise OSError("process has no pipes")
        stdin, stdout = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(stdin, False)
        os.set_blocking(stdout, False)
        if sys.platform == "linux":  # a full pipe would make the process wait while others are listened to
            with suppress(OSError):
                fcntl.fcntl(stdout, _F_SETPIPE_SZ, _PIPE_BYTES)
        return cls(process, stdin, stdout)

    def send_now(self, data: bytes) -> bool:
        """Write bytes that fit the pipe. False where they do not, or nobody reads them."""
        try:
            return os.write(self._stdin, data) == len(data)
        except OSError:
            return False

    async def send(self, data: bytes) -> None:
        """Write bytes, however many. Raises ChannelClosed."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._stdin, rest) :]
            except BlockingIOError:
                loop = asyncio.get_running_loop()
                await _until(self._stdin, loop.add_writer, loop.remove_writer)
            except OSError as error:
                raise ChannelClosed from error

    async def receive(self, length: int) -> bytes:
        """Exactly so many bytes. Raises ChannelClosed at the end; a cancelled call loses none."""
        while len(self._buffer) < length:
            try:
                piece = os.read(self._stdout, READ_BYTES)
            except BlockingIOError:
                loop = asyncio.get_running_loop()
                await _until(self._stdout, loop.add_reader, loop.remove_reader)
                continue
            except OSError:
                piece = b""
            if not piece:
                raise ChannelClosed
            self._buffer += piece
        taken = bytes(memoryview(self._buffer)[:length])
        del self._buffer[:length]
        return taken

    def has_more(self) -> bool:
        """Whether bytes have come that were not received yet."""
        if not self._buffer:
            with suppress(OSError):
                self._buffer += os.read(self._stdout, READ_BYTES)
        return bool(self._buffer)

    async def exited(self, seconds: float) -> bool:
        """Whether the process exits by itself within so much time, in time that this one runs."""
        with anyio.CancelScope(shield=True):
            for _ in range(math.ceil(seconds / EXIT_POLL_SECONDS)):
                if self.process.poll() is not None:
                    return True
                await anyio.sleep(EXIT_POLL_SECONDS)
        return False

    def end(self) -> None:
        """Kill the process, reap it, close its pipes; once or more."""
        self._stdin = self._stdout = -1  # never a descriptor that somebody else gets
        with suppress(OSError):
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


async def _until(descriptor: int, add: Callable[..., None], remove: Callable[[int], Any]) -> None:
    ready = asyncio.Event()
    add(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        remove(descriptor)


def spare_processors(processors: int | None = None) -> int:
    """How many workers find a processor beside this process. `processors`: counted elsewhere."""
    if processors is None:
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(processors - 1, 0)
