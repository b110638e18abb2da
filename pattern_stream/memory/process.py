"""One worker process: started, asked, timed, ended. Nothing here decodes a document.

What comes back is as untrusted as the document that may have taken the worker over: sizes are checked before anything
is kept, and only lengths, flags, text and bytes are taken from it. Source: loro 5.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import IO, Any, Final, Self

import anyio
import orjson
from anyio.abc import Process

from pattern_stream.errors import WorkerFailed, storage_error

WORKER: Final = Path(__file__).with_name("worker.py")
HEAD: Final = Struct(">cIQ")
MAX_META_BYTES: Final = 16 * 1024 * 1024
READ_BYTES: Final = 256 * 1024
START_SECONDS: Final = 20.0
PATIENCE: Final = 3
"""How many times longer than its processor time a request may take: a machine that is busy, or stood still for a while,
must not make a document look damaged."""

LOOK_SECONDS: Final = 0.25
GRACE_SECONDS: Final = 2.0
LAST_WORDS_BYTES: Final = 64 * 1024

WATCHED: Final = sys.platform == "darwin"
"""Where an address-space limit does not bind, the resident size is looked at instead."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may take: processor time, memory of the worker, bytes of the answer."""

    seconds: float
    memory_bytes: int
    answer_bytes: int

    @property
    def wall_seconds(self) -> float:
        """How long it is waited for, whatever it does meanwhile."""
        return PATIENCE * self.seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """What the worker said: a JSON object and blobs of the lengths it names."""

    meta: dict[str, Any]
    blobs: list[bytes]


class Refused(Exception):
    """The document could not be dealt with; `step` is how far the worker had come."""

    def __init__(self, reason: str, step: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.step = reason, step


class Died(Refused):
    """The worker is gone, of itself or because it went past its bounds."""


@dataclass(slots=True)
class WorkerProcess:
    """A running worker. After `Died`, or a cancelled `ask`, it has been ended and must not be asked again."""

    process: Process
    last_words: IO[bytes]
    step: int = 0
    _greeted: bool = False
    _buffer: bytearray = field(default_factory=bytearray)

    @classmethod
    async def start(cls) -> Self:
        """Start a worker; the first who asks it waits until it can serve. Raises WorkerFailed; TransportError."""
        try:
            last_words = tempfile.TemporaryFile()  # noqa: SIM115  # closed by end()
        except OSError as error:
            raise storage_error(error, "making a temporary file for the document worker") from error
        try:
            with anyio.CancelScope(shield=True):  # a process that was started must be known to be ended
                process = await anyio.open_process(
                    [sys.executable, "-I", os.fspath(WORKER)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=last_words,
                    env={**os.environ, "RUST_BACKTRACE": "0"},
                )
        except OSError as error:
            last_words.close()
            raise WorkerFailed(f"document worker does not start: {error}") from error
        return cls(process, last_words)

    async def _greet(self) -> None:
        """Raises WorkerFailed where it cannot serve."""
        bounds = Bounds(START_SECONDS, 0, 0)
        try:
            await self._within(bounds, self._answer(bounds))
        except Refused as refusal:
            raise WorkerFailed(f"document worker does not start: {refusal.reason}") from None
        self._greeted = True

    async def ask(self, meta: dict[str, Any], blobs: list[bytes], bounds: Bounds) -> Answer:
        """Ask once. Raises Refused: the document is at fault; Died: and the worker is gone; WorkerFailed."""
        if not self._greeted:
            await self._greet()
        meta |= {"blobs": [len(blob) for blob in blobs], "memory": bounds.memory_bytes, "seconds": bounds.seconds}
        self.step = 0
        return await self._within(bounds, self._exchange(json.dumps(meta).encode(), blobs, bounds))

    async def end(self, *, grace_seconds: float = 0.0) -> None:
        """End the process and reap it, also while being cancelled. A grace lets it leave by itself.

        Trap: to kill one that is a zombie already takes its exit status away from the event loop, which complains.
        """
        with anyio.CancelScope(shield=True):
            if self.process.stdin is not None:
                await self.process.stdin.aclose()
            with anyio.move_on_after(grace_seconds):
                await self.process.wait()
            if self.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    self.process.kill()
            await self.process.aclose()
            self.last_words.close()

    async def _within(self, bounds: Bounds, conversation: Any) -> Answer:
        """The conversation's answer; whatever else ends it ends the worker as well."""
        try:
            with anyio.move_on_after(bounds.wall_seconds):
                answer: Answer = await conversation
                return answer
            raise Died(_too_long(bounds), self.step)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise Died(await self._cause(bounds), self.step) from None
        except BaseException as error:
            if isinstance(error, Died) or not isinstance(error, Refused):
                await self.end()
            raise

    async def _exchange(self, said: bytes, blobs: Iterable[bytes], bounds: Bounds) -> Answer:
        stdin = self.process.stdin
        if stdin is None:
            raise anyio.ClosedResourceError
        await stdin.send(HEAD.pack(b"q", len(said), 0) + said)
        for blob in blobs:
            await stdin.send(blob)
        answer = await self._answer(bounds)
        if "fault" in answer.meta:
            raise Refused(str(answer.meta["fault"]), self.step)
        return answer

    async def _answer(self, bounds: Bounds) -> Answer:
        while True:
            kind, meta_bytes, rest = HEAD.unpack(await self._take(HEAD.size, bounds))
            if kind != b"p":
                break
            self.step = rest
        if meta_bytes > MAX_META_BYTES or rest > bounds.answer_bytes:
            raise Died(f"gave an answer of {meta_bytes + rest} bytes, limit is {bounds.answer_bytes} bytes", self.step)
        meta = _parse(await self._take(meta_bytes, bounds), rest)
        if meta is None:
            raise Died("gave an answer that cannot be understood", self.step)
        return Answer(meta, [await self._take(length, bounds) for length in meta["blobs"]])

    async def _take(self, length: int, bounds: Bounds) -> bytes:
        while len(self._buffer) < length:
            self._buffer += await self._receive(bounds)
        taken = bytes(memoryview(self._buffer)[:length])
        del self._buffer[:length]
        return taken

    async def _receive(self, bounds: Bounds) -> bytes:
        stdout = self.process.stdout
        if stdout is None:
            raise anyio.ClosedResourceError
        while WATCHED and bounds.memory_bytes:
            with anyio.move_on_after(LOOK_SECONDS):
                return await stdout.receive(READ_BYTES)
            if await _resident_bytes(self.process.pid) > bounds.memory_bytes:
                raise Died(_too_much(bounds), self.step)
        return await stdout.receive(READ_BYTES)

    async def _cause(self, bounds: Bounds) -> str:
        """Why a worker that is gone is gone: its last words, else its exit status."""
        with anyio.move_on_after(GRACE_SECONDS, shield=True):
            await self.process.wait()
        words = _last_words(self.last_words)
        await self.end()
        if "memory allocation of" in words and bounds.memory_bytes:
            return _too_much(bounds)
        code = self.process.returncode or 0
        if bounds.memory_bytes and -code == getattr(signal, "SIGXCPU", None):
            return _too_long(bounds)
        return f"crashed (signal {-code})" if code < 0 else f"crashed (exit status {code}) {words[-200:]}".rstrip()


def _too_much(bounds: Bounds) -> str:
    return f"needed more than {bounds.memory_bytes >> 20} MiB"


def _too_long(bounds: Bounds) -> str:
    return f"took longer than {bounds.seconds:g} s"


def _parse(said: bytes, rest: int) -> dict[str, Any] | None:
    """The JSON of an answer, if it is an object and its blobs make up the bytes that follow."""
    try:
        meta = orjson.loads(said)
    except orjson.JSONDecodeError:
        return None
    lengths = meta.get("blobs") if isinstance(meta, dict) else None
    fits = isinstance(lengths, list) and all(type(n) is int and n >= 0 for n in lengths) and sum(lengths) == rest
    return meta if fits else None


def _last_words(words: IO[bytes]) -> str:
    words.seek(0)
    return words.read(LAST_WORDS_BYTES).decode(errors="replace").strip()


async def _resident_bytes(pid: int) -> int:
    result = await anyio.run_process(["ps", "-o", "rss=", "-p", str(pid)], check=False)
    return int(result.stdout.strip() or 0) * 1024
