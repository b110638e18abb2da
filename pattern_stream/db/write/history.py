"""The history of memory blocks on its way in: edits and checkpoints as they are stored. Source: v4 2, database 3.2.

Rows share the fate of their block. Their numbers are kept where they are free; from the first one of a block that is
not, its rows get new ones, above all others, so that their order stays. Nothing else refers to these numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pattern_stream.db.connection.sql_text import Row, equal, parameters, quoted
from pattern_stream.db.write.column_mapping import Incoming
from pattern_stream.db.write.import_context import Import
from pattern_stream.db.write.memory_blocks import Fate
from pattern_stream.errors import MalformedNode, Where

_HIGHEST_NUMBER: Final = 2**62
"""No row of an archive takes a number above this where others live: the next one here must find one that is higher."""


class HistoryRows:
    """Rows of one of the two tables: of one memory block, or of all blocks that are themselves rows beyond version 3.

    Memory:  one batch.
    """

    def __init__(self, work: Import, incoming: Incoming) -> None:
        self._work = work
        self._incoming = incoming
        self._number = incoming.place("id")
        self._renumber = False

    def add_of_block(self, rows: Sequence[Row], block_id: str, fate: Fate) -> None:
        """More rows of a memory block of that fate. Raises MalformedNode: a row of another block among them."""
        found = self._incoming.fit(rows)
        for row in found:
            if self._block_of(row) != block_id:
                where = Where(table=self._incoming.table, row_id=block_id)
                raise MalformedNode("row of the history of this memory block names another one", where=where)
        self._add(found, fate)

    def add_beyond(self, rows: Sequence[Row]) -> None:
        """More rows that came as a table: each meets the fate of its block."""
        fates = [self._fate_beyond(row) for row in rows]
        for fate in ("skip", "add"):
            self._add([row for row, its in zip(rows, fates, strict=True) if its == fate], fate)

    def _fate_beyond(self, row: Row) -> Fate:
        """# Rule: nothing is added to a memory block of the database that the archive does not hold."""
        block_id = self._block_of(row)
        if not isinstance(block_id, str):
            return "add"
        fate = self._work.blocks.fate_of(block_id)
        if fate is not None:
            return "add" if fate == "replace" else fate
        if not self._work.living or not self._work.blocks.is_there(block_id):
            return "add"
        if self._work.options.on_conflict == "skip":
            return "skip"
        self._work.loaded.conflicts.add_row(self._incoming.table, f"of memory block {block_id}")
        return "conflict"

    def _block_of(self, row: Row) -> object:
        at = self._incoming.place("block_id")
        return None if at is None else self._work.pieces.plain(row[at])

    def _add(self, rows: list[Row], fate: Fate) -> None:
        table = self._incoming.table
        if fate == "skip":
            self._work.loaded.skipped[table] += len(rows)
        elif fate != "conflict" and not self._work.stopped and rows:
            self._write(rows)
            self._work.loaded.rows[table] += len(rows)

    def _write(self, rows: list[Row]) -> None:
        done = 0
        if not self._renumber and not (self._work.living and any(map(self._is_too_high, rows))):
            done = self._incoming.insert.add_first(rows)
        while done < len(rows) and not self._renumber:
            if self._is_taken(rows[done]):
                self._renumber = True
            else:
                self._incoming.insert.add_one(rows[done])
                done += 1
        at = self._number or 0
        self._incoming.insert.add([(*row[:at], None, *row[at + 1 :]) for row in rows[done:]])

    def _is_taken(self, row: Row) -> bool:
        """Whether a row cannot have the number that it has."""
        if self._number is None or (self._work.living and self._is_too_high(row)):
            return self._number is not None
        number = row[self._number]
        sql = f"SELECT 1 FROM {quoted(self._incoming.table)} WHERE {equal(['id'], [number])}"
        return self._work.connection.execute(sql, parameters([number])).fetchone() is not None

    def _is_too_high(self, row: Row) -> bool:
        at = self._number
        return at is not None and isinstance(row[at], int) and row[at] > _HIGHEST_NUMBER
