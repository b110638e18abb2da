"""Nothing is lost: every database of the real program goes out whole, comes back whole, and says the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from blake3 import blake3

from pattern_stream.pipelines.exporting import ExportOptions, ExportResult, export_archive
from pattern_stream.pipelines.importing import ImportOptions, ImportResult, import_archive
from pattern_stream.pipelines.verifying import verify_archive
from tests.acceptance.running import EPOCH_TEXT, Folder
from tests.acceptance.whole import Cell, differences, sound

pytestmark = pytest.mark.anyio
Folders = Callable[[str], Folder]

NAMES = ["family", "quiet", "edges", "numbers", "oversize", "many", "schema-3", "schema-6", "schema-10"]
KEY = bytes(range(32))

PREFIXES = {"memory_blocks": "mem_", "messages": "msg_", "archival_entries": "arch_"}
IDS = {
    "agents": {"id": ""},
    "agent_groups": {"id": ""},
    "group_members": {"group_id": "", "agent_id": ""},
    "memory_blocks": {"id": "mem_", "agent_id": ""},
    "shared_block_agents": {"block_id": "mem_", "agent_id": ""},
    "archival_entries": {"id": "arch_", "agent_id": "", "parent_entry_id": "arch_"},
    "messages": {"id": "msg_", "agent_id": ""},
    "archive_summaries": {"id": "", "agent_id": "", "previous_summary_id": ""},
    "memory_block_updates": {"block_id": "mem_"},
    "memory_block_checkpoints": {"block_id": "mem_"},
    "activity_events": {"id": "", "agent_id": ""},
    "agent_summaries": {"agent_id": ""},
    "constellation_summaries": {"id": ""},
    "notable_events": {"id": ""},
    "coordination_state": {"updated_by": ""},
    "coordination_tasks": {"id": "", "assigned_to": ""},
    "handoff_notes": {"id": "", "from_agent": "", "to_agent": ""},
    "data_sources": {"id": ""},
    "agent_data_sources": {"agent_id": "", "source_id": ""},
    "tasks": {"id": "", "agent_id": "", "parent_task_id": ""},
    "events": {"id": "", "agent_id": ""},
    "event_occurrences": {"id": "", "event_id": ""},
    "folders": {"id": ""},
    "folder_files": {"id": "", "folder_id": ""},
    "file_passages": {"id": "", "file_id": ""},
    "folder_attachments": {"folder_id": "", "agent_id": ""},
    "migration_audit": {"id": ""},
    "queued_messages": {"id": "", "target_agent_id": "", "source_agent_id": ""},
    "agent_atproto_endpoints": {"agent_id": "", "session_id": ""},
}  # fmt: skip
"""Columns that hold ids, with the prefix that a new one has. Source: docs/format.md#new-ids."""
STAYING = {b"_constellation_", b"system", b"user"}
HOLDING_REFERENCES = {
    ("messages", "source_metadata"), ("notable_events", "agents_involved"), ("queued_messages", "origin_json"),
    ("queued_messages", "metadata_json_full"), ("messages", "batch_id"), ("queued_messages", "batch_id"),
}  # fmt: skip


def renamed(table: str, column: str, cell: Cell) -> Cell:
    """A cell as it stands after an import with new ids under KEY."""
    prefix = IDS.get(table, {}).get(column)
    if prefix is None or cell[0] != "text" or cell[1] in STAYING:
        return cell
    return "text", prefix.encode() + blake3(cell[1], key=KEY).hexdigest()[:32].encode()


async def out_and_in(database: Path, tmp_path: Path, **terms: object) -> tuple[ExportResult, ImportResult, Path, Path]:
    """Export a database whole and import it into a new one."""
    archive, copy = tmp_path / "whole.car", tmp_path / "copy.db"
    exported = await export_archive(database, archive, options=ExportOptions(exported_at=EPOCH_TEXT))
    imported = await import_archive(archive, copy, options=ImportOptions(**terms))  # type: ignore[arg-type]
    return exported, imported, archive, copy


@dataclass(frozen=True, slots=True)
class Whole:
    """A database of the fixtures, exported whole and imported into a new one. Nobody writes to the files."""

    database: Path
    exported: ExportResult
    imported: ImportResult
    archive: Path
    copy: Path


Wholes = Callable[[str], Awaitable[Whole]]


@pytest.fixture(scope="session")
def whole(folder: Folders, tmp_path_factory: pytest.TempPathFactory) -> Wholes:
    """By name; made when it is first asked for."""
    made: dict[str, Whole] = {}

    async def ask(name: str) -> Whole:
        if name not in made:
            database = folder(name).database
            made[name] = Whole(database, *await out_and_in(database, tmp_path_factory.mktemp(f"whole-{name}")))
        return made[name]

    return ask


@pytest.mark.parametrize("name", NAMES)
async def test_everything_comes_back(whole: Wholes, name: str) -> None:
    """Every cell of every table is equal, nothing is said to be left behind, and the archive is sound."""
    made = await whole(name)

    assert {} == made.exported.not_carried
    assert {} == made.imported.dropped
    assert [] == list(differences(made.database, made.copy))
    assert [] == list(sound(made.copy))
    verified = await verify_archive(made.archive, against=made.database)
    assert verified.ok, verified.findings
    assert verified.against is not None
    assert (0, made.exported.version) == (verified.against.count, verified.version), verified.against.as_dict()


@pytest.mark.parametrize("name", NAMES)
async def test_the_copy_exports_to_the_same_bytes(whole: Wholes, tmp_path: Path, name: str) -> None:
    """Also what lies beyond version 3: what is stored decides, not who stored it."""
    if name.startswith("schema-"):
        pytest.skip("a copy has the newest schema, and says so in its columns")

    made, again = await whole(name), tmp_path / "again.car"
    await export_archive(made.copy, again, options=ExportOptions(exported_at=EPOCH_TEXT))

    assert made.archive.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("name", ["family", "edges", "oversize", "schema-6"])
async def test_new_ids_keep_everything_else(folder: Folders, tmp_path: Path, name: str) -> None:
    """With new ids every cell is equal up to the renaming, in every table."""
    database = folder(name).database

    def expected(table: str, column: str, cell: Cell) -> Cell:
        return renamed(table, column, cell)

    _, _, _, copy = await out_and_in(database, tmp_path, new_ids=True, id_key=KEY)

    found = [line for line in differences(database, copy, expected) if not holds_references(line)]
    assert [] == found
    assert [] == list(sound(copy))


def holds_references(line: str) -> bool:
    """Whether a line of `differences` is about a cell that has references inside, which new ids change too."""
    table, rest = line.split(" ", 1)
    return any(table == name and f" {column}: was " in rest for name, column in HOLDING_REFERENCES)
