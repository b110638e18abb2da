"""A file appears whole or not at all; pipes and standard streams can be left at any time."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from pattern_stream.errors import FileMissing, FileTaken, StorageFull, TransportError, UsageError
from pattern_stream.transport import files, partial
from pattern_stream.transport.files import open_input, open_output
from tests.drive import collect

pytestmark = pytest.mark.anyio
posix = pytest.mark.skipif(os.name != "posix", reason="FIFOs, modes and signals are POSIX's")
ROOT = Path(files.__file__).parents[2]


class Stop(Exception):
    """Stands for whatever goes wrong in the work."""


@pytest.fixture
def file_limit() -> Iterator[None]:
    """No file may grow beyond 1 MiB."""
    resource = pytest.importorskip("resource", reason="RLIMIT_FSIZE is not a thing of this system")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def write(
    target: Path, data: bytes = b"new", *, force: bool = False, then: Callable[[], object] | None = None
) -> None:
    """Write one file; `then`: what happens before the end."""
    async with open_output(target, force=force) as out:
        await out.write(data)
        if then is not None:
            then()


def _stop() -> None:
    raise Stop


async def test_file_gets_its_name_at_the_end(tmp_path: Path) -> None:
    """Until the end there is only NAME.partial, which can be read back; then only NAME."""
    target = tmp_path / "x.car"
    async with open_output(target) as out:
        await out.write(b"one")
        await out.write(b"two")
        during = names(tmp_path)
        assert out.partial is not None
        readable = await anyio.Path(out.partial).read_bytes()

        assert 6 == out.bytes_written
        assert tmp_path == out.folder

    assert ["x.car.partial"] == during
    assert b"onetwo" == readable
    assert ["x.car"] == names(tmp_path)
    assert b"onetwo" == target.read_bytes()


@posix
@pytest.mark.parametrize("force", [False, True])
async def test_mode_is_private(tmp_path: Path, force: bool) -> None:
    """The file is 0600 from the start, whatever the umask lets through or the replaced file had."""
    target = tmp_path / "x.car"
    if force:
        target.write_bytes(b"old")
        target.chmod(0o644)
    old = os.umask(0)
    try:
        async with open_output(target, force=force) as out:
            assert out.partial is not None
            during = stat.S_IMODE(out.partial.stat().st_mode)
    finally:
        os.umask(old)

    assert 0o600 == during
    assert 0o600 == stat.S_IMODE(target.stat().st_mode)
    assert 1 == target.stat().st_nlink


async def test_existing_file_needs_force(tmp_path: Path) -> None:
    """Without force an existing file is refused before any work, exit 7; with it, it is replaced."""
    target = tmp_path / "x.car"
    target.write_bytes(b"old")
    with pytest.raises(FileTaken, match=r"x\.car exists") as caught:
        await write(target)

    assert 7 == caught.value.exit_code
    assert "--force replaces it" == caught.value.hint
    assert b"old" == target.read_bytes()
    await write(target, force=True)
    assert b"new" == target.read_bytes()
    assert ["x.car"] == names(tmp_path)


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
async def test_file_that_appears_meanwhile(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another program makes during the work is not replaced, on file systems without links either."""
    target = tmp_path / "x.car"
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    with pytest.raises(FileTaken, match="exists"):
        await write(target, then=lambda: target.write_bytes(b"theirs"))

    assert b"theirs" == target.read_bytes()
    assert ["x.car"] == names(tmp_path)


async def test_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hard links are not to be had the name is taken by rename."""
    monkeypatch.setattr(os, "link", _no_links)
    await write(tmp_path / "x.car")

    assert ["x.car"] == names(tmp_path)
    assert b"new" == (tmp_path / "x.car").read_bytes()


def _no_links(source: Path, target: Path) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("force", [False, True])
async def test_error_leaves_nothing(tmp_path: Path, force: bool) -> None:
    """An error in the work removes the partial file and leaves an old file as it was."""
    target = tmp_path / "x.car"
    if force:
        target.write_bytes(b"old")
    with pytest.raises(Stop):
        await write(target, force=force, then=_stop)

    assert (["x.car"] if force else []) == names(tmp_path)
    assert not force or target.read_bytes() == b"old"


@pytest.mark.parametrize("failing", ["fsync", "link", "replace"])
async def test_error_at_the_end_leaves_nothing(tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO from fsync or while taking the name: exit 9, no file."""

    def fail(*args: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(TransportError, match="Input/output error") as caught:
        await write(tmp_path / "x.car", force=failing == "replace")

    assert 9 == caught.value.exit_code
    assert [] == names(tmp_path)


async def test_cancel_leaves_nothing(tmp_path: Path) -> None:
    """A cancelled export leaves no partial file."""
    with anyio.move_on_after(0.05):
        async with open_output(tmp_path / "x.car") as out:
            await out.write(b"new")
            await anyio.sleep_forever()

    assert [] == names(tmp_path)


async def test_limit_on_file_size(tmp_path: Path, file_limit: None) -> None:
    """RLIMIT_FSIZE: StorageFull with a hint, exit 9, no file."""
    with pytest.raises(StorageFull, match="File too large") as caught:
        await write(tmp_path / "x.car", bytes(2 << 20))

    assert 9 == caught.value.exit_code
    assert "ulimit -f" in (caught.value.hint or "")
    assert [] == names(tmp_path)


async def test_limit_on_file_size_of_a_copy(tmp_path: Path, file_limit: None) -> None:
    """The kernel's copies meet the limit as well."""
    source = os.memfd_create("source") if hasattr(os, "memfd_create") else pytest.skip("memfd is Linux's")
    os.ftruncate(source, 1 << 20)
    with pytest.raises(StorageFull):
        await _copy_twice(source, tmp_path / "x.car")
    os.close(source)

    assert [] == names(tmp_path)


async def _copy_twice(source: int, target: Path) -> None:
    async with open_output(target) as out:
        await out.copy_range(source, 0, 1 << 20)
        await out.copy_range(source, 0, 1 << 20)


@posix
async def test_links_are_resolved(tmp_path: Path) -> None:
    """A link stays a link: the file it leads to is made or replaced, with its partial file beside it."""
    (tmp_path / "there").mkdir()
    link = tmp_path / "x.car"
    link.symlink_to("there/real.car")
    async with open_output(link) as out:
        await out.write(b"one")
        assert ["real.car.partial"] == names(tmp_path / "there")
    with pytest.raises(FileTaken):
        await write(link)
    await write(link, b"two", force=True)

    assert link.is_symlink()
    assert b"two" == (tmp_path / "there/real.car").read_bytes()


async def test_bad_targets(tmp_path: Path) -> None:
    """A folder, a missing folder and a file as a folder each have a clear error."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a folder, expected the name of a file") as caught:
        await write(tmp_path, force=True)
    assert 2 == caught.value.exit_code
    with pytest.raises(FileMissing, match="missing is not there") as missing:
        await write(tmp_path / "missing/x.car")
    assert 6 == missing.value.exit_code
    with pytest.raises(TransportError, match="Not a directory"):
        await write(tmp_path / "file/x.car")


@posix
async def test_two_exports_to_one_file(tmp_path: Path) -> None:
    """While one export writes, a second to the same file is refused and does the first no harm."""
    target = tmp_path / "x.car"
    async with open_output(target) as out:
        with pytest.raises(FileTaken, match=r"x\.car\.partial exists: another export writes it"):
            await write(target, b"second")
        await out.write(b"first")

    assert b"first" == target.read_bytes()


@posix
async def test_stale_partial_makes_way(tmp_path: Path) -> None:
    """What a killed export left behind does not stop the next one, and nothing of it stays."""
    stale = tmp_path / "x.car.partial"
    stale.write_bytes(b"a longer stale content")
    stale.chmod(0o644)
    await write(tmp_path / "x.car")

    assert b"new" == (tmp_path / "x.car").read_bytes()
    assert 0o600 == stat.S_IMODE((tmp_path / "x.car").stat().st_mode)
    assert ["x.car"] == names(tmp_path)


@posix
@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
async def test_partial_that_is_none_of_ours(tmp_path: Path, kind: str) -> None:
    """A FIFO, link or folder under the name of the partial file is left alone: exit 7."""
    there = tmp_path / "x.car.partial"
    (tmp_path / "precious").write_bytes(b"precious")
    {"fifo": os.mkfifo, "link": lambda p: p.symlink_to("precious"), "folder": os.mkdir}[kind](there)
    with pytest.raises(FileTaken, match="another export writes it, or it is no file"):
        await write(tmp_path / "x.car")

    assert ["precious", "x.car.partial"] == names(tmp_path)
    assert b"precious" == (tmp_path / "precious").read_bytes()


@posix
async def test_without_locks_any_partial_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files cannot be locked nobody knows whether a partial file is stale."""
    monkeypatch.setattr(partial, "_lock", lambda descriptor: None)
    await write(tmp_path / "x.car")
    (tmp_path / "y.car.partial").touch()
    with pytest.raises(FileTaken):
        await write(tmp_path / "y.car")

    assert ["x.car", "y.car.partial"] == names(tmp_path)


@posix
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


@posix
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


@posix
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


@posix
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
    with anyio.fail_after(10):
        while before is not None and before != len(os.listdir("/proc/self/fd")):
            await anyio.sleep(0.01)


@posix
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


async def test_input_file(tmp_path: Path) -> None:
    """A plain file comes in pieces of 1 MiB and tells its length."""
    path, data = tmp_path / "x.car", os.urandom(2_500_000)
    path.write_bytes(data)
    async with open_input(path) as source:
        pieces = await collect(source)

        assert 2_500_000 == source.total_bytes == source.bytes_read
        assert path == source.path
    assert data == b"".join(pieces)
    assert 3 == len(pieces)


async def test_input_closes(tmp_path: Path) -> None:
    """A source that was closed gives no more; leaving closes the file, early or not."""
    path = tmp_path / "x.car"
    path.write_bytes(bytes(3_000_000))
    async with open_input(path) as source:
        await anext(source)
        await source.aclose()
        assert [] == await collect(source)


async def test_bad_inputs(tmp_path: Path) -> None:
    """A missing file is exit 6, a folder exit 2, one that may not be read exit 9."""
    with pytest.raises(FileMissing, match="nothing is not there") as missing:
        async with open_input(tmp_path / "nothing"):
            pass
    with pytest.raises(UsageError, match="is a folder, expected a file") as folder:
        async with open_input(tmp_path):
            pass

    assert (6, 2) == (missing.value.exit_code, folder.value.exit_code)


async def test_input_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No permission is a TransportError, exit 9."""
    path = tmp_path / "x.car"
    path.touch()

    def fail(*args: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(TransportError, match="Permission denied") as caught:
        async with open_input(path):
            pass

    assert 9 == caught.value.exit_code


# --- standard streams, in processes of their own -----------------------------------------------------------------

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


@posix
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


@posix
def test_closed_standard_output_is_refused() -> None:
    """Where standard output is closed, its number may belong to a file of ours: nothing is written."""
    with start(COPY, stdin=subprocess.DEVNULL, preexec_fn=lambda: os.close(1)) as process:
        _, err = process.communicate(timeout=20)

    assert b"TransportError: standard output is closed" in err


@posix
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


@posix
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


@posix
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
