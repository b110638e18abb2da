"""The record types, each declared once. A class is never instantiated: a record is a dict, a row is a tuple.

`columns` is derived: wire fields in canonical key order, then what does not travel by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from pattern_stream.schema.model.fields import (
    Field,
    blob,
    choice,
    flag,
    instant,
    integer,
    json,
    octets,
    role,
    strings,
    text,
)

PERMISSIONS = ("read_only", "partner", "human", "append", "read_write", "admin")
ROLE_TYPES = frozenset({"supervisor", "regular", "observer", "specialist"})


def canonical(key: str) -> tuple[int, bytes]:
    """Sort key of map keys in DAG-CBOR: shorter first, then bytewise. Source: docs/format.md#dag-cbor."""
    encoded = key.encode()
    return len(encoded), encoded


class Record:
    """Base of record types.

    `table`: where it lives. `noun`: the word for one of it in messages. `columns`: the SELECT list, wire fields in
    canonical key order and then the rest. `key`: the primary key. `key_column`: index in `columns` of the cell that
    names a row in messages. `owner`: the column of the agent, group or memory block that a row belongs to. `parent`:
    the column by which a row names another of its table.
    """

    table: ClassVar[str]
    noun: ClassVar[str]
    fields: ClassVar[tuple[Field, ...]]
    columns: ClassVar[tuple[str, ...]]
    key: ClassVar[tuple[str, ...]]
    key_column: ClassVar[int]
    owner: ClassVar[str | None]
    parent: ClassVar[str | None]

    def __init_subclass__(
        cls,
        *,
        table: str,
        noun: str,
        key: tuple[str, ...] = ("id",),
        named_by: str = "id",
        owner: str | None = None,
        parent: str | None = None,
    ) -> None:
        declared = [_named(value, name) for name, value in vars(cls).items() if isinstance(value, Field)]
        ordered = sorted(declared, key=lambda field: (not field.wire, canonical(field.column)))
        cls.table, cls.noun, cls.fields = table, noun, tuple(ordered)
        cls.key, cls.owner, cls.parent = key, owner, parent
        cls.columns = tuple(field.column for field in ordered)
        cls.key_column = cls.columns.index(named_by)

    @classmethod
    def wire_fields(cls) -> tuple[Field, ...]:
        """The fields that travel, in canonical key order."""
        return tuple(field for field in cls.fields if field.wire)

    @classmethod
    def index(cls, column: str) -> int:
        """Where a column stands in a row."""
        return cls.columns.index(column)


def _named(field: Field, name: str) -> Field:
    return replace(field, column=name)


class Agent(Record, table="agents", noun="agent"):
    """One agent. Source: docs/format.md#agents, docs/database.md#core-tables."""

    id: Any = text(names="agent")
    name: Any = text()
    description: Any = text(nullable=True)
    model_provider: Any = text()
    model_name: Any = text()
    system_prompt: Any = text()
    config: Any = json()
    enabled_tools: Any = strings()
    tool_rules: Any = json(nullable=True)
    status: Any = choice("active", "hibernated", "archived")
    created_at: Any = instant()
    updated_at: Any = instant()


class Group(Record, table="agent_groups", noun="group"):
    """A group of agents. Source: docs/format.md#groups."""

    id: Any = text(names="group")
    name: Any = text()
    description: Any = text(nullable=True)
    pattern_type: Any = choice("round_robin", "dynamic", "pipeline", "supervisor", "voting", "sleeptime")
    pattern_config: Any = json()
    created_at: Any = instant()
    updated_at: Any = instant()


class Member(
    Record, table="group_members", noun="member", key=("group_id", "agent_id"), named_by="agent_id", owner="group_id"
):
    """An agent's membership in a group. Source: docs/format.md#groups."""

    group_id: Any = text(names="group")
    agent_id: Any = text(names="agent")
    role: Any = role()
    joined_at: Any = instant()
    capabilities: Any = strings(nullable=True, missing="'[]'")


class MemoryBlock(Record, table="memory_blocks", noun="memory block", owner="agent_id"):
    """A named piece of an agent's memory, a Loro document. Source: docs/format.md#memory-blocks."""

    id: Any = text(names="memory_block")
    agent_id: Any = text(names="owner")
    label: Any = text()
    description: Any = text()
    block_type: Any = choice("core", "working", "archival", "log")
    char_limit: Any = integer()
    permission: Any = choice(*PERMISSIONS)
    pinned: Any = flag()
    content_preview: Any = text(nullable=True)
    metadata: Any = json(nullable=True)
    is_active: Any = flag()
    created_at: Any = instant()
    updated_at: Any = instant()
    frontier: Any = octets(missing="NULL")
    last_seq: Any = integer(missing="0")
    loro_snapshot: Any = blob()


class SharedAttachment(
    Record,
    table="shared_block_agents",
    noun="attachment",
    key=("block_id", "agent_id"),
    named_by="block_id",
    owner="agent_id",
):
    """An agent's access to a memory block it does not own. Source: docs/format.md#groups."""

    block_id: Any = text(names="memory_block")
    agent_id: Any = text(names="agent")
    permission: Any = choice(*PERMISSIONS)
    attached_at: Any = instant()


class ArchivalEntry(
    Record, table="archival_entries", noun="archival entry", owner="agent_id", parent="parent_entry_id"
):
    """A long-term note. Source: docs/format.md#archival-entries."""

    id: Any = text(names="archival_entry")
    agent_id: Any = text(names="owner")
    content: Any = text()
    metadata: Any = json(nullable=True)
    chunk_index: Any = integer(nullable=True, null_as=0)
    parent_entry_id: Any = text(nullable=True, names="archival_entry")
    created_at: Any = instant()


class Message(Record, table="messages", noun="message", owner="agent_id"):
    """One turn of a conversation. Source: docs/format.md#message-chunks."""

    id: Any = text(names="message")
    agent_id: Any = text(names="agent")
    position: Any = text()
    batch_id: Any = text(nullable=True, names="batch")
    sequence_in_batch: Any = integer(nullable=True)
    role: Any = choice("user", "assistant", "system", "tool")
    content_json: Any = json()
    content_preview: Any = text(nullable=True)
    batch_type: Any = choice("user_request", "agent_to_agent", "system_trigger", "continuation", nullable=True)
    source: Any = text(nullable=True)
    source_metadata: Any = json(nullable=True)
    is_archived: Any = flag()
    is_deleted: Any = flag(missing="0")
    created_at: Any = instant()


class ArchiveSummary(
    Record, table="archive_summaries", noun="archive summary", owner="agent_id", parent="previous_summary_id"
):
    """A summary that stands for a range of archived messages. Source: docs/format.md#archive-summaries."""

    id: Any = text(names="archive_summary")
    agent_id: Any = text(names="agent")
    summary: Any = text()
    start_position: Any = text()
    end_position: Any = text()
    message_count: Any = integer()
    previous_summary_id: Any = text(nullable=True, names="archive_summary")
    depth: Any = integer()
    created_at: Any = instant()


class MemoryUpdate(Record, table="memory_block_updates", noun="memory update", named_by="seq", owner="block_id"):
    """One edit of a memory block that is not in its snapshot yet: folded on export.
    Source: docs/database.md#memory-history-tables, docs/memory.md#stored-edits."""

    seq: Any = integer()
    update_blob: Any = blob()


_DECLARED: Final[tuple[type[Record], ...]] = (
    Agent, Group, Member, MemoryBlock, SharedAttachment, ArchivalEntry, Message, ArchiveSummary,
)  # fmt: skip
DECLARED: Final[Mapping[str, type[Record]]] = {
    record.table: record for record in sorted(_DECLARED, key=lambda record: canonical(record.table))
}
"""The record types of version 3 by their tables, in canonical key order."""
