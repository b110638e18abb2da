"""The rows of a scope, as the tree they form: what the export line starts from.

Everything is read on one connection inside one read transaction, so an archive is one moment. Row selection follows the
original's queries; order is total, so that equal databases give equal bytes. Source: v3 6, with the repairs of v3 13.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.read.extension import read_beyond
from pattern_stream.db.read.history import BlockReader
from pattern_stream.db.read.included_rows import where
from pattern_stream.db.read.parent_order import ENTRY_TAIL, ENTRY_TREE_TAIL, SUMMARY_TAIL, SUMMARY_TREE_TAIL
from pattern_stream.db.read.prefetch import MessagePrefetch
from pattern_stream.db.read.query import Query
from pattern_stream.db.read.ranges import message_queries
from pattern_stream.db.read.reading import Found, Reading, open_reading
from pattern_stream.items import Close, Open, Ref, RowEvent, Rows
from pattern_stream.schema.mapping.lossy_types import LossyTypes
from pattern_stream.schema.model.nodes import (
    AgentExport,
    ConstellationExport,
    GroupConfigExport,
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
    Message,
    Record,
    SharedAttachment,
)
from pattern_stream.schema.model.scopes import ResolvedScope, Selection

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_BY_ID = "length(CAST(t.id AS BLOB)), t.id"
"""Agents in the order in which their ids sort as map keys on the wire."""


class _Walk:
    """One pass over a scope. Memory: a batch, and the id of each block that is shared."""

    def __init__(
        self, reading: Reading, selection: Selection, *, history: bool, prefetch: MessagePrefetch | None
    ) -> None:
        self._reading = reading
        self._prefetch = prefetch
        self._held = reading.held
        self._selection = selection
        self._blocks = BlockReader(reading, history)
        self._member_tail = f"WHERE t.group_id = :id AND t.agent_id IN ({reading.held.agents}) ORDER BY t.agent_id"
        self._named: set[str] = set()

    async def whole(self, oddities: LossyTypes | None) -> AsyncGenerator[RowEvent]:
        """The constellation, and with `oddities` what version 3 has no place for."""
        yield Open(ConstellationExport, extra={"owner_id": self._selection.owner})
        async for event in self._constellation():
            yield event
        if oddities is not None:
            async for event in read_beyond(self._reading, self._selection, oddities):
                yield event
        yield Close()

    async def _constellation(self) -> AsyncGenerator[RowEvent]:
        """Every agent, every group, all attachments, the blocks of no agent."""
        held = self._held
        all_agents = f"{where(held.sound('agents', 't'))} ORDER BY {_BY_ID}"
        if self._prefetch is not None and self._selection.messages:
            async with aclosing(self._each(Agent, all_agents)) as agents:
                self._prefetch.schedule([agent.row[Agent.index("id")] async for agent in agents])
        async for agent in self._each(Agent, all_agents):
            async for event in self._agent(agent, key=agent.row[Agent.index("id")]):
                yield event
        async for group in self._each(Group, f"{where(held.sound('agent_groups', 't'))} ORDER BY t.name, t.id"):
            async for event in self._group_of_constellation(group):
                yield event
        present = f"t.agent_id IN ({held.agents}) AND {held.attachment('t', held.in_constellation)}"
        async for event in self._all(SharedAttachment, f"WHERE {present} ORDER BY t.block_id, t.agent_id"):
            yield event
        unowned = where(held.unowned, held.sound("memory_blocks", "b"))
        async for block in self._each_of(self._blocks.query(f"{unowned} ORDER BY b.agent_id, b.label, b.id")):
            async for event in self._block_once(block, "all_memory_block_cids"):
                yield event
        alone = where(held.sound("agents", "t"), f"t.id NOT IN ({held.grouped})")
        async for agent in self._each(Agent, f"{alone} ORDER BY {_BY_ID}"):
            yield Ref(AgentExport, "standalone_agent_cids", agent.row[Agent.index("id")])

    async def scope(self, scope: ResolvedScope) -> AsyncGenerator[RowEvent]:
        """One agent or group."""
        record = Agent if scope.kind == "agent" else Group
        query = self._reading.query(record, "WHERE t.id = :id", scope.id)
        async with aclosing(self._reading.each(query)) as found:
            subjects = [subject async for subject in found]
        walk = self._agent if scope.kind == "agent" else self._thin_group if scope.thin else self._group
        async with aclosing(walk(subjects[0])) as events:
            async for event in events:
                yield event

    async def _agent(self, found: Found, *, key: str | None = None) -> AsyncGenerator[RowEvent]:
        """One agent with all that is its own."""
        agent_id = found.row[Agent.index("id")]
        async for event in self._opened(AgentExport, found, key):
            yield event
        own = where("b.agent_id = :id AND b.is_active = 1", self._held.sound("memory_blocks", "b"))
        async for block in self._each_of(self._blocks.query(f"{own} ORDER BY b.label, b.id", agent_id)):
            async for event in self._block(block, named=key is not None and await self._is_shared(block)):
                yield event
        if self._selection.messages:
            async for event in self._messages(agent_id):
                yield event
        if self._selection.archival:
            nested = await self._any("archival_entries", "parent_entry_id", agent_id)
            async for event in self._all(ArchivalEntry, ENTRY_TREE_TAIL if nested else ENTRY_TAIL, agent_id):
                yield event
        chained = await self._any("archive_summaries", "previous_summary_id", agent_id)
        async for event in self._all(ArchiveSummary, SUMMARY_TREE_TAIL if chained else SUMMARY_TAIL, agent_id):
            yield event
        yield Close()

    async def _group(self, found: Found) -> AsyncGenerator[RowEvent]:
        """One group with its agents inline, the blocks shared into it and its own."""
        group_id = found.row[Group.index("id")]
        async for event in self._opened(GroupExport, found):
            yield event
        async for event in self._all(Member, self._member_tail, group_id):
            yield event
        async for agent in self._each(Agent, f"WHERE t.id IN ({self._held.members}) ORDER BY {_BY_ID}", group_id):
            async for event in self._agent(agent):
                yield event
        async for block in self._group_blocks(group_id):
            async for event in self._block(block, named=False):
                yield event
        async for event in self._attachments_of_members(self._held.in_group, group_id):
            yield event
        yield Close()

    async def _thin_group(self, found: Found) -> AsyncGenerator[RowEvent]:
        """One group's configuration and the ids of its members."""
        group_id = found.row[Group.index("id")]
        agent_id = Member.index("agent_id")
        members = [member.row[agent_id] async for member in self._each(Member, self._member_tail, group_id)]
        async for event in self._opened(GroupConfigExport, found, extra={"member_agent_ids": members}):
            yield event
        yield Close()

    async def _group_of_constellation(self, found: Found) -> AsyncGenerator[RowEvent]:
        group_id, agent_id = found.row[Group.index("id")], Member.index("agent_id")
        async for event in self._opened(GroupExportThin, found):
            yield event
        query = self._reading.query(Member, self._member_tail, group_id)
        async with aclosing(self._reading.batches(query)) as batches_of_members:
            async for fetched in batches_of_members:
                yield Rows(Member, fetched.rows)
                async for piece in self._reading.pieces(query, fetched):
                    yield piece
                for member in fetched.rows:
                    yield Ref(AgentExport, "agent_cids", member[agent_id])
        async for block in self._group_blocks(group_id):
            async for event in self._block_once(block, "shared_memory_cids"):
                yield event
        async for event in self._attachments_of_members(self._held.in_constellation, group_id):
            yield event
        yield Close()

    async def _group_blocks(self, group_id: str) -> AsyncGenerator[Found]:
        """First what others share into the group, then what is the group's own; nothing twice."""
        shared, sound = self._held.shared_into_group, self._held.sound("memory_blocks", "b")
        async for block in self._each_of(self._blocks.query(f"{where(shared, sound)} ORDER BY b.id", group_id)):
            yield block
        own = where("b.agent_id = :id AND b.is_active = 1", sound, f"NOT ({shared})")
        async for block in self._each_of(self._blocks.query(f"{own} ORDER BY b.label, b.id", group_id)):
            yield block

    def _attachments_of_members(self, held: str, group_id: str) -> AsyncGenerator[RowEvent]:
        """The attachments of a group's members, but for those whose block is not in the archive."""
        present = where(f"t.agent_id IN ({self._held.members})", self._held.attachment("t", held))
        return self._all(SharedAttachment, f"{present} ORDER BY t.block_id, t.agent_id", group_id)

    async def _messages(self, agent_id: str) -> AsyncGenerator[RowEvent]:
        if self._prefetch is None:
            (query,) = await message_queries(self._reading, agent_id)
            found: AsyncGenerator[RowEvent] = self._reading.records(Message, query)
        else:
            found = self._prefetch.messages(self._reading, agent_id)
        async with aclosing(found) as events:
            async for event in events:
                yield event

    async def _block(self, block: Found, *, named: bool) -> AsyncGenerator[RowEvent]:
        """A memory block with its active updates; `named` where another node may refer to it."""
        block_id = block.row[MemoryBlock.index("id")]
        if named:
            self._named.add(block_id)
        async with aclosing(self._blocks.events(block, key=block_id if named else None)) as events:
            async for event in events:
                yield event

    async def _block_once(self, block: Found, collection: str) -> AsyncGenerator[RowEvent]:
        """A block that several collections may hold: the whole block once, then links to it."""
        block_id = block.row[MemoryBlock.index("id")]
        if block_id in self._named:
            yield Ref(MemoryBlockExport, collection, block_id)
            return
        async for event in self._block(block, named=True):
            yield event

    async def _opened(
        self, node: type[NodeType], found: Found, key: str | None = None, extra: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[RowEvent]:
        """A node that starts, with the large cells of its row."""
        yield Open(node, found.row, key, extra or {})
        async for piece in self._reading.pieces(found.query, found.fetched):
            yield piece

    async def _each(self, record: type[Record], tail: str, subject: str | None = None) -> AsyncGenerator[Found]:
        async for found in self._each_of(self._reading.query(record, tail, subject)):
            yield found

    async def _each_of(self, query: Query) -> AsyncGenerator[Found]:
        async with aclosing(self._reading.each(query)) as rows:
            async for found in rows:
                yield found

    async def _all(self, record: type[Record], tail: str, subject: str | None = None) -> AsyncGenerator[RowEvent]:
        async with aclosing(self._reading.records(record, self._reading.query(record, tail, subject))) as found:
            async for event in found:
                yield event

    async def _is_shared(self, block: Found) -> bool:
        return await self._any("shared_block_agents", "block_id", block.row[MemoryBlock.index("id")], by="block_id")

    async def _any(self, table: str, column: str, value: object, *, by: str = "agent_id") -> bool:
        sql = f"SELECT 1 FROM {table} WHERE {by} = :id AND {column} IS NOT NULL LIMIT 1"
        return await self._finds(sql, value, table)

    async def _finds(self, sql: str, value: object, table: str) -> bool:
        async with aclosing(self._reading.connection.rows(sql, {"id": value}, table=table)) as found:
            async for batch in found:
                return bool(batch)
        return False


async def read_scope(
    connection: Connection | AsyncConnection,
    scope: ResolvedScope,
    selection: Selection = Selection(),  # noqa: B008  frozen
    oddities: LossyTypes | None = None,
    prefetch: MessagePrefetch | None = None,
) -> AsyncGenerator[RowEvent]:
    """The rows of a scope as events, depth first, parents before children.

    In:      a connection inside a read transaction, borrowed; a scope that was found in it. `oddities`: what the
             mapping of these very rows notes, event by event. `prefetch`: workers that read messages, see there.
    Out:     one tree of Open ... Close. Memory blocks carry their active updates; a block or agent that is linked
             again is a Ref. With history, a block ends with a History of stored cells; with tables, the constellation
             ends with cells and tables beyond version 3. Pieces follow what has Large cells. Only with `prefetch`
             there is Encoded, in place of batches of messages.
    Memory:  one batch a level of the tree, one id per shared block.
    Raises:  CorruptDatabase, InvalidCell, LimitExceeded, DatabaseBusy, UnsupportedSchema.
    Source:  v3 6; v4 2, 3, 4.
    """
    with_tables = selection.with_tables(scope)
    reading = await open_reading(await Connection.of(connection), with_tables=with_tables)
    walk = _Walk(reading, selection, history=selection.with_history(scope), prefetch=prefetch)
    noted = (oddities if oddities is not None else LossyTypes()) if with_tables else None
    tree = walk.whole(noted) if scope.kind == "constellation" else walk.scope(scope)
    async with aclosing(tree) as events:
        async for event in events:
            yield event
