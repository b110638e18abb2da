"""A worker is started, asked, heard and ended; one that is gone is made up for by who asked, and never asked again."""

from __future__ import annotations

import asyncio
import errno
import marshal
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import IO, Any

import pytest

from pattern_stream.archive.chunk_prefetch import WORKER
from pattern_stream.budget import BUDGET
from pattern_stream.codec.dagcbor import encode_node
from pattern_stream.workers.channel import READ_BYTES, Channel, spare_processors
from pattern_stream.workers.process import REQUEST_BYTES, AnswerFrame, Worker, WorkerDied
from pattern_stream.workers.serving import FRAME, LAST, NO_SLOT, READY, REST, pack_request
from pattern_stream.workers.slots import Slots
from tests.archives import message_chunk, message_record

pytestmark = pytest.mark.anyio

SIZE_BYTES = 100_000
CHUNK = encode_node(message_chunk(0, [message_record(number) for number in range(40)]))
PATIENCE_SECONDS = 60


@asynccontextmanager
async def started() -> AsyncGenerator[tuple[Worker, Slots]]:
    """A worker that is ready, and the memory it shares."""
    slots = Slots(2, SIZE_BYTES)
    worker = Worker.start(WORKER, (), slots)
    try:
        assert AnswerFrame(READY, None, b"") == await worker.receive()
        yield worker, slots
    finally:
        worker.end()


@contextmanager
def running(script: str, slots: Slots | None = None) -> Iterator[Worker]:
    """A worker of another kind, which does what a script says."""
    worker = Worker(Channel.start(["-c", f"import sys; out = sys.stdout.buffer\n{script}"]), slots)
    try:
        yield worker
    finally:
        worker.end()


def pipe(found: IO[bytes] | None) -> IO[bytes]:
    """A pipe that is there."""
    assert found is not None
    return found


async def answer(worker: Worker, slots: Slots, slot: int = 0) -> tuple[bytes, Any]:
    """What a worker says of a plain chunk."""
    slots.put(slot, CHUNK)
    worker.request((slot, len(CHUNK), True))
    said = await worker.receive()
    return said.kind, said.about[1] if said.about is not None else None


def is_running(worker: Worker) -> bool:
    """Whether there is such a process, even one that has ended and was not reaped."""
    try:
        os.kill(worker.channel.process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_listened_to(worker: Worker) -> bool:
    """Whether the loop still looks at a worker's pipe."""
    return asyncio.get_running_loop().remove_reader(pipe(worker.channel.process.stdout).fileno())


async def test_answers_come_in_order() -> None:
    """Asked twice before anything is heard: both answers come, each of its own slot."""
    async with started() as (worker, slots):
        slots.put(0, CHUNK)
        slots.put(1, b"\xa1\x68messages\x80" + bytes(5000))
        for slot, size in ((0, len(CHUNK)), (1, 5011), (1, 0)):
            worker.request((slot, size, True))
        found = [await worker.receive() for _ in range(2)]

    assert [LAST, REST] == [said.kind for said in found]
    assert 40 == found[0].about[1]


async def test_one_that_ends_is_gone() -> None:
    """Killed, it is Gone for whoever hears it, every time, and asking it does nothing."""
    async with started() as (worker, slots):
        worker.channel.process.kill()
        worker.channel.process.wait()
        for _ in range(3):
            with pytest.raises(WorkerDied):
                await answer(worker, slots)

        assert not worker.alive
        assert not is_listened_to(worker)


async def test_what_was_said_before_the_end_is_heard() -> None:
    """Whole frames come before Gone does; half of one does not."""
    about = marshal.dumps([1])
    frame = FRAME.pack(b"m", NO_SLOT, len(about), 3) + about + b"abc"
    with running(f"out.write({2 * frame + frame[:5]!r})") as worker:
        found = [await worker.receive(), await worker.receive()]
        with pytest.raises(WorkerDied):
            await worker.receive()

    assert [AnswerFrame(b"m", [1], b"abc")] * 2 == found


@pytest.mark.parametrize("about", [b"", b"?", b"[\x02\x00\x00\x00N", b"\xff" * 20])
async def test_one_that_says_what_it_should_not_is_gone(about: bytes) -> None:
    """What is to be known is no value; what comes behind it is not heard."""
    said = FRAME.pack(b"m", NO_SLOT, len(about), 0) + about + FRAME.pack(b"r", NO_SLOT, 1, 0) + b"N"
    with running(f"out.write({said!r}); out.flush(); sys.stdin.read()") as worker:
        for _ in range(2):
            with pytest.raises(WorkerDied):
                await worker.receive()

        assert not worker.alive


async def test_long_answers_come_whole() -> None:
    """One that is larger than a pipe, and each with all of its bytes and no others."""
    size = 2 * 1024 * 1024 + 17
    script = (
        f"head = {FRAME.pack(b'm', NO_SLOT, 1, size)!r} + b'N'\n"
        f"for at in range(3): out.write(head + bytes([at]) * {size}); out.flush()\n"
        "sys.stdin.read()"
    )
    with running(script) as worker:
        for at in range(3):
            said = await worker.receive()
            assert size == len(said.data) == said.data.count(at)
    assert READ_BYTES < size


async def test_a_request_that_is_too_large_is_not_sent() -> None:
    """It says so, and the worker goes on with the others; they are so small that a pipe holds all that wait."""
    async with started() as (worker, slots):
        assert not worker.request(("x" * REQUEST_BYTES, 0, True))
        slots.put(0, CHUNK)
        assert worker.request((0, len(CHUNK), True))
        assert LAST == (await worker.receive()).kind
    assert max(BUDGET.asked_ahead, BUDGET.chunk_slots) * REQUEST_BYTES < 64 * 1024


async def test_end_reaps() -> None:
    """The process has ended, its pipes are closed, nobody listens; ended twice is ended; and it is Gone."""
    async with started() as (worker, _):
        heard = asyncio.ensure_future(worker.receive())
        await asyncio.sleep(0)
        listened = is_listened_to(worker)
        heard.cancel()
        worker.end()
        worker.end()
        with pytest.raises(WorkerDied):
            await worker.receive()

    assert listened
    assert -signal.SIGKILL == worker.channel.process.returncode
    assert pipe(worker.channel.process.stdin).closed
    assert pipe(worker.channel.process.stdout).closed
    assert not is_running(worker)


async def test_it_ends_with_its_input() -> None:
    """Whoever asked may be killed: then the worker goes by itself, and says no fault."""
    async with started() as (worker, _):
        pipe(worker.channel.process.stdin).close()
        with pytest.raises(WorkerDied):
            await worker.receive()

        assert 0 == worker.channel.process.wait(timeout=PATIENCE_SECONDS)


async def test_it_ends_when_nobody_hears_it() -> None:
    """An answer that cannot be sent is the last."""
    async with started() as (worker, slots):
        pipe(worker.channel.process.stdout).close()
        slots.put(0, CHUNK)
        worker.request((0, len(CHUNK), True))
        code = await asyncio.to_thread(worker.channel.process.wait, PATIENCE_SECONDS)

    assert 1 == code


async def test_one_that_does_not_start_is_gone() -> None:
    """There is no such module: whoever asked goes on without it."""
    worker = Worker.start("pattern_stream.workers.nowhere", ())
    try:
        with pytest.raises(WorkerDied):
            await worker.receive()
    finally:
        worker.end()

    assert 1 == worker.channel.process.returncode


async def test_slots_end_with_their_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with one that could not be started at all."""
    slots, others = Slots(1, 10), Slots(1, 10)
    worker = Worker.start("pattern_stream.workers.nowhere", (), slots)
    worker.end()

    def refuse(*arguments: object, **more: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(BlockingIOError):
        Worker.start(WORKER, (), others)

    for closed in (slots, others):
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            os.fstat(closed.descriptor)


async def test_bytes_of_answers_go_through_slots() -> None:
    """They are copied out of the slot, which is said to be free again at once."""
    slots = Slots(2, 100)
    slots.put(1, b"in the slot")
    script = (
        f"out.write({FRAME.pack(b'm', 1, 1, 11)!r} + b'N'); out.flush()\n"
        f"freed = sys.stdin.buffer.read({len(pack_request(1))})\n"
        f"out.write({FRAME.pack(b'm', NO_SLOT, 1, len(pack_request(1)))!r} + b'N' + freed); out.flush()"
    )
    with running(script, slots) as worker:
        found = [await worker.receive(), await worker.receive()]

    assert [AnswerFrame(b"m", None, b"in the slot"), AnswerFrame(b"m", None, pack_request(1))] == found


async def test_it_does_not_mind_an_interruption() -> None:
    """Ctrl-C reaches every process of a terminal: it is for who asked, who then ends the worker."""
    async with started() as (worker, slots):
        os.kill(worker.channel.process.pid, signal.SIGINT)

        assert (LAST, 40) == await answer(worker, slots)
        assert worker.channel.process.poll() is None


async def test_it_sees_only_what_it_is_given() -> None:
    """Of all descriptors it inherits the memory alone, beside its pipes."""
    if sys.platform != "linux":
        pytest.skip("looks into /proc")
    async with started() as (worker, slots):
        folder, memory = f"/proc/{worker.channel.process.pid}/fd", os.readlink(f"/proc/self/fd/{slots.descriptor}")
        found = {int(name): os.readlink(f"{folder}/{name}") for name in os.listdir(folder)}

    assert memory == found[slots.descriptor]
    assert {memory} == {target for number, target in found.items() if number > 2}


@pytest.mark.parametrize(("processors", "spare"), [(0, 0), (1, 0), (2, 1), (8, 7)])
def test_one_processor_is_not_enough(processors: int, spare: int) -> None:
    """One is this process's own."""
    assert spare == spare_processors(processors)


@pytest.mark.parametrize("processors", [1, 2])
def test_processors_are_counted(monkeypatch: pytest.MonkeyPatch, processors: int) -> None:
    """Those that this process may use; without that knowledge, all."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(processors)), raising=False)
    known = spare_processors()
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: processors)

    assert processors - 1 == known == spare_processors()
