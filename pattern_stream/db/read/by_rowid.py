"""Reading one row, found by its rowid or key, cell by cell: the slow half of `fetch`, on the driver's own thread.

A large cell is never read whole: SQLite's handle on a stored value tells its length, and gives its bytes in pieces. It
needs a rowid; in a table without one, and for text that is not stored as UTF-8, the cell is read at once and then cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from pattern_stream.db.connection.cursor import limited, text_as, too_large, weigh_cells
from pattern_stream.db.read.query import Address, Query
from pattern_stream.errors import CorruptDatabase, DocumentTooLarge, InvalidCell, Where
from pattern_stream.format import BATCH_BYTES, LARGE_CELL_BYTES, VALUE_PIECE_BYTES
from pattern_stream.items import Row
from pattern_stream.schema.model.cells import Large, NotUtf8


def lenient_text(raw: bytes) -> str | NotUtf8:
    """Text as it is, or its bytes where they are no UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return NotUtf8(raw)


class AddressedReader:
    """Rows of one query by their addresses. `lenient`: text that is no UTF-8 is NotUtf8, else it is refused."""

    def __init__(self, query: Query, *, lenient: bool) -> None:
        self._query, self._lenient = query, lenient

    def take(self, connection: sqlite3.Connection, addresses: Sequence[Address]) -> tuple[list[Row], bool]:
        """The rows at the first addresses, as many as are a batch; whether it is one with Large cells, alone then.

        Raises InvalidCell, LimitExceeded, CorruptDatabase.
        """
        rows: list[Row] = []
        weight = 0
        for address in addresses:
            row = self._row(connection, address)
            if any(type(cell) is Large for cell in row):
                return (rows, False) if rows else ([row], True)
            rows.append(row)
            weight += weigh_cells([row])
            if weight >= BATCH_BYTES:
                break
        return rows, False

    def _row(self, connection: sqlite3.Connection, address: Address) -> Row:
        try:
            with limited(connection):
                row = _select(connection, self._query, self._query.expressions, address)
        except sqlite3.DataError as error:
            if not too_large(error):
                raise
            row = self._large_row(connection, address)
        return row if self._lenient else self._checked(row)

    def _large_row(self, connection: sqlite3.Connection, address: Address) -> Row:
        """A row with Large in place of large cells; the others are read."""
        query = self._query
        types = _select(connection, query, [f"typeof({cell})" for cell in query.expressions], address)
        cells = [self._large(connection, address, index, kind) for index, kind in enumerate(types)]
        small = [index for index, cell in enumerate(cells) if cell is None]
        read = _select(connection, query, [query.expressions[index] for index in small], address) if small else ()
        found: dict[int, Any] = dict(zip(small, read, strict=True))
        return tuple(found.get(index, cell) for index, cell in enumerate(cells))

    def _large(self, connection: sqlite3.Connection, address: Address, index: int, kind: str) -> Large | None:
        """What stands for a cell, None where it is read as it is. Raises DocumentTooLarge."""
        if kind not in ("text", "blob"):
            return None
        cell = CellReader(self._query, index, address, text=kind == "text")
        try:
            size = cell.size(connection)
        finally:
            cell.close(connection)
        name = self._query.names[index]
        if name not in self._query.whole:
            return Large(size, kind == "text") if size > LARGE_CELL_BYTES else None
        if size > self._query.longest_whole:
            where = Where("source", table=self._query.table.name, row_id=str(address[0]), field=name)
            limit = self._query.longest_whole
            raise DocumentTooLarge(f"a part of a memory document is {size} bytes, limit is {limit} bytes", where=where)
        return None

    def _checked(self, row: Row) -> Row:
        """The row. Raises InvalidCell where there is text that is no UTF-8."""
        for name, cell in zip(self._query.names, row, strict=True):
            if type(cell) is NotUtf8:
                key = row[self._query.key_column]
                shown = key.decode(errors="backslashreplace") if isinstance(key, bytes) else str(key)
                where = Where(table=self._query.table.name, row_id=shown, field=name)
                raise InvalidCell("found text that is no UTF-8, expected UTF-8", where=where)
        return row


class CellReader:
    """The bytes of one TEXT or BLOB cell, VALUE_PIECE_BYTES at a time; text as UTF-8."""

    def __init__(self, query: Query, index: int, address: Address, *, text: bool) -> None:
        self._query, self._index, self._address, self._text = query, index, address, text
        self._blob: sqlite3.Blob | None = None
        self._whole: bytes | None = None
        self._at = 0

    def size(self, connection: sqlite3.Connection) -> int:
        """The cell's length in bytes."""
        self._open(connection)
        return len(self._whole if self._blob is None else self._blob)  # type: ignore[arg-type]  # it is open

    def read(self, connection: sqlite3.Connection) -> bytes:
        """The next piece; nothing at the end."""
        if self._blob is None and self._whole is None:
            self._open(connection)
        if self._blob is not None:
            return self._blob.read(VALUE_PIECE_BYTES)
        self._at += VALUE_PIECE_BYTES
        return (self._whole or b"")[self._at - VALUE_PIECE_BYTES : self._at]

    def close(self, connection: sqlite3.Connection) -> None:
        """Let go of the cell."""
        if self._blob is not None:
            self._blob.close()
        self._blob = self._whole = None

    def _open(self, connection: sqlite3.Connection) -> None:
        """# Trap: a new handle finds its place by going through all pages before it, so one handle reads the cell."""
        query, index = self._query, self._index
        encoding = connection.execute("PRAGMA encoding").fetchone()[0] if self._text else "UTF-8"
        if query.is_stored(index) and encoding == "UTF-8":
            self._blob = connection.blobopen(query.table.name, query.names[index], self._address[0], readonly=True)
        else:
            (self._whole,) = _select(connection, query, [query.expressions[index]], self._address, bytes)


def _select(
    connection: sqlite3.Connection,
    query: Query,
    expressions: Sequence[str],
    address: Address,
    text_factory: Callable[[bytes], object] = lenient_text,
) -> Row:
    """Cells of the row at an address. Raises CorruptDatabase where there is none: an index that is out of step."""
    with text_as(connection, text_factory), closing(sqlite3.Cursor(connection)) as cursor:
        row: Row | None = cursor.execute(*query.one(expressions, address)).fetchone()
    if row is None:
        message = f"an index of the database names a row that is not there ({address[0]})"
        raise CorruptDatabase(message, where=Where("source", table=query.table.name))
    return row
