"""A dry run ends as the real one does, on disks of several sizes."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import pytest

from pattern_stream import ExportOptions, ImportOptions, export_archive, import_archive, plan_export, sync
from pattern_stream.archive.writer import write_car
from pattern_stream.budget import BUDGET
from pattern_stream.demo.database import make_demo
from pattern_stream.errors import PatternStreamError
from pattern_stream.transport.wrapping import Compression, Wrapping

pytestmark = pytest.mark.anyio

PAGE: Final = 4096
SMALL: Final = replace(BUDGET, spool_memory_bytes=100_000)
KEPT: Final = ImportOptions(new_ids=True, id_key=bytes(32))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portable archive of a small constellation."""
    folder = tmp_path_factory.mktemp("room")
    anyio.run(partial(make_demo, folder / "d.db", messages=300))
    sync.export_archive(folder / "d.db", folder / "d.car", options=ExportOptions(portable=True))
    return folder / "d.car"


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with rows, in WAL mode, whose names the archive does not have."""
    path = tmp_path_factory.mktemp("room") / "living.db"
    anyio.run(partial(make_demo, path, messages=40, seed=9))
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("agents", "agent_groups"):
            connection.execute(f"UPDATE {table} SET name = name || ' old'")
    return path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a file system of so many bytes, in place of the one before."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def of(size: int) -> Path:
        subprocess.run(["umount", folder], capture_output=True, check=False)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
        try:
            mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            mounted = False
        if not mounted:
            pytest.skip("no small tmpfs can be mounted here: that takes Linux and root")
        return folder

    yield of
    subprocess.run(["umount", folder], capture_output=True, check=False)


async def ending(work: Awaitable[object]) -> int:
    """The exit code."""
    try:
        await work
    except PatternStreamError as error:
        return int(error.exit_code)
    return 0


@pytest.mark.parametrize("journal", ["wal", "delete", "new"])
async def test_an_import(disk: Callable[[int], Path], archive: Path, living: Path, journal: str) -> None:
    """Whether the room is for a WAL, a journal or a new database."""
    ends = set[int]()
    least = 60 if journal == "new" else 60 + living.stat().st_size // PAGE
    for more in (0, 100, 200, 400, 2000):
        found = []
        for dry_run in (True, False):
            database = disk((least + more) * PAGE) / "n.db"
            if journal != "new":
                shutil.copy(living, database)
                with closing(sqlite3.connect(database)) as connection:
                    connection.execute(f"PRAGMA journal_mode = {journal}")
            found.append(await ending(import_archive(archive, database, options=replace(KEPT, dry_run=dry_run))))
        assert (more, found[1]) == (more, found[0])
        ends |= set(found)

    assert {9, 0} == ends


@pytest.mark.parametrize("compression", [None, Compression("gzip", 1)], ids=["plain", "packed"])
@pytest.mark.parametrize("apart", [False, True], ids=["spool-beside", "spool-apart"])
async def test_an_export(
    disk: Callable[[int], Path],
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compression: Compression | None,
    apart: bool,
) -> None:
    """A file beside the spool or on another disk, packed or not."""
    monkeypatch.setattr("pattern_stream.pipelines.planning.BUDGET", SMALL)
    monkeypatch.setitem(write_car.__kwdefaults__ or {}, "budget", SMALL)
    database = archive.with_name("d.db")
    options = ExportOptions(wrapping=Wrapping(compression), spool_dir=tmp_path if apart else None)
    ends = set[int]()
    least = 20 if apart else SMALL.spool_reserve_bytes // PAGE
    for size in (least, least + 100, least + 200, least + 2000):
        dry = await ending(plan_export(database, disk(size * PAGE) / "o.car", options=options))
        real = await ending(export_archive(database, disk(size * PAGE) / "o.car", options=options))
        assert (size, real) == (size, dry)
        ends.add(real)

    assert {9, 0} == ends


async def test_a_limit_on_file_size(archive: Path, tmp_path: Path) -> None:
    """`ulimit -f` is a disk of that size for each file."""
    database, before = archive.with_name("d.db"), resource.getrlimit(resource.RLIMIT_FSIZE)
    dry = replace(KEPT, dry_run=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        ends = [
            await ending(work)
            for work in (
                plan_export(database, tmp_path / "o.car"), export_archive(database, tmp_path / "o.car"),
                import_archive(archive, tmp_path / "n.db", options=dry), import_archive(archive, tmp_path / "n.db"),
            )
        ]  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert [9] * 4 == ends
    assert [] == list(tmp_path.iterdir())
