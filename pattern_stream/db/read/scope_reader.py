"""The rows of a scope, as the tree they form: the start of the export line.

All is read on one connection inside one read transaction, so an archive is one moment. Row selection follows the
original's queries; order is total, so that equal databases give equal bytes. Source: docs/format.md#rows-and-order.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.read.extension import read_extension
from pattern_stream.db.read.fetch import Fetched, FetchedRow, Reading, RowPlan
from pattern_stream.db.read.parent_order import ENTRY_TAIL, ENTRY_TREE_TAIL, SUMMARY_TAIL, SUMMARY_TREE_TAIL
from pattern_stream.db.read.plan import Request, drive, from_source
from pattern_stream.db.read.prefetch import MessagePrefetch
from pattern_stream.db.read.query import active_updates_tail, table_query
from pattern_stream.db.read.ranges import message_queries
from pattern_stream.db.read.row_selection import where
from pattern_stream.format import DOCUMENT_GROWTH
from pattern_stream.items import (
    Close,
    MemoryHistory,
    Open,
    OpenConstellation,
    OpenGroupConfig,
    OpenHistory,
    OpenMemoryBlock,
    Ref,
    RowEvent,
    Rows,
)
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.lossy_types import LossyTypes
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.nodes import (
    AgentExport,
    GroupExport,
    GroupExportThin,
    MemoryBlockExport,
    NodeType,
)
from pattern_stream.schema.model.records import (
    Agent,
    ArchivalEntry,
    ArchiveSummary,
    Group,
    Member,
    MemoryBlock,
    MemoryUpdate,
    Message,
    Record,
    SharedAttachment,
)
from pattern_stream.schema.model.scopes import ResolvedScope, Selection

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

Visit = Callable[[FetchedRow], RowPlan]

_BY_ID: Final = "length(CAST(t.id AS BLOB)), t.id"
"""Agents in the order in which their ids sort as map keys on the wire."""

_IS_EMPTY: Final = "length(b.loro_snapshot) = 0"
"""Then the row has the newest checkpoint in its place, if there is one."""

_HISTORY_ORDER: Final = {"memory_block_updates": ("t.seq",), "memory_block_checkpoints": ()}
"""The tables of memory history, and the columns that sort their rows before the key does."""


def read_scope(
    connection: Connection | AsyncConnection,
    scope: ResolvedScope,
    selection: Selection = Selection(),  # noqa: B008  frozen
    lossy_types: LossyTypes | None = None,
    prefetch: MessagePrefetch | None = None,
) -> AsyncGenerator[RowEvent]:
    """The rows of a scope as events, depth first, parents before children.

    In:      a connection inside a read transaction, borrowed; a scope that was found in it. `lossy_types`: filled
             by the mapping of these very rows, event by event. `prefetch`: workers that read messages, see there.
    Out:     one tree of Open ... Close. Memory blocks carry their active updates; a block or agent that is linked
             again is a Ref. With history, a block ends with a History of stored cells; with tables, the constellation
             ends with lossy cells and extension tables. Pieces follow a row with Large cells. Only with `prefetch`
             there is Encoded, in place of batches of messages.
    Memory:  one batch a level of the tree, one id per shared block.
    Raises:  CorruptDatabase, InvalidCell, LimitExceeded, DatabaseBusy, UnsupportedSchema.
    Source:  docs/format.md#rows-and-order, #memory-history, #extension-tables.
    """
    return drive(_plan(connection, scope, selection, LossyTypes() if lossy_types is None else lossy_types, prefetch))


def _plan(
    connection: Connection | AsyncConnection,
    scope: ResolvedScope,
    selection: Selection,
    lossy_types: LossyTypes,
    prefetch: MessagePrefetch | None,
) -> RowPlan:
    ours: Connection = yield Connection.of(connection)
    reading: Reading = yield Reading.of(
        ours,
        with_tables=selection.with_tables(scope),
        longest_whole=DOCUMENT_GROWTH * selection.max_document_bytes,
    )
    walk = _Walk(reading, selection, selection.with_history(scope), prefetch)
    if scope.kind != "constellation":
        yield from walk.agent_or_group(scope)
        return
    yield OpenConstellation(owner_id=selection.owner)
    yield from walk.constellation()
    if selection.with_tables(scope):
        yield from read_extension(reading, selection, lossy_types)
    yield Close()


@dataclass(slots=True)
class _Walk:
    """One pass over a scope. Memory: a batch, and the id of each block that is shared."""

    reading: Reading
    selection: Selection
    history: bool
    prefetch: MessagePrefetch | None
    _linkable: set[str] = field(default_factory=set)

    def constellation(self) -> RowPlan:
        """Every agent, every group, all attachments, the blocks of no agent."""
        included = self.reading.included
        all_agents = f"{where(included.sound('agents', 't'))} ORDER BY {_BY_ID}"
        if self.prefetch is not None and self.selection.messages:
            agents = yield from self.reading.all(self.reading.query(Agent, all_agents))
            self.prefetch.schedule([_id(agent) for agent in agents])
        yield from self._each(Agent, all_agents, lambda agent: self._agent(agent, key=_id(agent)))
        all_groups = f"{where(included.sound('agent_groups', 't'))} ORDER BY t.name, t.id"
        yield from self._each(Group, all_groups, self._group_of_constellation)
        present = f"t.agent_id IN ({included.agents}) AND {included.attachment('t', included.in_constellation)}"
        yield from self._all(SharedAttachment, f"WHERE {present} ORDER BY t.block_id, t.agent_id")
        unowned = where(included.unowned, included.sound("memory_blocks", "b"))
        yield from self._each_block(
            f"{unowned} ORDER BY b.agent_id, b.label, b.id",
            None,
            lambda block: self._block_once(block, "all_memory_block_cids"),
        )
        alone = where(included.sound("agents", "t"), f"t.id NOT IN ({included.grouped})")
        yield from self._each(Agent, f"{alone} ORDER BY {_BY_ID}", _link_alone)

    def agent_or_group(self, scope: ResolvedScope) -> RowPlan:
        """One agent or group."""
        record = Agent if scope.kind == "agent" else Group
        visit = self._agent if scope.kind == "agent" else self._thin_group if scope.thin else self._group
        yield from self._each(record, "WHERE t.id = :id", visit, scope.id)

    def _agent(self, agent: FetchedRow, *, key: str | None = None) -> RowPlan:
        """One agent with all rows of its own. With `key`, its blocks may be linked again too."""
        agent_id = _id(agent)
        yield from self._open(AgentExport, agent, key)
        own = where("b.agent_id = :id AND b.is_active = 1", self.reading.included.sound("memory_blocks", "b"))

        def visit(block: FetchedRow) -> RowPlan:
            shared = key is not None and (yield from self._any("shared_block_agents", "block_id", _id(block)))
            yield from self._block(block, linkable=shared)

        yield from self._each_block(f"{own} ORDER BY b.label, b.id", agent_id, visit)
        if self.selection.messages:
            if self.prefetch is None:
                (query,) = yield message_queries(self.reading, agent_id)
                yield from self.reading.records(Message, query)
            else:
                yield from from_source(self.prefetch.messages(self.reading, agent_id))
        if self.selection.archival:
            nested = yield from self._any("archival_entries", "agent_id", agent_id, "parent_entry_id")
            yield from self._all(ArchivalEntry, ENTRY_TREE_TAIL if nested else ENTRY_TAIL, agent_id)
        chained = yield from self._any("archive_summaries", "agent_id", agent_id, "previous_summary_id")
        yield from self._all(ArchiveSummary, SUMMARY_TREE_TAIL if chained else SUMMARY_TAIL, agent_id)
        yield Close()

    def _group(self, group: FetchedRow) -> RowPlan:
        """One group with its agents inline, the blocks shared into it and its own."""
        group_id, included = _id(group), self.reading.included
        yield from self._open(GroupExport, group)
        yield from self._all(Member, self._member_tail, group_id)
        yield from self._each(Agent, f"WHERE t.id IN ({included.members}) ORDER BY {_BY_ID}", self._agent, group_id)
        yield from self._group_blocks(group_id, lambda block: self._block(block, linkable=False))
        yield from self._attachments_of_members(included.in_group, group_id)
        yield Close()

    def _thin_group(self, group: FetchedRow) -> RowPlan:
        """One group's configuration and the ids of its members."""
        members = yield from self.reading.all(self.reading.query(Member, self._member_tail, _id(group)))
        ids = [member.row[Member.index("agent_id")] for member in members]
        yield OpenGroupConfig(group.row, member_agent_ids=ids)
        yield from self.reading.pieces(group.batch)
        yield Close()

    def _group_of_constellation(self, group: FetchedRow) -> RowPlan:
        """One group with links to its agents and the blocks shared into it."""
        group_id, agent_id = _id(group), Member.index("agent_id")
        yield from self._open(GroupExportThin, group)

        def visit(members: Fetched) -> RowPlan:
            yield Rows(Member, members.rows)
            yield from self.reading.pieces(members)
            for member in members.rows:
                yield Ref(AgentExport, "agent_cids", member[agent_id])

        yield from self.reading.batches(self.reading.query(Member, self._member_tail, group_id), visit)
        yield from self._group_blocks(group_id, lambda block: self._block_once(block, "shared_memory_cids"))
        yield from self._attachments_of_members(self.reading.included.in_constellation, group_id)
        yield Close()

    @property
    def _member_tail(self) -> str:
        return f"WHERE t.group_id = :id AND t.agent_id IN ({self.reading.included.agents}) ORDER BY t.agent_id"

    def _group_blocks(self, group_id: str, visit: Visit) -> RowPlan:
        """First the blocks that others share into the group, then the group's own; nothing twice."""
        shared, sound = self.reading.included.shared_into_group, self.reading.included.sound("memory_blocks", "b")
        yield from self._each_block(f"{where(shared, sound)} ORDER BY b.id", group_id, visit)
        own = where("b.agent_id = :id AND b.is_active = 1", sound, f"NOT ({shared})")
        yield from self._each_block(f"{own} ORDER BY b.label, b.id", group_id, visit)

    def _attachments_of_members(self, block_included: str, group_id: str) -> RowPlan:
        """The attachments of a group's members, but for those whose block is not in the archive."""
        included = self.reading.included
        present = where(f"t.agent_id IN ({included.members})", included.attachment("t", block_included))
        return self._all(SharedAttachment, f"{present} ORDER BY t.block_id, t.agent_id", group_id)

    def _block_once(self, block: FetchedRow, collection: str) -> RowPlan:
        """A block that several collections may link: the whole block once, then links to it."""
        if _id(block) in self._linkable:
            yield Ref(MemoryBlockExport, collection, _id(block))
        else:
            yield from self._block(block, linkable=True)

    def _block(self, block: FetchedRow, *, linkable: bool) -> RowPlan:
        """A memory block: its row, the active updates that are to be in its document, with `history` all stored rows.

        Updates come by seq, undone ones too, then all checkpoints by id. `linkable`: another node may link the block.
        """
        catalog, block_id, row, is_empty = self.reading.catalog, _id(block), block.row[:-1], block.row[-1]
        if linkable:
            self._linkable.add(block_id)
        yield OpenMemoryBlock(row, block_id if linkable else None, has_history=self.history)
        yield from self.reading.pieces(block.batch)
        if catalog.has(MemoryUpdate.table):
            yield from self._all(MemoryUpdate, active_updates_tail(catalog), block_id)
        if self.history:
            base = b"" if is_empty else row[MemoryBlock.index("loro_snapshot")]
            tables = {name: catalog.tables[name] for name in _HISTORY_ORDER if name in catalog.tables}
            columns = {**HISTORY_COLUMNS, **{name: table.names for name, table in tables.items()}}
            yield OpenHistory(stored=MemoryHistory(base, row[MemoryBlock.index("frontier")], columns))
            for name, table in tables.items():
                order = ", ".join([*_HISTORY_ORDER[name], *table.order("t")])
                body = f"{name} t WHERE t.block_id = :id ORDER BY {order}"
                yield from self.reading.cells(table_query(table, body, block_id))
            yield Close()
        yield Close()

    def _open(self, node: type[NodeType], found: FetchedRow, key: str | None = None) -> RowPlan:
        """A node that starts, with the large cells of its row."""
        yield Open(node, found.row, key)
        yield from self.reading.pieces(found.batch)

    def _each(self, record: type[Record], tail: str, visit: Visit, subject: str | None = None) -> RowPlan:
        return self.reading.each(self.reading.query(record, tail, subject), visit)

    def _each_block(self, tail: str, subject: str | None, visit: Visit) -> RowPlan:
        return self.reading.each(self.reading.query(MemoryBlock, tail, subject, (_IS_EMPTY,)), visit)

    def _all(self, record: type[Record], tail: str, subject: str | None = None) -> RowPlan:
        return self.reading.records(record, self.reading.query(record, tail, subject))

    def _any(self, table: str, owner: str, value: str, column: str | None = None) -> Generator[Request, Any, bool]:
        """Whether a row of an owner has a value in a column."""
        sql = f"SELECT 1 FROM {table} WHERE {owner} = :id AND {column or owner} IS NOT NULL LIMIT 1"
        found = yield self.reading.connection.execute(sql, {"id": value}, table=table)
        return bool(found)


def _id(found: FetchedRow) -> str:
    """The id of an agent, group or memory block: the first column of each."""
    return str(found.row[0])


def _link_alone(agent: FetchedRow) -> RowPlan:
    yield Ref(AgentExport, "standalone_agent_cids", _id(agent))
