"""Cells too large for their rows, put together on disk as their pieces come: no cell is in memory before it is whole.

They are staged in a temporary table, not written where they belong: a row that goes in whole meets the same conflicts,
indexes, triggers and foreign keys as any other, and nothing half-written is ever seen by the full-text index.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pattern_stream.db.connection.sql_text import STAGE, Row, Staged
from pattern_stream.errors import LimitExceeded, ProtocolError, Where
from pattern_stream.items import Cells, Open, Piece, RowEvent, Rows
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.cells import Large, NotUtf8

_TABLE = f"temp.{STAGE}"


@dataclass(slots=True)
class _LargeCell:
    """A cell whose pieces are wanted: its column, the number under which it lies, and how many bytes are missing."""

    column: str
    number: int
    missing: int


class PieceStore:
    """Joins rows that have Large cells with the Pieces that follow them. `columns_of`: the columns of an event's rows.

    Memory:  one piece. On disk the cells of one row, in SQLite's temporary file.
    """

    def __init__(self, connection: sqlite3.Connection, columns_of: Callable[[RowEvent], Sequence[str]]) -> None:
        self._connection = connection
        self._columns_of = columns_of
        self._waiting: RowEvent | None = None
        self._cells: deque[_LargeCell] = deque()
        self._blob: sqlite3.Blob | None = None
        self._made = False

    def join(self, events: Iterable[RowEvent]) -> Iterator[RowEvent]:
        """The events without pieces. A row with Large cells comes with Staged ones, when all of them are there.

        Raises ProtocolError: a piece that nothing waits for, or something else where a piece is missing.
        """
        for event in events:
            if isinstance(event, Piece):
                self._write(event)
            elif self._waiting is not None:
                raise self._missing()
            elif not self._has_to_wait(event):
                yield event
            if self._waiting is not None and not self._cells:
                yield self._waiting
                self._waiting = None
                self._connection.execute(f"DELETE FROM {_TABLE}")

    def in_memory(self, cell: Any) -> Any:
        """A cell in memory, wherever it is: for the few that Python looks at."""
        if type(cell) is not Staged:
            return cell
        found = self._connection.execute(f"SELECT cell FROM {_TABLE} WHERE number = ?", (cell.number,)).fetchone()[0]
        if not cell.text:
            return found
        try:
            return found.decode()
        except UnicodeDecodeError:
            return NotUtf8(found)

    def in_memory_at(self, row: Row, *places: int) -> Row:
        """A row with the cells in these places in memory."""
        if Staged not in map(type, row):
            return row
        return tuple(self.in_memory(cell) if at in places else cell for at, cell in enumerate(row))

    def finish(self) -> None:
        """Drop what was made for it; a rollback does it too. Raises ProtocolError where pieces are missing."""
        if self._waiting is not None:
            raise self._missing()
        if self._made:
            self._connection.execute(f"DROP TABLE {_TABLE}")

    def _has_to_wait(self, event: RowEvent) -> bool:
        """Whether an event must wait for pieces. It is kept then, with room for them on disk."""
        row: Row | None = None
        if isinstance(event, Open) and isinstance(event.record, tuple):
            row = event.record
        elif isinstance(event, (Rows, Cells)) and len(event.rows) == 1:
            row = event.rows[0]
        if row is None or Large not in map(type, row):
            return False
        if not self._made:
            self._connection.execute(f"DROP TABLE IF EXISTS {_TABLE}")
            self._connection.execute(f"CREATE TABLE {_TABLE} (number INTEGER PRIMARY KEY, cell BLOB)")
            self._made = True
        columns = zip(self._columns_of(event), row, strict=True)
        cells = tuple(self._stage(column, cell) if type(cell) is Large else cell for column, cell in columns)
        if isinstance(event, Open):
            self._waiting = replace(event, record=cells)
        elif isinstance(event, (Rows, Cells)):
            self._waiting = replace(event, rows=[cells])
        self._next()
        return True

    def _stage(self, column: str, cell: Large) -> Staged:
        """Room for a cell: on disk, zeros that are written over as its pieces come. Raises LimitExceeded."""
        limit = self._connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
        if not 0 <= cell.bytes <= limit:
            raise LimitExceeded(f"cell is {cell.bytes} bytes, limit of SQLite is {limit}", where=Where(field=column))
        number = self._connection.execute(f"INSERT INTO {_TABLE} (cell) VALUES (zeroblob(?))", (cell.bytes,)).lastrowid
        self._cells.append(_LargeCell(column, int(number or 0), cell.bytes))
        return Staged(int(number or 0), cell.text)

    def _write(self, piece: Piece) -> None:
        cell = self._cells[0] if self._cells else None
        if cell is None or piece.column != cell.column:
            wanted = "none" if cell is None else f"one of {cell.column!r}"
            raise ProtocolError(f"found a piece of {piece.column!r}, expected {wanted}")
        if not 0 < len(piece.data) <= cell.missing:
            raise ProtocolError(f"found a piece of {len(piece.data)} bytes, expected 1 to {cell.missing}")
        if self._blob is None:
            self._blob = self._connection.blobopen(STAGE, "cell", cell.number, name="temp")
        self._blob.write(piece.data)
        cell.missing -= len(piece.data)
        self._next()

    def _next(self) -> None:
        """Go on to the next cell that wants pieces."""
        while self._cells and not self._cells[0].missing:
            self._cells.popleft()
            if self._blob is not None:
                self._blob.close()
                self._blob = None

    def _missing(self) -> ProtocolError:
        cell = self._cells[0]
        return ProtocolError(f"found {cell.missing} bytes of {cell.column!r} missing, expected its pieces at once")
