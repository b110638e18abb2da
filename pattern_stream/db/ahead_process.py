"""A process that reads messages ahead, from the side of who asks it. What it does is in `ahead_worker`."""

from __future__ import annotations

import asyncio
import marshal
import os
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import pattern_stream
from pattern_stream.db.ahead_worker import FRAME, LENGTH
from pattern_stream.items import Encoded

if sys.platform != "win32":
    import fcntl

WORKER: Final = Path(__file__).with_name("ahead_worker.py")
HELD_BYTES: Final = 2 * 1024 * 1024
"""Bytes of one process's answers that are taken out of its pipe before they are wanted."""

READ_BYTES: Final = 256 * 1024
_PIPE_BYTES: Final = 1024 * 1024
_F_SETPIPE_SZ: Final = 1031
"""Linux: fcntl command that sets the capacity of a pipe."""


class Gone(Exception):
    """The process has ended, or said what it should not."""


@dataclass(slots=True)
class Worker:
    """One process. After Gone it is never asked again.

    Memory: HELD_BYTES of what it said and nobody heard yet, and what fits its pipe.
    """

    process: subprocess.Popen[bytes]
    alive: bool = True
    _said: deque[bytes] = field(default_factory=deque)
    _said_bytes: int = 0
    _listening: bool = False
    _woken: asyncio.Future[None] | None = None

    @classmethod
    def start(cls, opening: tuple[Any, ...]) -> Worker:
        """Start one and tell it what to open. Raises OSError."""
        root = os.fspath(Path(pattern_stream.__file__).resolve().parents[1])
        process = subprocess.Popen(
            [sys.executable, "-I", os.fspath(WORKER), root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        worker = cls(process)
        _widen(worker._out)
        worker.ask(opening)
        return worker

    def ask(self, request: tuple[Any, ...]) -> None:
        """Send a request: small, so that it does not block."""
        body = marshal.dumps(request)
        try:
            _pipe(self.process.stdin).write(LENGTH.pack(len(body)) + body)
        except OSError:
            self.alive = False

    async def hear(self) -> tuple[bytes, Encoded]:
        """The next frame. Raises Gone, and from then on."""
        try:
            kind, about_bytes, data_bytes = FRAME.unpack(await self._exactly(FRAME.size))
            ids, positions, sizes, most = marshal.loads(await self._exactly(about_bytes))
            return kind, Encoded(ids, positions, sizes, most, await self._exactly(data_bytes))
        except (ValueError, EOFError, TypeError, Gone) as error:
            self._forget()
            raise Gone from error

    def _forget(self) -> None:
        """What it may have said yet is for requests that are answered here."""
        self.alive = False
        self._listen(on=False)
        self._said.clear()
        self._said_bytes = 0

    def end(self) -> None:
        """End the process and reap it."""
        self._forget()
        with suppress(OSError):
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    @property
    def _out(self) -> int:
        return _pipe(self.process.stdout).fileno()

    async def _exactly(self, length: int) -> bytes:
        """So many bytes. Raises Gone at the end."""
        while self._said_bytes < length:
            if not self.alive:
                raise Gone
            self._listen(on=True)
            self._woken = asyncio.get_running_loop().create_future()
            await self._woken
        taken = self._take(length)
        self._listen(on=self.alive and self._said_bytes < HELD_BYTES)
        return taken

    def _take(self, length: int) -> bytes:
        pieces: list[bytes] = []
        self._said_bytes -= length
        while length:
            piece = self._said.popleft()
            if len(piece) > length:
                self._said.appendleft(piece[length:])
                piece = piece[:length]
            pieces.append(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _listen(self, *, on: bool) -> None:
        """Take what the process says whenever this one has nothing else to do, so that it need not wait; or do not."""
        if on != self._listening:
            self._listening = on
            loop = asyncio.get_running_loop()
            loop.add_reader(self._out, self._hear_some) if on else loop.remove_reader(self._out)

    def _hear_some(self) -> None:
        try:
            piece = os.read(self._out, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._said.append(piece)
        self._said_bytes += len(piece)
        self.alive = self.alive and bool(piece)
        if not piece or self._said_bytes >= HELD_BYTES:
            self._listen(on=False)
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise Gone
    return pipe


def _widen(descriptor: int) -> None:
    """Let a pipe hold what a process has ready while somebody else is heard; nobody waits for it in a system call."""
    os.set_blocking(descriptor, False)
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.fcntl(descriptor, _F_SETPIPE_SZ, _PIPE_BYTES)
