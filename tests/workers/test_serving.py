"""What is said is heard: whole, in order, however little a pipe takes at once."""

from __future__ import annotations

import io
import marshal
import os
from collections.abc import Sequence
from contextlib import closing
from typing import Any, BinaryIO

import pytest

from pattern_stream.workers.serving import FRAME, NO_SLOT, PIECES_AT_ONCE, WorkerIO, pack_request
from pattern_stream.workers.slots import Slots

REQUESTS: list[tuple[Any, ...]] = [(), (0, 17, True), ("text", b"bytes", None, 2**70, [1.5]), ("x" * 100_000,)]


def frames(data: bytes, slots: Slots | None = None) -> list[tuple[bytes, Any, bytes]]:
    """The frames in bytes, which must end with one; what is in a slot is looked up there."""
    found = []
    while data:
        kind, slot, about_bytes, data_bytes = FRAME.unpack(data[: FRAME.size])
        about, data = data[FRAME.size :][:about_bytes], data[FRAME.size + about_bytes :]
        if slot == NO_SLOT:
            found.append((kind, marshal.loads(about), data[:data_bytes]))
            data = data[data_bytes:]
        else:
            assert slots is not None
            found.append((kind, marshal.loads(about), slots.get(slot, data_bytes)))
    return found


def asked(*values: Any) -> io.BytesIO:
    """What comes in, and then the end."""
    return io.BytesIO(b"".join(map(pack_request, values)))


def test_requests_are_heard() -> None:
    """One after the other, whatever is in them, over a pipe; then the end, for good."""
    out, into = os.pipe()
    with os.fdopen(out, "rb") as source:
        with os.fdopen(into, "wb", buffering=0) as sink:
            for value in REQUESTS[:3]:
                sink.write(pack_request(value))
        worker = WorkerIO(source, -1)
        found = [worker.receive() for _ in range(5)]

    assert [*REQUESTS[:3], None, None] == found


def test_long_requests_are_heard_whole() -> None:
    """However little of it is there at once."""

    class Slow(io.RawIOBase):
        rest = b"".join(map(pack_request, REQUESTS))

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            piece, self.rest = self.rest[:3], self.rest[3:]
            buffer[: len(piece)] = piece
            return len(piece)

    worker = WorkerIO(io.BufferedReader(Slow(), 16), -1)
    found = [worker.receive() for _ in range(len(REQUESTS) + 1)]

    assert [*REQUESTS, None] == found


@pytest.mark.parametrize("length", range(4))
def test_a_head_that_is_cut_is_the_end(length: int) -> None:
    """Who asked is gone in the middle of a request."""
    assert WorkerIO(io.BytesIO(pack_request((1,))[:length]), -1).receive() is None


def test_frames_are_said() -> None:
    """A kind, what is to be known, and bytes put together, over a pipe."""
    out, into = os.pipe()
    worker = WorkerIO(asked(), into)
    worker.send(b"r", None, ())
    worker.send(b"d", ({"key": "value"}, 3, [1, 2]), [b"one", b"", b"two"])
    os.close(into)
    with os.fdopen(out, "rb") as source:
        found = frames(source.read())

    assert [(b"r", None, b""), (b"d", ({"key": "value"}, 3, [1, 2]), b"onetwo")] == found


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_a_pipe_that_takes_little_at_once(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Every write takes a few bytes, of more pieces than one system call gets: they come whole and in order."""
    taken = bytearray()
    parts = [b"%d," % number for number in range(2 * PIECES_AT_ONCE + 10)]

    def write(out: int, data: memoryview) -> int:
        taken.extend(data[:most])
        return len(data[:most])

    def writev(out: int, group: Sequence[bytes]) -> int:
        assert len(group) <= PIECES_AT_ONCE
        return write(out, memoryview(b"".join(group)))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write)
        patched.setattr(os, "writev", writev)
        worker = WorkerIO(asked(), -1)
        worker.send(b"m", [1], parts)
        worker.send(b"e", [2], ())

    assert [(b"m", [1], b"".join(parts)), (b"e", [2], b"")] == frames(bytes(taken))


def said(shared: Slots, source: BinaryIO, *data: bytes) -> tuple[list[tuple[bytes, Any, bytes]], list[int], WorkerIO]:
    """What is said by one that has slots: the frames, the slot of each, and who said them."""
    out, into = os.pipe()
    worker = WorkerIO(source, into, shared)
    for number, piece in enumerate(data):
        worker.send(b"m", number, [piece])
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        raw = pipe.read()
    found = frames(raw, shared)
    return found, slots_of(raw), worker


def slots_of(raw: bytes) -> list[int]:
    """The slot that each frame names."""
    found = []
    while raw:
        _, slot, about_bytes, data_bytes = FRAME.unpack(raw[: FRAME.size])
        raw = raw[FRAME.size + about_bytes + (data_bytes if slot == NO_SLOT else 0) :]
        found.append(slot)
    return found


def test_bytes_go_through_slots() -> None:
    """Each in a slot of its own; what has no bytes, or too many for a slot, does not."""
    with closing(Slots(2, 10)) as slots:
        found, used, _ = said(slots, asked(), b"one", b"", b"x" * 10, b"y" * 11)

    assert [(b"m", 0, b"one"), (b"m", 1, b""), (b"m", 2, b"x" * 10), (b"m", 3, b"y" * 11)] == found
    assert {0, 1} == {used[0], used[2]}
    assert [NO_SLOT, NO_SLOT] == [used[1], used[3]]


def test_a_slot_is_used_again_when_it_is_free() -> None:
    """Where none is free, one waits until it is said to be; requests that come meanwhile are heard later."""
    with closing(Slots(2, 10)) as slots:
        _, used, worker = said(slots, asked((1,), 0, (2,), 1, (3,)), b"a", b"b", b"c", b"d")
        rest = [worker.receive() for _ in range(4)]

    assert [0, 1] == used[2:]
    assert [(1,), (2,), (3,), None] == rest


def test_a_slot_that_never_gets_free() -> None:
    """Who asked is gone: so is the sense of an answer."""
    with closing(Slots(1, 10)) as slots, pytest.raises(BrokenPipeError):
        said(slots, asked((1,)), b"a", b"b")
