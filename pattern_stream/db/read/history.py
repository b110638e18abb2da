"""Memory blocks as they are stored: the document, the edits that wait for it, and where asked for the whole history."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from pattern_stream.db.read.query import Query, table_query
from pattern_stream.db.read.reading import Found, Reading
from pattern_stream.items import Close, Open, RowEvent
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.nodes import History, MemoryBlockExport
from pattern_stream.schema.model.records import MemoryBlock, MemoryUpdate

_ID: Final = MemoryBlock.index("id")
_SNAPSHOT: Final = MemoryBlock.index("loro_snapshot")
_FRONTIER: Final = MemoryBlock.index("frontier")
_IS_EMPTY: Final = "length(b.loro_snapshot) = 0"
"""Then the row has the newest checkpoint in its place, if there is one."""


@dataclass(frozen=True, slots=True)
class BlockReader:
    """Memory blocks with their active updates; `history`: and with all that made them."""

    reading: Reading
    history: bool

    def query(self, tail: str, subject: str | None = None) -> Query:
        """Memory blocks for `events`; the alias is `b`."""
        return self.reading.query(MemoryBlock, tail, subject, (_IS_EMPTY,))

    async def events(self, found: Found, *, key: str | None) -> AsyncGenerator[RowEvent]:
        """One memory block, from Open to Close; `key` where another node may refer to it."""
        row, is_empty = found.row[:-1], found.row[-1]
        yield Open(MemoryBlockExport, row, key, {"history": True} if self.history else {})
        async for piece in self.reading.pieces(found.query, found.fetched):
            yield piece
        async for event in self._active(row[_ID]):
            yield event
        if self.history:
            base = b"" if is_empty else row[_SNAPSHOT]
            extra = {"base": base, "frontier": row[_FRONTIER], "columns": self._columns()}
            yield Open(History, extra=extra)
            async for event in self._history(row[_ID]):
                yield event
            yield Close()
        yield Close()

    async def _active(self, block_id: str) -> AsyncGenerator[RowEvent]:
        """The edits that are to be in the document."""
        catalog = self.reading.catalog
        if not catalog.has(MemoryUpdate.table):
            return
        active = "AND t.is_active = 1" if catalog.has(MemoryUpdate.table, "is_active") else ""
        query = self.reading.query(MemoryUpdate, f"WHERE t.block_id = :id {active} ORDER BY t.seq", block_id)
        async with aclosing(self.reading.records(MemoryUpdate, query)) as found:
            async for event in found:
                yield event

    async def _history(self, block_id: str) -> AsyncGenerator[RowEvent]:
        """All updates by seq, undone ones too, then all checkpoints by id."""
        for name, first in _FIRST.items():
            if (table := self.reading.catalog.tables.get(name)) is None:
                continue
            order = ", ".join([*first, *table.order("t")])
            query = table_query(table, f"{name} t WHERE t.block_id = :id ORDER BY {order}", block_id)
            async with aclosing(self.reading.cells(query)) as found:
                async for event in found:
                    yield event

    def _columns(self) -> dict[str, tuple[str, ...]]:
        tables = self.reading.catalog.tables
        return {name: tables[name].names if name in tables else usual for name, usual in HISTORY_COLUMNS.items()}


_FIRST: Final = {"memory_block_updates": ("t.seq",), "memory_block_checkpoints": ()}
"""The tables of history, and what their rows are sorted by before the key."""
