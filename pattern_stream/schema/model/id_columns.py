"""Where ids stand in the tables of the schema, declared records and all others, each named once.
Source: docs/database.md#references.

Record types declare their own (`records`). Ids in free JSON and in text are not listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pattern_stream.schema.model.fields import Reference
from pattern_stream.schema.model.records import DECLARED

_OWN_ID: Final[Mapping[str, Reference]] = {"id": "row"}

_BEYOND: Final[Mapping[str, Mapping[str, Reference]]] = {
    "activity_events": {**_OWN_ID, "agent_id": "agent"},
    "agent_summaries": {"agent_id": "agent"},
    "constellation_summaries": _OWN_ID,
    "notable_events": _OWN_ID,
    "coordination_state": {"updated_by": "owner"},
    "coordination_tasks": {**_OWN_ID, "assigned_to": "agent"},
    "handoff_notes": {**_OWN_ID, "from_agent": "agent", "to_agent": "agent"},
    "data_sources": _OWN_ID,
    "agent_data_sources": {"agent_id": "agent", "source_id": "row"},
    "tasks": {**_OWN_ID, "agent_id": "agent", "parent_task_id": "row"},
    "events": {**_OWN_ID, "agent_id": "agent"},
    "event_occurrences": {**_OWN_ID, "event_id": "row"},
    "folders": _OWN_ID,
    "folder_files": {**_OWN_ID, "folder_id": "row"},
    "file_passages": {**_OWN_ID, "file_id": "row"},
    "folder_attachments": {"folder_id": "row", "agent_id": "agent"},
    "migration_audit": _OWN_ID,
    "queued_messages": {
        **_OWN_ID, "target_agent_id": "agent", "source_agent_id": "agent", "batch_id": "batch",
    },
    "agent_atproto_endpoints": {"agent_id": "owner", "session_id": "owner"},
    "memory_block_updates": {"block_id": "memory_block"},
    "memory_block_checkpoints": {"block_id": "memory_block"},
}  # fmt: skip
"""Extension tables and memory history: column -> what its ids are of. `coordination_state.key` is a name, no id, and
the numbers of the two tables of memory history mean nothing outside them."""

AGENT_COLUMNS: Final = frozenset(
    column for columns in _BEYOND.values() for column, names in columns.items() if names in ("agent", "owner")
)
"""The columns by which rows of these tables name an agent."""

ROW_TABLES: Final[Mapping[str, str]] = {
    "source_id": "data_sources", "parent_task_id": "tasks", "event_id": "events", "folder_id": "folders",
    "file_id": "folder_files",
}  # fmt: skip
"""Columns that name a row of these tables, and the table that the row is of."""

AGENT_LISTS: Final[Mapping[str, tuple[str, ...]]] = {"notable_events": ("agents_involved",)}
"""Columns with a JSON array of the ids of agents."""

BLOCK_REFS: Final[Mapping[str, tuple[str, ...]]] = {
    "messages": ("source_metadata",),
    "queued_messages": ("origin_json", "metadata_json_full"),
}
"""JSON columns that may name memory blocks and their owners under `block_refs`."""

BATCH_AGENTS: Final[Mapping[str, str]] = {"messages": "agent_id", "queued_messages": "target_agent_id"}
"""Tables with a `batch_id`, and the column of the agent whose batch it is."""


def is_known(table: str) -> bool:
    """Whether the id columns of a table are known, so that its rows can get new ids."""
    return table in DECLARED or table in _BEYOND


def references_of(table: str) -> Mapping[str, Reference]:
    """The columns of a known table that hold ids, and of what; none for any other table."""
    if table in DECLARED:
        return {found.column: found.names for found in DECLARED[table].fields if found.names is not None}
    return _BEYOND.get(table, {})
