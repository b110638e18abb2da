"""Devices and FIFOs are taken as they are, and can be left at any time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio
import pytest

from pattern_stream.errors import StorageFull, UsageError
from pattern_stream.transport.files import open_input, open_output
from tests.drive import collect

pytestmark = pytest.mark.anyio


async def write(target: Path, data: bytes = b"new") -> None:
    """Write one output."""
    async with open_output(target) as out:
        await out.write(data)


async def test_devices_are_opened_as_they_are() -> None:
    """A device needs no force; one that is full says so."""
    async with open_output(Path("/dev/null")) as out:
        await out.write(b"data")
        assert out.folder is None
        assert out.partial is None
    if Path("/dev/full").exists():
        with pytest.raises(StorageFull):
            await write(Path("/dev/full"))

    assert Path("/dev/null").is_char_device()


async def test_terminal_is_refused() -> None:
    """Binary to a terminal: exit 2 with a hint; from a terminal the same."""
    main, terminal = os.openpty()
    name = Path(os.ttyname(terminal))
    try:
        with pytest.raises(UsageError, match="is a terminal") as caught:
            await write(name)
    finally:
        os.close(main)
        os.close(terminal)

    assert 2 == caught.value.exit_code
    assert "-o" in (caught.value.hint or "")


async def test_fifo_both_ways(tmp_path: Path) -> None:
    """A FIFO is written and read as it is."""
    fifo, data, got = tmp_path / "fifo", os.urandom(3_000_000), []
    os.mkfifo(fifo)

    async def read() -> None:
        async with open_input(fifo) as source:
            assert source.total_bytes is None
            got.extend(await collect(source))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await write(fifo, data)

    assert data == b"".join(got)


@pytest.mark.parametrize("end", ["read", "write"])
async def test_opening_a_fifo_can_be_left(tmp_path: Path, end: str) -> None:
    """Waiting for the other end of a FIFO ends when cancelled, and what is opened later is closed at once."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    with anyio.move_on_after(0.1) as scope:
        async with open_input(fifo) if end == "read" else open_output(fifo):
            pass
    assert scope.cancelled_caught
    os.close(os.open(fifo, os.O_RDWR))

    assert before is None or await anyio.to_thread.run_sync(_falls_to, before)


def _falls_to(count: int) -> bool:
    """Whether no more than so many descriptors are open, soon."""
    end = time.monotonic() + 10
    while (found := len(os.listdir("/proc/self/fd"))) > count and time.monotonic() < end:
        time.sleep(0.01)
    return found <= count


async def test_copy_left_behind_keeps_its_own_source(tmp_path: Path) -> None:
    """A copy into a full pipe is left; when it goes on it still reads the file it was given, not a later one."""
    fifo, spool = tmp_path / "fifo", tmp_path / "spool"
    os.mkfifo(fifo)
    spool.write_bytes(b"s" * 4_000_000)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    source = os.open(spool, os.O_RDONLY)
    with anyio.move_on_after(0.2) as scope:
        async with open_output(fifo) as out:
            await out.copy_range(source, 0, 4_000_000)
    secret = os.open(__file__, os.O_RDONLY)
    os.dup2(secret, source)
    os.close(secret)
    os.set_blocking(reader, True)
    got = await anyio.to_thread.run_sync(_read_to_end, reader)

    assert scope.cancelled_caught
    assert b"s" * 4_000_000 == got
    os.close(source)


def _read_to_end(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        return file.read()
