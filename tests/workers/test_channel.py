"""Bytes over the pipes of a child process: whole, without blocking, and no process left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from pattern_stream.workers.channel import READ_BYTES, Channel, ChannelClosed

pytestmark = pytest.mark.anyio

ECHO = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
MUCH = bytes(range(256)) * 16 * 1024
"""More than any pipe has room for."""


@contextmanager
def opened(script: str) -> Iterator[Channel]:
    """A process that runs a script."""
    channel = Channel.start(["-c", script])
    try:
        yield channel
    finally:
        channel.end()


async def test_much_is_sent_and_received_whole() -> None:
    """More bytes than both pipes have room for, in pieces of any size."""
    with opened(ECHO) as channel:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(channel.send, MUCH)
            found = [await channel.receive(size) for size in (1, 0, 1000, len(MUCH) - 1001)]

    assert MUCH == b"".join(found)


async def test_only_what_fits_is_sent_at_once() -> None:
    """Nobody waits for a process that does not read."""
    with opened("import time; time.sleep(600)") as channel:
        assert channel.send_now(b"small")
        assert not channel.send_now(MUCH)


async def test_the_end_of_the_process_is_the_end_of_the_bytes() -> None:
    """What it wrote before is there; too few bytes are none; there is nobody to send to."""
    with opened("import os; os.write(1, b'last words')") as channel:
        await channel.exited(60)
        found = await channel.receive(4)
        for _ in range(2):
            with pytest.raises(ChannelClosed):
                await channel.receive(100)
        with pytest.raises(ChannelClosed):
            await channel.send(MUCH)

        assert not channel.send_now(b"x")
    assert b"last" == found


async def test_a_cancelled_call_loses_nothing() -> None:
    """Bytes that came before a deadline are there for the next call."""
    with opened("import sys; print('ab', end='', flush=True); sys.stdin.read(1); print('cd', end='')") as channel:
        with anyio.move_on_after(0.3) as scope:
            await channel.receive(4)
        assert scope.cancelled_caught
        await channel.send(b"x")
        channel.process.stdin.close()  # type: ignore[union-attr]  # it has one

        assert b"abcd" == await channel.receive(4)


async def test_little_is_taken_before_it_is_wanted() -> None:
    """Of very much that is there, one read at most waits in this process; the rest waits in the pipe."""
    with opened(f"import sys; sys.stdout.buffer.write(bytes({8 * READ_BYTES})); sys.stdout.flush()") as channel:
        await channel.receive(1)

        assert len(channel._buffer) < READ_BYTES


async def test_the_end_awaits_nothing() -> None:
    """The process is reaped and its pipes are closed, once or more; so a cancelled task can do it."""
    channel = Channel.start(["-c", "import time; time.sleep(600)"])
    channel.end()
    channel.end()

    assert channel.process.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(channel.process.pid, 0)
    with pytest.raises(ChannelClosed):
        await channel.receive(1)
