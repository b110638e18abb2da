"""A comparison of an archive with a database in both directions: what only the database has is counted."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.demo.database import make_demo
from pattern_stream.errors import ExitCode
from pattern_stream.pipelines.exporting import ExportOptions, export_archive
from pattern_stream.pipelines.verifying import Verification, verify_archive
from pattern_stream.schema.model.scopes import Scope

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    await make_demo(tmp_path / "d.db", messages=80)
    return tmp_path / "d.db"


async def compared(database: Path, scope: Scope, options: ExportOptions) -> tuple[dict[str, int], Verification]:
    """What the export says it does not carry, and the comparison of its archive with the same database."""
    archive = database.with_suffix(".car")
    result = await export_archive(database, archive, scope=scope, options=options)
    return result.not_carried, await verify_archive(archive, against=database, both_ways=True)


async def test_a_whole_backup_lacks_nothing(database: Path) -> None:
    """Not a row of any table, in either direction."""
    _, found = await compared(database, Scope(), ExportOptions())

    assert found.against is not None
    assert (0, {}) == (found.against.count, found.against.only_in_database)
    assert ExitCode.DONE is found.exit_code


@pytest.mark.parametrize(
    ("scope", "options"),
    [
        (Scope(), ExportOptions(portable=True)),
        (Scope("agent", "Juniper"), ExportOptions()),
        (Scope("agent", "Juniper"), ExportOptions(history=True)),
        (Scope("group", "Household"), ExportOptions()),
        (Scope("group", "Household", thin=True), ExportOptions()),
    ],
)
async def test_the_rows_that_export_did_not_carry(database: Path, scope: Scope, options: ExportOptions) -> None:
    """Within the archive's scope, by table: just those that the export named, and exit 10 where both ways are asked."""
    not_carried, found = await compared(database, scope, options)

    assert found.against is not None
    assert not_carried == found.against.only_in_database
    assert ExitCode.DIFFERS is found.exit_code


async def test_messages_that_were_left_out(database: Path) -> None:
    """They are in the archive's scope, so every one of them is counted."""
    _, found = await compared(database, Scope(), ExportOptions(messages=False))

    assert found.against is not None
    assert {"messages": 80} == found.against.only_in_database


async def test_rows_that_came_later(database: Path) -> None:
    """A row that the database got after the export, in a table of its own or of the schema, is counted by its table."""
    archive = database.with_suffix(".car")
    await export_archive(database, archive)
    with closing(sqlite3.connect(database)) as writer:
        writer.execute("CREATE TABLE plugin (id TEXT PRIMARY KEY, note TEXT)")
        writer.execute("INSERT INTO plugin VALUES ('p1', 'new'), ('p2', 'new')")
        writer.execute("INSERT INTO coordination_state VALUES ('later', '1', '2026-01-01', NULL)")
        writer.commit()
    one_way, both = [await verify_archive(archive, against=database, both_ways=asked) for asked in (False, True)]

    assert one_way.against is not None
    assert {"coordination_state": 1, "plugin": 2} == one_way.against.only_in_database
    assert [ExitCode.DONE, ExitCode.DIFFERS] == [one_way.exit_code, both.exit_code]
