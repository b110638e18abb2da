"""A new database gets its name whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from pattern_stream.db.connection.new_database import clear_leftovers, is_vacant, open_new
from pattern_stream.db.ddl.create import create_schema
from pattern_stream.errors import DatabaseNotFound, DatabaseStorage, TargetExists
from tests.db.importing import query

pytestmark = pytest.mark.anyio


async def make(path: Path, *, keep: bool = True, fault: Exception | None = None) -> None:
    """A new database with the schema."""
    async with open_new(path, keep=keep) as connection:
        await connection.execute("BEGIN")
        await create_schema(connection, installed_at="2026-01-02 03:04:05")
        await connection.execute("COMMIT")
        if fault is not None:
            raise fault


async def test_it_gets_its_name(tmp_path: Path) -> None:
    """In WAL mode, private, with nothing beside it; an empty file makes way."""
    for name in ("new.db", "empty.db"):
        if name == "empty.db":
            (tmp_path / name).touch()
        await make(tmp_path / name)

        assert [("wal",)] == query(tmp_path / name, "PRAGMA journal_mode")
        assert 0o600 == stat.S_IMODE((tmp_path / name).stat().st_mode)
    assert ["empty.db", "new.db"] == sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("fault", [None, RuntimeError("stop")])
async def test_it_goes_where_it_is_not_kept(tmp_path: Path, fault: Exception | None) -> None:
    """After an error, and where nobody said that it is whole."""
    with suppress(RuntimeError):
        await make(tmp_path / "new.db", keep=False, fault=fault)

    assert [] == list(tmp_path.iterdir())


async def test_what_a_killed_program_left_makes_way(tmp_path: Path) -> None:
    """A partial file that nobody holds is removed."""
    for name in (
        ".new.db.pattern-stream-partial",
        ".new.db.pattern-stream-partial-journal",
        ".new.db.pattern-stream-partial.lock",
    ):
        (tmp_path / name).write_bytes(b"left behind")
    await make(tmp_path / "new.db")

    assert ["new.db"] == [path.name for path in tmp_path.iterdir()]


async def test_what_is_left_after_the_name_goes_later(tmp_path: Path) -> None:
    """Killed between taking the name and letting go of the other one, a program leaves both, and its lock file."""
    target = tmp_path / "new.db"
    await make(target)
    os.link(target, tmp_path / ".new.db.pattern-stream-partial")
    (tmp_path / ".new.db.pattern-stream-partial.lock").touch()
    clear_leftovers(target)

    assert ["new.db"] == [path.name for path in tmp_path.iterdir()]
    assert [("ok",)] == query(target, "PRAGMA integrity_check")


async def test_what_is_in_use_stays(tmp_path: Path) -> None:
    """A partial file whose lock is held belongs to a program that runs."""
    lock = tmp_path / ".new.db.pattern-stream-partial.lock"
    (tmp_path / ".new.db.pattern-stream-partial").touch()
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    clear_leftovers(tmp_path / "new.db")
    os.close(descriptor)

    assert [".new.db.pattern-stream-partial", ".new.db.pattern-stream-partial.lock"] == sorted(
        path.name for path in tmp_path.iterdir()
    )


async def test_a_disk_that_fails_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be synced does not get its name; the message says which file and why."""

    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(
        DatabaseStorage, match=r"new\.db\.pattern-stream-partial cannot be brought to the disk: No space left"
    ):
        await make(tmp_path / "new.db")

    assert [] == list(tmp_path.iterdir())


async def test_a_folder_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is taken by then: the database is there, whole, and that is no failure."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    await make(tmp_path / "new.db")

    assert ["new.db"] == [path.name for path in tmp_path.iterdir()]


async def test_two_at_once(tmp_path: Path) -> None:
    """The second is refused and the first goes on."""
    async with open_new(tmp_path / "new.db", keep=False):
        with pytest.raises(TargetExists, match="another program is making"):
            await make(tmp_path / "new.db")
        assert (tmp_path / ".new.db.pattern-stream-partial.lock").exists()


async def test_a_lock_on_a_file_that_was_removed_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opened the lock file just before its holder removed it locks a file that nobody else will meet."""
    lock, flock, removed = tmp_path / ".new.db.pattern-stream-partial.lock", fcntl.flock, list[Path]()

    def too_late(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(lock)
            lock.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", too_late)
    async with open_new(tmp_path / "new.db", keep=False):
        with pytest.raises(TargetExists, match="another program is making"):
            await make(tmp_path / "new.db")

    assert [lock] == removed
    assert [] == list(tmp_path.iterdir())


async def test_a_name_that_is_taken_meanwhile(tmp_path: Path) -> None:
    """Somebody else's file is not replaced."""

    async def make_too_late() -> None:
        async with open_new(tmp_path / "new.db"):
            (tmp_path / "new.db").write_bytes(b"theirs")

    with pytest.raises(TargetExists):
        await make_too_late()

    assert [b"theirs"] == [path.read_bytes() for path in tmp_path.iterdir()]


async def test_refusals(tmp_path: Path) -> None:
    """A file with bytes, a folder, no folder."""
    (tmp_path / "taken.db").write_bytes(b"x")
    for name in ("taken.db", "."):
        with pytest.raises(TargetExists):
            await make(tmp_path / name)
    with pytest.raises(DatabaseNotFound):
        await make(tmp_path / "nowhere" / "new.db")

    assert [False, False, True] == [is_vacant(tmp_path / name) for name in ("taken.db", ".", "new.db")]


@pytest.mark.parametrize("suffixes", [["-wal"], ["-journal"], ["-shm"], ["-wal", "-shm"]])
@pytest.mark.parametrize("empty", [False, True])
async def test_files_of_an_older_database_keep_the_place(tmp_path: Path, suffixes: list[str], empty: bool) -> None:
    """SQLite would read them with the new database: each is named, and none is touched."""
    target = tmp_path / "new.db"
    if empty:
        target.touch()
    for suffix in suffixes:
        Path(f"{target}{suffix}").write_bytes(b"commits of somebody")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(TargetExists) as caught:
        await make(target)

    assert all(f"{target}{suffix}" in caught.value.message for suffix in suffixes)
    assert "may still have the old database open" in str(caught.value.hint)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


async def test_a_file_that_appears_meanwhile(tmp_path: Path) -> None:
    """What another program leaves beside the place while the database is made keeps it from its name."""
    target = tmp_path / "new.db"

    with pytest.raises(TargetExists, match=r"new\.db-wal"):
        async with open_new(target):
            Path(f"{target}-wal").write_bytes(b"x")

    assert ["new.db-wal"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["d" * 248, "\N{SNOWMAN}" * 83])
async def test_a_name_that_sqlite_could_not_open_again(tmp_path: Path, name: str) -> None:
    """A database whose journal would have too long a name is refused before the work; one byte less will do."""
    with pytest.raises(DatabaseStorage, match=r"bytes, limit is 247") as caught:
        await make(tmp_path / name)
    await make(tmp_path / ("d" * 247))

    assert "choose a shorter name" == caught.value.hint
    assert [("ok",)] == query(tmp_path / ("d" * 247), "PRAGMA integrity_check")
