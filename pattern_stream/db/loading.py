"""The import itself, on the driver's own thread: rows into the tables, inside a transaction that the caller owns.

What an agent, group or memory block meets in the database decides its fate, and that of all it owns. At the first
conflict writing ends and reading goes on, so that all conflicts are told at once.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pattern_stream.db.conflicts import Conflicts, LoadOptions, OnConflict
from pattern_stream.db.dangling import Dangling
from pattern_stream.db.indexing import DeferredIndex, highest_rowid
from pattern_stream.db.inserting import Manner, insert
from pattern_stream.db.memory_blocks import BlockStore
from pattern_stream.db.sieve import Sieve
from pattern_stream.errors import Finding, MalformedNode, Report, Where
from pattern_stream.format import BATCH_ROWS
from pattern_stream.items import Close, Open, Ref, RowEvent, Rows
from pattern_stream.schema.nodes import (
    AgentExport,
    ConstellationExport,
    GroupConfigExport,
    GroupExport,
    GroupExportThin,
    MemoryBlockExport,
    NodeType,
)
from pattern_stream.schema.records import (
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

Row = tuple[Any, ...]
Fate = Literal["add", "replace", "skip", "conflict"]

CARRIED: Final[tuple[type[Record], ...]] = (
    Agent,
    Group,
    Member,
    MemoryBlock,
    SharedAttachment,
    ArchivalEntry,
    Message,
    ArchiveSummary,
)
_NAMED: Final[dict[type[NodeType], type[Record]]] = {
    AgentExport: Agent,
    GroupExport: Group,
    GroupExportThin: Group,
    GroupConfigExport: Group,
}
_MANNERS: Final[dict[Fate, Manner]] = {"add": "add", "replace": "replace", "skip": "keep", "conflict": "keep"}


@dataclass(slots=True)
class Loaded:
    """What became of the rows, by table. `fates`: of each agent and group, by table and id."""

    rows: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    fates: dict[tuple[str, str], Fate] = field(default_factory=dict)
    conflicts: Conflicts = field(default_factory=Conflicts)


@dataclass(frozen=True, slots=True)
class _Frame:
    """An open node: what it is, the id of its agent or group, and its fate."""

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
        highest = {record: highest_rowid(connection, record.table) for record in CARRIED}
        self._living = any(highest.values())
        self._index = DeferredIndex(connection)
        self._dangling = Dangling(connection, highest, report, replaced=options.on_conflict == "replace")
        self._blocks = BlockStore(connection, options.on_conflict, self.loaded.conflicts, report)
        self._sieve = Sieve(connection, options, highest, self.loaded.conflicts)

    def add(self, events: Iterable[RowEvent]) -> None:
        """The next events of the tree. After a failure nothing more is taken, though more may be on its way."""
        if self._failed:
            return
        self._failed = True
        for event in events:
            if isinstance(event, Rows):
                self._add_rows(event)
            elif isinstance(event, Open):
                self._open(event)
            elif isinstance(event, Close):
                self._frames.pop()
            else:
                self._refer(event)
        self._failed = False

    def finish(self) -> Loaded:
        """Index, and mend what refers to nothing. Raises NameConflict with all that was found in the way."""
        if self.loaded.conflicts:
            raise self.loaded.conflicts.error()
        self._add_rest()
        self._index.finish()
        for record, gone in self._dangling.mend().items():
            self.loaded.rows[record.table] -= gone
        self._blocks.close()
        self._sieve.close()
        self.loaded.rows, self.loaded.skipped = +self.loaded.rows, +self.loaded.skipped
        return self.loaded

    # --- nodes ------------------------------------------------------------------------------------------------------

    def _open(self, event: Open) -> None:
        if event.node is MemoryBlockExport:
            self._frames.append(_Frame(event.node, event.record[MemoryBlock.index("id")]))
            self._add_block(event.record)
        elif event.node is ConstellationExport:
            self._frames.append(_Frame(event.node))
        else:
            self._add_named(event, _NAMED[event.node])

    def _add_named(self, event: Open, record: type[Record]) -> None:
        """An agent or group: its fate is that of all it owns."""
        row_id = event.record[record.index("id")]
        if (record.table, row_id) in self.loaded.fates:
            where = Where(table=record.table, row_id=row_id)
            raise MalformedNode(f"{record.noun} is in the archive twice", where=where)
        fate = self._fate_of_named(record, row_id, event.record[record.index("name")])
        self.loaded.fates[record.table, row_id] = fate
        self._frames.append(_Frame(event.node, row_id, fate))
        self._write(record, [event.record], fate)
        if event.node is GroupConfigExport:
            self._add_thin_members(event, fate)

    def _fate_of_named(self, record: type[Record], row_id: str, name: str) -> Fate:
        found = self._connection.execute(
            f"SELECT id, name FROM {record.table} WHERE id = ? OR name = ?", (row_id, name)
        ).fetchall()
        fate: Fate = "add"
        for other_id, other_name in found:
            if other_id == row_id:
                fate = self._fate(fate)
                if fate == "conflict":
                    self.loaded.conflicts.add_named(f"{record.noun} {row_id} ({name!r}) is there, named {other_name!r}")
            else:
                fate = "conflict"
                whose = "of the archive" if (record.table, other_id) in self.loaded.fates else "in the database"
                self.loaded.conflicts.add_named(
                    f"{record.noun} {row_id}: its name {name!r} is that of {record.noun} {other_id} {whose}"
                )
        return fate

    def _fate(self, before: Fate) -> Fate:
        """What becomes of a thing whose id is there."""
        met: dict[OnConflict, Fate] = {"fail": "conflict", "skip": "skip", "replace": "replace"}
        return before if before == "conflict" else met[self._options.on_conflict]

    def _add_thin_members(self, event: Open, fate: Fate) -> None:
        """A thin group names its members and says no more: those that are there become members without a role."""
        group = dict(zip(Group.columns, event.record, strict=True))
        candidates = event.extra.get("member_candidates") or [(member,) for member in event.extra["member_agent_ids"]]
        found = []
        for ids in candidates:
            there = next((one for one in ids if self._exists("agents", one)), None)
            if there is None:
                where = Where(table="group_members", row_id=f"{group['id']} {ids[-1]}")
                self._report(Finding("warning", "member-left-out", "agent is not in the database: no member", where))
            else:
                found.append(there)
        cells = {"group_id": group["id"], "joined_at": group["created_at"], "role": None, "capabilities": "[]"}
        rows = [
            tuple((cells | {"agent_id": agent})[column] for column in Member.columns) for agent in dict.fromkeys(found)
        ]
        self._write(Member, rows, fate, manner=None if fate == "skip" else "keep")

    def _exists(self, table: str, row_id: str) -> bool:
        return self._connection.execute(f"SELECT 1 FROM {table} WHERE id = ?", (row_id,)).fetchone() is not None

    # --- memory blocks ----------------------------------------------------------------------------------------------

    def _add_block(self, row: Row) -> None:
        frame = self._frames[-2] if len(self._frames) > 1 else None
        owner = row[MemoryBlock.index("agent_id")]
        if frame is not None and frame.fate == "skip" and (frame.node is AgentExport or owner == frame.id):
            self._blocks.note_skipped(row)
            self.loaded.skipped[MemoryBlock.table] += 1
            return
        decided = self._blocks.decide(row, holder=frame.id if frame is not None and frame.node is AgentExport else None)
        if decided.attachment is not None:
            self._write(SharedAttachment, [decided.attachment], "add", manner="keep")
        if decided.row is not None:
            self._write(MemoryBlock, [decided.row], decided.fate)

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
        elif not self.loaded.conflicts and rows:
            self._index.count(len(rows))
            self.loaded.rows[record.table] += insert(self._connection, record, rows, manner or _MANNERS[fate])
