"""The rows of a scope, as the tree they form: what the export line starts from.

Everything is read on one connection inside one read transaction, so an archive is one moment. Row selection follows the
original's queries; order is total, so that equal databases give equal bytes. Source: v3 6, with the repairs of v3 13.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from sqlalchemy.ext.asyncio import AsyncConnection

from pattern_stream.db.columns import Columns, read_columns
from pattern_stream.db.cursor import batches
from pattern_stream.db.tree import ENTRY_TAIL, ENTRY_TREE_TAIL, INSTANT_KEY, SUMMARY_TAIL, SUMMARY_TREE_TAIL
from pattern_stream.items import Close, Open, Ref, Row, RowEvent, Rows
from pattern_stream.schema.instants import instant_sort_key
from pattern_stream.schema.nodes import (
    AgentExport,
    ConstellationExport,
    GroupConfigExport,
    GroupExport,
    GroupExportThin,
    MemoryBlockExport,
)
from pattern_stream.schema.records import (
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
from pattern_stream.schema.scopes import ResolvedScope, Selection

_BY_ID = "length(CAST(t.id AS BLOB)), t.id"
"""Agents in the order in which their ids sort as map keys on the wire."""

_MEMBERS = "SELECT m.agent_id FROM group_members m JOIN agents a ON a.id = m.agent_id WHERE m.group_id = :id"

_SHARED_INTO_GROUP = f"""b.agent_id NOT IN ({_MEMBERS})
    AND b.id IN (SELECT s.block_id FROM shared_block_agents s WHERE s.agent_id IN ({_MEMBERS}))"""
"""Blocks attached to a member and owned by none, active or not."""

IN_CONSTELLATION = """(b.is_active = 1 OR EXISTS (SELECT 1 FROM shared_block_agents s
    JOIN group_members m ON m.agent_id = s.agent_id JOIN agents a ON a.id = m.agent_id
    WHERE s.block_id = b.id AND b.agent_id NOT IN (SELECT o.agent_id FROM group_members o
        JOIN agents oa ON oa.id = o.agent_id WHERE o.group_id = m.group_id)))"""
"""Whether a constellation archive holds memory block `b`: an inactive one only where a group reaches it (v3 11, E4)."""

IN_GROUP = f"""(({_SHARED_INTO_GROUP}) OR (b.is_active = 1 AND (b.agent_id = :id OR b.agent_id IN ({_MEMBERS}))))"""
"""Whether a group archive holds memory block `b`."""

_UNOWNED = "b.is_active = 1 AND NOT EXISTS (SELECT 1 FROM agents o WHERE o.id = b.agent_id)"
"""Active blocks whose owner is no agent: the constellation, a group, an agent that has gone."""


def _attachments_where(held: str) -> str:
    return f"EXISTS (SELECT 1 FROM memory_blocks b WHERE b.id = t.block_id AND {held})"


class _Walk:
    """One pass over a scope on a borrowed connection. Memory: a batch, and the id of each block that is shared."""

    def __init__(self, connection: AsyncConnection, columns: Columns, selection: Selection) -> None:
        self._connection = connection
        self._columns = columns
        self._selection = selection
        self._named: set[str] = set()

    def batches(self, record: type[Record], tail: str, subject: str | None = None) -> AsyncGenerator[list[Row]]:
        """Rows of one record type. `tail`: the SQL after the alias (`b` for memory blocks, else `t`), with `subject`
        as `:id`.
        """
        alias = "b" if record is MemoryBlock else "t"
        sql = f"SELECT {self._columns.select(record, alias)} FROM {record.table} {alias} {tail}"
        return batches(self._connection, sql, {"id": subject}, table=record.table, key_column=record.key_column)

    async def _each(self, record: type[Record], tail: str, subject: str | None = None) -> AsyncGenerator[Row]:
        async with aclosing(self.batches(record, tail, subject)) as found:
            async for batch in found:
                for row in batch:
                    yield row

    async def _all(self, record: type[Record], tail: str, subject: str | None = None) -> AsyncGenerator[RowEvent]:
        async with aclosing(self.batches(record, tail, subject)) as found:
            async for batch in found:
                yield Rows(record, batch)

    async def constellation(self) -> AsyncGenerator[RowEvent]:
        """Every agent, every group, the blocks of no agent, all attachments."""
        yield Open(ConstellationExport, extra={"owner_id": self._selection.owner})
        async for agent in self._each(Agent, f"ORDER BY {_BY_ID}"):
            async for event in self.agent(agent, key=agent[Agent.index("id")]):
                yield event
        async for group in self._each(Group, "ORDER BY t.name, t.id"):
            async for event in self._group_of_constellation(group):
                yield event
        async for block in self._each(MemoryBlock, f"WHERE {_UNOWNED} ORDER BY b.agent_id, b.label, b.id"):
            async for event in self._block_once(block, "all_memory_block_cids"):
                yield event
        held = _attachments_where(IN_CONSTELLATION)
        async for event in self._all(
            SharedAttachment, f"WHERE {held} AND t.agent_id IN (SELECT id FROM agents) ORDER BY t.block_id, t.agent_id"
        ):
            yield event
        grouped = "SELECT m.agent_id FROM group_members m JOIN agent_groups g ON g.id = m.group_id"
        alone = f"WHERE t.id NOT IN ({grouped})"
        async for agent in self._each(Agent, f"{alone} ORDER BY {_BY_ID}"):
            yield Ref(AgentExport, "standalone_agent_cids", agent[Agent.index("id")])
        yield Close()

    async def agent(self, row: Row, *, key: str | None = None) -> AsyncGenerator[RowEvent]:
        """One agent with all that is its own."""
        agent_id = row[Agent.index("id")]
        yield Open(AgentExport, row, key)
        own = "WHERE b.agent_id = :id AND b.is_active = 1 ORDER BY b.label, b.id"
        async for block in self._each(MemoryBlock, own, agent_id):
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

    async def group(self, row: Row) -> AsyncGenerator[RowEvent]:
        """One group with its agents inline, the blocks shared into it and its own."""
        group_id = row[Group.index("id")]
        yield Open(GroupExport, row)
        async for event in self._members(group_id):
            yield event
        async for agent in self._each(Agent, f"WHERE t.id IN ({_MEMBERS}) ORDER BY {_BY_ID}", group_id):
            async for event in self.agent(agent):
                yield event
        async for block in self._group_blocks(group_id):
            async for event in self._block(block, named=False):
                yield event
        async for event in self._attachments_of_members(IN_GROUP, group_id):
            yield event
        yield Close()

    async def thin_group(self, row: Row) -> AsyncGenerator[RowEvent]:
        """One group's configuration and the ids of its members."""
        group_id = row[Group.index("id")]
        agent_id = Member.index("agent_id")
        members = [member[agent_id] async for member in self._each(Member, _MEMBER_TAIL, group_id)]
        yield Open(GroupConfigExport, row, extra={"member_agent_ids": members})
        yield Close()

    async def _group_of_constellation(self, row: Row) -> AsyncGenerator[RowEvent]:
        group_id, agent_id = row[Group.index("id")], Member.index("agent_id")
        yield Open(GroupExportThin, row)
        async for batch in self.batches(Member, _MEMBER_TAIL, group_id):
            yield Rows(Member, batch)
            for member in batch:
                yield Ref(AgentExport, "agent_cids", member[agent_id])
        async for block in self._group_blocks(group_id):
            async for event in self._block_once(block, "shared_memory_cids"):
                yield event
        async for event in self._attachments_of_members(IN_CONSTELLATION, group_id):
            yield event
        yield Close()

    def _members(self, group_id: str) -> AsyncGenerator[RowEvent]:
        return self._all(Member, _MEMBER_TAIL, group_id)

    async def _group_blocks(self, group_id: str) -> AsyncGenerator[Row]:
        """First what others share into the group, then what is the group's own; nothing twice."""
        async for row in self._each(MemoryBlock, f"WHERE {_SHARED_INTO_GROUP} ORDER BY b.id", group_id):
            yield row
        own = f"WHERE b.agent_id = :id AND b.is_active = 1 AND NOT ({_SHARED_INTO_GROUP}) ORDER BY b.label, b.id"
        async for row in self._each(MemoryBlock, own, group_id):
            yield row

    def _attachments_of_members(self, held: str, group_id: str) -> AsyncGenerator[RowEvent]:
        """The attachments of a group's members, but for those whose block is not in the archive."""
        tail = f"WHERE t.agent_id IN ({_MEMBERS}) AND {_attachments_where(held)} ORDER BY t.block_id, t.agent_id"
        return self._all(SharedAttachment, tail, group_id)

    async def _messages(self, agent_id: str) -> AsyncGenerator[RowEvent]:
        living = "AND t.is_deleted = 0" if self._columns.has("messages", "is_deleted") else ""
        # the index has them by position; sorting by id as well costs a third of the fetch, and positions rarely tie
        tie = ", t.id" if await self._positions_tie(agent_id) else ""
        tail = f"WHERE t.agent_id = :id {living} ORDER BY t.position DESC{tie}"
        async for event in self._all(Message, tail, agent_id):
            yield event

    async def _positions_tie(self, agent_id: str) -> bool:
        sql = "SELECT 1 FROM messages WHERE agent_id = :id GROUP BY position HAVING count(*) > 1 LIMIT 1"
        return await self._finds(sql, agent_id, "messages")

    async def _block(self, row: Row, *, named: bool) -> AsyncGenerator[RowEvent]:
        """A memory block with its active updates; `named` where another node may refer to it."""
        block_id = row[MemoryBlock.index("id")]
        if named:
            self._named.add(block_id)
        yield Open(MemoryBlockExport, row, block_id if named else None)
        if self._columns.has("memory_block_updates"):
            active = "AND t.is_active = 1" if self._columns.has("memory_block_updates", "is_active") else ""
            async for event in self._all(MemoryUpdate, f"WHERE t.block_id = :id {active} ORDER BY t.seq", block_id):
                yield event
        yield Close()

    async def _block_once(self, row: Row, collection: str) -> AsyncGenerator[RowEvent]:
        """A block that several collections may hold: the whole block once, then links to it."""
        block_id = row[MemoryBlock.index("id")]
        if block_id in self._named:
            yield Ref(MemoryBlockExport, collection, block_id)
            return
        async for event in self._block(row, named=True):
            yield event

    async def _is_shared(self, row: Row) -> bool:
        return await self._any("shared_block_agents", "block_id", row[MemoryBlock.index("id")], by="block_id")

    async def _any(self, table: str, column: str, value: object, *, by: str = "agent_id") -> bool:
        sql = f"SELECT 1 FROM {table} WHERE {by} = :id AND {column} IS NOT NULL LIMIT 1"
        return await self._finds(sql, value, table)

    async def _finds(self, sql: str, value: object, table: str) -> bool:
        async with aclosing(batches(self._connection, sql, {"id": value}, table=table)) as found:
            async for batch in found:
                return bool(batch)
        return False


_MEMBER_TAIL = "WHERE t.group_id = :id AND t.agent_id IN (SELECT id FROM agents) ORDER BY t.agent_id"
_WALKED: Mapping[tuple[str, bool], tuple[type[Record], str]] = {
    ("agent", False): (Agent, "agent"),
    ("group", False): (Group, "group"),
    ("group", True): (Group, "thin_group"),
}


async def read_scope(
    connection: AsyncConnection,
    scope: ResolvedScope,
    selection: Selection = Selection(),  # noqa: B008  frozen
) -> AsyncGenerator[RowEvent]:
    """The rows of a scope as events, depth first, parents before children.

    In:      a connection inside a read transaction, borrowed; a scope that was found in it.
    Out:     one tree of Open ... Close. Memory blocks carry their active updates; a block or agent that is linked
             again is a Ref.
    Memory:  one batch a level of the tree, one id per shared block.
    Raises:  CorruptDatabase, InvalidCell, DatabaseBusy, UnsupportedSchema.
    Source:  v3 6.
    """
    driver = (await connection.get_raw_connection()).driver_connection
    await driver.create_function(INSTANT_KEY, 1, instant_sort_key, deterministic=True)  # type: ignore[union-attr]
    walk = _Walk(connection, await read_columns(connection), selection)
    if scope.kind == "constellation":
        async with aclosing(walk.constellation()) as events:
            async for event in events:
                yield event
        return
    record, method = _WALKED[scope.kind, scope.thin]
    async with aclosing(walk.batches(record, "WHERE t.id = :id", scope.id)) as found:
        rows = [row async for batch in found for row in batch]
    tree: AsyncGenerator[RowEvent] = getattr(walk, method)(rows[0])
    async with aclosing(tree) as events:
        async for event in events:
            yield event
