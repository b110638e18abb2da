"""A stage by itself: only its own time counts."""

from __future__ import annotations

import pytest

from benchmarks import alone
from benchmarks.alone import WINDOW, Counted, Events, drain, flow, run_windowed


class FakeTime:
    """A clock that stands still unless somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        """What time it is."""
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """The clock that the benchmark reads."""
    fake = FakeTime()
    monkeypatch.setattr(alone, "time", fake)
    return fake


@pytest.mark.anyio
@pytest.mark.parametrize("events", [0, 1, WINDOW, WINDOW + 1, 5 * WINDOW])
async def test_the_clock_stands_while_input_is_made(time: FakeTime, events: int) -> None:
    """Of an upstream of 100 s an event, a floor of 10 s and a stage of 1 s, the stage's own seconds are counted."""
    seen: list[int] = []

    async def upstream() -> Events:
        for number in range(events):
            time.now += 100
            yield number

    async def stage(source: Events) -> Events:
        async for event in source:
            time.now += 1
            seen.append(event)
            yield event

    def floor(window: list[int]) -> None:
        time.now += 10 * len(window)

    found = await run_windowed(upstream(), stage, floor)

    assert (events, 10 * events) == (found.seconds, found.floor_seconds)
    assert list(range(events)) == seen


@pytest.mark.anyio
async def test_without_a_floor_there_is_none(time: FakeTime) -> None:
    """Nothing stands beside a stage that has no floor."""
    found = await run_windowed(flow([1]), lambda source: source)

    assert (0.0, None) == (found.seconds, found.floor_seconds)


@pytest.mark.anyio
async def test_calls_are_counted_and_passed_on() -> None:
    """The function behind it does the work."""

    async def double(value: int) -> int:
        return 2 * value

    counted = Counted(double)
    answers = [await counted(value) for value in (1, 2)]
    await drain(flow(answers))

    assert ([2, 4], 2) == (answers, counted.count)
