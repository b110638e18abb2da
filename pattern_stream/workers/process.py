"""A worker from the side of who asks it: started, asked, heard, ended. What it does is in the module that it runs."""

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
from typing import IO, Any, Final, NamedTuple

import pattern_stream
from pattern_stream.workers.frames import FRAME, NO_SLOT, request
from pattern_stream.workers.slots import Slots

if sys.platform != "win32":
    import fcntl

HELD_BYTES: Final = 2 * 1024 * 1024
"""Bytes of one worker's answers that are taken out of its pipe before they are wanted."""

REQUEST_BYTES: Final = 8 * 1024
"""Largest request. A pipe holds 64 KB where there are workers, and never so many wait in one that it is full."""

READ_BYTES: Final = 256 * 1024
_PIPE_BYTES: Final = 1024 * 1024
_F_SETPIPE_SZ: Final = 1031
"""Linux: fcntl command that sets the capacity of a pipe."""

_RUN: Final = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "  # Ctrl-C is for who asked
    "sys.path.insert(0, sys.argv[1]); import importlib; importlib.import_module(sys.argv[2]).main()"
)


class Gone(Exception):
    """The worker has ended, or said what it should not."""


class Said(NamedTuple):
    """A frame: its kind, what is to be known, and bytes."""

    kind: bytes
    about: Any
    data: bytes


@dataclass(slots=True)
class Worker:
    """One process. After Gone it is never asked again.

    Memory: HELD_BYTES of what it said and nobody heard yet, and what fits its pipe.
    """

    process: subprocess.Popen[bytes]
    slots: Slots | None = None
    alive: bool = True
    _said: deque[bytes] = field(default_factory=deque)
    _said_bytes: int = 0
    _listening: bool = False
    _woken: asyncio.Future[None] | None = None

    @classmethod
    def start(
        cls, module: str, opening: tuple[Any, ...], slots: Slots | None = None, *, to_say: bool = False
    ) -> Worker:
        """Start one that runs `main` of a module, and tell it what to open. Raises OSError.

        `slots`: the worker has them too, and they end with it; `to_say`: the bytes of its answers go through them.
        """
        root = os.fspath(Path(pattern_stream.__file__).resolve().parents[1])
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", _RUN, root, module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                pass_fds=() if slots is None else (slots.descriptor,),
            )
        except BaseException:
            if slots is not None:
                slots.close()
            raise
        worker = cls(process, slots)
        _widen(worker._out)
        worker._send(request((None if slots is None else slots.shape, to_say, opening)))
        return worker

    def ask(self, value: tuple[Any, ...] | int) -> bool:
        """Send a request, or a slot that is free again; false where it is larger than REQUEST_BYTES, and was not sent.

        # Trap: a request waits in a pipe until those before it are answered. One that has no room there would stop
        this program, while the worker waits for it to hear an answer.
        """
        sent = request(value)
        if len(sent) > REQUEST_BYTES:
            return False
        self._send(sent)
        return True

    def _send(self, data: bytes) -> None:
        try:
            if _pipe(self.process.stdin).write(data) != len(data):
                self.alive = False
        except OSError:
            self.alive = False

    async def hear(self) -> Said:
        """The next frame. Raises Gone, and from then on."""
        try:
            kind, slot, about_bytes, data_bytes = FRAME.unpack(await self._exactly(FRAME.size))
            about = marshal.loads(await self._exactly(about_bytes))
            if slot == NO_SLOT or self.slots is None:
                return Said(kind, about, await self._exactly(data_bytes))
            data = self.slots.get(slot, data_bytes)
            self.ask(slot)
            return Said(kind, about, data)
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
        if self.slots is not None:
            self.slots.close()

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


def may_help(processors: int = 2) -> bool:
    """Whether a worker would gain anything here: so many processors are there, and pipes can be listened to."""
    return sys.platform != "win32" and _processors() >= processors


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
