"""The worker that decodes ahead may fail, and is ended: nothing is lost, and nobody is left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing

import anyio
import pytest

from pattern_stream.archive import chunk_prefetch as decoding_module
from pattern_stream.archive.chunk_prefetch import Decoding, decoding_ahead
from pattern_stream.items import Section
from pattern_stream.workers import process as process_module
from tests.archive.decoded import Found, Watched, chunked, chunks_of, descriptors, eager, found, sections_of
from tests.contracts import check_stage
from tests.drive import collect, feed

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="nothing is decoded ahead on Windows"),
]

RAW = chunked().to_bytes()


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """A few chunks are enough to be worth it."""
    with eager(monkeypatch) as found:
        yield found


# --- workers that fail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 4])
async def test_one_that_dies_is_made_up_for(watched: Watched, after: int) -> None:
    """Killed in the middle: all messages are there, once."""

    def kill(result: Found, decoding: Decoding) -> None:
        if result.made == after and decoding.worker is not None:
            decoding.worker.process.kill()
            decoding.worker.process.wait()

    result = await found(RAW, step=kill)

    assert await found(RAW, ahead=False) == result
    assert after <= result.made <= after + decoding_module.SLOTS
    assert watched.asked <= after + 1 + decoding_module.SLOTS


async def test_one_that_does_not_start(monkeypatch: pytest.MonkeyPatch, watched: Watched) -> None:
    """It ends before it says that it is ready: nobody asks it."""
    monkeypatch.setattr(decoding_module, "WORKER", "pattern_stream.nowhere")
    result = await found(RAW)

    assert await found(RAW, ahead=False) == result
    assert 0 == watched.asked


@pytest.mark.parametrize("name", ["Slots", "Worker"])
async def test_where_there_is_no_room_for_one(monkeypatch: pytest.MonkeyPatch, watched: Watched, name: str) -> None:
    """No memory, or no process: it is tried once, and then nobody is asked."""
    tried = []

    def refuse(*arguments: object, **more: object) -> None:
        tried.append(name)
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    if name == "Slots":
        monkeypatch.setattr(decoding_module, "Slots", refuse)
    else:
        monkeypatch.setattr(subprocess, "Popen", refuse)
    before = descriptors()
    result = await found(RAW)

    assert await found(RAW, ahead=False) == result
    assert [name] == tried
    assert 0 == watched.asked
    assert before == descriptors()


# --- nobody is left ----------------------------------------------------------------------------------------------


async def test_it_is_a_stage() -> None:
    """An early stop closes what is before it; no sections are none; errors pass. With chunks that wait, too."""

    async def stage(source: AsyncIterator[Section]) -> AsyncGenerator[Section]:
        with decoding_ahead() as decoding:
            async with aclosing(decoding.sections(source)) as stream:
                async for section in stream:
                    yield section

    sections = await sections_of(RAW)
    await check_stage(stage, sections)
    await check_stage(stage, chunks_of(sections))


async def test_nobody_is_left(watched: Watched) -> None:
    """Leaving in the middle, while some wait, ends the worker and gives back all descriptors."""
    before, sections = descriptors(), await sections_of(RAW)
    with decoding_ahead() as decoding:
        async with aclosing(decoding.sections(feed(sections))) as stream:
            async for section in stream:
                if section.cid in decoding.made:
                    break
        worker = decoding.worker
        waiting = len(decoding._waiting)
    assert worker is not None

    assert 0 < waiting
    assert worker.process.returncode is not None
    assert decoding.worker is None
    assert before == descriptors()


async def test_nobody_is_left_that_has_not_begun(watched: Watched) -> None:
    """Leaving before the worker is ready ends it as well."""
    before = descriptors()
    with decoding_ahead() as decoding:
        decoding._start()
        worker = decoding.worker
    assert worker is not None

    assert worker.process.returncode is not None
    assert before == descriptors()


@pytest.mark.parametrize("ready", [False, True])
async def test_nobody_is_left_by_who_is_cancelled(watched: Watched, ready: bool) -> None:
    """In a cancelled scope, as after Ctrl-C, no await comes back: the worker is ended and reaped nevertheless."""
    before = descriptors()
    with anyio.CancelScope() as scope:
        with decoding_ahead() as decoding:
            decoding._start()
            worker, greeting = decoding.worker, decoding._ready
            if ready and greeting is not None:
                await greeting
            scope.cancel()
            await anyio.sleep(60)
    assert worker is not None
    left = worker.process.poll() is None, before != descriptors()
    worker.end()

    assert scope.cancelled_caught
    assert (False, False) == left


# --- not worth it ------------------------------------------------------------------------------------------------


async def test_little_is_not_worth_it(monkeypatch: pytest.MonkeyPatch, watched: Watched) -> None:
    """Below so many bytes of chunks no worker is started; other blocks and small chunks do not count."""
    sections = await sections_of(RAW)
    sizes = [len(section.data) for section in chunks_of(sections)]
    started = []
    for least, least_chunk in ((sum(sizes) + 1, 1), (1, max(sizes) + 1), (sum(sizes), 1), (1, max(sizes))):
        monkeypatch.setattr(decoding_module, "LEAST_BYTES", least)
        monkeypatch.setattr(decoding_module, "LEAST_CHUNK_BYTES", least_chunk)
        with decoding_ahead() as decoding:
            assert sections == await collect(decoding.sections(feed(sections)))
            started.append(decoding.worker is not None)

    assert [False, False, True, True] == started


async def test_one_processor_is_not_enough(monkeypatch: pytest.MonkeyPatch, watched: Watched) -> None:
    """Whoever decoded would only take the time of whoever stores."""
    monkeypatch.setattr(process_module, "_processors", lambda: 1)
    sections = await sections_of(RAW)
    with decoding_ahead() as decoding:
        assert sections == await collect(decoding.sections(feed(sections)))

        assert decoding.worker is None
