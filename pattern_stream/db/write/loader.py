"""The import itself, on the driver's own thread: rows into the tables, inside a transaction that the caller owns.

What an agent, group or memory block meets in the database decides its fate, and that of all it owns. At the first
conflict writing ends and reading goes on, so that all conflicts are told at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pattern_stream.db.catalog.catalog import read_targets
from pattern_stream.db.connection.sql_text import has_staged
from pattern_stream.db.write.attachments import MetAttachments
from pattern_stream.db.write.config_only_group import thin_members
from pattern_stream.db.write.conflicts import LoadOptions
from pattern_stream.db.write.deferred_fts import DeferredIndex, highest_rowid
from pattern_stream.db.write.existing_rows import Sieve
from pattern_stream.db.write.extension import Beyond
from pattern_stream.db.write.foreign_keys import Dangling
from pattern_stream.db.write.import_context import Import, Loaded
from pattern_stream.db.write.memory_blocks import BlockStore, Fate
from pattern_stream.db.write.name_conflicts import fate_of_named
from pattern_stream.db.write.rows import Manner, insert
from pattern_stream.db.write.staged_cells import PieceStore
from pattern_stream.db.write.table_insert import insert_staged
from pattern_stream.db.write.unknown_content import Unknown
from pattern_stream.errors import MalformedNode, Report, Where
from pattern_stream.format import BATCH_ROWS
from pattern_stream.items import Cells, Close, Open, Ref, RowEvent, Rows
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

Row = tuple[Any, ...]

_NAMED: Final[dict[type[NodeType], type[Record]]] = {
    AgentExport: Agent,
    GroupExport: Group,
    GroupExportThin: Group,
    GroupConfigExport: Group,
}
_MANNERS: Final[dict[Fate, Manner]] = {"add": "add", "replace": "replace", "skip": "keep", "conflict": "keep"}


@dataclass(frozen=True, slots=True)
class _Frame:
    """An open node: what it is, the id of its agent, group or memory block, and its fate."""

    node: type[NodeType]
    id: str | None = None
    fate: Fate = "add"


_LARGE_BATCH: Final = 128
"""Rows of a batch that may wait: four such batches, of at most BATCH_BYTES each, fill a statement."""

_NO_FRAME: Final = _Frame(ConstellationExport)


class Loader:
    """One import under way. Feed it events with `add`, then `finish`; it neither begins nor commits.

    Memory:  one entry per agent and group; ids of memory blocks lie in a temporary table.
    """

    def __init__(self, connection: sqlite3.Connection, options: LoadOptions, report: Report) -> None:
        self.loaded = Loaded()
        self._connection = connection
        self._options = options
        self._report = report
        self._failed = False
        self._waiting: tuple[type[Record], list[Row]] | None = None
        self._frames: list[_Frame] = []
        highest = {record: highest_rowid(connection, record.table) for record in DECLARED.values()}
        self._living = any(highest.values())
        self._index = DeferredIndex(connection)
        self._dangling = Dangling(connection, highest, report, replaced=options.on_conflict == "replace")
        self._attachments = MetAttachments(connection)
        self._blocks = BlockStore(connection, options.on_conflict, self.loaded.conflicts, report)
        self._sieve = Sieve(connection, options, highest, self.loaded.conflicts)
        self._pieces = PieceStore(connection, self._columns_of)
        self._work = Import(
            connection,
            options,
            report,
            living=self._living,
            loaded=self.loaded,
            unknown=Unknown(),
            targets=read_targets(connection),
            index=self._index,
            blocks=self._blocks,
            sieve=self._sieve,
            dangling=self._dangling,
            pieces=self._pieces,
        )
        self._beyond = Beyond(self._work)

    def add(self, events: Iterable[RowEvent]) -> None:
        """The next events of the tree. After a failure nothing more is taken, though more may be on its way."""
        if self._failed:
            return
        self._failed = True
        for event in self._pieces.join(events):
            if isinstance(event, Rows):
                self._add_rows(event)
            elif isinstance(event, Open):
                self._open(event)
            elif isinstance(event, Close):
                self._close()
            elif isinstance(event, Cells):
                self._beyond.add(event)
            elif isinstance(event, Ref):
                self._refer(event)
        self._failed = False

    def finish(self) -> Loaded:
        """Index, and mend what refers to nothing.

        Raises UnknownContent with all that has no place here, NameConflict with all that was found in the way,
        ProtocolError where pieces of a cell did not come.
        """
        self._pieces.finish()
        self._beyond.finish()
        if self.loaded.conflicts:
            raise self.loaded.conflicts.error()
        self._add_rest()
        self._index.finish()
        for record, gone in self._dangling.mend().items():
            self.loaded.rows[record.table] -= gone
        self._blocks.close()
        self._attachments.close()
        self._sieve.close()
        self.loaded.rows, self.loaded.skipped = +self.loaded.rows, +self.loaded.skipped
        return self.loaded

    # --- nodes ------------------------------------------------------------------------------------------------------

    def _open(self, event: Open) -> None:
        if event.node is MemoryBlockExport:
            row = self._pieces.plain_at(event.record, MemoryBlock.index("label"))
            block_id, fate = row[MemoryBlock.index("id")], self._add_block(row)
            self._beyond.open_block(block_id, fate, event.extra)
            self._frames.append(_Frame(event.node, block_id, fate))
        elif event.node is ConstellationExport:
            self._frames.append(_Frame(event.node))
        elif event.node is TableExport:
            self._add_rest()
            self._beyond.open_table(event.extra)
            self._frames.append(_Frame(event.node))
        else:
            record = _NAMED[event.node]
            self._add_named(replace(event, record=self._pieces.plain_at(event.record, record.index("name"))), record)

    def _close(self) -> None:
        if self._frames.pop().node in (MemoryBlockExport, TableExport):
            self._beyond.close()

    def _columns_of(self, event: RowEvent) -> Sequence[str]:
        """The columns of the rows of an event."""
        if isinstance(event, Rows):
            return event.record.columns
        if isinstance(event, Open):
            return _NAMED.get(event.node, MemoryBlock).columns
        return self._beyond.columns_of(event) if isinstance(event, Cells) else ()

    def _add_named(self, event: Open, record: type[Record]) -> None:
        """An agent or group: its fate is that of all it owns."""
        row_id = event.record[record.index("id")]
        if (record.table, row_id) in self.loaded.fates:
            where = Where(table=record.table, row_id=row_id)
            raise MalformedNode(f"{record.noun} is in the archive twice", where=where)
        fate = fate_of_named(self._work, record, row_id, event.record[record.index("name")])
        self.loaded.fates[record.table, row_id] = fate
        self._frames.append(_Frame(event.node, row_id, fate))
        self._write(record, [event.record], fate)
        if event.node is GroupConfigExport:
            members = thin_members(self._connection, event, self._report)
            self._write(Member, members, fate, manner=None if fate == "skip" else "keep")

    # --- memory blocks ----------------------------------------------------------------------------------------------

    def _add_block(self, row: Row) -> Fate:
        """Write a memory block, or not; its fate, which is that of its history."""
        frame = self._frames[-1] if self._frames else None
        owner = row[MemoryBlock.index("agent_id")]
        if frame is not None and frame.fate == "skip" and (frame.node is AgentExport or owner == frame.id):
            self._blocks.note(row[MemoryBlock.index("id")], "skip")
            self.loaded.skipped[MemoryBlock.table] += 1
            return "skip"
        decided = self._blocks.decide(row, holder=frame.id if frame is not None and frame.node is AgentExport else None)
        if decided.attachment is not None:
            self._write(SharedAttachment, [decided.attachment], "add", manner="keep")
        if decided.row is not None:
            self._write(MemoryBlock, [decided.row], decided.fate)
        return decided.fate

    def _refer(self, event: Ref) -> None:
        """# Trap: in converted archives two agents may hold one block; the first owns it, the others get access."""
        frame = self._frames[-1] if self._frames else _NO_FRAME
        if event.node is not MemoryBlockExport or frame.node is not AgentExport or frame.fate == "skip":
            return
        attachment = self._blocks.attach(event.key, str(frame.id))
        if attachment is not None:
            self._write(SharedAttachment, [attachment], "add", manner="keep")

    # --- rows -------------------------------------------------------------------------------------------------------

    def _add_rows(self, event: Rows) -> None:
        record, rows, frame = event.record, event.rows, self._frames[-1] if self._frames else _NO_FRAME
        if record is SharedAttachment:
            self._add_attachments(rows)
        elif frame.fate == "skip":
            self.loaded.skipped[record.table] += len(rows)
        elif record is Member:
            self._dangling.watch(Member)
            self._write(Member, rows, frame.fate)
        else:
            self._add_owned(record, rows)

    def _add_owned(self, record: type[Record], rows: list[Row]) -> None:
        """Messages, archival entries, summaries."""
        self._dangling.watch_parents(record, rows)
        if self._living:
            sifted = self._sieve.sift(record, rows)
            self.loaded.skipped[record.table] += sifted.skipped
            self._write(record, sifted.replaced, "replace")
            rows = sifted.added
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
        """Attachments belong to the agent that gains access; a constellation lists them once more than its groups."""
        agent = SharedAttachment.index("agent_id")
        rows = self._attachments.first(rows)
        mine = [row for row in rows if self.loaded.fates.get((Agent.table, row[agent])) != "skip"]
        self.loaded.skipped[SharedAttachment.table] += len(rows) - len(mine)
        self._dangling.watch(SharedAttachment)
        if self._living and self._options.on_conflict == "fail":
            self._sieve.find_taken(SharedAttachment, mine)
        self._write(
            SharedAttachment, mine, "add", manner="replace" if self._options.on_conflict == "replace" else "keep"
        )

    def _write(self, record: type[Record], rows: Sequence[Row], fate: Fate, manner: Manner | None = None) -> None:
        if fate == "skip" and manner is None:
            self.loaded.skipped[record.table] += len(rows)
        elif not self._work.stopped and rows:
            self._index.count(len(rows))
            how = manner or _MANNERS[fate]
            if has_staged(rows):
                self._index.defer()
                self.loaded.rows[record.table] += insert_staged(self._connection, record, rows[0], how)
            else:
                self.loaded.rows[record.table] += insert(self._connection, record, rows, how)
