"""A file that is made beside its place has its name for itself, and gets the other one when it is whole."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from pattern_stream.files.partial import partial_of, reserved, take_name


def test_a_reserved_file_goes_at_the_end(tmp_path: Path) -> None:
    """It is private and new, whatever a killed program left there, and nothing of it stays."""
    path = partial_of(tmp_path / "a.car")
    path.write_bytes(b"left behind")
    path.chmod(0o644)
    with reserved(path) as descriptor:
        found = os.fstat(descriptor)

        assert (0, 0o600) == (found.st_size, stat.S_IMODE(found.st_mode))
        assert [tmp_path / "a.car.partial"] == list(tmp_path.iterdir())
    assert [] == list(tmp_path.iterdir())


def test_two_never_share_one(tmp_path: Path) -> None:
    """The second is refused while the first has the file, which stays the first one's."""
    path = tmp_path / "a.partial"
    with reserved(path) as descriptor:
        with pytest.raises(FileExistsError), reserved(path):
            pytest.fail("reserved twice")
        assert os.path.samestat(os.fstat(descriptor), path.stat())
    with reserved(path):
        pass


def test_a_file_of_somebody_else_stays(tmp_path: Path) -> None:
    """Another program may have put its own file there: that one is not removed."""
    path = tmp_path / "a.partial"
    with reserved(path):
        path.unlink()
        path.write_bytes(b"theirs")

    assert b"theirs" == path.read_bytes()


def test_without_locks_nothing_makes_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files cannot be locked nobody knows whether a file was left behind."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with reserved(tmp_path / "a.partial"):
        pass
    (tmp_path / "b.partial").touch()
    with pytest.raises(FileExistsError), reserved(tmp_path / "b.partial"):
        pytest.fail("reserved")


@pytest.mark.parametrize("links", [True, False])
def test_a_name_is_taken_once(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only with `replace` does a file lose its name to another, on file systems without links too."""

    def no_links(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    place = tmp_path / "a.car"
    for data, replace in ((b"one", False), (b"two", True)):
        with reserved(partial_of(place)) as descriptor:
            os.write(descriptor, data)
            take_name(partial_of(place), place, replace=replace)
        assert data == place.read_bytes()
    with reserved(partial_of(place)), pytest.raises(FileExistsError):
        take_name(partial_of(place), place, replace=False)

    assert [place] == list(tmp_path.iterdir())
    assert b"two" == place.read_bytes()
