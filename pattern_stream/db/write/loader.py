"""The import itself, on the driver's own thread: rows into the tables, inside a transaction that the caller owns.

The resolution of an agent, group or memory block is that of all it owns. At the first conflict writing ends and reading
goes on, so that one error names all conflicts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from pattern_stream.db.catalog.catalog import read_targets
from pattern_stream.db.connection.sql_text import Row, has_staged, shown
from pattern_stream.db.write.already_seen import SeenAttachments
from pattern_stream.db.write.balance import Balance
from pattern_stream.db.write.conflicts import SAME_ID, Loaded, LoadOptions, Resolution, UnknownTables
from pattern_stream.db.write.context import ImportContext
from pattern_stream.db.write.existing_rows import ExistingRows
from pattern_stream.db.write.extension import Extension
from pattern_stream.db.write.foreign_keys import ForeignKeys
from pattern_stream.db.write.fulltext_index import DeferredIndex, highest_rowid
from pattern_stream.db.write.memory_blocks import BlockStore
from pattern_stream.db.write.names import Names
from pattern_stream.db.write.quiet_triggers import QuietTriggers
from pattern_stream.db.write.rows import TableWriter
from pattern_stream.db.write.staged_cells import PieceStore
from pattern_stream.errors import Finding, MalformedNode, Report, Where
from pattern_stream.format import BATCH_ROWS
from pattern_stream.items import Cells, Close, Open, OpenGroupConfig, OpenMemoryBlock, OpenTable, Ref, RowEvent, Rows
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.nodes import (
    AgentExport,
    ConstellationExport,
    GroupConfigExport,
    GroupExport,
    GroupExportThin,
    MemoryBlockExport,
    NodeType,
    TableExport,
)
from pattern_stream.schema.model.records import (
    DECLARED,
    Agent,
    Group,
    Member,
    MemoryBlock,
    Message,
    Record,
    SharedAttachment,
)

_RECORDS: Final[dict[type[NodeType], type[Record]]] = {
    AgentExport: Agent,
    GroupExport: Group,
    GroupExportThin: Group,
    GroupConfigExport: Group,
    MemoryBlockExport: MemoryBlock,
}

_LARGE_BATCH: Final = 128
"""Rows of a batch that may wait: four such batches, of at most BATCH_BYTES each, fill a statement."""


@dataclass(frozen=True, slots=True)
class _OpenNode:
    """An open node: its type, the id of its agent, group or memory block, and the resolution of that."""

    node: type[NodeType] = ConstellationExport
    id: str | None = None
    resolution: Resolution = "add"


_NO_NODE: Final = _OpenNode()


class Loader:
    """One import under way. Feed it events with `add`, then `finish`; it neither begins nor commits.

    Memory:  one entry per agent and group; ids of memory blocks are in a temporary table.
    """

    def __init__(self, connection: sqlite3.Connection, options: LoadOptions, report: Report) -> None:
        self.loaded = Loaded()
        self._failed = False
        self._waiting: tuple[type[Record], list[Row]] | None = None
        self._nodes: list[_OpenNode] = []
        self._attachments = SeenAttachments(connection)
        self._quiet = QuietTriggers(connection) if options.into_empty else None
        balance = Balance(connection, options, self.loaded, report)
        self._writers = {record: TableWriter.of_record(connection, record, balance) for record in DECLARED.values()}
        highest = {record: highest_rowid(connection, record.table) for record in DECLARED.values()}
        blocks = BlockStore(connection, options, self.loaded.conflicts, balance, report)
        self._context = ImportContext(
            connection,
            options,
            report,
            balance,
            populated=any(highest.values()),
            loaded=self.loaded,
            unknown=UnknownTables(),
            targets=read_targets(connection),
            index=DeferredIndex(connection),
            blocks=blocks,
            names=Names(connection, options, self.loaded, blocks, balance, report),
            existing=ExistingRows(connection, options, highest, self.loaded.conflicts),
            foreign_keys=ForeignKeys(connection, highest, report, replaced=options.on_conflict == "replace"),
            pieces=PieceStore(connection, self._columns_of),
        )
        self._extension = Extension(self._context)

    def add(self, events: Iterable[RowEvent]) -> None:
        """The next events of the tree. After a failure nothing more is taken, though more may be on its way."""
        if self._failed:
            return
        self._failed = True
        for event in self._context.pieces.join(events):
            if isinstance(event, Rows):
                self._add_rows(event)
            elif isinstance(event, Open):
                self._open(event)
            elif isinstance(event, Close):
                if self._nodes.pop().node in (MemoryBlockExport, TableExport):
                    self._extension.close()
            elif isinstance(event, Cells):
                self._extension.add(event)
            elif isinstance(event, Ref):
                self._refer(event)
        self._failed = False

    def finish(self) -> Loaded:
        """Complete the indexes, decide on names that waited, and mend references to nothing.

        Raises UnknownContent with all that the database has no place for, NameConflict with all conflicts,
        ProtocolError where pieces of a cell are missing.
        """
        context, loaded = self._context, self.loaded
        context.pieces.finish()
        context.unknown.settle(context.options, context.report)
        loaded.dropped.update(context.unknown.counts)
        self._extension.finish()
        if not loaded.conflicts:
            self._add_rest()
            context.index.finish()
            context.names.settle()
        if loaded.conflicts:
            raise loaded.conflicts.error()
        if not (loaded.whole and (context.options.into_empty or context.options.orphans == "keep")):
            for record, dropped in context.foreign_keys.mend().items():
                context.balance.add(record.table, -dropped)
                loaded.rows[record.table] -= dropped
                loaded.dropped[record.table] += dropped
        context.balance.settle()
        if self._quiet is not None:
            self._quiet.restore(context.report)
        for part in (context.blocks, self._attachments, context.existing):
            part.close()
        loaded.rows, loaded.skipped, loaded.dropped = +loaded.rows, +loaded.skipped, +loaded.dropped
        return loaded

    # --- nodes ------------------------------------------------------------------------------------------------------

    def _open(self, event: Open) -> None:
        if isinstance(event, OpenMemoryBlock):
            row = self._context.pieces.in_memory_at(event.record, MemoryBlock.index("label"))
            block_id, resolution = (
                row[MemoryBlock.index("id")],
                self._add_block(row, event.archive_id),
            )
            self._extension.open_block(block_id, resolution, event.history)
            self._nodes.append(_OpenNode(event.node, block_id, resolution))
        elif event.node in _RECORDS:
            self._add_named(event, _RECORDS[event.node])
        else:
            if isinstance(event, OpenTable):
                self.loaded.whole = True
                self._add_rest()
                self._extension.open_table(event)
            self._nodes.append(_OpenNode(event.node))

    def _columns_of(self, event: RowEvent) -> Sequence[str]:
        """The columns of the rows of an event."""
        if isinstance(event, Rows):
            return event.record.columns
        if isinstance(event, Open):
            return _RECORDS[event.node].columns
        return self._extension.columns_of(event) if isinstance(event, Cells) else ()

    def _add_named(self, event: Open, record: type[Record]) -> None:
        """An agent or group: its resolution is that of all it owns."""
        context, at = self._context, record.index("name")
        row = context.pieces.in_memory_at(event.record, at)
        row_id, name = row[record.index("id")], row[at]
        if (record.table, row_id) in self.loaded.resolutions:
            where = Where(table=record.table, row_id=row_id)
            raise MalformedNode(f"{record.noun} is in the archive twice", where=where)
        # Trap: a name may be text that is no UTF-8, which only comes out as bytes.
        sql = f"SELECT CAST(name AS BLOB) FROM {record.table} WHERE id = ?"
        found = context.connection.execute(sql, (row_id,)).fetchone()
        resolution = context.options.resolve(exists=found is not None)
        self.loaded.resolutions[record.table, row_id] = resolution
        self._nodes.append(_OpenNode(event.node, row_id, resolution))
        if resolution == "conflict":
            message = f"{record.noun} {row_id} ({shown(name)!r}) is there, named {shown(found[0])!r}"
            self.loaded.conflicts.add(message, SAME_ID)
        if resolution == "skip":
            self.loaded.skipped[record.table] += 1
        else:
            chosen = context.names.choose(record, row_id, None, name, archive_id=event.archive_id or row_id)
            self._write(record, [(*row[:at], chosen, *row[at + 1 :])], resolution)
        if isinstance(event, OpenGroupConfig):
            members = self._listed_members(event)
            if resolution == "skip":
                self.loaded.skipped[Member.table] += len(members)
            else:
                self._write(Member, members, "skip")

    def _listed_members(self, event: OpenGroupConfig) -> list[Row]:
        """Members of a group that came alone: agents of the database, without a role; a warning for each other one."""
        group = dict(zip(Group.columns, event.record, strict=True))
        sql, found = "SELECT 1 FROM agents WHERE id = ?", []
        for ids in event.member_candidates or [(member,) for member in event.member_agent_ids]:
            there = [one for one in ids if self._context.connection.execute(sql, (one,)).fetchone() is not None]
            found += there[:1]
            if not there:
                where = Where(table="group_members", row_id=f"{group['id']} {ids[-1]}")
                message = "agent is not in the database: no member"
                self._context.report(Finding("warning", "member-left-out", message, where))
        cells = {"group_id": group["id"], "joined_at": group["created_at"], "role": None, "capabilities": "[]"}
        return [
            tuple((cells | {"agent_id": agent})[column] for column in Member.columns) for agent in dict.fromkeys(found)
        ]

    # --- memory blocks ----------------------------------------------------------------------------------------------

    def _add_block(self, row: Row, archive_id: str | None) -> Resolution:
        """Write a memory block, or not. Out: its resolution, which is that of its history."""
        blocks, node = self._context.blocks, self._nodes[-1] if self._nodes else _NO_NODE
        block_id, owner = row[MemoryBlock.index("id")], row[MemoryBlock.index("agent_id")]
        agent_id = node.id if node.node is AgentExport else None
        if node.resolution == "skip" and (agent_id is not None or owner == node.id):
            blocks.note(block_id, "skip")
            self.loaded.skipped[MemoryBlock.table] += 1
            return "skip"
        if (before := blocks.resolution_of(block_id)) is not None:
            if before != "skip":
                self._write(SharedAttachment, blocks.attach_again(row, agent_id), "skip")
            return "skip"
        resolution = blocks.resolve(row)
        if resolution == "skip":
            self.loaded.skipped[MemoryBlock.table] += 1
        elif resolution != "conflict":
            if resolution == "replace":
                row = blocks.without_edits(row, MemoryBlock.columns)
            at = MemoryBlock.index("label")
            old = archive_id or block_id
            chosen = self._context.names.choose(MemoryBlock, block_id, owner, row[at], archive_id=old)
            self._write(MemoryBlock, [(*row[:at], chosen, *row[at + 1 :])], resolution)
        return resolution

    def _refer(self, event: Ref) -> None:
        """# Trap: in converted archives two agents may hold one block; the first owns it, the others get access."""
        node = self._nodes[-1] if self._nodes else _NO_NODE
        if event.node is MemoryBlockExport and node.node is AgentExport and node.resolution != "skip":
            self._write(SharedAttachment, self._context.blocks.attach(event.key, str(node.id)), "skip")

    # --- rows -------------------------------------------------------------------------------------------------------

    def _add_rows(self, event: Rows) -> None:
        record, rows, node = event.record, event.rows, self._nodes[-1] if self._nodes else _NO_NODE
        if record is SharedAttachment:
            self._add_attachments(rows)
        elif node.resolution == "skip":
            self.loaded.skipped[record.table] += len(rows)
        else:
            self._context.foreign_keys.watch(record, rows)
            if record is Member:
                self._write(Member, rows, node.resolution)
            else:
                self._add_owned(record, rows)

    def _add_owned(self, record: type[Record], rows: list[Row]) -> None:
        """Messages, archival entries, summaries."""
        if self._context.populated:
            found = self._context.existing.resolve(record, rows)
            self.loaded.skipped[record.table] += len(found["skip"])
            self._write(record, found["replace"], "replace")
            rows = found["add"]
        if has_staged(rows):
            self._add_rest()
            self._write(record, rows, "add")
        else:
            self._add_full(record, rows)

    def _add_full(self, record: type[Record], rows: list[Row]) -> None:
        """Insert by full statements: rows of large batches wait for the next ones; those of small ones may be large."""
        if self._waiting is not None and self._waiting[0] is not record:
            self._add_rest()
        waiting = [*(self._waiting[1] if self._waiting is not None else ()), *rows]
        full = len(waiting) - len(waiting) % BATCH_ROWS if len(rows) >= _LARGE_BATCH else len(waiting)
        for at in range(0, full, BATCH_ROWS):
            self._write(record, waiting[at : min(at + BATCH_ROWS, full)], "add")
        self._waiting = (record, waiting[full:])

    def _add_rest(self) -> None:
        record, rows = self._waiting or (Message, [])
        self._waiting = None
        self._write(record, rows, "add")

    def _add_attachments(self, rows: list[Row]) -> None:
        """Attachments belong to the agent that gains access."""
        context, agent = self._context, SharedAttachment.index("agent_id")
        rows = self._attachments.first(rows)
        kept = [row for row in rows if self.loaded.resolutions.get((Agent.table, row[agent])) != "skip"]
        self.loaded.skipped[SharedAttachment.table] += len(rows) - len(kept)
        context.foreign_keys.watch(SharedAttachment)
        if context.populated and context.options.on_conflict == "fail":
            context.existing.note_taken(SharedAttachment, kept)
        self._write(SharedAttachment, kept, "replace" if context.options.on_conflict == "replace" else "skip")

    def _write(self, record: type[Record], rows: Sequence[Row], resolution: Resolution) -> None:
        if rows and not self._context.stopped:
            self._context.index.count(len(rows))
            if has_staged(rows):
                self._context.index.defer()
            self.loaded.rows[record.table] += self._writers[record].write(rows, resolution)
