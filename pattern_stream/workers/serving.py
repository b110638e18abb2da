"""A worker from the inside: what every module that runs as one begins with. `process` starts it.

It answers on standard output what it is asked on standard input, in order, and ends when its input does, so that it
never outlives who asked. It tells nobody what is wrong: whatever it cannot do is done again by who asked.
"""

from __future__ import annotations

import gc
import marshal
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Final

from pattern_stream.workers.frames import FRAME, LENGTH, READY

PIECES_AT_ONCE: Final = 512

Say = Callable[[bytes, Any, Sequence[bytes]], None]
Answer = Callable[..., None]


def serve(prepare: Callable[..., Answer]) -> None:
    """Serve until the input ends or nobody takes the output. `prepare` gets the first request, and returns what is
    called with `Say` and each further one.
    """
    source, say = sys.stdin.buffer, saying(sys.stdout.fileno())
    try:
        if (opening := heard(source)) is None:
            return
        answer = prepare(*opening)
        gc.freeze()
        gc.set_threshold(50_000)
        say(READY, None, ())
        while (request := heard(source)) is not None:
            answer(say, *request)
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)


def heard(source: BinaryIO) -> Any:
    """The next request, None at the end."""
    head = source.read(LENGTH.size)
    return marshal.loads(source.read(*LENGTH.unpack(head))) if len(head) == LENGTH.size else None


def saying(out: int) -> Say:
    """How frames are sent: a kind, what is to be known, and bytes in pieces."""

    def say(kind: bytes, about: Any, parts: Sequence[bytes]) -> None:
        told = marshal.dumps(about)
        pieces = [FRAME.pack(kind, len(told), sum(map(len, parts))), told, *parts]
        for start in range(0, len(pieces), PIECES_AT_ONCE):
            group = pieces[start : start + PIECES_AT_ONCE]
            if (written := os.writev(out, group)) < sum(map(len, group)):
                rest = memoryview(b"".join(group))[written:]
                while rest:
                    rest = rest[os.write(out, rest) :]

    return say
