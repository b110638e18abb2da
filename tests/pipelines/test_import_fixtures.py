"""Every archive of version 3 that the real program and its converters wrote comes in; the older ones are converted.

Which they are: all archives beside the databases, and among the older ones those named `converted-v3`. Each comes in
with kept ids and with new ids, into an empty database, which is sound afterwards and holds what the archive says.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.pipelines.creating import create_database
from pattern_stream.pipelines.exporting import ExportOptions, export_archive
from pattern_stream.pipelines.importing import ImportOptions, ImportResult, import_archive
from tests.pipelines.archive_counts import TABLES, archive_bytes, counts_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]

KEY = bytes(range(32))
EXPORT = ExportOptions(exported_at="2026-01-02T03:04:05Z")
SMALL_BYTES = 3_000
"""Archives up to this size, as they lie there, are also exported again and imported again."""

FULL_TEXT = ("messages_fts", "archival_fts", "memory_blocks_fts")


def version_3(shared: Path) -> list[Path]:
    """All archives of version 3."""
    fixtures = shared / "fixtures"
    found = [*fixtures.glob("*/*.car"), *fixtures.glob("*/*.car.gz")]
    return sorted([*found, *fixtures.glob("legacy/*/*.converted-v3.car*")])


def older(shared: Path) -> list[Path]:
    """All archives of versions 1 and 2."""
    return sorted(path for path in shared.glob("fixtures/legacy/*/*.car*") if "converted-v3" not in path.name)


@pytest.fixture
async def empty(tmp_path: Path) -> Path:
    """A database without rows."""
    path = tmp_path / "empty.db"
    await create_database(path)
    return path


def unsound(database: Path) -> list[str]:
    """What SQLite finds wrong: pages, foreign keys, full-text indexes."""
    with closing(sqlite3.connect(database)) as connection:
        wrong = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
        wrong += [f"foreign key: {row}" for row in connection.execute("PRAGMA foreign_key_check")]
        for table in FULL_TEXT:
            try:
                connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('integrity-check', 1)")
            except sqlite3.DatabaseError as error:
                wrong.append(f"{table}: {error}")
    return wrong


def rows_of(database: Path) -> dict[str, int]:
    """How many rows the carried tables have."""
    with closing(sqlite3.connect(database)) as connection:
        return {table: connection.execute(sql).fetchone()[0] for table, sql in TABLES.items()}


async def taken(path: Path, empty: Path, target: Path, options: ImportOptions) -> tuple[ImportResult, list[str]]:
    """Import into a copy of the empty database: the summary, and everything that is wrong afterwards."""
    shutil.copy(empty, target)
    result = await import_archive(path, target, options=options)
    expected, found = counts_of(archive_bytes(path)), rows_of(target)
    wrong = unsound(target) + ([] if expected == found else [f"rows {found}, expected {expected}"])
    if {table: count for table, count in result.rows.items() if table in TABLES} != {
        t: n for t, n in found.items() if n
    }:
        wrong.append(f"summary says {dict(result.rows)}, found {found}")
    return result, wrong


@pytest.mark.parametrize("new_ids", [False, True], ids=["kept-ids", "new-ids"])
async def test_every_archive_comes_in(shared: Path, tmp_path: Path, empty: Path, new_ids: bool) -> None:
    """Sound in every respect that SQLite can check, with as many rows in each table as the archive has records."""
    options = ImportOptions(new_ids=new_ids, id_key=KEY if new_ids else None)
    wrong: dict[str, list[str]] = {}
    paths = version_3(shared)
    for path in paths:
        _, faults = await taken(path, empty, tmp_path / "target.db", options)
        if faults:
            wrong[str(path.relative_to(shared))] = faults

    assert {} == wrong
    assert len(paths) >= 200


async def test_export_after_import_is_stable(shared: Path, tmp_path: Path, empty: Path) -> None:
    """With kept ids: what goes out after an import comes in again and goes out as the same bytes."""
    unlike, paths = [], [path for path in version_3(shared) if path.stat().st_size <= SMALL_BYTES]
    for number, path in enumerate(paths):
        names = [tmp_path / f"{number}-{part}" for part in ("first.db", "first.car", "second.db", "second.car")]
        for database, source, packed in ((names[0], path, names[1]), (names[2], names[1], names[3])):
            shutil.copy(empty, database)
            await import_archive(source, database)
            await export_archive(database, packed, options=EXPORT)
        if names[1].read_bytes() != names[3].read_bytes():
            unlike.append(path.name)
        for name in names:
            name.unlink()

    assert [] == unlike
    assert len(paths) >= 25


async def test_older_archives_come_in(shared: Path, tmp_path: Path) -> None:
    """Versions 1 and 2: every eighth of them, as the conversion makes it, into a database that is sound."""
    paths = older(shared)[::8]
    for number, path in enumerate(paths):
        database = tmp_path / f"{number}.db"
        result = await import_archive(path, database)

        assert result.converted is not None, path.name
        with closing(sqlite3.connect(database)) as connection:
            assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall(), path.name
            assert [] == connection.execute("PRAGMA foreign_key_check").fetchall(), path.name
    assert len(paths) >= 40
