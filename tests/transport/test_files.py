"""A file appears whole, under its own name and private, or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from pattern_stream.errors import FileMissing, FileTaken, StorageFull, TransportError, UsageError
from pattern_stream.transport.files import check_output, open_output

pytestmark = pytest.mark.anyio


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

    assert [".x.car.pattern-stream-partial"] == during
    assert b"onetwo" == readable
    assert ["x.car"] == names(tmp_path)
    assert b"onetwo" == target.read_bytes()


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


@pytest.mark.parametrize("force", [False, True])
async def test_a_folder_that_cannot_be_synced(tmp_path: Path, force: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is taken by then and the file is whole: that the name may not last is no failure."""
    real, target = os.fsync, tmp_path / "x.car"

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    await write(target, force=force)

    assert b"new" == target.read_bytes()
    assert ["x.car"] == names(tmp_path)


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


async def test_links_are_resolved(tmp_path: Path) -> None:
    """A link stays a link: the file it leads to is made or replaced, with its partial file beside it."""
    (tmp_path / "there").mkdir()
    link = tmp_path / "x.car"
    link.symlink_to("there/real.car")
    async with open_output(link) as out:
        await out.write(b"one")
        assert [".real.car.pattern-stream-partial"] == names(tmp_path / "there")
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


async def test_two_exports_to_one_file(tmp_path: Path) -> None:
    """While one export writes, a second to the same file is refused and does the first no harm."""
    target = tmp_path / "x.car"
    async with open_output(target) as out:
        with pytest.raises(FileTaken, match=r"x\.car\.pattern-stream-partial exists: another export writes it"):
            await write(target, b"second")
        await out.write(b"first")

    assert b"first" == target.read_bytes()


async def test_stale_partial_makes_way(tmp_path: Path) -> None:
    """What a killed export left behind does not stop the next one, and nothing of it stays."""
    stale = tmp_path / ".x.car.pattern-stream-partial"
    stale.write_bytes(b"a longer stale content")
    stale.chmod(0o644)
    await write(tmp_path / "x.car")

    assert b"new" == (tmp_path / "x.car").read_bytes()
    assert 0o600 == stat.S_IMODE((tmp_path / "x.car").stat().st_mode)
    assert ["x.car"] == names(tmp_path)


async def test_second_name_makes_way(tmp_path: Path) -> None:
    """An export that was killed when it had just got its name leaves the other one, which the next refusal removes."""
    target, partial_path = tmp_path / "x.car", tmp_path / ".x.car.pattern-stream-partial"
    await write(target)
    os.link(target, partial_path)
    with pytest.raises(FileTaken):
        await write(target)
    assert ["x.car"] == names(tmp_path)

    partial_path.write_bytes(b"another file")
    with pytest.raises(FileTaken):
        await write(target)
    assert [".x.car.pattern-stream-partial", "x.car"] == names(tmp_path)


@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
async def test_partial_that_is_none_of_ours(tmp_path: Path, kind: str) -> None:
    """A FIFO, link or folder under the name of the partial file is left alone: exit 7."""
    there = tmp_path / ".x.car.pattern-stream-partial"
    (tmp_path / "precious").write_bytes(b"precious")
    {"fifo": os.mkfifo, "link": lambda p: p.symlink_to("precious"), "folder": os.mkdir}[kind](there)
    with pytest.raises(FileTaken, match="another export writes it, or it is no file"):
        await write(tmp_path / "x.car")

    assert [".x.car.pattern-stream-partial", "precious"] == names(tmp_path)
    assert b"precious" == (tmp_path / "precious").read_bytes()


async def test_without_locks_any_partial_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files cannot be locked nobody knows whether a partial file is stale."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    await write(tmp_path / "x.car")
    (tmp_path / ".y.car.pattern-stream-partial").touch()
    with pytest.raises(FileTaken):
        await write(tmp_path / "y.car")

    assert [".y.car.pattern-stream-partial", "x.car"] == names(tmp_path)


async def test_a_file_of_another_user_in_a_sticky_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its owner, the folder's and root may replace it: refused before the work, in a dry run too."""
    (tmp_path / "o.car").write_bytes(b"theirs")
    tmp_path.chmod(0o1777)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(TransportError, match="another user"):
        await check_output(tmp_path / "o.car", force=True)
    with pytest.raises(TransportError, match="another user"):
        async with open_output(tmp_path / "o.car", force=True):
            pass

    assert b"theirs" == (tmp_path / "o.car").read_bytes()
    tmp_path.chmod(0o755)
    await check_output(tmp_path / "o.car", force=True)
