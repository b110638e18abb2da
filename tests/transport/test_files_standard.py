"""Standard input and output, in processes of their own: whole, shared with others, and left at any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from pattern_stream.transport import files

ROOT = Path(files.__file__).parents[2]

COPY = """
    import asyncio, sys
    from pattern_stream.transport.files import open_input, open_output

    async def main():
        async with open_input() as source, open_output() as out:
            async for piece in source:
                await out.write(piece)

    asyncio.run(main())
"""
FLOOD = """
    import asyncio, signal, sys
    from pattern_stream.transport.files import open_output

    async def main():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
        async with open_output() as out:
            print("ready", file=sys.stderr, flush=True)
            await out.write(bytes(50_000_000))

    asyncio.run(main())
"""


def start(code: str, **streams: object) -> subprocess.Popen[bytes]:
    """A program in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, **streams)  # type: ignore[call-overload,no-any-return]


def test_standard_streams_pipe() -> None:
    """Bytes go through standard input and output unchanged."""
    data = os.urandom(5_000_000)
    with start(COPY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        out, err = process.communicate(data, timeout=20)

    assert (0, b"") == (process.returncode, err)
    assert data == out


def test_standard_streams_file(tmp_path: Path) -> None:
    """Standard output that a shell appends to a file keeps what is there."""
    (tmp_path / "in").write_bytes(b"data\r\n\x1a")
    (tmp_path / "out").write_bytes(b"before")
    with (
        (tmp_path / "in").open("rb") as source,
        (tmp_path / "out").open("ab") as target,
        start(COPY, stdin=source, stdout=target) as process,
    ):
        _, err = process.communicate(timeout=20)

    assert (0, b"") == (process.returncode, err)
    assert b"beforedata\r\n\x1a" == (tmp_path / "out").read_bytes()


def test_standard_terminal_is_refused() -> None:
    """Neither end may be a terminal."""
    main, terminal = os.openpty()
    try:
        with start(COPY, stdin=subprocess.DEVNULL, stdout=terminal) as process:
            _, out_error = process.communicate(timeout=20)
        with start(COPY, stdin=terminal, stdout=subprocess.DEVNULL) as process:
            _, in_error = process.communicate(timeout=20)
    finally:
        os.close(main)
        os.close(terminal)

    assert b"UsageError: standard output is a terminal" in out_error
    assert b"UsageError: standard input is a terminal" in in_error


def test_closed_standard_output_is_refused() -> None:
    """Where standard output is closed, its number may belong to a file of ours: nothing is written."""
    with start(COPY, stdin=subprocess.DEVNULL, preexec_fn=lambda: os.close(1)) as process:
        _, err = process.communicate(timeout=20)

    assert b"TransportError: standard output is closed" in err


def test_closed_pipe_is_broken_pipe() -> None:
    """A reader that goes away is BrokenPipeError, for the command line to map."""
    with start(FLOOD, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        process.wait(20)

    assert b"BrokenPipeError" in err
    assert b"TransportError" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_blocked_write_is_interrupted(number: signal.Signals) -> None:
    """A process that is stuck in a full pipe ends at once on Ctrl-C and TERM, though nobody reads."""
    with start(FLOOD, stdout=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        process.stderr.readline()
        time.sleep(0.2)
        process.send_signal(number)
        began = time.monotonic()
        process.wait(10)
        elapsed = time.monotonic() - began

    assert elapsed < 3
    assert 0 != process.returncode


def test_shared_pipe_stays_blocking() -> None:
    """The flags of standard output, which other processes share, are not changed."""
    end, target = os.pipe()
    reader = threading.Thread(target=lambda: list(iter(lambda: os.read(end, 1 << 16), b"")))
    with start(COPY, stdin=subprocess.PIPE, stdout=target) as process:
        reader.start()
        process.communicate(bytes(1_000_000), timeout=20)
    blocking = os.get_blocking(target)
    os.close(target)
    reader.join()
    os.close(end)

    assert blocking
