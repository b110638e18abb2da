"""Groups rows of extension tables and of memory history into chunks. Each row is encoded once, here.
Source: docs/format.md#memory-history, #extension-tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import isfinite
from typing import Any, Final

from pattern_stream.codec import dagcbor
from pattern_stream.codec.chunk_borders import chunk_borders
from pattern_stream.codec.dagcbor import encode_records
from pattern_stream.format import MAX_BLOCK_BYTES, MAX_CHUNK_ROWS
from pattern_stream.items import Cells, Draft, MemoryHistory, OpenHistory, OpenTable, Row
from pattern_stream.schema.model.cells import HISTORY_KEY, Large, NotUtf8, cell_to_wire
from pattern_stream.schema.model.nodes import HISTORY_TABLES, TableChunk
from pattern_stream.schema.model.scopes import Limits

_ENVELOPE_BYTES: Final = 64
"""More than the map around a chunk's rows takes, but for the name of the table."""

_HISTORY: Final = {table: node for node, table in HISTORY_TABLES.items()}
_PLAIN: Final = frozenset({str, int, type(None)})


class RowChunks:
    """The open chunk of rows. Feed it the Open of a table or history, then its rows."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._history: MemoryHistory | None = None
        self._parts: list[bytes] = []
        self._part_bytes = 0
        self._is_numbered = False
        self._begin_table("", (), ())

    def begin(self, event: OpenTable | OpenHistory) -> None:
        """A table, or the history of a memory block, starts."""
        if isinstance(event, OpenHistory):
            self._history = event.stored
            self._begin_table("", (), ())
        else:
            self._history = None
            self._begin_table(event.cells_table, event.column_names, event.key_columns)

    def _begin_table(self, table: str, columns: Sequence[str], key: Sequence[str]) -> None:
        self._table, self._numbered_chunks = table, 0
        self._key = [columns.index(name) for name in key if name in columns]

    def add(self, event: Cells) -> Iterator[Draft]:
        """The chunks that are full after these rows."""
        if self._history is not None and event.table != self._table:
            yield from self.flush()
            self._begin_table(event.table, self._history.columns[event.table], HISTORY_KEY)
        if len(event.rows) == 1 and Large in map(type, event.rows[0]):
            yield from self._alone(event.rows[0])
            return
        room = MAX_BLOCK_BYTES - _ENVELOPE_BYTES - len(self._table.encode())
        parts = encode_rows(event.rows)
        keys = encode_rows([self._key_cells(row) for row in event.rows]) if self._key else parts
        borders = frozenset(chunk_borders(keys))
        for at, (row, encoded) in enumerate(zip(event.rows, parts, strict=True)):
            if len(encoded) > room:
                yield from self._alone(row)
                continue
            if at in borders or self._is_full(len(encoded), room):
                yield from self.flush()
            if not self._parts:
                self._is_numbered = self._may_recur(row)
            self._parts.append(encoded)
            self._part_bytes += len(encoded)

    def _key_cells(self, row: Row) -> Row:
        return tuple(row[place] for place in self._key)

    def _may_recur(self, row: Row) -> bool:
        """Whether there may be an equal row in the table: it has no key, or a null in it."""
        return not self._key or None in self._key_cells(row)

    def _is_full(self, size: int, room: int) -> bool:
        over = self._part_bytes + size > min(self._limits.max_chunk_bytes, room)
        return over or len(self._parts) >= MAX_CHUNK_ROWS

    def flush(self) -> Iterator[Draft]:
        """The open chunk, if there is any."""
        if self._parts:
            parts, self._parts, self._part_bytes = self._parts, [], 0
            yield self._draft(tuple(parts), None)

    def _alone(self, row: Row) -> Iterator[Draft]:
        yield from self.flush()
        self._is_numbered = self._may_recur(row)
        yield self._draft((), row)

    def _draft(self, parts: tuple[bytes, ...], wide: Row | None) -> Draft:
        """The chunk. # Rule: its index is 0, unless it may have an equal: no two blocks of an archive are the same."""
        node = _HISTORY[self._table] if self._history is not None else TableChunk
        self._numbered_chunks += self._is_numbered
        fields: dict[str, Any] = {"index": self._numbered_chunks if self._is_numbered else 0}
        if node is TableChunk:
            fields["table"] = self._table
        row_id = str(wide[0])[:200] if wide and type(wide[0]) in (str, int) else None
        return Draft(node, fields, parts, row_id, wide)


def encode_rows(rows: Sequence[Row]) -> list[bytes]:
    """Each row as an array of its cells: the fast way where all cells are text, finite numbers or null."""
    kinds = set(map(type, chain.from_iterable(rows)))
    if kinds <= _PLAIN or (kinds <= _PLAIN | {float} and all(_is_finite(cell) for row in rows for cell in row)):
        return encode_records(list(map(list, rows)))
    return [dagcbor.array_head(len(row)) + b"".join(map(encode_cell, row)) for row in rows]


def _is_finite(cell: Any) -> bool:
    return type(cell) is not float or isfinite(cell)


def encode_cell(cell: Any) -> bytes:
    """One cell in its form on the wire."""
    write = _CELLS.get(type(cell))
    return write(cell) if write is not None else dagcbor.encode_node(cell_to_wire(cell))


_CELLS: Final[dict[type, Callable[[Any], bytes]]] = {
    str: dagcbor.text,
    int: dagcbor.integer,
    bytes: lambda cell: dagcbor.bytes_head(len(cell)) + cell,
    type(None): lambda cell: b"\xf6",
    NotUtf8: lambda cell: dagcbor.encode_node(cell_to_wire(cell)),
}
