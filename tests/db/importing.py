"""Small trees of records, and imports of them, for the tests of the sink."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from pattern_stream.db.connection.opening import open_writer
from pattern_stream.db.write.sink import Loaded, LoadOptions, begin, commit, note_faults, write_rows
from pattern_stream.errors import Finding
from pattern_stream.items import (
    CELLS_TABLE,
    Cells,
    Close,
    MemoryHistory,
    Open,
    OpenMemoryBlock,
    OpenTable,
    Piece,
    RecordEvent,
    Records,
    Row,
)
from pattern_stream.schema.model.cells import Large
from pattern_stream.schema.model.nodes import CELL_COLUMNS, AgentExport, GroupExport
from pattern_stream.schema.model.records import ArchivalEntry, ArchiveSummary, Member, Message, SharedAttachment
from pattern_stream.stages.mapping import unmap_records
from tests.drive import feed

AT = "2026-01-02T03:04:05Z"
POSITION = 31358194177998848


def agent(agent_id: str, *inside: RecordEvent | list[RecordEvent], name: str | None = None) -> list[RecordEvent]:
    """An agent with what is its own."""
    record: dict[str, Any] = {
        "id": agent_id, "name": name or agent_id, "description": None, "model_provider": "p", "model_name": "m",
        "system_prompt": "", "config": {}, "enabled_tools": [], "tool_rules": None, "status": "active",
        "created_at": AT, "updated_at": AT,
    }  # fmt: skip
    return [Open(AgentExport, record, agent_id), *flat(inside), Close()]


def block(
    block_id: str,
    owner: str,
    label: str = "persona",
    *inside: RecordEvent | list[RecordEvent],
    last_seq: int = 0,
    history: MemoryHistory | None = None,
) -> list[RecordEvent]:
    """A memory block with an empty document, or one whose history is inside."""
    record: dict[str, Any] = {
        "id": block_id, "agent_id": owner, "label": label, "description": "d", "block_type": "core",
        "char_limit": 5000, "permission": "read_write", "pinned": False, "content_preview": f"text of {block_id}",
        "metadata": None, "is_active": True, "created_at": AT, "updated_at": AT, "frontier": None, "last_seq": last_seq,
    }  # fmt: skip
    return [OpenMemoryBlock(record, block_id, document=b"", history=history), *flat(inside), Close()]


def table(name: str, columns: Iterable[str], *rows: Row | Piece, untranslated: bool = False) -> list[RecordEvent]:
    """A table beyond version 3: a batch of rows up to each row with a large cell, which is alone and has its pieces."""
    declared = [{"name": column, "type": ""} for column in columns]
    opened = OpenTable(table=name, columns=declared, untranslated=untranslated)
    return [opened, *rows_of(name, *rows), Close()]


def rows_of(name: str, *rows: Row | Piece) -> list[RecordEvent]:
    """Rows of a table in one batch, but for those with a large cell."""
    found: list[RecordEvent] = []
    for row in rows:
        if isinstance(row, Piece):
            found.append(row)
        elif Large in map(type, row) or not found or not isinstance(last := found[-1], Cells) or _has_large(last):
            found.append(Cells(name, [row]))
        else:
            last.rows.append(row)
    return found


def single_cells(*rows: Row | Piece) -> list[RecordEvent]:
    """The part of single cells, as (table, key, column, cell)."""
    declared = [{"name": column, "type": ""} for column in CELL_COLUMNS]
    opened = OpenTable(table=None, columns=declared)
    return [opened, *rows_of(CELLS_TABLE, *rows), Close()]


def _has_large(event: Cells) -> bool:
    return Large in map(type, event.rows[0])


def messages(owner: str, ids: Iterable[str], *, batch: str | None = None, text: str = "hello") -> Records:
    """Messages with a position each."""
    return Records(
        Message,
        [
            {
                "id": message_id, "role": "user", "source": None, "agent_id": owner, "batch_id": batch,
                "position": str(POSITION + index), "batch_type": None, "created_at": AT, "is_deleted": False,
                "is_archived": False, "content_json": {"Text": text}, "content_preview": text, "source_metadata": None,
                "sequence_in_batch": None,
            }
            for index, message_id in enumerate(ids)
        ],
    )  # fmt: skip


def entries(owner: str, *pairs: tuple[str, str | None]) -> Records:
    """Archival entries as (id, parent)."""
    return Records(
        ArchivalEntry,
        [
            {
                "id": entry_id, "agent_id": owner, "content": f"note {entry_id}", "metadata": None, "chunk_index": 0,
                "parent_entry_id": parent, "created_at": AT,
            }
            for entry_id, parent in pairs
        ],
    )  # fmt: skip


def summaries(owner: str, *pairs: tuple[str, str | None]) -> Records:
    """Archive summaries as (id, the one before)."""
    return Records(
        ArchiveSummary,
        [
            {
                "id": summary_id, "agent_id": owner, "summary": "s", "start_position": "1", "end_position": "2",
                "message_count": 1, "previous_summary_id": previous, "depth": 0, "created_at": AT,
            }
            for summary_id, previous in pairs
        ],
    )  # fmt: skip


def attachments(*pairs: tuple[str, str]) -> Records:
    """Attachments as (memory block, agent)."""
    return Records(
        SharedAttachment,
        [{"block_id": one, "agent_id": other, "permission": "read_only", "attached_at": AT} for one, other in pairs],
    )


def group(
    group_id: str, members: Iterable[str], *inside: RecordEvent | list[RecordEvent], name: str | None = None
) -> list[RecordEvent]:
    """A whole group with its members."""
    record: dict[str, Any] = {
        "id": group_id, "name": name or group_id, "description": None, "pattern_type": "dynamic", "pattern_config": {},
        "created_at": AT, "updated_at": AT,
    }  # fmt: skip
    found = [
        {"group_id": group_id, "agent_id": member, "role": {"type": "regular"}, "joined_at": AT, "capabilities": []}
        for member in members
    ]
    return [Open(GroupExport, record), *([Records(Member, found)] if found else []), *flat(inside), Close()]


def flat(parts: Iterable[RecordEvent | list[RecordEvent]]) -> list[RecordEvent]:
    """Events and lists of events as one list."""
    return [event for part in parts for event in (part if isinstance(part, list) else [part])]


async def load(
    path: Path,
    events: Iterable[RecordEvent],
    options: LoadOptions = LoadOptions(),  # noqa: B008  frozen
    *,
    dry_run: bool = False,
    into_empty: bool = False,
    messages: int = 0,
) -> tuple[Loaded, list[Finding]]:
    """Import records into an existing database: what became of them, and what was said."""
    found: list[Finding] = []
    async with open_writer(path) as connection:
        await begin(connection, into_empty=into_empty, messages=messages)
        if not into_empty:
            await note_faults(connection, dry_run=dry_run)
        loaded = await write_rows(connection, unmap_records(feed(events), found.append), options, found.append)
        await commit(connection, dry_run=dry_run)
    return loaded, found


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a statement."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def assert_sound(path: Path) -> None:
    """SQLite, its references, its full-text indexes and its triggers are whole."""
    with closing(sqlite3.connect(path)) as connection:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
        assert [] == connection.execute("PRAGMA foreign_key_check").fetchall()
        for name in ("messages_fts", "archival_fts", "memory_blocks_fts"):
            connection.execute(f"INSERT INTO {name}({name}, rank) VALUES ('integrity-check', 1)")
        connection.rollback()
        triggers = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'").fetchone()
        assert (9,) == triggers
