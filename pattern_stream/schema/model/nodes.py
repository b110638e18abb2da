"""The node types: what a block may be, and how blocks link. Source: docs/format.md#nodes.

A node either *is* a record (its fields are the map's own keys) or holds one under a key; beside it stand lists of
links, inline collections and plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final, Literal

from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.records import (
    Agent,
    ArchivalEntry,
    ArchiveSummary,
    Group,
    Member,
    MemoryBlock,
    Message,
    Record,
    SharedAttachment,
    canonical,
)

EdgeKind = Literal[
    "record", "records", "links", "link_map", "inline", "link", "octets", "value", "part", "tables", "rows"
]


@dataclass(frozen=True, slots=True)
class Edge:
    """One key of a node beside its own record's fields.

    record: an embedded record; records: an array of them; links: array of links; link_map: map id -> link;
    inline: array of nodes without blocks of their own; link: one link; octets: a byte string; value: anything plain,
    whose shape is `check` ("u32", "u64", "text", "instant", "strings", "stats", "export_type", "columns"); part: one
    node without a block of its own; tables: a map of name -> such a node; rows: arrays of cells.

    `optional`: the key may be absent, as readers and writers of version 3 have it. `page`: the type of the nodes to
    which a collection moves that is too large for its node (version 4).
    """

    kind: EdgeKind
    of: type[Record] | type[NodeType] | None = None
    check: str = ""
    nullable: bool = False
    name: str = ""
    optional: bool = False
    page: type[NodeType] | None = None


_BRANCHING = frozenset({"links", "link_map", "inline", "part", "tables"})


class NodeType:
    """Base of node types. `record` is what the node itself is, flat, if it is one."""

    name: ClassVar[str]
    record: ClassVar[type[Record] | None]
    edges: ClassVar[tuple[Edge, ...]]
    keys: ClassVar[tuple[str, ...]]
    branches: ClassVar[tuple[Edge, ...]] = ()
    """The edges that lead to further nodes, in the order of the bytes; `next_cid` is not followed."""

    def __init_subclass__(cls, *, record: type[Record] | None = None) -> None:
        declared = [replace(value, name=name) for name, value in vars(cls).items() if isinstance(value, Edge)]
        own = [field.name for field in record.wire_fields()] if record else []
        cls.name, cls.record, cls.edges = cls.__name__, record, tuple(sorted(declared, key=lambda e: canonical(e.name)))
        cls.branches = tuple(edge for edge in cls.edges if edge.kind in _BRANCHING)
        cls.keys = tuple(sorted([*own, *(edge.name for edge in declared)], key=canonical))

    @classmethod
    def home_of(cls, child: type[NodeType] | type[Record]) -> Edge | None:
        """The edge that a child of this type goes to unless it is said otherwise: the first in key order."""
        return next((edge for edge in cls.edges if edge.of is child), None)

    @classmethod
    def embedded(cls) -> Edge | None:
        """The edge that holds the node's own record under a key, if it has one."""
        return next((edge for edge in cls.edges if edge.kind == "record"), None)


def _record(of: type[Record]) -> Any:
    return Edge("record", of)


def _records(of: type[Record], page: type[NodeType] | None = None) -> Any:
    return Edge("records", of, page=page)


def _links(of: type[NodeType], *, nullable: bool = False) -> Any:
    return Edge("links", of, nullable=nullable, page=LinkPage)


def _optional(kind: EdgeKind, of: type[NodeType]) -> Any:
    return Edge(kind, of, optional=True)


def _value(check: str) -> Any:
    return Edge("value", check=check)


# --- pages: parts of collections that outgrow their node (version 4 only). Source: docs/format.md#pages. -------------


class LinkPage(NodeType):
    """Some of the links of a node. `cids` lead to what the node's own links would lead to."""

    cids: Any = Edge("links")
    index: Any = _value("u32")


class AttachmentPage(NodeType):
    """Some of the attachments of a group or constellation."""

    attachments: Any = _records(SharedAttachment)
    index: Any = _value("u32")


class MemberPage(NodeType):
    """Some of the members of a group."""

    members: Any = _records(Member)
    index: Any = _value("u32")


class MemberIdPage(NodeType):
    """Some of the ids of the members of a thin group."""

    ids: Any = _value("strings")
    index: Any = _value("u32")


# --- leaves ------------------------------------------------------------------------------------------------------


class ValueChunk(NodeType):
    """A piece of a cell that is too large for a block (version 4 only). Source: docs/format.md#values-out-of-line."""

    data: Any = Edge("octets")
    index: Any = _value("u32")


class TableChunk(NodeType):
    """Rows of an extension table. Source: docs/format.md#extension-tables."""

    rows: Any = Edge("rows")
    index: Any = _value("u32")
    table: Any = _value("text")


class UpdateChunk(NodeType):
    """Rows of `memory_block_updates` of one memory block. Source: docs/format.md#memory-history."""

    rows: Any = Edge("rows")
    index: Any = _value("u32")


class CheckpointChunk(NodeType):
    """Rows of `memory_block_checkpoints` of one memory block. Source: docs/format.md#memory-history."""

    rows: Any = Edge("rows")
    index: Any = _value("u32")


HISTORY_TABLES: Final[Mapping[type[NodeType], str]] = {
    UpdateChunk: "memory_block_updates",
    CheckpointChunk: "memory_block_checkpoints",
}
"""The tables of memory history by the nodes that carry their rows."""


class SnapshotChunk(NodeType):
    """A piece of a memory document. Source: docs/format.md#snapshot-chunks."""

    data: Any = Edge("octets")
    index: Any = _value("u32")
    next_cid: Any = Edge("link", nullable=True)


class History(NodeType):
    """The edits and checkpoints behind a memory block: never a block of its own. Source: docs/format.md#memory-history.

    `base`: the stored document, null where it is what the block's own chunks hold. `frontier`: the stored column.
    `columns`: where the tables of this database have other columns than HISTORY_COLUMNS: map table -> names.
    """

    base: Any = _links(SnapshotChunk, nullable=True)
    frontier: Any = Edge("octets", nullable=True)
    updates: Any = _links(UpdateChunk)
    checkpoints: Any = _links(CheckpointChunk)
    columns: Any = Edge("value", check="history_columns", optional=True)


class MemoryBlockExport(NodeType, record=MemoryBlock):
    """A memory block and its document in pieces. Source: docs/format.md#memory-blocks, #memory-history."""

    snapshot_chunk_cids: Any = _links(SnapshotChunk)
    total_snapshot_bytes: Any = _value("u64")
    history: Any = _optional("part", History)


class MessageChunk(NodeType):
    """Up to a block full of messages. Source: docs/format.md#message-chunks."""

    messages: Any = _records(Message)
    chunk_index: Any = _value("u32")
    end_position: Any = _value("text")
    message_count: Any = _value("u32")
    start_position: Any = _value("text")


class ArchivalEntryExport(NodeType, record=ArchivalEntry):
    """One archival entry. Source: docs/format.md#archival-entries."""


class ArchiveSummaryExport(NodeType, record=ArchiveSummary):
    """One archive summary. Source: docs/format.md#archive-summaries."""


class AgentExport(NodeType):
    """An agent and all that is its own. Source: docs/format.md#agents."""

    agent: Any = _record(Agent)
    memory_block_cids: Any = _links(MemoryBlockExport)
    message_chunk_cids: Any = _links(MessageChunk)
    archival_entry_cids: Any = _links(ArchivalEntryExport)
    archive_summary_cids: Any = _links(ArchiveSummaryExport)


class AgentPage(NodeType):
    """Some of the agents inside a group (version 4 only)."""

    agents: Any = Edge("inline", AgentExport)
    index: Any = _value("u32")


class EntryPage(NodeType):
    """Some of the agents of a constellation (version 4 only). Source: docs/format.md#pages."""

    entries: Any = Edge("link_map", AgentExport)
    index: Any = _value("u32")


class GroupExport(NodeType):
    """A group with its agents inline. Source: docs/format.md#groups."""

    group: Any = _record(Group)
    members: Any = _records(Member, MemberPage)
    agent_exports: Any = Edge("inline", AgentExport, page=AgentPage)
    shared_memory_cids: Any = _links(MemoryBlockExport)
    shared_attachment_exports: Any = _records(SharedAttachment, AttachmentPage)


class GroupConfigExport(NodeType):
    """A group's configuration alone: the thin export. Source: docs/format.md#groups."""

    group: Any = _record(Group)
    member_agent_ids: Any = Edge("value", check="strings", page=MemberIdPage)


class GroupExportThin(NodeType):
    """A group inside a constellation: its agents are links. Never a block of its own. Source: docs/format.md#groups."""

    group: Any = _record(Group)
    members: Any = _records(Member, MemberPage)
    agent_cids: Any = _links(AgentExport)
    shared_memory_cids: Any = _links(MemoryBlockExport)
    shared_attachment_exports: Any = _records(SharedAttachment, AttachmentPage)


class GroupPage(NodeType):
    """Some of the groups of a constellation (version 4 only). Source: docs/format.md#pages."""

    groups: Any = Edge("inline", GroupExportThin)
    index: Any = _value("u32")


class TableExport(NodeType):
    """The rows of one extension table: never a block of its own. Source: docs/format.md#extension-tables.

    `columns`: array of {name, type}, `type` as declared; one with `rowid` true holds the rowids of a table without a
    key. `count`: rows in all chunks.
    """

    count: Any = _value("u64")
    chunks: Any = _links(TableChunk)
    columns: Any = _value("columns")


class ConstellationExport(NodeType):
    """Everything. Source: docs/format.md#constellations, #extension-tables, #lossy-cells.

    `cells_beyond_version_3`: a table whose columns are CELL_COLUMNS, the cells of declared records that would not come
    back equal. `tables_beyond_version_3`: map table -> rows, names in canonical key order.
    """

    version: Any = _value("u32")
    owner_id: Any = _value("text")
    exported_at: Any = _value("instant")
    agent_exports: Any = Edge("link_map", AgentExport, page=EntryPage)
    group_exports: Any = Edge("inline", GroupExportThin, page=GroupPage)
    shared_attachments: Any = _records(SharedAttachment, AttachmentPage)
    all_memory_block_cids: Any = _links(MemoryBlockExport)
    standalone_agent_cids: Any = _links(AgentExport)
    cells_beyond_version_3: Any = _optional("part", TableExport)
    tables_beyond_version_3: Any = _optional("tables", TableExport)


class ExportManifest(NodeType):
    """The root. Source: docs/format.md#manifest."""

    stats: Any = _value("stats")
    version: Any = _value("u32")
    data_cid: Any = Edge("link")
    export_type: Any = _value("export_type")
    exported_at: Any = _value("instant")


EXTENSIONS: frozenset[type[NodeType]] = frozenset({History, TableExport, TableChunk, UpdateChunk, CheckpointChunk})
"""Nodes that readers of version 3 never see. # Rule: pages and values moved out of these need no other version."""

CELLS_KEY = "cells_beyond_version_3"
CELL_COLUMNS: tuple[str, ...] = ("table", "key", "column", "value")
"""The columns of the table of cells. `key`: the primary key; one of several columns as a JSON array.
Source: docs/format.md#lossy-cells."""

CELL_KEY: tuple[str, ...] = CELL_COLUMNS[:3]
"""The columns that tell one of these cells from all others."""

EXPORT_TYPES: dict[type[NodeType], str] = {
    AgentExport: "Agent",
    GroupExport: "Group",
    GroupConfigExport: "Group",
    ConstellationExport: "Constellation",
}
"""The manifest's `export_type` for each data node. Source: docs/format.md#manifest, #groups."""

STATS_KEYS: tuple[str, ...] = (
    "agent_count",
    "chunk_count",
    "group_count",
    "total_bytes",
    "total_blocks",
    "message_count",
    "memory_block_count",
    "archival_entry_count",
    "archive_summary_count",
)
"""The nine statistics, in canonical key order. Source: docs/format.md#manifest, #statistics."""

LINEAGE_KEYS: tuple[str, ...] = (
    "redacted", "base_root", "created_by", "loro_version", "section_count", "source_schema",
)  # fmt: skip
"""Further keys of a manifest, all optional plain values, which readers of version 3 skip.
Source: docs/format.md#lineage."""
