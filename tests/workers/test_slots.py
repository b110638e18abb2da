"""Shared memory: what one puts another gets, and nothing is left of it."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.workers import slots as slots_module
from pattern_stream.workers.slots import Slots

COUNT = 3
SIZE_BYTES = 5000
"""No multiple of a page."""


@pytest.fixture(params=["memory", "file"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Memory without a file, where the system has it; a file without a name, where it does not."""
    found: str = request.param
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if found == "file":
        monkeypatch.delattr(os, "memfd_create", raising=False)
        monkeypatch.setattr(slots_module, "_ZEROS", bytes(4096))  # so that more than one go is needed
    elif not hasattr(os, "memfd_create"):
        pytest.skip("this system has no memory with a descriptor alone")
    return found


def is_open(descriptor: int) -> bool:
    """Whether a descriptor is one."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.mark.usefixtures("kind")
def test_what_was_put_is_there() -> None:
    """At its place of its slot, up to the last byte; the slots beside it stay as they were."""
    with closing(Slots(COUNT, SIZE_BYTES)) as slots:
        slots.put(1, b"a" * SIZE_BYTES)
        slots.put(1, b"end", SIZE_BYTES - 3)
        slots.put(1, b"begin")

        assert b"begin" + b"a" * (SIZE_BYTES - 8) + b"end" == slots.get(1, SIZE_BYTES)
        assert b"aend" == slots.get(1, 4, SIZE_BYTES - 4)
        assert bytes(SIZE_BYTES) == slots.get(0, SIZE_BYTES) == slots.get(2, SIZE_BYTES)


@pytest.mark.usefixtures("kind")
def test_what_is_got_is_a_copy() -> None:
    """It stays when the slot gets something else."""
    with closing(Slots(COUNT, SIZE_BYTES)) as slots:
        slots.put(2, b"one")
        found = slots.get(2, 3)
        slots.put(2, b"two")

    assert b"one" == found


@pytest.mark.usefixtures("kind")
def test_both_see_the_same() -> None:
    """Who was given the descriptor sees what is put, and is seen."""
    with closing(Slots(COUNT, SIZE_BYTES)) as slots:
        descriptor, *shape = slots.shape
        with closing(Slots.opened(os.dup(descriptor), shape[0], shape[1])) as opened:
            slots.put(2, b"asked", 7)
            opened.put(0, b"answered")

            assert [COUNT, SIZE_BYTES] == shape
            assert b"asked" == opened.get(2, 5, 7)
            assert b"answered" == slots.get(0, 8)


def test_nothing_is_left(kind: str, tmp_path: Path) -> None:
    """No descriptor after the end, and never a name in a folder; closed twice, nobody else's descriptor is closed."""
    slots = Slots(COUNT, SIZE_BYTES)
    names, size = list(tmp_path.iterdir()), os.fstat(slots.descriptor).st_size
    slots.close()
    with os.fdopen(os.dup(0)) as other:  # gets the number that is free again
        slots.close()
        still = is_open(other.fileno())

    assert still
    assert [] == names == list(tmp_path.iterdir())
    assert COUNT * SIZE_BYTES == size
    assert not is_open(slots.descriptor)


def test_room_is_there_before_it_is_used(kind: str) -> None:
    """Every page has been had when the slots are: none can fail to come when it is touched."""
    with closing(Slots(COUNT, 100_000)) as slots:
        held = 512 * os.fstat(slots.descriptor).st_blocks

    assert held >= COUNT * 100_000


def refuse(*arguments: object, **more: object) -> None:
    """A system that has no more of it."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("module", "name"), [(os, "posix_fallocate"), (mmap, "mmap")])
def test_where_there_is_not_as_much(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> None:
    """The system's error comes out, and the descriptor is closed."""
    if not hasattr(os, "memfd_create"):
        pytest.skip("this system has no memory with a descriptor alone")
    made = [os.memfd_create("test")]
    monkeypatch.setattr(os, "memfd_create", lambda label: made[0])
    monkeypatch.setattr(module, name, refuse)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        Slots(COUNT, SIZE_BYTES)

    assert not is_open(made[0])
