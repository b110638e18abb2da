"""The spool: memory first, then nameless files that are refused before the disk is full."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pattern_stream.archive.spool import Spool
from pattern_stream.budget import BUDGET, Budget
from pattern_stream.errors import StorageFull, TransportError
from pattern_stream.format import COPY_BYTES

MIB = 1024 * 1024


class Usage(NamedTuple):
    """What shutil.disk_usage gives."""

    total: int
    used: int
    free: int


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)]
    if (
        sys.platform != "linux"
        or shutil.which("mount") is None
        or subprocess.run(command, capture_output=True).returncode
    ):
        pytest.skip("no small tmpfs can be mounted here: that takes Linux and root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def file_limit() -> Iterator[None]:
    """No file may grow beyond 9 MiB."""
    resource = pytest.importorskip("resource", reason="RLIMIT_FSIZE is not a thing of this system")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9 * MIB, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill(spool: Spool, mib: int) -> None:
    """Put some MiB in, as the writer does."""
    for _ in range(mib):
        spool.leaves.append(b"", bytes(MIB))
        if spool.is_due:
            spool.flush()


def test_small_stays_in_memory(tmp_path: Path) -> None:
    """Up to 8 MiB of both areas together no file is made."""
    with Spool([tmp_path]) as spool:
        spool.leaves.append(b"head", bytes(BUDGET.spool_memory_bytes // 2))
        spool.inserts.append(b"head", bytes(BUDGET.spool_memory_bytes // 2 - 9))

        assert not spool.is_due
        assert not spool.is_on_disk
        assert spool.leaves.file is None
        spool.inserts.append(b"", b"1")
        assert spool.is_due


def test_files_have_no_name(tmp_path: Path) -> None:
    """On disk the spool has no name that could be left behind, and keeps at most 1 MiB in memory."""
    with Spool([tmp_path]) as spool:
        fill(spool, 12)

        assert spool.is_on_disk
        assert spool.pending_bytes < COPY_BYTES
        assert [] == list(tmp_path.iterdir())
        assert 12 * MIB == spool.size
        assert spool.leaves.file is not None
        assert 0o600 == os.fstat(spool.leaves.file.fileno()).st_mode & 0o777


def test_area_reads_back(tmp_path: Path) -> None:
    """Pieces come back by offset from memory, from the window and from the file; beyond the end is an error."""
    data = bytes(range(256)) * 4096
    with Spool([tmp_path]) as spool:
        area = spool.leaves
        area.append(data[:7], data[7:])

        assert data[5:300] == area.peek(5, 295)
        spool.flush()
        assert area.peek(5, 295) is None
        assert area.file is not None
        assert data[5:300] == area.load(area.file, 5, 295)
        assert data[100:200] == area.peek(100, 100)
        assert area.peek(0, 10) is None
        with pytest.raises(TransportError, match="spool ends at 1048576 bytes, expected 1048580"):
            area.load(area.file, 1048570, 10)


def test_unusable_folders_are_passed_over(tmp_path: Path) -> None:
    """The first folder that takes a file is used; where none does, the error names them all."""
    missing = tmp_path / "missing"
    with Spool([missing, tmp_path]) as spool:
        fill(spool, 9)
        assert spool.is_on_disk
    with (
        Spool([missing, tmp_path / "other"]) as spool,
        pytest.raises(TransportError, match=r"missing, .*other") as caught,
    ):
        fill(spool, 9)

    assert 9 == caught.value.exit_code


def test_refused_before_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spool stops while there is still room for others: folder, needed and free bytes are named."""
    free = BUDGET.spool_reserve_bytes + 10 * MIB
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, free))
    with Spool([tmp_path]) as spool:
        fill(spool, 8)
        free = BUDGET.spool_reserve_bytes + MIB - 1
        with pytest.raises(StorageFull) as caught:
            fill(spool, 1)

    needed = BUDGET.spool_reserve_bytes + MIB
    expected = f"spool in {tmp_path} holds {8 * MIB} bytes and needs {needed} more, {free} bytes are free"
    assert expected == caught.value.message
    assert 9 == caught.value.exit_code


def test_small_disk_keeps_its_reserve(tmpfs: Path) -> None:
    """On a real file system of 24 MiB the spool stops with the reserve still free."""
    with (
        Spool([tmpfs], budget=Budget(spool_memory_bytes=MIB)) as spool,
        pytest.raises(StorageFull, match="bytes are free"),
    ):
        fill(spool, 30)

    assert shutil.disk_usage(tmpfs).free == 24 * MIB


def test_disk_that_fills_anyway(tmpfs: Path) -> None:
    """ENOSPC in spite of the watch (somebody else was faster) is StorageFull too."""
    budget = Budget(spool_memory_bytes=MIB, spool_reserve_bytes=-(1 << 60))
    with Spool([tmpfs], budget=budget) as spool, pytest.raises(StorageFull, match="No space left"):
        fill(spool, 30)


def test_limit_on_file_size(tmp_path: Path, file_limit: None) -> None:
    """RLIMIT_FSIZE is StorageFull with a hint that names the limit."""
    with Spool([tmp_path]) as spool, pytest.raises(StorageFull, match="File too large") as caught:
        fill(spool, 12)

    assert "ulimit -f" in (caught.value.hint or "")


def test_io_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO is a TransportError, exit 9, and no full disk."""

    class Broken(io.BytesIO):
        def writelines(self, lines: Iterable[Any], /) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: Broken())
    with Spool([tmp_path]) as spool, pytest.raises(TransportError, match="Input/output error") as caught:
        fill(spool, 9)

    assert not isinstance(caught.value, StorageFull)
    assert 9 == caught.value.exit_code
