"""Writes and copies are whole on any kind of descriptor, with and without help of the kernel."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pattern_stream.errors import TransportError
from pattern_stream.transport import descriptors
from pattern_stream.transport.descriptors import copy_range, read_some, widen_pipe, write_all

DATA = os.urandom(3_000_000)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    """An open file with DATA."""
    path = tmp_path / "source"
    path.write_bytes(DATA)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


class Reader:
    """Reads a pipe to its end in a thread."""

    def __init__(self, *, blocking: bool = True) -> None:
        self.end, self.target = os.pipe()
        os.set_blocking(self.target, blocking)
        self._pieces: list[bytes] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while piece := os.read(self.end, 1 << 16):
            self._pieces.append(piece)

    def finish(self) -> bytes:
        """Close both ends and give what came."""
        os.close(self.target)
        self._thread.join()
        os.close(self.end)
        return b"".join(self._pieces)


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "plain"])
@pytest.mark.parametrize("flags", [0, os.O_APPEND], ids=["file", "appended"])
def test_copy_to_file(source: int, tmp_path: Path, kernel: bool, flags: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A range arrives where the target stands, also in a file opened for appending, where the kernel's copies fail."""
    if not kernel:
        monkeypatch.setattr(descriptors, "_KERNEL_COPIES", [])
    path = tmp_path / "target"
    path.write_bytes(b"before")
    target = os.open(path, os.O_WRONLY | flags)
    os.lseek(target, 6, os.SEEK_SET)
    copy_range(source, target, 5, 2_500_000)
    copy_range(source, target, 0, 3)
    os.close(target)

    assert b"before" + DATA[5:2_500_005] + DATA[:3] == path.read_bytes()


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "plain"])
@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
def test_copy_to_pipe(source: int, kernel: bool, blocking: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe gets the same bytes, even one that another program made non-blocking."""
    if not kernel:
        monkeypatch.setattr(descriptors, "_KERNEL_COPIES", [])
    reader = Reader(blocking=blocking)
    copy_range(source, reader.target, 7, 2_900_000)

    assert DATA[7:2_900_007] == reader.finish()


def test_copy_beyond_the_end(source: int) -> None:
    """A file that ends before the range does is an error, not a short copy."""
    reader = Reader()
    with pytest.raises(TransportError, match="ends at 3000000 bytes, expected 3000010"):
        copy_range(source, reader.target, 2_999_990, 20)

    assert DATA[2_999_990:] == reader.finish()


def test_write_all_to_non_blocking_pipe() -> None:
    """Every byte goes out though the pipe takes a part at a time."""
    reader = Reader(blocking=False)
    widen_pipe(reader.target)
    write_all(reader.target, DATA)

    assert DATA == reader.finish()


def test_read_some_gathers() -> None:
    """What is at hand comes in one piece; an empty piece is the end; a non-blocking pipe is waited for."""
    end, target = os.pipe()
    os.set_blocking(end, False)
    os.write(target, b"one")
    os.write(target, b"two")

    assert b"onetwo" == read_some(end)
    threading.Timer(0.05, os.write, (target, b"late")).start()
    assert b"late" == read_some(end)
    os.close(target)
    assert b"" == read_some(end)
    os.close(end)
