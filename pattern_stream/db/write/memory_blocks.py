"""Memory blocks on their way in: one owner each, one label under each owner, and no old edits on a new document.

Source: v3 11 (I9 to I12), loro 3 "Import side".
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any, Final, Literal

from pattern_stream.db.write.conflicts import Conflicts, OnConflict
from pattern_stream.errors import Finding, Report, Where
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.records import MemoryBlock, SharedAttachment

Row = tuple[Any, ...]
Fate = Literal["add", "replace", "skip", "conflict"]
_ID: Final = MemoryBlock.index("id")
_OWNER: Final = MemoryBlock.index("agent_id")
_LABEL: Final = MemoryBlock.index("label")
_LAST_SEQ: Final = MemoryBlock.index("last_seq")
_TABLE: Final = "temp.pattern_stream_blocks"


@dataclass(frozen=True, slots=True)
class Decided:
    """What becomes of a block: the row to write, if any, or an attachment in its stead."""

    fate: Fate
    row: Row | None = None
    attachment: Row | None = None


class BlockStore:
    """The memory blocks of one import. Which ones it has met lies in a temporary table: there may be many."""

    def __init__(
        self, connection: sqlite3.Connection, on_conflict: OnConflict, conflicts: Conflicts, report: Report
    ) -> None:
        self._connection = connection
        self._on_conflict = on_conflict
        self._conflicts = conflicts
        self._report = report
        connection.execute(f"DROP TABLE IF EXISTS {_TABLE}")
        connection.execute(f"CREATE TABLE {_TABLE} (id TEXT PRIMARY KEY, fate TEXT) WITHOUT ROWID")

    def decide(self, row: Row, *, holder: str | None) -> Decided:
        """What becomes of a block that `holder` (an agent) holds; None where no agent does."""
        block_id = row[_ID]
        if (before := self.fate_of(block_id)) is not None:
            return Decided("skip", attachment=None if before == "skip" else self._second(row, holder))
        decided = self._meet(row)
        self.note(block_id, decided.fate)
        return decided

    def attach(self, block_id: str, agent_id: str) -> Row | None:
        """Access for an agent that holds a block which another one owns; None where it is its own or not there."""
        found = self._connection.execute(
            "SELECT agent_id, permission, created_at FROM memory_blocks WHERE id = ?", (block_id,)
        ).fetchone()
        if found is None or found[0] == agent_id:
            return None
        self._warn("block-of-several", block_id, f"memory block of {found[0]} is {agent_id}'s too, which gets access")
        cells = {"block_id": block_id, "agent_id": agent_id, "permission": found[1], "attached_at": found[2]}
        return tuple(cells[column] for column in SharedAttachment.columns)

    def note(self, block_id: str, fate: str) -> None:
        """The fate of a block that did not come through `decide`; the first one counts."""
        self._connection.execute(f"INSERT OR IGNORE INTO {_TABLE} VALUES (?, ?)", (block_id, fate))

    def fate_of(self, block_id: str) -> Fate | None:
        """What became of a block of this import; None where it has none of that id."""
        found = self._connection.execute(f"SELECT fate FROM {_TABLE} WHERE id = ?", (block_id,)).fetchone()
        return None if found is None else found[0]

    def is_there(self, block_id: str) -> bool:
        """Whether the database has such a block by now."""
        sql = "SELECT 1 FROM memory_blocks WHERE id = ?"
        return self._connection.execute(sql, (block_id,)).fetchone() is not None

    def forget_edits(self, block_id: Any) -> int:
        """Delete the history of a block that is replaced. Out: the highest number that one of its edits had.

        # Trap: old edits would be applied on top of the new document, and their numbers must not come again.
        """
        (highest,) = self._connection.execute(
            "SELECT max(seq) FROM memory_block_updates WHERE block_id = ?", (block_id,)
        ).fetchone()
        for table in HISTORY_COLUMNS:
            self._connection.execute(f"DELETE FROM {table} WHERE block_id = ?", (block_id,))
        return int(highest or 0)

    def close(self) -> None:
        """Drop the table; a rollback does it too."""
        self._connection.execute(f"DROP TABLE {_TABLE}")

    def _second(self, row: Row, holder: str | None) -> Row | None:
        """The same id again in another block of the archive: the first stays."""
        attachment = self.attach(row[_ID], row[_OWNER])
        if attachment is None and holder is not None:
            attachment = self.attach(row[_ID], holder)
        if attachment is None:
            self._warn("block-twice", row[_ID], "memory block is in the archive twice: the first one stays")
        return attachment

    def _meet(self, row: Row) -> Decided:
        found = self._connection.execute("SELECT agent_id FROM memory_blocks WHERE id = ?", (row[_ID],)).fetchone()
        if found is None:
            return self._labelled(row, "add")
        if found[0] != row[_OWNER]:
            self._conflicts.add_named(f"memory block {row[_ID]} is there, owned by {found[0]}, not by {row[_OWNER]}")
            return Decided("conflict")
        if self._on_conflict == "fail":
            self._conflicts.add_named(f"memory block {row[_ID]} ({row[_LABEL]!r} of {row[_OWNER]}) is there")
            return Decided("conflict")
        if self._on_conflict == "skip":
            return Decided("skip", row)
        return self._labelled(self._without_edits(row), "replace")

    def _labelled(self, row: Row, fate: Literal["add", "replace"]) -> Decided:
        """The row under a label that is free. One that the database has under another id is a conflict."""
        holder = self._holder_of(row[_OWNER], row[_LABEL], row[_ID])
        if holder is None:
            return Decided(fate, row)
        if self.fate_of(holder) is None:
            label = f"its label {row[_LABEL]!r} of owner {row[_OWNER]}"
            self._conflicts.add_named(f"memory block {row[_ID]}: {label} is that of memory block {holder}")
            return Decided("conflict")
        number = 2
        while self._holder_of(row[_OWNER], f"{row[_LABEL]} ({number})", row[_ID]) is not None:
            number += 1
        label = f"{row[_LABEL]} ({number})"
        self._warn("label-twice", row[_ID], f"label {row[_LABEL]!r} is there twice under {row[_OWNER]}: now {label!r}")
        return Decided(fate, (*row[:_LABEL], label, *row[_LABEL + 1 :]))

    def _holder_of(self, owner: str, label: str, but: str) -> str | None:
        found = self._connection.execute(
            "SELECT id FROM memory_blocks WHERE agent_id = ? AND label = ? AND id <> ?", (owner, label, but)
        ).fetchone()
        return None if found is None else str(found[0])

    def _without_edits(self, row: Row) -> Row:
        last_seq = max(row[_LAST_SEQ], self.forget_edits(row[_ID]))
        return (*row[:_LAST_SEQ], last_seq, *row[_LAST_SEQ + 1 :])

    def _warn(self, code: str, block_id: str, message: str) -> None:
        self._report(Finding("warning", code, message, Where(table="memory_blocks", row_id=block_id)))
