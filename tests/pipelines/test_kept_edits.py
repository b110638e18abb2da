"""Undo, redo and checkpoints of a living block stay where an archive without history brings the same document."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pattern_stream.demo.database import make_demo
from pattern_stream.pipelines.exporting import ExportOptions, export_archive
from pattern_stream.pipelines.importing import ImportOptions, ImportResult, import_archive
from pattern_stream.schema.model.scopes import Scope

pytestmark = pytest.mark.anyio

REPLACE = ImportOptions(on_conflict="replace")
HISTORY = ("memory_block_updates", "memory_block_checkpoints")
JUNIPER = Scope("agent", "Juniper")
OF = "(SELECT b.id FROM memory_blocks b JOIN agents a ON a.id = b.agent_id WHERE a.name = 'Juniper' AND label = {!r})"


@pytest.fixture
async def living(tmp_path: Path) -> Path:
    """A demo: blocks with edits, some undone, and some with checkpoints."""
    await make_demo(tmp_path / "living.db", messages=10)
    return tmp_path / "living.db"


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection, connection:
        return connection.execute(sql).fetchall()


def memory(database: Path) -> list[list[tuple[Any, ...]]]:
    """All blocks as they are stored, without the previews that such an archive renders anew, and their histories."""
    stored = "SELECT id, label, loro_snapshot, frontier, last_seq FROM memory_blocks ORDER BY id"
    return [rows(database, sql) for sql in (stored, *(f"SELECT * FROM {table} ORDER BY id" for table in HISTORY))]


def gone(result: ImportResult) -> dict[str | None, str]:
    """What was said of histories, by memory block."""
    return {one.where.row_id: one.message for one in result.findings if one.code == "history-gone"}


@pytest.mark.parametrize(("scope", "options"), [
    (JUNIPER, ExportOptions()),
    (Scope("group", "Household"), ExportOptions()),
    (Scope(), ExportOptions(portable=True)),
])  # fmt: skip
@pytest.mark.parametrize("checked", [True, False])
async def test_the_same_document_keeps_its_edits(
    living: Path, scope: Scope, options: ExportOptions, checked: bool
) -> None:
    """Every row of blocks with active and undone edits and with checkpoints, and the document that they build on."""
    archive, before = living.with_suffix(".car"), memory(living)
    await export_archive(living, archive, scope=scope, options=options)
    result = await import_archive(
        archive, living, options=ImportOptions(on_conflict="replace", verify_documents=checked)
    )

    assert 0 < result.replaced["memory_blocks"]
    assert before == memory(living)
    assert {} == gone(result)


OTHERWISE = {
    "an edit was undone since": "UPDATE memory_block_updates SET is_active = 0 WHERE seq = 6 AND block_id = {}",
    "an edit was done again since": "UPDATE memory_block_updates SET is_active = 1 WHERE seq = 7 AND block_id = {}",
    "an edit cannot be read": "UPDATE memory_block_updates SET update_blob = x'00' WHERE seq = 3 AND block_id = {}",
    "the base is no document": "UPDATE memory_blocks SET loro_snapshot = x'00' WHERE id = {}",
    "the base is no bytes": "UPDATE memory_blocks SET loro_snapshot = 'text' WHERE id = {}",
}


@pytest.mark.parametrize("change", sorted(OTHERWISE))
async def test_another_document_takes_the_edits_with_a_warning(living: Path, change: str) -> None:
    """Old edits must not build on another document; other blocks of the agent keep theirs."""
    archive, block = living.with_suffix(".car"), OF.format("partner")
    await export_archive(living, archive, scope=JUNIPER)
    rows(living, OTHERWISE[change].format(block))
    result = await import_archive(archive, living, options=REPLACE)
    ((block_id,),) = rows(living, f"SELECT {block}")

    assert [block_id] == list(gone(result))
    assert "8 memory_block_updates" in gone(result)[block_id]
    assert [] == rows(living, f"SELECT * FROM memory_block_updates WHERE block_id = {block}")
    assert [(7,)] == rows(living, f"SELECT count(*) FROM memory_block_updates WHERE block_id = {OF.format('tasks')}")


async def test_a_checkpoint_alone_stays(living: Path) -> None:
    """A block without an update has the document of its row."""
    archive, block = living.with_suffix(".car"), OF.format("unused")
    rows(living, f"INSERT INTO memory_block_checkpoints (block_id, snapshot, created_at, updates_consolidated) "
         f"SELECT id, loro_snapshot, created_at, 0 FROM memory_blocks WHERE id = {block}")  # fmt: skip
    before = memory(living)
    await export_archive(living, archive, scope=JUNIPER)
    await import_archive(archive, living, options=REPLACE)

    assert before == memory(living)


async def test_an_archive_with_history_brings_its_own(living: Path) -> None:
    """Though the document is the same."""
    archive, before = living.with_suffix(".car"), memory(living)
    await export_archive(living, archive, scope=JUNIPER, options=ExportOptions(history=True))
    rows(living, f"DELETE FROM memory_block_updates WHERE is_active = 0 AND block_id = {OF.format('partner')}")
    rows(living, "UPDATE memory_block_updates SET source = 'other'")
    result = await import_archive(archive, living, options=REPLACE)
    own = f"source = 'other' AND block_id = {OF.format('partner')}"

    assert [(0,)] == rows(living, f"SELECT count(*) FROM memory_block_updates WHERE {own}")
    assert len(before[1]) == len(memory(living)[1])
    assert {} == gone(result)


async def test_a_whole_backup_from_before_all_edits_says_that_they_go(living: Path) -> None:
    """Of blocks that are rows beyond version 3 too: the archive has a history of them, which is empty."""
    archive = living.with_suffix(".car")
    inactive = "(SELECT id FROM memory_blocks WHERE is_active = 0)"
    rows(living, f"CREATE TABLE later AS SELECT * FROM memory_block_updates WHERE block_id IN {inactive}")
    rows(living, f"DELETE FROM memory_block_updates WHERE block_id IN {inactive}")
    await export_archive(living, archive)
    rows(living, "INSERT INTO memory_block_updates SELECT * FROM later")
    rows(living, "DROP TABLE later")
    result = await import_archive(archive, living, options=ImportOptions(on_conflict="replace", drop_unknown=True))

    assert rows(living, "SELECT id FROM memory_blocks WHERE is_active = 0") == [(one,) for one in gone(result)]
