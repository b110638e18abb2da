"""The document worker from its parent's side: started, sent requests, timed, ended. Nothing here decodes a document.

Answers are as untrusted as the document that may have taken the worker over: sizes are checked before anything is kept,
and only lengths, flags, text and bytes are taken from JSON; nothing is unmarshalled.
Source: docs/memory.md#hostile-documents.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path
from struct import Struct
from typing import Any, Final, Self

import anyio
import orjson

from pattern_stream.errors import (
    MEMORY_HINT,
    OutOfResources,
    PatternStreamError,
    WorkerFailed,
    memory_limit,
    resource_hint,
    scarce_number,
)
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.workers.channel import Channel, ChannelClosed
from pattern_stream.workers.running_time import give_up_after

WORKER: Final = Path(__file__).with_name("worker.py")
_RUN: Final = (
    "import sys, types; from importlib.machinery import SourceFileLoader; "
    "main = types.ModuleType('__main__'); main.__file__ = sys.argv[1]; "
    "SourceFileLoader('__main__', sys.argv[1]).exec_module(main)"
)
"""Runs a script as Python would, but from its compiled form where there is one: compiling is a seventh of a start."""

HEAD: Final = Struct(">cIQ")
MAX_META_BYTES: Final = 16 * 1024 * 1024
START_SECONDS: Final = 20.0
PATIENCE: Final = 3
"""How many times longer than its processor time a request may take: a machine that is busy, or stood still for a while,
must not make a document look damaged."""

LOOK_SECONDS: Final = 0.25
GRACE_SECONDS: Final = 2.0
LAST_WORDS_BYTES: Final = 64 * 1024
LAST_LINE_CHARS: Final = 200

_FROM_OUTSIDE: Final = {signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
_KILLED_HINT: Final = "SIGKILL mostly means that memory is short: free some, or allow the container more"

WATCHED: Final = sys.platform == "darwin"
"""Where an address-space limit does not bind, the resident size is looked at instead."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Processor time and memory of one request, bytes of its answer."""

    seconds: float
    memory_bytes: int
    answer_bytes: int

    @property
    def wall_seconds(self) -> float:
        """How long the answer is waited for, in time that this process runs."""
        return PATIENCE * self.seconds

    @property
    def too_much(self) -> str:
        """The fault of a worker that needed more memory."""
        return f"needed more than {self.memory_bytes >> 20} MiB"

    @property
    def too_long(self) -> str:
        """The fault of a worker that needed more time."""
        return f"took longer than {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class DocumentAnswer:
    """A JSON object and blobs of the lengths it names."""

    meta: dict[str, Any]
    blobs: list[bytes]


class DocumentRefused(Exception):
    """The document could not be dealt with; `step` is how far the worker had come, `steps` are all those at fault."""

    def __init__(self, reason: str, step: int = 0, steps: Sequence[int] = ()) -> None:
        super().__init__(reason)
        self.reason, self.step, self.steps = reason, step, frozenset(steps) or frozenset({step})


class DocumentGrown(DocumentRefused):
    """The document is sound, but larger than anybody wants it."""


class DocumentWorkerDied(DocumentRefused):
    """The worker ended of itself, or because it went past its limits."""


class _Words:
    """A pipe for what a process says before it dies. `writer` is closed by who gave it to the process."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        for end in (self._reader, self.writer):
            os.set_blocking(end, False)

    def take(self) -> bytes:
        """What was said since the last call."""
        try:
            return os.read(self._reader, LAST_WORDS_BYTES)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Close our end; once or more."""
        if self._reader >= 0:
            os.close(self._reader)
        self._reader = -1


@dataclass(slots=True)
class DocumentWorker:
    """A running worker. After DocumentWorkerDied, or a cancelled `request`, it has been ended.

    What it writes to standard error waits in a pipe that blocks nobody: what has no room there is lost.
    """

    channel: Channel
    words: _Words
    step: int = 0
    _greeted: bool = False

    @classmethod
    def start(cls, script: Path | None = None) -> Self:
        """Start a worker; its first request waits until it can serve. Raises WorkerFailed, OutOfResources."""
        environment = {**os.environ, "RUST_BACKTRACE": "0"}
        words = None
        try:
            words = _Words()
            arguments = ["-c", _RUN, os.fspath(script or WORKER)]
            return cls(Channel.start(arguments, words.writer, env=environment), words)
        except OSError as error:
            if words is not None:
                words.close()
            raise _not_started(str(error), error.errno) from error
        finally:
            if words is not None:
                os.close(words.writer)

    async def request(self, meta: dict[str, Any], blobs: Sequence[bytes], limits: RequestLimits) -> DocumentAnswer:
        """Send a request and receive its answer.

        Raises DocumentRefused (the document is at fault), DocumentWorkerDied, WorkerFailed, OutOfResources.
        """
        if not self._greeted:
            greeting = RequestLimits(START_SECONDS, 0, 0)
            try:
                await self._within(greeting, self._answer(greeting))
            except DocumentRefused as refusal:
                raise _not_started(refusal.reason) from None
            self._greeted = True
        self.words.take()  # those of an earlier document
        meta |= {"blobs": [len(blob) for blob in blobs], "memory": limits.memory_bytes, "seconds": limits.seconds}
        self.step = 0
        return await self._within(limits, self._exchange(json.dumps(meta).encode(), blobs, limits))

    def end(self) -> None:
        """End the process and reap it."""
        self.channel.end()
        self.words.close()

    async def _within(self, limits: RequestLimits, conversation: Awaitable[DocumentAnswer]) -> DocumentAnswer:
        """The conversation's answer; whatever else ends it ends the worker as well."""
        try:
            with give_up_after(limits.wall_seconds):
                return await conversation
            raise DocumentWorkerDied(limits.too_long, self.step)
        except ChannelClosed:
            raise DocumentWorkerDied(await self._cause(limits), self.step) from None
        except BaseException as error:
            if isinstance(error, DocumentWorkerDied) or not isinstance(error, DocumentRefused):
                self.end()
            raise

    async def _exchange(self, request: bytes, blobs: Sequence[bytes], limits: RequestLimits) -> DocumentAnswer:
        await self.channel.send(HEAD.pack(b"q", len(request), 0) + request)
        for blob in blobs:
            await self.channel.send(blob)
        answer = await self._answer(limits)
        if "fault" in answer.meta:
            if answer.meta["fault"] == limits.too_much:
                _require_memory(limits)
            named = answer.meta.get("steps")
            steps = [step for step in named if type(step) is int] if isinstance(named, list) else []
            refused = DocumentGrown if answer.meta.get("grown") is True else DocumentRefused
            raise refused(str(answer.meta["fault"]), self.step, steps)
        return answer

    async def _answer(self, limits: RequestLimits) -> DocumentAnswer:
        while True:
            kind, meta_bytes, rest = HEAD.unpack(await self._receive(HEAD.size, limits))
            if kind != b"p":
                break
            self.step = rest
        if meta_bytes > MAX_META_BYTES or rest > limits.answer_bytes:
            raise DocumentWorkerDied(
                f"gave an answer of {meta_bytes + rest} bytes, limit is {limits.answer_bytes} bytes", self.step
            )
        try:
            meta = orjson.loads(await self._receive(meta_bytes, limits))
        except orjson.JSONDecodeError:
            meta = None
        lengths = meta.get("blobs") if isinstance(meta, dict) else None
        if isinstance(lengths, list) and all(type(n) is int and n >= 0 for n in lengths) and sum(lengths) == rest:
            return DocumentAnswer(meta, [await self._receive(length, limits) for length in lengths])
        raise DocumentWorkerDied("gave an answer that cannot be understood", self.step)

    async def _receive(self, length: int, limits: RequestLimits) -> bytes:
        while WATCHED and limits.memory_bytes:
            with anyio.move_on_after(LOOK_SECONDS):
                return await self.channel.receive(length)
            listed = await anyio.run_process(["ps", "-o", "rss=", "-p", str(self.channel.process.pid)], check=False)
            if int(listed.stdout.strip() or 0) * 1024 > limits.memory_bytes:
                raise DocumentWorkerDied(limits.too_much, self.step)
        return await self.channel.receive(length)

    async def _cause(self, limits: RequestLimits) -> str:
        """Why a worker that is gone is gone: its last words, else its exit status.

        Raises OutOfResources: it was ended from outside, as the system does where memory is short.
        """
        ended = await self.channel.exited(GRACE_SECONDS)
        words = self.words.take().decode(errors="replace").strip()
        self.end()
        if "memory allocation of" in words and limits.memory_bytes:
            _require_memory(limits)
            return limits.too_much
        code = self.channel.process.returncode or 0
        if limits.memory_bytes and -code == getattr(signal, "SIGXCPU", None):
            return limits.too_long
        if ended and -code in _FROM_OUTSIDE:
            name = signal.Signals(-code).name
            message = f"document worker was ended by {name}, which did not come from this program or from the document"
            raise OutOfResources(message, hint=_KILLED_HINT)
        last = words.splitlines()[-1][:LAST_LINE_CHARS] if words else ""
        return f"crashed (signal {-code})" if code < 0 else f"crashed (exit status {code}) {last}".rstrip()


def _not_started(reason: str, number: int | None = None) -> PatternStreamError:
    """The error of a worker that does not start, with what helps where a resource is scarce."""
    message = f"document worker does not start: {reason}"
    if hint := resource_hint(scarce_number(reason) if number is None else number):
        return OutOfResources(message, hint=hint)
    return WorkerFailed(message)


def _require_memory(limits: RequestLimits) -> None:
    """Raise OutOfResources where this process itself may have less memory than a document: that is not its fault."""
    most = memory_limit()
    if most is not None and most < limits.memory_bytes:
        found = f"document worker needed more than the {most >> 20} MiB that this process may have"
        raise OutOfResources(f"{found}, a document may need {limits.memory_bytes >> 20} MiB", hint=MEMORY_HINT)
