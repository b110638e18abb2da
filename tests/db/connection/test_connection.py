"""One connection: ours or a caller's, one hop a call, errors translated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from pattern_stream import Connection, ExportOptions, export_archive, open_reader, open_writer
from pattern_stream.errors import DatabaseError, InvalidCell, NameConflict, UsageError
from tests.db.worlds import build

pytestmark = pytest.mark.anyio


def test_opening_needs_no_sqlalchemy() -> None:
    """Reading and writing a database import the driver alone: SQLAlchemy takes longer to load than all of ours."""
    script = (
        "import sys, pattern_stream.pipelines.exporting, pattern_stream.pipelines.importing, "
        "pattern_stream.pipelines.listing, pattern_stream.pipelines.verifying; "
        "print('sqlalchemy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "False" == run.stdout.strip()


async def test_an_export_of_a_callers_connection(tmp_path: Path) -> None:
    """The same archive as by path; its own database is not written over."""
    path = build(tmp_path / "a.db", messages=[("m1", "1"), ("m2", "2")])
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    options, made = ExportOptions(exported_at="2026-01-02T03:04:05Z"), []
    async with engine.connect() as theirs, open_reader(path) as ours:
        databases: list[Path | Connection | AsyncConnection] = [theirs, ours, path]
        for number, database in enumerate(databases):
            out = tmp_path / f"{number}.car"
            made.append((await export_archive(database, out, options=options)).root)
        for database in databases[:2]:
            with pytest.raises(UsageError, match="the database that is exported"):
                await export_archive(database, path)
    await engine.dispose()

    assert 1 == len(set(made))


async def test_of_keeps_ours(tmp_path: Path) -> None:
    """A connection that was opened here is handed on as it is; one in memory has no path."""
    async with open_reader(build(tmp_path / "a.db")) as connection:
        assert connection is await Connection.of(connection)
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.connect() as theirs:
        assert (await Connection.of(theirs)).path is None
    await engine.dispose()


async def test_errors_name_file_and_table(tmp_path: Path) -> None:
    """Whatever SQLite raises, in one statement or in a function on the thread, is one of ours with the path."""
    path = build(tmp_path / "a.db")
    async with open_writer(path) as connection:
        with pytest.raises(NameConflict, match=r"a\.db"):
            await connection.execute_many("INSERT INTO coordination_state VALUES (?, '1', '', NULL)", [("x",), ("x",)])
        with pytest.raises(InvalidCell) as caught:
            await connection.execute("SELECT CAST(x'ff' AS TEXT)", table="agents")
        with pytest.raises(DatabaseError):
            await connection.run(lambda raw: raw.execute("INSERT INTO group_members VALUES ('g', 'a', NULL, '', '[]')"))

    assert "agents" == caught.value.where.table
