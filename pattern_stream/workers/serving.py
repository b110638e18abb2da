"""A worker from the inside: what every module that runs as one begins with. `process` starts it.

It answers on standard output what it is asked on standard input, in order, and ends when its input does, so that it
never outlives who asked. It tells nobody what is wrong: whatever it cannot do is done again by who asked.
"""

from __future__ import annotations

import gc
import marshal
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Final

from pattern_stream.workers.frames import FRAME, LENGTH, NO_SLOT, READY
from pattern_stream.workers.slots import Slots

PIECES_AT_ONCE: Final = 512

Say = Callable[[bytes, Any, Sequence[bytes]], None]
Answer = Callable[..., None]


class Voice:
    """What is heard and said. `slots`: where the bytes of answers go, each until it is said to be free again."""

    def __init__(self, source: BinaryIO, out: int, slots: Slots | None = None) -> None:
        self._source = source
        self._out = out
        self._slots = slots
        self._free = list(range(slots.count)) if slots is not None else []
        self._requests: deque[Any] = deque()
        self._ended = False

    def heard(self) -> Any:
        """The next request, None at the end."""
        while not self._requests and not self._ended:
            self._listen()
        return self._requests.popleft() if self._requests else None

    def _listen(self) -> None:
        head = self._source.read(LENGTH.size)
        if len(head) < LENGTH.size:
            self._ended = True
            return
        value = marshal.loads(self._source.read(*LENGTH.unpack(head)))
        if type(value) is int:
            self._free.append(value)
        else:
            self._requests.append(value)

    def say(self, kind: bytes, about: Any, parts: Sequence[bytes]) -> None:
        """Send a frame: a kind, what is to be known, and bytes in pieces."""
        told, size = marshal.dumps(about), sum(map(len, parts))
        if size and self._slots is not None and size <= self._slots.size_bytes:
            while not self._free and not self._ended:
                self._listen()
            if not self._free:
                raise BrokenPipeError
            slot = self._free.pop()
            self._slots.put(slot, b"".join(parts))
            self._write([FRAME.pack(kind, slot, len(told), size), told])
        else:
            self._write([FRAME.pack(kind, NO_SLOT, len(told), size), told, *parts])

    def _write(self, pieces: Sequence[bytes]) -> None:
        for start in range(0, len(pieces), PIECES_AT_ONCE):
            group = pieces[start : start + PIECES_AT_ONCE]
            if (written := os.writev(self._out, group)) < sum(map(len, group)):
                rest = memoryview(b"".join(group))[written:]
                while rest:
                    rest = rest[os.write(self._out, rest) :]


def serve(prepare: Callable[..., Answer]) -> None:
    """Serve until the input ends or nobody takes the output. `prepare` gets the slots, None where there are none, and
    what is to be opened; what it returns is called with `Say` and each request.
    """
    source, out = sys.stdin.buffer, sys.stdout.fileno()
    try:
        if (opening := Voice(source, out).heard()) is None:
            return
        shape, to_say, values = opening
        slots = None if shape is None else Slots.opened(*shape)
        voice = Voice(source, out, slots if to_say else None)
        answer = prepare(slots, *values)
        gc.freeze()
        gc.set_threshold(50_000)
        voice.say(READY, None, ())
        while (request := voice.heard()) is not None:
            answer(voice.say, *request)
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)
