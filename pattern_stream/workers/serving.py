"""A worker from the inside: the frames it speaks, and the loop that every module that runs as one begins with.

It answers on standard output the requests on standard input, in order, and ends when its input does, so it never
outlives its parent. It reports no faults: whatever it cannot do is done again by its parent. Both are this program, so
values are marshalled and believed.

Requests: a length and a marshalled value each; a bare number is a slot that is free again. Answers: frames, each a
kind, the slot that has its bytes (NO_SLOT: they follow), two lengths, a marshalled value and bytes.
"""

from __future__ import annotations

import gc
import marshal
import os
import struct
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Final

from pattern_stream.workers.slots import Slots

LENGTH: Final = struct.Struct(">I")
FRAME: Final = struct.Struct(">ciII")
NO_SLOT: Final = -1
READY: Final = b"r"
"""The kind of a worker's first frame, once it has opened what it was asked to open."""

MORE: Final = b"m"
LAST: Final = b"e"
REST: Final = b"n"
"""Kinds of frames of an answer: others follow; it is complete; the rest of it is the parent's work."""

PIECES_AT_ONCE: Final = 512

Send = Callable[[bytes, Any, Sequence[bytes]], None]
Answer = Callable[..., None]


def pack_request(value: Any) -> bytes:
    """A request as it is sent."""
    body = marshal.dumps(value)
    return LENGTH.pack(len(body)) + body


class WorkerIO:
    """Requests in, frames out. `slots`: the bytes of frames go there, each slot until the parent frees it."""

    def __init__(self, source: BinaryIO, out: int, slots: Slots | None = None) -> None:
        self._source = source
        self._out = out
        self._slots = slots
        self._free = list(range(slots.count)) if slots is not None else []
        self._requests: deque[Any] = deque()
        self._ended = False

    def receive(self) -> Any:
        """The next request, None at the end."""
        while not self._requests and not self._ended:
            self._receive_one()
        return self._requests.popleft() if self._requests else None

    def _receive_one(self) -> None:
        head = self._source.read(LENGTH.size)
        if len(head) < LENGTH.size:
            self._ended = True
            return
        value = marshal.loads(self._source.read(*LENGTH.unpack(head)))
        if type(value) is int:
            self._free.append(value)
        else:
            self._requests.append(value)

    def send(self, kind: bytes, about: Any, parts: Sequence[bytes]) -> None:
        """Send a frame: a kind, a value that describes it, and bytes in pieces."""
        described, size = marshal.dumps(about), sum(map(len, parts))
        if size and self._slots is not None and size <= self._slots.size_bytes:
            while not self._free and not self._ended:
                self._receive_one()
            if not self._free:
                raise BrokenPipeError
            slot = self._free.pop()
            self._slots.put(slot, b"".join(parts))
            self._write([FRAME.pack(kind, slot, len(described), size), described])
        else:
            self._write([FRAME.pack(kind, NO_SLOT, len(described), size), described, *parts])

    def _write(self, pieces: Sequence[bytes]) -> None:
        for start in range(0, len(pieces), PIECES_AT_ONCE):
            group = pieces[start : start + PIECES_AT_ONCE]
            if (written := os.writev(self._out, group)) < sum(map(len, group)):
                rest = memoryview(b"".join(group))[written:]
                while rest:
                    rest = rest[os.write(self._out, rest) :]


def serve(prepare: Callable[..., Answer]) -> None:
    """Serve until the input ends or nobody reads the output. `prepare` gets the slots, None where there are none, and
    the values to open; its result is called with `Send` and each request.
    """
    source, out = sys.stdin.buffer, sys.stdout.fileno()
    try:
        if (opening := WorkerIO(source, out).receive()) is None:
            return
        shape, answers_in_slots, values = opening
        slots = None if shape is None else Slots.opened(*shape)
        io = WorkerIO(source, out, slots if answers_in_slots else None)
        answer = prepare(slots, *values)
        gc.freeze()
        gc.set_threshold(50_000)
        io.send(READY, None, ())
        while (asked := io.receive()) is not None:
            answer(io.send, *asked)
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)
