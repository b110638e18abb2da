"""The author of the demonstration's documents: lives as in the original, and the limits of its worker."""

from __future__ import annotations

import time

import anyio
import pytest

from pattern_stream.demo.author import open_author
from pattern_stream.errors import WorkerFailed
from pattern_stream.memory.sandbox import Sandbox
from tests.drive import child_pids

pytestmark = pytest.mark.anyio

LONG = [("splice", "content", 0, 0, "x" * 200), ("persist",)] * 100_000


async def test_authored_life_is_the_same_for_a_seed() -> None:
    """Edits, undo, redo, reload and consolidation leave what the original leaves; the seed decides every byte."""
    steps = [
        ("splice", "content", 0, 0, "one "), ("persist",), ("splice", "content", -1, 0, "two "), ("persist",),
        ("consolidate",), ("splice", "content", -1, 0, "three"), ("persist",), ("persist",), ("undo",), ("undo",),
        ("redo",), ("undo",),
    ]  # fmt: skip

    async with open_author() as author:
        made, again, other = [await author(None, seed, steps) for seed in (1, 1, 2)]
    active = [(row.seq, row.blob) for row in made.rows if row.active]
    every = [(row.seq, row.blob) for row in made.rows]

    assert made == again
    assert made.snapshot != other.snapshot
    assert (4, [3, 4], [], 2) == (made.last_seq, [s for s, _ in every], active, made.checkpoints[0].consolidated)
    assert "one two three" == made.preview
    async with Sandbox() as sandbox:
        folded = [(await sandbox.fold(made.snapshot, updates, None)).rendered for updates in (active, every)]

    assert ["one two ", "one two three"] == folded


async def test_an_unreadable_step_is_said() -> None:
    """A step that Loro refuses is a failure of the worker that names the reason, and the next life is written."""
    async with open_author() as author:
        with pytest.raises(WorkerFailed, match="document could not be written: "):
            await author(None, 1, [("drop", "items", 7)])
        assert "" == (await author(None, 1, [])).preview


async def test_a_long_life_runs_out_of_time() -> None:
    """Steps that keep the worker busy end it, and the message says how long it had."""
    async with open_author(seconds=0.5) as hasty:
        started = time.monotonic()
        with pytest.raises(WorkerFailed, match=r"took longer than 0\.5 s"):
            await hasty(None, 1, LONG)
        assert time.monotonic() - started < 5


async def test_cancelling_ends_the_worker() -> None:
    """A cancelled life leaves no process behind."""
    before = child_pids()
    with anyio.move_on_after(0.3) as scope:
        async with open_author() as author:
            await author(None, 1, LONG)

    assert scope.cancelled_caught
    assert before == child_pids()
