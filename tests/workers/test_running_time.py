"""A deadline that passes only while this process runs."""

from __future__ import annotations

import time

import anyio
import anyio.lowlevel
import pytest

from pattern_stream.workers.running_time import give_up_after

pytestmark = pytest.mark.anyio


async def test_standing_still_is_not_being_late() -> None:
    """The loop stands still for five times the deadline, as in a stopped process: what came meanwhile is taken."""
    came = False
    with give_up_after(0.2):
        await anyio.sleep(0.01)
        time.sleep(1)  # noqa: ASYNC251  this is what is tried
        await anyio.sleep(0.01)
        came = True

    assert came


@pytest.mark.parametrize("seconds", [0.05, 0.6])
async def test_time_that_ran_is_counted(seconds: float) -> None:
    """Whoever waits for nothing is let go, without an error, after about so long."""
    started = time.monotonic()
    with give_up_after(seconds):
        await anyio.sleep(60)

    assert seconds * 0.9 <= time.monotonic() - started < seconds + 5


async def test_a_block_that_ends_in_time_is_left_alone() -> None:
    """No timer goes on behind the block: a cancel from it would reach what comes next."""
    with give_up_after(0.05):
        await anyio.lowlevel.checkpoint()
    await anyio.sleep(0.2)
