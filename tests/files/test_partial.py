"""A file that is made beside its place has its name for itself, and gets the other one when it is whole."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from pattern_stream.files.partial import partial_of, remove_unfinished, reserved, take_name


def test_a_reserved_file_goes_at_the_end(tmp_path: Path) -> None:
    """It is private and new, whatever a killed program left there, and nothing of it stays."""
    path = partial_of(tmp_path / "a.car")
    path.write_bytes(b"left behind")
    path.chmod(0o644)
    with reserved(path) as descriptor:
        found = os.fstat(descriptor)

        assert (0, 0o600) == (found.st_size, stat.S_IMODE(found.st_mode))
        assert [tmp_path / ".a.car.pattern-stream-partial"] == list(tmp_path.iterdir())
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


@pytest.mark.parametrize("name", ["a" * 255, "\N{SNOWMAN}" * 85, os.fsdecode(b"\xff" * 255), "a" * 97])
def test_long_names_have_room_for_suffixes(tmp_path: Path, name: str) -> None:
    """The name is shortened, and still another for each place."""
    paths = {partial_of(tmp_path / name), partial_of(tmp_path / f"{name[:-1]}b")}

    assert 2 == len(paths)
    assert all(len(os.fsencode(path.name)) <= 143 - len("-journal") for path in paths)
    for path in paths:
        with reserved(path) as descriptor:
            take_name(path, tmp_path / name, replace=True)
            assert os.path.samestat(os.fstat(descriptor), (tmp_path / name).stat())


def test_what_is_unfinished_goes_with_a_process_that_ends_at_once(tmp_path: Path) -> None:
    """Every file that is under way with those beside it; none that is finished or another program's."""
    finished, stolen, beside = tmp_path / "finished", tmp_path / "stolen", tmp_path / "under way-journal"
    with reserved(tmp_path / "over"):
        pass
    (tmp_path / "over").write_bytes(b"theirs")
    with reserved(tmp_path / "under way", [beside]), reserved(stolen), reserved(partial_of(finished)):
        beside.write_bytes(b"ours")
        stolen.unlink()
        stolen.write_bytes(b"theirs")
        take_name(partial_of(finished), finished, replace=False)
        remove_unfinished()

        assert ["finished", "over", "stolen"] == sorted(path.name for path in tmp_path.iterdir())
