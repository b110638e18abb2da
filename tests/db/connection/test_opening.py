"""Opening: one read transaction that is one moment, every obstacle with its own error, nothing left behind."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from pathlib import Path

import anyio
import pytest

from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.new_database import open_new
from pattern_stream.db.connection.opening import open_reader, open_writer, read_mode
from pattern_stream.errors import (
    CorruptDatabase,
    DatabaseBusy,
    DatabaseNotFound,
    DatabaseStorage,
    ExitCode,
    PatternStreamError,
    TargetExists,
    UnsupportedSchema,
)
from tests.db.worlds import add_agent, build

pytestmark = pytest.mark.anyio

WRITER = """
import itertools, sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
print("ready", flush=True)
for n in itertools.count():
    c.execute("BEGIN IMMEDIATE")
    for key in (f"x{n}", f"y{n}"):
        c.execute("INSERT INTO coordination_state VALUES (?, '1', '', NULL)", (key,))
    c.execute("COMMIT")
    time.sleep(0.001)
"""
LOCKER = """
import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA locking_mode = EXCLUSIVE")
c.execute("BEGIN EXCLUSIVE")
c.execute("DELETE FROM coordination_state")
print("ready", flush=True)
time.sleep(60)
"""
READ_ON_READ_ONLY = """
import anyio, sys
from pathlib import Path
from pattern_stream.db.connection.opening import open_reader
from pattern_stream.errors import PatternStreamError
async def main():
    try:
        async with open_reader(Path(sys.argv[1])) as connection:
            print("rows", *(await connection.execute("SELECT count(*) FROM agents"))[0])
    except PatternStreamError as error:
        print(type(error).__name__, error.exit_code.value, error.hint)
anyio.run(main)
"""


@contextmanager
def other_process(script: str, path: Path) -> Iterator[None]:
    """A second real process at work on the database."""
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
        finally:
            process.kill()


async def count(path: Path, table: str = "agents") -> int:
    """Rows of a table, through a reader of its own."""
    async with open_reader(path) as connection:
        return int((await connection.execute(f"SELECT count(*) FROM {table}"))[0][0])


async def passed(outside: sqlite3.Connection, rows: int) -> None:
    """Wait until the other process has committed that many rows."""
    for _ in range(2000):
        if outside.execute("SELECT count(*) FROM coordination_state").fetchone()[0] >= rows:
            return
        await anyio.sleep(0.005)
    pytest.fail(f"the writer did not come to {rows} rows")


@pytest.mark.parametrize("name", ["plain.db", "a b.db", "a?b#c%41.db", "ünï-日本.db", "mode=rw&x.db", "'quoted\".db"])
async def test_any_file_name_opens(tmp_path: Path, name: str) -> None:
    """Names with a meaning in URIs, spaces and letters of any script open for reading, writing and anew."""
    path = build(tmp_path / name)
    async with open_writer(path) as connection:
        await connection.execute("DELETE FROM agents")
    async with open_new(tmp_path / f"new {name}"):
        pass

    assert 0 == await count(path)
    assert (tmp_path / f"new {name}").stat().st_size > 0


async def test_one_moment_while_another_process_writes(tmp_path: Path) -> None:
    """A reader sees one committed state from entry to exit, while a writer commits to the WAL all the time."""
    path = build(tmp_path / "a.db")
    statement = "SELECT count(*), sum(key LIKE 'x%') FROM coordination_state"

    with other_process(WRITER, path), closing(sqlite3.connect(path)) as outside:
        async with open_reader(path) as connection:
            (first,) = await connection.execute(statement)
            await passed(outside, first[0] + 20)
            (second,) = await connection.execute(statement)
        third = await count(path, "coordination_state")

    assert first == second
    assert first[0] == 2 * (first[1] or 0)
    assert third >= first[0] + 20


async def test_the_snapshot_starts_on_entry(tmp_path: Path) -> None:
    """What is committed after entry and before the caller's first query is not seen."""
    path = build(tmp_path / "a.db")
    async with open_reader(path) as connection:
        with closing(sqlite3.connect(path)) as outside:
            add_agent(outside, "late")
            outside.commit()
        seen = await connection.execute("SELECT count(*) FROM agents")

    assert [(1,)] == seen
    assert 2 == await count(path)


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    """The connection refuses to change anything."""
    async with open_reader(build(tmp_path / "a.db")) as connection:
        with pytest.raises(DatabaseStorage, match="readonly"):
            await connection.execute("DELETE FROM agents")


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
async def test_exclusively_locked_by_another_process(tmp_path: Path, journal: str) -> None:
    """Exit 11 once the busy timeout is over, not before."""
    path = build(tmp_path / "a.db", journal=journal)
    with other_process(LOCKER, path):
        start = time.monotonic()
        with pytest.raises(DatabaseBusy, match="stayed locked") as caught:
            async with open_reader(path, busy_timeout_ms=300):
                pytest.fail("opened")

    assert ExitCode.BUSY == caught.value.exit_code
    assert 0.25 < time.monotonic() - start < 5


def test_how_a_database_is_opened(tmp_path: Path) -> None:
    """`immutable` only in a read-only place, and only where no WAL or journal has content."""
    path = tmp_path / "a.db"
    path.touch()
    found = [read_mode(path, read_only_place=False), read_mode(path, read_only_place=True)]
    (tmp_path / "a.db-wal").touch()
    found.append(read_mode(path, read_only_place=True))
    (tmp_path / "a.db-wal").write_bytes(b"x")
    found.append(read_mode(path, read_only_place=True))
    (tmp_path / "a.db-wal").unlink()
    (tmp_path / "a.db-journal").write_bytes(b"x")
    found.append(read_mode(path, read_only_place=True))

    immutable = "mode=ro&immutable=1"
    assert ["mode=rw", immutable, immutable, "mode=ro", "mode=ro"] == found


LOCKS = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN EXCLUSIVE')"


async def test_readers_leave_nothing_beside(tmp_path: Path) -> None:
    """Not alone, not the second that began while the first was reading, and not after a failure."""
    path = build(tmp_path / "a.db")
    async with open_reader(path), open_reader(path) as second:
        assert {"a.db", "a.db-shm", "a.db-wal"} == set(os.listdir(tmp_path))
        assert [(1,)] == await second.execute("SELECT count(*) FROM agents")
    assert ["a.db"] == os.listdir(tmp_path)
    first, last = open_reader(path), open_reader(path)
    await first.__aenter__()
    await last.__aenter__()
    await first.__aexit__(None, None, None)
    await last.__aexit__(None, None, None)
    assert ["a.db"] == os.listdir(tmp_path)
    with pytest.raises(ZeroDivisionError):
        async with open_reader(path):
            raise ZeroDivisionError

    assert ["a.db"] == os.listdir(tmp_path)


async def test_commits_in_a_wal_stay_there(tmp_path: Path) -> None:
    """What a killed program left is read where it is: no byte of the database or its WAL changes."""
    path = build(tmp_path / "a.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as outside:
        outside.execute("PRAGMA wal_autocheckpoint = 0")
        add_agent(outside, "late")
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", tmp_path / f"b.db{suffix}")
    before = [(tmp_path / name).read_bytes() for name in ("b.db", "b.db-wal")]

    assert 2 == await count(tmp_path / "b.db")
    assert before == [(tmp_path / name).read_bytes() for name in ("b.db", "b.db-wal")]


@pytest.fixture
def without_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who may read everything and write nothing, whose files belong to somebody else."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(os, "supports_effective_ids", set())
    monkeypatch.setattr(os, "geteuid", lambda: 12345)


@pytest.mark.usefixtures("without_rights")
async def test_who_would_leave_files_is_refused(tmp_path: Path) -> None:
    """Without the right to remove -wal and -shm: exit 9 and a hint, and neither is made."""
    path = build(tmp_path / "a.db")
    for beside in ([], ["a.db-wal"]):
        for name in beside:
            (tmp_path / name).touch()
        with pytest.raises(DatabaseStorage, match="keep the owner from writing") as caught:
            await count(path)

        assert 9 == caught.value.exit_code
        assert "owner" in (caught.value.hint or "")
        assert sorted(["a.db", *beside]) == sorted(os.listdir(tmp_path))
    (tmp_path / "a.db-wal").write_bytes(b"commits")  # without its -shm, which would be made
    with pytest.raises(DatabaseStorage, match=r"a\.db-shm is not there"):
        await count(path)


@pytest.mark.usefixtures("without_rights")
async def test_who_cannot_leave_files_may_read(tmp_path: Path) -> None:
    """A database without a WAL, and one whose owner has it open; looking into it drops nobody's lock."""
    path, living = build(tmp_path / "a.db", journal="DELETE"), build(tmp_path / "b.db")
    with closing(sqlite3.connect(living)) as owner:
        owner.execute("SELECT count(*) FROM agents").fetchall()
        assert 1 == await count(living)
    async with open_reader(path) as connection:
        assert "mode=ro" == read_mode(path)
        other = await anyio.run_process([sys.executable, "-c", LOCKS, str(path)], check=False)
        assert [(1,)] == await connection.execute("SELECT count(*) FROM agents")

    assert b"locked" in other.stderr


def on_read_only_mount(folder: Path, database: Path) -> str:
    """What a child process prints that reads a database in a folder mounted read-only for it alone."""
    unshare = shutil.which("unshare")
    private = [unshare or "", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]
    mount = f"mount --bind '{folder}' '{folder}' && mount -o remount,bind,ro '{folder}'"
    if unshare is None or subprocess.run([*private, "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("this machine does not let the test mount a folder read-only")
    command = [
        *private,
        "sh",
        "-c",
        mount + ' && exec "$@"',
        "sh",
        sys.executable,
        "-c",
        READ_ON_READ_ONLY,
        str(database),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_read_only_file_system(tmp_path: Path) -> None:
    """A database in WAL mode is read from a read-only file system, where SQLite by itself would refuse."""
    assert "rows 1" == on_read_only_mount(tmp_path, build(tmp_path / "a.db"))


def test_read_only_file_system_with_wal_content(tmp_path: Path) -> None:
    """A WAL with content that cannot be read is never overlooked: exit 9 with the way out."""
    path = build(tmp_path / "living.db")
    with closing(sqlite3.connect(path)) as living:
        add_agent(living, "b")
        living.commit()
        (tmp_path / "ro").mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", tmp_path / f"ro/a.db{suffix}")

    printed = on_read_only_mount(tmp_path / "ro", tmp_path / "ro/a.db")

    assert printed.startswith("DatabaseStorage 9 ")
    assert "copy the database together with its -wal file" in printed


async def test_missing_file(tmp_path: Path) -> None:
    """Exit 6 for reading and for writing, and nothing is made."""
    for opener in (open_reader, open_writer):
        with pytest.raises(DatabaseNotFound, match=r"no file at .*none\.db") as caught:
            async with opener(tmp_path / "none.db"):
                pytest.fail("opened")

        assert ExitCode.NOT_FOUND == caught.value.exit_code
    assert [] == os.listdir(tmp_path)


async def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    """A folder is named as one, with the database in it as a hint."""
    build(tmp_path / "constellation.db")

    with pytest.raises(DatabaseNotFound, match="found a folder") as caught:
        async with open_reader(tmp_path):
            pytest.fail("opened")
    assert f"did you mean {tmp_path / 'constellation.db'}?" == caught.value.hint


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
async def test_pipe_in_place_of_a_file(tmp_path: Path) -> None:
    """A named pipe is refused instead of being waited for."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(DatabaseStorage, match="device or pipe"):
        async with open_reader(tmp_path / "pipe"):
            pytest.fail("opened")


@pytest.mark.parametrize(
    ("content", "error", "code", "message"),
    [
        (b"", UnsupportedSchema, ExitCode.UNSUPPORTED, "found no tables, as an empty file has none"),
        (b"this is a text file, not a database" * 40, CorruptDatabase, ExitCode.CORRUPT, "no SQLite database"),
    ],
)
async def test_other_files(
    tmp_path: Path, content: bytes, error: type[PatternStreamError], code: ExitCode, message: str
) -> None:
    """A file that is no constellation database says what was found instead."""
    path = tmp_path / "a.db"
    path.write_bytes(content)

    with pytest.raises(error, match=message) as caught:
        async with open_reader(path):
            pytest.fail("opened")
    assert code == caught.value.exit_code
    assert str(path) in caught.value.message


async def test_database_of_another_program(tmp_path: Path) -> None:
    """An SQLite database without agents is named with the tables that it has."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmarks (url)")

    with pytest.raises(UnsupportedSchema, match=r"found tables bookmarks in .* which has a table agents"):
        async with open_reader(path):
            pytest.fail("opened")


async def test_damaged_first_page(tmp_path: Path) -> None:
    """Damage that shows on opening is exit 4, naming the file."""
    path = build(tmp_path / "a.db", journal="DELETE")
    data = bytearray(path.read_bytes())
    data[100:140] = b"\xff" * 40
    path.write_bytes(data)

    with pytest.raises(CorruptDatabase, match=str(path)):
        async with open_reader(path):
            pytest.fail("opened")


async def test_writer_is_configured_and_starts_nothing(tmp_path: Path) -> None:
    """Foreign keys hold, a commit is on the disk (FULL, 2), and no transaction is open until the caller begins one."""
    path = build(tmp_path / "a.db")
    async with open_writer(path) as connection:
        settings = [
            (await connection.execute(f"PRAGMA {name}"))[0][0]
            for name in ("foreign_keys", "synchronous", "cache_size", "journal_mode")
        ]
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as outside:
            outside.execute("BEGIN IMMEDIATE")
        await connection.execute("BEGIN IMMEDIATE")
        await connection.execute("DELETE FROM agents")

    assert [1, 2, -40000, "wal"] == settings
    assert 1 == await count(path)  # nothing was committed


async def test_new_database(tmp_path: Path) -> None:
    """A new database is private, in WAL mode, alone in its folder, and holds what was committed."""
    path = tmp_path / "a.db"
    async with open_new(path) as connection:
        await connection.execute("BEGIN")
        await connection.execute("CREATE TABLE agents (id)")
        await connection.execute("COMMIT")
    listed = os.listdir(tmp_path)

    assert 0 == await count(path)
    assert 0o600 == path.stat().st_mode & 0o777
    assert b"\x02\x02" == path.read_bytes()[18:20]  # WAL, for writing and reading
    assert ["a.db"] == listed


async def test_new_database_fails_clean(tmp_path: Path) -> None:
    """After an error inside there is no file; a file that was there is refused and stays."""

    async def fail() -> None:
        async with open_new(tmp_path / "a.db") as connection:
            await connection.execute("CREATE TABLE agents (id)")
            raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(OSError, match="no space"):
        await fail()
    left = os.listdir(tmp_path)
    (tmp_path / "a.db").write_bytes(b"mine")
    with pytest.raises(TargetExists, match="expected none"):
        async with open_new(tmp_path / "a.db"):
            pytest.fail("opened")

    assert [] == left
    assert b"mine" == (tmp_path / "a.db").read_bytes()


async def test_cancelled_in_a_long_query(tmp_path: Path) -> None:
    """Cancelling does not wait for the end of a query, neither in batches nor at once."""
    path = build(tmp_path / "a.db")
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"

    start = time.monotonic()
    with anyio.move_on_after(0.1) as first:
        async with open_reader(path) as connection:
            async for _ in connection.rows(endless, table="n"):
                pass
    with anyio.move_on_after(0.1) as second:
        async with open_reader(path) as connection:
            await connection.execute(endless)

    assert first.cancelled_caught
    assert second.cancelled_caught
    assert time.monotonic() - start < 5


async def test_a_task_cancelled_twice_in_a_long_query(tmp_path: Path) -> None:
    """asyncio's own cancellation, once more while the connection closes: the query ends and the file is free."""
    path = build(tmp_path / "a.db", journal="DELETE")
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"

    async def read() -> None:
        async with open_reader(path) as connection:
            await connection.run(lambda raw: raw.execute(endless).fetchall())

    start = time.monotonic()
    task = asyncio.ensure_future(read())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with closing(sqlite3.connect(path, timeout=2, isolation_level=None)) as outside:
        outside.execute("BEGIN EXCLUSIVE")

    assert time.monotonic() - start < 5


async def test_errors_inside_pass(tmp_path: Path) -> None:
    """What the caller raises inside comes out as it was, and the file is free again."""
    path = build(tmp_path / "a.db", journal="DELETE")
    with pytest.raises(KeyError):
        async with open_reader(path):
            raise KeyError("mine")

    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as outside:
        outside.execute("BEGIN EXCLUSIVE")


def _with_wal_of_another(path: Path, page_bytes: int) -> Path:
    """A sound database, beside it the WAL that a killed writer of an older one of that name left."""
    older = path.with_name("older.db")
    with closing(sqlite3.connect(older, isolation_level=None)) as writer:
        for statement in (f"page_size = {page_bytes}", "journal_mode = WAL", "wal_autocheckpoint = 0"):
            writer.execute(f"PRAGMA {statement}")
        writer.execute("CREATE TABLE old (x)")
        wal = Path(f"{older}-wal").read_bytes()
    build(path, journal="DELETE")
    Path(f"{path}-wal").write_bytes(wal)
    return path


@pytest.mark.parametrize(
    ("page_bytes", "said"), [(512, "pages of 512 bytes, the database of 4096"), (4096, "an older schema")]
)
@pytest.mark.parametrize("opening", [open_reader, open_writer])
async def test_the_wal_of_another_database_is_told(
    tmp_path: Path, page_bytes: int, said: str, opening: Callable[[Path], AbstractAsyncContextManager[Connection]]
) -> None:
    """It would be played back over the database: refused, exit 4, and both files stay as they are."""
    path = _with_wal_of_another(tmp_path / "a.db", page_bytes)
    before = path.read_bytes(), Path(f"{path}-wal").read_bytes()

    with pytest.raises(CorruptDatabase, match=said) as caught:
        async with opening(path):
            pytest.fail("opened")

    assert "it was left by another database" in caught.value.message
    assert before == (path.read_bytes(), Path(f"{path}-wal").read_bytes())


async def test_the_layout_of_the_next_version_is_named(tmp_path: Path) -> None:
    """memory.db beside messages.db, no table messages: said for either file, exit 5."""
    for name in ("memory.db", "messages.db"):
        with closing(sqlite3.connect(tmp_path / name)) as other:
            other.execute("CREATE TABLE agents (id TEXT PRIMARY KEY)")
    for name in ("memory.db", "messages.db"):
        with pytest.raises(UnsupportedSchema, match="the layout of Pattern's next version"):
            async with open_reader(tmp_path / name):
                pytest.fail("opened")
