"""Inputs are read whole, in pieces, and refused by name where they cannot be."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pattern_stream.errors import FileMissing, TransportError, UsageError
from pattern_stream.transport.files import open_input
from tests.drive import collect

pytestmark = pytest.mark.anyio


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
