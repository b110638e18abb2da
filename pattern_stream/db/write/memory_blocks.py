"""Memory blocks on their way in: one owner each, and no old edits on a new document; and their history, as stored.

Source: docs/format.md#flaws-of-pattern, #memory-history, docs/memory.md#folding.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pattern_stream.db.connection.sql_text import Row, mark, parameters, quoted, shown
from pattern_stream.db.write.balance import Balance
from pattern_stream.db.write.conflicts import (
    ONLY_SKIP,
    OTHER_OWNER,
    SAME_ID,
    Conflicts,
    LoadOptions,
    Resolution,
)
from pattern_stream.db.write.living_document import LivingDocument
from pattern_stream.errors import Finding, MalformedNode, Report, Where
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.records import MemoryBlock, SharedAttachment

if TYPE_CHECKING:
    from pattern_stream.db.write.context import ImportContext
    from pattern_stream.db.write.table_rows import ColumnMapping

_ID: Final = MemoryBlock.index("id")
_OWNER: Final = MemoryBlock.index("agent_id")
_LABEL: Final = MemoryBlock.index("label")
_TABLE: Final = "temp.pattern_stream_blocks"

_STORED_COLUMNS: Final = ("loro_snapshot", "frontier", "last_seq")
_STORED: Final = ", ".join(_STORED_COLUMNS)

_HIGHEST_NUMBER: Final = 2**62
"""No row of an archive takes a number above this in a populated database: the next one here must find a higher one."""


class BlockStore:
    """The memory blocks of one import. Their resolutions are in a temporary table: there may be many."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        options: LoadOptions,
        conflicts: Conflicts,
        balance: Balance,
        report: Report,
    ) -> None:
        self._connection = connection
        self._balance = balance
        self._options = options
        self._conflicts = conflicts
        self._report = report
        connection.execute(f"DROP TABLE IF EXISTS {_TABLE}")
        connection.execute(f"CREATE TABLE {_TABLE} (id TEXT PRIMARY KEY, resolution TEXT, gone TEXT) WITHOUT ROWID")

    def resolve(self, row: Row) -> Resolution:
        """The resolution of a block that comes for the first time; a conflict is noted."""
        block_id, owner = row[_ID], row[_OWNER]
        found = self._connection.execute("SELECT agent_id FROM memory_blocks WHERE id = ?", (block_id,)).fetchone()
        same_owner = found is not None and found[0] == owner
        resolution = self._options.resolve(exists=found is not None, same_owner=same_owner)
        if resolution == "conflict" and not same_owner:
            message = f"memory block {block_id} is there, owned by {found[0]}, not by {owner}"
            self._conflicts.add(message, OTHER_OWNER)
        elif resolution == "conflict":
            self._conflicts.add(f"memory block {block_id} ({shown(row[_LABEL])!r} of {owner}) is there", SAME_ID)
        self.note(block_id, resolution)
        return resolution

    def attach(self, block_id: str, agent_id: str) -> list[Row]:
        """Access for an agent whose block another one owns; none where the block is its own or not there."""
        found = self._connection.execute(
            "SELECT agent_id, permission, created_at FROM memory_blocks WHERE id = ?", (block_id,)
        ).fetchone()
        if found is None or found[0] == agent_id:
            return []
        self._warn("block-of-several", block_id, f"memory block of {found[0]} is {agent_id}'s too, which gets access")
        cells = {"block_id": block_id, "agent_id": agent_id, "permission": found[1], "attached_at": found[2]}
        return [tuple(cells[column] for column in SharedAttachment.columns)]

    def attach_again(self, row: Row, agent_id: str | None) -> list[Row]:
        """Access for the owner of a block that came before, or for the agent it came with: the first block stays."""
        found = self.attach(row[_ID], row[_OWNER]) or (self.attach(row[_ID], agent_id) if agent_id is not None else [])
        if not found:
            self._warn("block-twice", row[_ID], "memory block is in the archive twice: the first one stays")
        return found

    def note(self, block_id: str, resolution: Resolution) -> None:
        """The resolution of a block; the first one counts."""
        self._connection.execute(f"INSERT OR IGNORE INTO {_TABLE} VALUES (?, ?, NULL)", (block_id, resolution))

    def resolution_of(self, block_id: str) -> Resolution | None:
        """The resolution of a block; None where the archive has brought none of that id."""
        found = self._connection.execute(f"SELECT resolution FROM {_TABLE} WHERE id = ?", (block_id,)).fetchone()
        return None if found is None else found[0]

    def without_edits(self, row: Row, columns: Sequence[str]) -> Row:
        """Delete the history of a block that is replaced. Out: its row, counting on above all numbers of its edits.

        A history stays where the block comes without one and the document is the same; so does the stored document,
        which the edits build on, or none of them could be undone.

        # Trap: old edits would be applied on top of the new document, and their numbers must not come again.
        """
        cells = dict(zip(columns, row, strict=True))
        block_id = cells.get("id")
        if not isinstance(block_id, str):
            return row
        if self._stays(block_id):
            found = self._connection.execute(
                f"SELECT {_STORED} FROM memory_blocks WHERE id = ?", (block_id,)
            ).fetchone()
            return tuple((cells | dict(zip(_STORED_COLUMNS, found, strict=True)))[column] for column in columns)
        (highest,) = self._connection.execute(
            "SELECT max(seq) FROM memory_block_updates WHERE block_id = ?", (block_id,)
        ).fetchone()
        gone = [
            f"{deleted} {table}"
            for table in HISTORY_COLUMNS
            if (deleted := self._balance.delete(table, "block_id", block_id))
        ]
        if gone:
            self._connection.execute(f"UPDATE {_TABLE} SET gone = ? WHERE id = ?", (", ".join(gone), block_id))
        if isinstance(cells.get("last_seq"), int):
            cells["last_seq"] = max(cells["last_seq"], int(highest or 0))
        return tuple(cells[column] for column in columns)

    def history_came(self, block_id: str) -> None:
        """The archive has a history of this block, in the place of the one that is gone."""
        self._connection.execute(f"UPDATE {_TABLE} SET gone = NULL WHERE id = ?", (block_id,))

    def close(self) -> None:
        """Say which histories are gone with none in their place. Drop the table; a rollback does it too."""
        for block_id, gone in self._connection.execute(f"SELECT id, gone FROM {_TABLE} WHERE gone IS NOT NULL"):
            message = f"the archive has no history of this memory block, so its own is gone: {gone}"
            self._warn("history-gone", block_id, message)
        self._connection.execute(f"DROP TABLE {_TABLE}")

    def _stays(self, block_id: str) -> bool:
        """Whether the history of a block stays: nobody has changed its document since that was found the same."""
        if block_id not in self._options.kept_edits:
            return False
        living = LivingDocument.read(self._connection, block_id)
        return living is not None and living.digest == self._options.kept_edits[block_id]

    def _warn(self, code: str, block_id: str, message: str) -> None:
        self._report(Finding("warning", code, message, Where(table="memory_blocks", row_id=block_id)))


class HistoryRows:
    """Edits or checkpoints: of one memory block, or of all blocks that are themselves rows of the extension.

    Rows share the resolution of their block. Their numbers stay where they are free; from the first one of a block that
    is taken, its rows get new ones, above all others, so that their order stays. Nothing else refers to these numbers.

    Memory:  one batch.
    """

    def __init__(self, context: ImportContext, mapping: ColumnMapping) -> None:
        self._context = context
        self._mapping = mapping
        self._number = mapping.place("id")
        self._renumber = False

    def add_of_block(self, rows: Sequence[Row], block_id: str, resolution: Resolution) -> None:
        """More rows of a memory block. Raises MalformedNode: a row of another block among them."""
        found = self._mapping.fit(rows)
        if resolution == "replace":
            self._context.blocks.history_came(block_id)
        for row in found:
            if self._block_of(row) != block_id:
                where = Where(table=self._mapping.table, row_id=block_id)
                raise MalformedNode("row of the history of this memory block names another one", where=where)
        self._add(found, resolution)

    def add_of_table(self, rows: Sequence[Row]) -> None:
        """More rows that came as a table."""
        resolutions = [self._resolve(row) for row in rows]
        for wanted in ("skip", "add"):
            self._add([row for row, found in zip(rows, resolutions, strict=True) if found == wanted], wanted)

    def _resolve(self, row: Row) -> Resolution:
        """# Rule: nothing is added to a memory block of the database that is not in the archive."""
        context, block_id = self._context, self._block_of(row)
        if not isinstance(block_id, str):
            return "add"
        found = context.blocks.resolution_of(block_id)
        if found == "replace":
            context.blocks.history_came(block_id)
            return "add"
        if found is not None:
            return found
        sql = "SELECT 1 FROM memory_blocks WHERE id = ?"
        if not context.populated or context.connection.execute(sql, (block_id,)).fetchone() is None:
            return "add"
        if context.options.on_conflict == "skip":
            return "skip"
        context.loaded.conflicts.add_row(self._mapping.table, f"of memory block {block_id}", ONLY_SKIP)
        return "conflict"

    def _block_of(self, row: Row) -> object:
        at = self._mapping.place("block_id")
        return None if at is None else self._context.pieces.in_memory(row[at])

    def _add(self, rows: list[Row], resolution: Resolution) -> None:
        table, loaded = self._mapping.table, self._context.loaded
        if resolution == "skip":
            loaded.skipped[table] += len(rows)
        elif resolution != "conflict" and not self._context.stopped and rows:
            kept, number = self._first_taken(rows), self._number or 0
            loaded.rows[table] += self._mapping.writer.write(rows[:kept])
            renumbered = [(*row[:number], None, *row[number + 1 :]) for row in rows[kept:]]
            loaded.rows[table] += self._mapping.writer.write(renumbered)

    def _first_taken(self, rows: Sequence[Row]) -> int:
        """The index of the first row that cannot keep its number; all after it get new ones too."""
        if self._number is None or self._renumber:
            return 0 if self._renumber else len(rows)
        numbers = [row[self._number] for row in rows]
        sql = f"SELECT id FROM {quoted(self._mapping.table)} WHERE id IN ({', '.join(map(mark, numbers))})"
        taken = {number for (number,) in self._context.connection.execute(sql, parameters(numbers))}
        for at, number in enumerate(numbers):
            too_high = self._context.populated and isinstance(number, int) and number > _HIGHEST_NUMBER
            if too_high or number in taken:
                self._renumber = True
                return at
            if number is not None:
                taken.add(number)
        return len(rows)
