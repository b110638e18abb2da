"""The shelf gives back what was laid down, remembers what it must, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import random
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.archive.shelf import Shelf
from pattern_stream.budget import Budget
from pattern_stream.codec.cid import cid_of, cid_text
from pattern_stream.errors import DigestMismatch, StorageFull, TransportError
from pattern_stream.items import Section
from tests.archives import framed

SMALL = Budget(shelf_memory_bytes=1)


def section(number: int, size: int = 10) -> Section:
    """A block of its own for every number."""
    data = f"{number:09}".encode() + b"." * size
    return Section(100 * number, cid_of(data), data)


def log(shelf: Shelf, count: int) -> None:
    """Let so many blocks be met."""
    for number in range(count):
        shelf.met(section(number).cid)


@pytest.mark.parametrize("memory_bytes", [1, 5000, 10**7])
def test_what_was_put_is_taken_once(memory_bytes: int, tmp_path: Path) -> None:
    """A block comes back as it was, once; from memory and from disk alike."""
    sections = [section(number, number * 7) for number in range(50)]
    with Shelf([tmp_path], budget=Budget(shelf_memory_bytes=memory_bytes)) as shelf:
        for each in sections:
            shelf.put(each)

        for each in random.Random(3).sample(sections, len(sections)):
            assert each == shelf.take(each.cid)
            assert shelf.take(each.cid) is None
        assert 50 == shelf.early_count


@pytest.mark.parametrize("memory_bytes", [1, 10**7])
def test_what_is_kept_is_taken_again_and_again(memory_bytes: int, tmp_path: Path) -> None:
    """A kept block stays, and counts as early only where it was not handed on when it was put."""
    early, late = section(1), section(2)
    with Shelf([tmp_path], budget=Budget(shelf_memory_bytes=memory_bytes)) as shelf:
        shelf.put(early)
        shelf.put(late, kept=True)

        assert [early] * 3 == [shelf.take(early.cid, keep=True) for _ in range(3)]
        assert [late] * 3 == [shelf.take(late.cid, keep=True) for _ in range(3)]
        assert 1 == shelf.early_count
        assert 0 == shelf.leftovers().unreferenced


@pytest.mark.parametrize("memory_bytes", [1, 10**7])
def test_leftovers_are_told_from_repeated_blocks(memory_bytes: int, tmp_path: Path) -> None:
    """What is left and was met before is a repetition; the rest is unreferenced, the first by offset named."""
    met, stranger, later = section(1), section(2), section(3)
    with Shelf([tmp_path], budget=Budget(shelf_memory_bytes=memory_bytes)) as shelf:
        shelf.met(met.cid)
        for each in (met, later, stranger, met, stranger):
            shelf.put(each, data=False)

        left = shelf.leftovers()
        assert 2 == left.unreferenced
        assert stranger.offset == left.first_offset


@pytest.mark.parametrize("memory_bytes", [1, 10**7])
def test_another_block_is_never_taken_for_the_one_that_is_wanted(memory_bytes: int, tmp_path: Path) -> None:
    """Blocks are stored by 64 bits of their digest, and told apart by all of it."""
    each = section(1)
    forged = each.cid[:20] + bytes(16)
    with Shelf([tmp_path], budget=Budget(shelf_memory_bytes=memory_bytes)) as shelf:
        shelf.put(Section(5, forged, b"forged"))

        assert shelf.take(each.cid) is None
        assert shelf.take(each.cid, keep=True) is None


@pytest.mark.parametrize("memory_bytes", [1, 10**7])
def test_names_are_recalled(memory_bytes: int, tmp_path: Path) -> None:
    """A name given to a CID is found again, in memory and on disk."""
    cids = [section(number).cid for number in range(30)]
    with Shelf([tmp_path], budget=Budget(shelf_memory_bytes=memory_bytes)) as shelf:
        for number, cid in enumerate(cids):
            shelf.remember(cid, f"block {number}")

        assert [f"block {number}" for number in range(30)] == [shelf.recall(cid) for cid in cids]
        assert shelf.recall(section(99).cid) is None


def test_a_plain_file_is_read_again(tmp_path: Path) -> None:
    """With the archive at hand only offsets are kept, and a block is hashed again when it is read."""
    archive = tmp_path / "a.car"
    data = [b"x" * size for size in (1, 91, 92, 200, 20_000)]
    offsets, body = [], b"head"
    for each in data:
        offsets.append(len(body))
        body += framed(cid_of(each) + each)
    archive.write_bytes(body)
    descriptor = os.open(archive, os.O_RDWR)
    with Shelf([tmp_path], archive=descriptor, budget=SMALL) as shelf:
        for offset, each in zip(offsets, data, strict=True):
            shelf.put(Section(offset, cid_of(each), each))

        assert data[:-1] == [taken.data for each in data[:-1] if (taken := shelf.take(cid_of(each)))]
        os.pwrite(descriptor, b"!", offsets[-1] + 100)
        with pytest.raises(DigestMismatch, match="has changed") as caught:
            shelf.take(cid_of(data[-1]))
        assert (offsets[-1], cid_text(cid_of(data[-1]))) == (caught.value.where.offset, caught.value.where.cid)
    os.close(descriptor)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """The file has no name even while it is used."""
    with Shelf([tmp_path], budget=SMALL) as shelf:
        shelf.put(section(1))
        shelf.put(section(2))

        assert [] == list(tmp_path.iterdir())


def test_the_first_usable_folder_is_taken(tmp_path: Path) -> None:
    """A folder that is not there is passed over; none at all is an error that names them."""
    with Shelf([tmp_path / "missing", tmp_path], budget=SMALL) as shelf:
        shelf.put(section(1))

        assert section(1) == shelf.take(section(1).cid)
    with pytest.raises(TransportError, match="missing"), Shelf([tmp_path / "missing"], budget=SMALL) as shelf:
        shelf.put(section(1))


def test_a_disk_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk says while a block, or SQLite while the log of blocks is read again, comes as an error of ours."""

    def fail(*arguments: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    each = section(1)
    with Shelf([tmp_path], archive=0) as shelf:
        shelf.put(each)
        monkeypatch.setattr(os, "pread", fail)
        with pytest.raises(TransportError, match="reading the archive again: Input/output error"):
            shelf.take(each.cid)
        shelf.close()
        with pytest.raises(TransportError, match="blocks that came too early: Cannot operate on a closed database"):
            shelf.was_met(each.cid)


def test_a_file_that_cannot_grow_is_named(tmp_path: Path) -> None:
    """What the disk says while the log of blocks is written comes as an error of ours: here a limit on files."""
    budget = Budget(met_log_bytes=36 * 1000, shelf_memory_bytes=36 * 1000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Shelf([tmp_path], budget=budget) as shelf:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
            with pytest.raises(TransportError, match="blocks that came too early: "):
                log(shelf, 2_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("shelf_memory_bytes", [1, 10**7])
def test_the_log_goes_where_a_file_can_be_made(tmp_path: Path, shelf_memory_bytes: int) -> None:
    """A log too long for memory passes over folders that are not there, and is found again in its file."""
    cids = [section(number).cid for number in range(30)]
    budget = Budget(met_log_bytes=36 * 7, shelf_memory_bytes=shelf_memory_bytes)
    with Shelf([tmp_path / "missing", tmp_path], budget=budget) as shelf:
        log(shelf, 30)

        assert all(shelf.was_met(cid) for cid in cids)
        assert not shelf.was_met(section(30).cid)
        assert 30 == shelf.met_count
    with pytest.raises(TransportError, match="missing"), Shelf([tmp_path / "missing"], budget=SMALL) as shelf:
        log(shelf, 30_000)


def test_a_system_that_reads_little_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that comes in parts when it is read again is whole; one whose file has become shorter is not."""
    each, read, archive = section(1)._replace(offset=0), os.pread, tmp_path / "archive"
    archive.write_bytes(framed(each.cid + each.data))
    monkeypatch.setattr(os, "pread", lambda descriptor, count, at: read(descriptor, min(count, 7), at))
    with archive.open("rb") as opened, Shelf([tmp_path], archive=opened.fileno()) as shelf:
        shelf.put(each)
        found = shelf.take(each.cid)
        shelf.put(each)
        os.truncate(archive, archive.stat().st_size - 1)
        with pytest.raises(DigestMismatch):
            shelf.take(each.cid)

    assert each == found


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """The shelf stops before the disk is full."""
    budget = Budget(shelf_memory_bytes=1, shelf_reserve_bytes=1 << 60)

    with pytest.raises(StorageFull, match="bytes are free"), Shelf([tmp_path], budget=budget) as shelf:
        shelf.put(section(1))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["put", "take", "keep"])), max_size=40), st.booleans())
def test_the_shelf_is_a_mapping(steps: list[tuple[int, str]], small: bool) -> None:
    """Whatever is done in whatever order, the shelf agrees with a plain dict."""
    model: dict[bytes, Section] = {}
    with Shelf(budget=Budget(shelf_memory_bytes=600 if small else 10**7)) as shelf:
        for number, step in steps:
            each = section(number)
            if step == "put":
                shelf.put(each)
                model.setdefault(each.cid, each)
            elif step == "take":
                assert model.pop(each.cid, None) == shelf.take(each.cid)
            else:
                assert model.get(each.cid) == shelf.take(each.cid, keep=True)


def test_a_kept_block_is_only_for_links_that_keep_it() -> None:
    """Most links find out without the database that nothing came too early."""
    kept, early = section(1), section(2)
    with Shelf() as shelf:
        shelf.put(kept, kept=True)
        assert shelf.take(kept.cid) is None

        shelf.put(early)
        assert [early, None] == [shelf.take(early.cid), shelf.take(early.cid)]
        assert kept == shelf.take(kept.cid, keep=True)
