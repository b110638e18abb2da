"""A part of an archive: some agents and groups, or all of them without their messages or archival entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import field, replace
from typing import Final

from pattern_stream.items import CELLS_TABLE, Cells, Close, Open, OpenTable, Piece, RecordEvent, Records, Ref, Rows
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.id_columns import is_known
from pattern_stream.schema.model.nodes import AgentExport, ConstellationExport, MemoryBlockExport
from pattern_stream.schema.model.records import (
    ArchivalEntry,
    ArchiveSummary,
    Member,
    MemoryBlock,
    Message,
    Record,
    SharedAttachment,
)
from pattern_stream.stages.edit.owned_rows import NamingColumns, RowKey, part_of
from pattern_stream.stages.edit.table_of_contents import GROUP_NODES, Wanted
from pattern_stream.streams import Events, closing

_NO_ROWS: Final = NamingColumns("", ())


@dataclass(slots=True)
class Filter:
    """Lets through what is wanted. `without`: record types that are left out. `wanted`: None means everything.

    `not_carried`: rows by table that were left out although they belong to what is wanted, or are of a type that is
    left out. `summaries`: archive summaries that passed.
    Memory:  the ids of the memory blocks of the wanted agents, where only a part is wanted.
    """

    without: frozenset[type[Record]] = frozenset()
    wanted: Wanted | None = None
    not_carried: Counter[str] = field(default_factory=Counter)
    summaries: int = 0
    _kept: list[bool] = field(default_factory=list)
    _blocks: set[str] = field(default_factory=set)
    _passed: bool = True
    _table: OpenTable | None = None
    _columns: NamingColumns = _NO_ROWS
    _table_passed: bool = False
    _ends_with_last: bool = False

    def passes(self, event: RecordEvent) -> list[RecordEvent]:
        """The event, or what of it is wanted. Pieces share the fate of what they are of."""
        if isinstance(event, Piece):
            return [event] if self._passed else []
        if isinstance(event, OpenTable) and event.table is not None:
            self._table, self._columns = event, NamingColumns(event.table, event.column_names)
            self._table_passed = False
            return []
        passed = self._of_table(event, self._table) if self._table is not None else self._passing(event)
        self._passed = bool(passed) and (self._table is None or self._ends_with_last)
        return passed

    def _of_table(self, event: RecordEvent, opened: OpenTable) -> list[RecordEvent]:
        """Rows of an extension table, which is opened before the first of them that is wanted."""
        if isinstance(event, Close):
            self._table = None
            return [event] if self._table_passed else []
        if not isinstance(event, Cells):
            return []
        rows, table = event.rows, event.table
        if self.wanted is not None:
            takes = is_known(table) and table not in self._left_out
            rows, left = part_of(rows, self._columns, self.wanted.owners, self._has_row, takes=takes)
            self.not_carried[table] += left
        elif table in self._left_out:
            self.not_carried[table] += len(rows)
            rows = []
        if not rows:
            return []
        self.summaries += len(rows) if table == ArchiveSummary.table else 0
        self._ends_with_last = rows[-1] is event.rows[-1]
        opened_now = [] if self._table_passed else [replace(opened, count=None)]
        self._table_passed = True
        return [*opened_now, Cells(table, rows)]

    def _passing(self, event: RecordEvent) -> list[RecordEvent]:
        if isinstance(event, Cells) and event.table == CELLS_TABLE:
            event = Cells(event.table, [row for row in event.rows if row[0] not in self._left_out])
            return [event] if event.rows else []
        passed = event if self.wanted is None else self._wanted_part(event, self.wanted)
        if isinstance(passed, (Records, Rows)):
            count = len(passed.records if isinstance(passed, Records) else passed.rows)
            if passed.record in self.without:
                self.not_carried[passed.record.table] += count
                return []
            self.summaries += count if passed.record is ArchiveSummary else 0
        return [] if passed is None else [passed]

    @property
    def _left_out(self) -> frozenset[str]:
        """The tables of which no rows are wanted."""
        return frozenset(record.table for record in self.without)

    def _wanted_part(self, event: RecordEvent, wanted: Wanted) -> RecordEvent | None:
        if isinstance(event, Open):
            self._kept.append(self._wants(event, wanted))
            return event if self._kept[-1] else None
        if isinstance(event, Close):
            return event if self._kept.pop() else None
        if isinstance(event, Records) and event.record is SharedAttachment:
            return self._attachments(event, wanted)
        if not self._kept or not self._kept[-1]:
            if isinstance(event, Records) and event.record is Member:
                self.not_carried[Member.table] += sum(one["agent_id"] in wanted.agents for one in event.records)
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
        if isinstance(event, OpenTable):  # lossy cells follow their rows
            return True
        if event.node is not MemoryBlockExport:
            return event.node is ConstellationExport
        block_id = event.record["id"]
        kept = block_id in wanted.blocks or event.record["agent_id"] in wanted.owners
        if kept:
            self._blocks.add(block_id)
        return kept

    def _attachments(self, event: Records, wanted: Wanted) -> Records | None:
        """Between what is wanted only. A block of a wanted agent has come before any attachment of it."""
        theirs = [record for record in event.records if record["agent_id"] in wanted.agents]
        between = [record for record in theirs if self._has_row((MemoryBlock.table, record["block_id"]))]
        if len(self._kept) == 1:  # those of a group are all of the constellation's once more
            self.not_carried[SharedAttachment.table] += len(theirs) - len(between)
        return Records(SharedAttachment, between) if between else None

    def _has_row(self, key: RowKey) -> bool:
        """Whether a row that others name is wanted."""
        if self.wanted is None or key in self.wanted.rows:
            return True
        table, row_id = key
        return table == MemoryBlock.table and (row_id in self._blocks or row_id in self.wanted.blocks)


def without(*, messages: bool = True, archival: bool = True) -> frozenset[type[Record]]:
    """The record types that are left out where messages or archival entries are not wanted."""
    return frozenset(record for record, kept in ((Message, messages), (ArchivalEntry, archival)) if not kept)


async def select(events: Events[RecordEvent], chosen: Filter) -> AsyncGenerator[RecordEvent]:
    """Let through the wanted part of an archive.

    In:      records as `unchunk` yields them.
    Out:     the same without what is not wanted; an agent or block may have lost its parent node.
    """
    async with closing(events):
        async for event in events:
            for passed in chosen.passes(event):
                yield passed
