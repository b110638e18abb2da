"""A part of an archive: some agents and groups, or all of them without their messages or archival entries."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from pattern_stream.items import CELLS_TABLE, Cells, Close, Open, OpenTable, Piece, RecordEvent, Records, Ref, Rows
from pattern_stream.schema.model.nodes import AgentExport, ConstellationExport, MemoryBlockExport
from pattern_stream.schema.model.records import ArchivalEntry, Message, Record, SharedAttachment
from pattern_stream.stages.edit.table_of_contents import GROUP_NODES, Wanted
from pattern_stream.streams import Events, transform


@dataclass(slots=True)
class Filter:
    """Lets through what is wanted. `without`: record types that are left out. `wanted`: None means everything.

    Memory:  the ids of the memory blocks of the wanted agents, where only a part is wanted.
    """

    without: frozenset[type[Record]] = frozenset()
    wanted: Wanted | None = None
    _kept: list[bool] = field(default_factory=list)
    _blocks: set[str] = field(default_factory=set)
    _passed: bool = True
    _unwanted_table: bool = False

    def passes(self, event: RecordEvent) -> RecordEvent | None:
        """The event, or what of it is wanted; None where nothing is. Pieces share the fate of what they are of."""
        if isinstance(event, Piece):
            return event if self._passed else None
        passed = self._passing(event)
        self._passed = passed is not None
        return passed

    def _passing(self, event: RecordEvent) -> RecordEvent | None:
        if isinstance(event, (Records, Rows)) and event.record in self.without:
            return None
        if self._without_table(event):
            return None
        if isinstance(event, Cells) and event.table == CELLS_TABLE:
            event = Cells(event.table, [row for row in event.rows if row[0] not in self._left_out])
            return event if event.rows else None
        return event if self.wanted is None else self._wanted_part(event, self.wanted)

    @property
    def _left_out(self) -> frozenset[str]:
        """The tables of which no rows are wanted."""
        return frozenset(record.table for record in self.without)

    def _without_table(self, event: RecordEvent) -> bool:
        """Whether this belongs to rows beyond version 3 of a table that is left out. Such a table opens nothing."""
        if isinstance(event, Open):
            self._unwanted_table = isinstance(event, OpenTable) and event.table in self._left_out
            return self._unwanted_table
        gone = self._unwanted_table
        if isinstance(event, Close):
            self._unwanted_table = False
        return gone

    def _wanted_part(self, event: RecordEvent, wanted: Wanted) -> RecordEvent | None:
        if isinstance(event, Open):
            self._kept.append(self._wants(event, wanted))
            return event if self._kept[-1] else None
        if isinstance(event, Close):
            return event if self._kept.pop() else None
        if isinstance(event, Records) and event.record is SharedAttachment:
            return self._attachments(event, wanted)
        if not self._kept or not self._kept[-1]:
            return None
        if isinstance(event, Ref) and event.node is AgentExport and event.key not in wanted.agents:
            return None
        return event

    def _wants(self, event: Open, wanted: Wanted) -> bool:
        """A node without its parent is well: whoever takes it in looks no further up than its agent or group."""
        if event.node is AgentExport:
            return event.record["id"] in wanted.agents
        if event.node in GROUP_NODES:
            return event.record["id"] in wanted.groups
        if isinstance(event, OpenTable):  # rows of the extension are the whole constellation's; cells follow their rows
            return event.table is None
        if event.node is not MemoryBlockExport:
            return event.node is ConstellationExport
        block_id = event.record["id"]
        kept = block_id in wanted.blocks or event.record["agent_id"] in wanted.agents
        if kept:
            self._blocks.add(block_id)
        return kept

    def _attachments(self, event: Records, wanted: Wanted) -> Records | None:
        """Between what is wanted only. A block of a wanted agent has come before any attachment of it."""
        between = [
            record
            for record in event.records
            if record["agent_id"] in wanted.agents
            and (record["block_id"] in self._blocks or record["block_id"] in wanted.blocks)
        ]
        return Records(SharedAttachment, between) if between else None


def without(*, messages: bool = True, archival: bool = True) -> frozenset[type[Record]]:
    """The record types that are left out where messages or archival entries are not wanted."""
    return frozenset(record for record, kept in ((Message, messages), (ArchivalEntry, archival)) if not kept)


def select(events: Events[RecordEvent], chosen: Filter) -> AsyncGenerator[RecordEvent]:
    """Let through the wanted part of an archive.

    In:      records as `unchunk` yields them.
    Out:     the same without what is not wanted; an agent or block may have lost its parent node.
    """
    return transform(events, chosen.passes)
