"""The worker that decodes ahead may fail, and is ended: nothing is lost, and nobody is left behind."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace

import anyio
import pytest

from pattern_stream.archive import chunk_prefetch as decoding_module
from pattern_stream.archive.chunk_prefetch import ChunkPrefetch, open_chunk_prefetch
from pattern_stream.items import Section
from pattern_stream.workers.process import Worker
from tests.archive.decoded import (
    ALONE,
    EAGER,
    Found,
    Watched,
    chunked,
    chunks_of,
    descriptors,
    found,
    sections_of,
    watching,
)
from tests.contracts import check_stage
from tests.drive import collect, feed

pytestmark = pytest.mark.anyio

RAW = chunked().to_bytes()


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Every line of a test."""
    with watching(monkeypatch) as found:
        yield found


# --- workers that fail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 4])
async def test_one_that_dies_is_made_up_for(watched: Watched, after: int) -> None:
    """Killed in the middle: all messages are there, once."""

    def kill(result: Found, decoding: ChunkPrefetch) -> None:
        if result.made == after:
            (worker,) = decoding.prefetch.workers
            worker.channel.process.kill()
            worker.channel.process.wait()

    result = await found(RAW, step=kill)

    assert await found(RAW, ahead=False) == result
    assert after <= result.made <= after + EAGER.chunk_slots
    assert watched.asked <= after + 1 + EAGER.chunk_slots


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


async def started(decoding: ChunkPrefetch) -> Worker:
    """Its worker, which the first chunk starts."""
    async with aclosing(decoding.sections(feed(await sections_of(RAW)))) as stream:
        async for _ in stream:
            if decoding.prefetch.workers:
                break
    return decoding.prefetch.workers[0]


# --- nobody is left ----------------------------------------------------------------------------------------------


async def test_it_is_a_stage() -> None:
    """An early stop closes what is before it; no sections are none; errors pass. With chunks that wait, too."""

    async def stage(source: AsyncIterator[Section]) -> AsyncGenerator[Section]:
        with open_chunk_prefetch(budget=EAGER) as decoding:
            async with aclosing(decoding.sections(source)) as stream:
                async for section in stream:
                    yield section

    sections = await sections_of(RAW)
    await check_stage(stage, sections)
    await check_stage(stage, chunks_of(sections))


async def test_nobody_is_left(watched: Watched) -> None:
    """Leaving in the middle, while some wait, ends the worker and gives back all descriptors."""
    before, sections = descriptors(), await sections_of(RAW)
    with open_chunk_prefetch(budget=EAGER) as decoding:
        async with aclosing(decoding.sections(feed(sections))) as stream:
            async for section in stream:
                if section.cid in decoding.made:
                    break
        (worker,) = decoding.prefetch.workers
        waiting = len(decoding.prefetch.queue)

    assert 0 < waiting
    assert worker.channel.process.returncode is not None
    assert [] == decoding.prefetch.workers
    assert before == descriptors()


async def test_nobody_is_left_that_has_not_begun(watched: Watched) -> None:
    """Leaving before the worker is ready ends it as well."""
    before = descriptors()
    with open_chunk_prefetch(budget=replace(EAGER, chunk_start_seconds=0)) as decoding:
        worker = await started(decoding)

    assert worker.channel.process.returncode is not None
    assert before == descriptors()


@pytest.mark.parametrize("ready", [False, True])
async def test_nobody_is_left_by_who_is_cancelled(watched: Watched, ready: bool) -> None:
    """In a cancelled scope, as after Ctrl-C, no await comes back: the worker is ended and reaped nevertheless."""
    before = descriptors()
    with anyio.CancelScope() as scope:
        seconds = EAGER.chunk_start_seconds if ready else 0
        with open_chunk_prefetch(budget=replace(EAGER, chunk_start_seconds=seconds)) as decoding:
            worker = await started(decoding)
            scope.cancel()
            await anyio.sleep(60)
    left = worker.channel.process.poll() is None, before != descriptors()
    worker.end()

    assert scope.cancelled_caught
    assert (False, False) == left


# --- not worth it ------------------------------------------------------------------------------------------------


async def test_little_is_not_worth_it() -> None:
    """Below so many bytes of chunks no worker is started; other blocks and small chunks do not count."""
    sections = await sections_of(RAW)
    sizes = [len(section.data) for section in chunks_of(sections)]
    begun = []
    for least, least_chunk in ((sum(sizes) + 1, 1), (1, max(sizes) + 1), (sum(sizes), 1), (1, max(sizes))):
        budget = replace(EAGER, least_prefetch_bytes=least, least_chunk_bytes=least_chunk)
        with open_chunk_prefetch(budget=budget) as decoding:
            assert sections == await collect(decoding.sections(feed(sections)))
            begun.append(bool(decoding.prefetch.workers))

    assert [False, False, True, True] == begun


async def test_one_processor_is_not_enough() -> None:
    """Whoever decoded would only take the time of whoever stores."""
    sections = await sections_of(RAW)
    with open_chunk_prefetch(budget=replace(EAGER, processors=ALONE.processors)) as decoding:
        assert sections == await collect(decoding.sections(feed(sections)))

        assert [] == decoding.prefetch.workers
