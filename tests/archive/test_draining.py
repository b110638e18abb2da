"""A file on the spool's disk grows while the spool shrinks: the same bytes, and no second copy of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.archive.draining import WINDOW_BYTES
from pattern_stream.archive.writer import write_car
from pattern_stream.budget import Budget
from pattern_stream.codec.cid import cid_of
from pattern_stream.errors import StorageFull
from pattern_stream.items import Begin, Block, BlockEvent, Placement, Root
from pattern_stream.transport import files
from pattern_stream.transport.descriptors import free_bytes
from pattern_stream.transport.files import FileOutput, open_output
from pattern_stream.transport.filters import PackedOutput
from pattern_stream.transport.gzip import GzipPacker
from tests.archive.lines import Sink, Tree, big_line, wide
from tests.drive import feed

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
ON_DISK = Budget(spool_memory_bytes=1, spool_reserve_bytes=0)


async def pages(count: int, page_bytes: int) -> AsyncGenerator[BlockEvent]:
    """Nodes that each have a large page before their small leaf: nearly all bytes are inserts."""
    yield Begin()
    for index in range(count):
        yield Begin()
        yield Begin(page=True)
        small, page = index.to_bytes(8, "big"), index.to_bytes(8, "little") + bytes(page_bytes)
        yield Block(cid_of(small), small)
        yield Block(cid_of(page), page, place=2 * index + 2)
        yield Block(cid_of(b"node %d" % index), b"node %d" % index, closes=True)
    yield Block(cid_of(b"root"), b"root", closes=True)
    yield Root(cid_of(b"root"), {})


LINES: Final[dict[str, Callable[[], AsyncIterator[BlockEvent]]]] = {
    "large leaves": lambda: big_line(40, 1_000_000),
    "one long run": lambda: big_line(400, 100_000),
    "small nodes": lambda: feed(wide(3, 900, agents=4000).line()),
    "large inserts": lambda: pages(12, 1_500_000),
    "leaf larger than a window": lambda: feed(wide(2, WINDOW_BYTES + 5).line()),
}


@pytest.mark.parametrize("line", LINES)
async def test_the_spool_shrinks_as_the_file_grows(tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes as forward, and each piece is the end of a file that was cut behind it."""
    forward, sizes, place = Sink(), list[tuple[int, int]](), FileOutput.place

    async def watched(self: FileOutput, source_fd: int, pieces: Sequence[Placement], /) -> None:
        sizes.append((os.fstat(source_fd).st_size, pieces[0].offset + pieces[0].size))
        assert sum(piece.size for piece in pieces) <= WINDOW_BYTES
        await place(self, source_fd, pieces)

    await write_car(LINES[line](), forward, budget=ON_DISK)
    monkeypatch.setattr(FileOutput, "place", watched)
    async with open_output(tmp_path / "out.car") as out:
        result = await write_car(LINES[line](), out, near=out.folder, budget=ON_DISK)

    assert forward.data == (tmp_path / "out.car").read_bytes()
    assert result.bytes == out.bytes_written == len(forward.data)
    assert 2 <= len(sizes)
    assert all(found == end for found, end in sizes)


@settings(deadline=None, max_examples=50)
@given(st.recursive(st.builds(Tree, st.binary(max_size=40)), lambda inner: st.builds(
    Tree, st.binary(max_size=40), st.lists(inner, max_size=5).map(tuple)), max_leaves=30))  # fmt: skip
async def test_any_tree(tmp_path_factory: pytest.TempPathFactory, tree: Tree) -> None:
    """Whatever the order of leaves and inserts, they come to their places."""
    path = tmp_path_factory.mktemp("tree") / "out.car"
    async with open_output(path) as out:
        await write_car(feed(tree.line()), out, near=out.folder, budget=ON_DISK)

    assert tree.archive() == path.read_bytes()


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(folder)]
    if (
        sys.platform != "linux"
        or shutil.which("mount") is None
        or subprocess.run(command, capture_output=True).returncode
    ):
        pytest.skip("no small tmpfs can be mounted here: that takes Linux and root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("line", ["large leaves", "one long run"])
async def test_a_disk_with_room_for_one_archive(tmpfs: Path, line: str) -> None:
    """40 MB on a disk of 50 MB."""
    async with open_output(tmpfs / "out.car") as out:
        result = await write_car(LINES[line](), out, near=out.folder, budget=ON_DISK)

    assert ["out.car"] == os.listdir(tmpfs)
    assert result.bytes == (tmpfs / "out.car").stat().st_size


# --- where bytes can only be written one after another ---------------------------------------------------------------


async def test_the_room_is_looked_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool elsewhere, and a packed archive: refused before the first byte where it cannot fit."""
    written = list[int]()

    async with open_output(tmp_path / "out.car") as out:
        monkeypatch.setattr(out, "device", None)
        monkeypatch.setattr(files, "free_bytes", lambda target: 12288)
        monkeypatch.setattr(out, "write", lambda data: written.append(len(data)))
        for target in (out, PackedOutput(out, GzipPacker()), PackedOutput(out, GzipPacker(0))):
            with pytest.raises(StorageFull, match=r"the archive is \d+ bytes, 12288 are free for .*out\.car"):
                await write_car(big_line(40, 20_000), target, near=out.folder, budget=ON_DISK)
        await PackedOutput(out, GzipPacker()).require_room(12288 * 32)
        with pytest.raises(StorageFull):
            await PackedOutput(out, GzipPacker(0)).require_room(12289)

    assert [] == written


def test_room_is_known_of_files_alone(tmp_path: Path) -> None:
    """Of a file with what it holds already; not of a pipe."""
    ours, theirs = os.pipe()
    with open(tmp_path / "file", "wb") as file:
        empty = free_bytes(file.fileno())
        os.ftruncate(file.fileno(), 1 << 40)

        assert empty is not None
        assert (free_bytes(file.fileno()) or 0) > empty
        assert free_bytes(theirs) is None
    os.close(ours)
    os.close(theirs)
