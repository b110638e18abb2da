"""Archives that are made to be given away hold nothing that was undone, and say what their documents still hold."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.demo.database import make_demo
from pattern_stream.pipelines.exporting import ExportOptions, export_archive
from pattern_stream.pipelines.inspecting import inspect_archive
from pattern_stream.pipelines.planning import plan_export
from pattern_stream.pipelines.verifying import verify_archive
from pattern_stream.schema.model.scopes import Scope

pytestmark = pytest.mark.anyio

SECRET = "a sentence that somebody took back"


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    """A demo in which the stored preview of every memory block holds a sentence that no document has."""
    path = tmp_path / "d.db"
    await make_demo(path, messages=40)
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("UPDATE memory_blocks SET content_preview = content_preview || ?", (SECRET,))
        writer.commit()
    return path


@pytest.mark.parametrize(
    ("scope", "options"),
    [
        (Scope(), ExportOptions(portable=True)),
        (Scope("agent", "Juniper"), ExportOptions()),
        (Scope("group", "Household"), ExportOptions()),
    ],
)
async def test_no_undone_text_in_previews(database: Path, scope: Scope, options: ExportOptions) -> None:
    """The preview is the text of the document that goes out, which a comparison takes for no difference."""
    archive = database.with_suffix(".car")
    result = await export_archive(database, archive, scope=scope, options=options)
    found = await verify_archive(archive, against=database)

    assert SECRET.encode() not in archive.read_bytes()
    assert found.ok
    assert found.against is not None
    assert 0 == found.against.count
    assert "stale-preview" not in {finding.code for finding in result.findings}


async def test_a_whole_backup_keeps_what_is_stored(database: Path) -> None:
    """A restore must be the database, stale previews too."""
    archive = database.with_suffix(".car")
    result = await export_archive(database, archive)

    assert SECRET.encode() in archive.read_bytes()
    assert "stale-preview" in {finding.code for finding in result.findings}
    assert 0 == result.blocks_with_deleted_text


async def test_deleted_text_in_histories_is_counted(database: Path) -> None:
    """Export, its dry run and inspect agree on how many documents carry text that was deleted long ago."""
    archive, options = database.with_suffix(".car"), ExportOptions(portable=True)
    result = await export_archive(database, archive, options=options)
    plan = await plan_export(database, options=options)
    found = await inspect_archive(archive)

    assert 0 < result.blocks_with_deleted_text < result.stats["memory_block_count"]
    assert result.blocks_with_deleted_text == plan.blocks_with_deleted_text == found.blocks_with_deleted_text
    assert "deleted-text" in {finding.code for finding in result.findings}
