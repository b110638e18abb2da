"""Items in order, with the answers of workers where there are any, and without where there are none."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from pattern_stream.workers.ordered_prefetch import OrderedPrefetch
from pattern_stream.workers.process import REQUEST_BYTES
from pattern_stream.workers.serving import LAST, MORE, REST, Send, serve
from pattern_stream.workers.slots import Slots

pytestmark = pytest.mark.anyio


def count(send: Send, number: int, kind: bytes) -> None:
    """Answer with so many frames, the last of this kind; a negative number ends the process."""
    if number < 0:
        os._exit(1)
    for at in range(number - 1):
        send(MORE, at, [b"%d" % at])
    send(kind, number - 1, [])


def main() -> None:
    """What the workers of these tests run."""
    serve(lambda slots: count)


@pytest.fixture
def prefetch() -> Iterator[OrderedPrefetch[str]]:
    """Two workers."""
    found = OrderedPrefetch[str]()
    found.start(__name__, (), [Slots(2, 10), Slots(2, 10)], answers_in_slots=True)
    yield found
    found.end()


async def answers(prefetch: OrderedPrefetch[str]) -> list[tuple[str, list[int], bool]]:
    """Every item in the queue, the values of its frames, and whether the worker did all of it."""
    found = []
    while prefetch.queue:
        asked, values = prefetch.queue.popleft(), []
        while (frame := await asked.receive()) is not None:
            values.append(frame.about)
        found.append((asked.item, values, asked.complete))
    return found


async def test_answers_come_in_order(prefetch: OrderedPrefetch[str]) -> None:
    """Of both workers in turn, whole or in part; items without a request keep their place."""
    assert await prefetch.is_ready()
    asked = [
        prefetch.add("a", (3, LAST)),
        prefetch.add("b", (2, REST)),
        prefetch.add("c"),
        prefetch.add("d", (1, LAST)),
    ]

    assert [True, True, False, True] == asked
    assert [("a", [0, 1, 2], True), ("b", [0, 1], False), ("c", [], False), ("d", [0], True)] == await answers(prefetch)


async def test_one_that_dies_is_not_asked_again(prefetch: OrderedPrefetch[str]) -> None:
    """Its items have no more frames, and are not complete; the other one goes on."""
    assert await prefetch.is_ready()
    for item, number in (("a", -1), ("b", 1), ("c", 2), ("d", 2)):
        prefetch.add(item, (number, LAST))
    first = await answers(prefetch)
    asked = [prefetch.add(item, (1, LAST)) for item in "ef"]

    assert [("a", [], False), ("b", [0], True), ("c", [], False), ("d", [0, 1], True)] == first
    assert [True, True] == asked
    assert [("e", [0], True), ("f", [0], True)] == await answers(prefetch)


async def test_after_the_end_nobody_is_asked(prefetch: OrderedPrefetch[str]) -> None:
    """Items that wait are the caller's, and so are those that come."""
    assert await prefetch.is_ready()
    prefetch.add("a", (1, LAST))
    prefetch.end()

    assert not prefetch.add("b", (1, LAST))
    assert not await prefetch.is_ready()
    assert [("a", [], False), ("b", [], False)] == await answers(prefetch)


async def test_a_request_that_is_too_large_is_the_callers(prefetch: OrderedPrefetch[str]) -> None:
    """It keeps its place between those that are asked."""
    assert await prefetch.is_ready()
    asked = [prefetch.add("a", (1, LAST)), prefetch.add("b", (1, b"x" * REQUEST_BYTES)), prefetch.add("c", (1, LAST))]

    assert [True, False, True] == asked
    assert [True, False, True] == [complete for _, _, complete in await answers(prefetch)]


async def test_nobody_waits_for_a_start_without_time(prefetch: OrderedPrefetch[str]) -> None:
    """Without time it says no, as long as the workers start; what they say meanwhile is not lost."""
    first = await prefetch.is_ready(0)

    assert not first
    assert await prefetch.is_ready()
    assert await prefetch.is_ready(0)


async def test_those_that_do_not_start_are_ended() -> None:
    """There is no such module: there is nobody to ask."""
    lame = OrderedPrefetch[str]()
    lame.start("pattern_stream.nowhere", (), [Slots(1, 1)], answers_in_slots=True)
    (worker,) = lame.workers

    assert not await lame.is_ready()
    assert [] == lame.workers
    assert 1 == worker.channel.process.returncode


async def test_where_there_is_no_room_for_one_there_is_none() -> None:
    """The first one starts, the second one cannot: both are ended."""
    prefetch = OrderedPrefetch[str]()

    def slots() -> Iterator[Slots]:
        yield Slots(1, 1)
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    prefetch.start(__name__, (), slots(), answers_in_slots=True)

    assert [] == prefetch.workers
