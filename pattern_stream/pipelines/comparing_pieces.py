"""Large cells of an archive beside those of a database, piece by piece: neither is ever in memory whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import field
from typing import Any

from pattern_stream.db.catalog.catalog import Table
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.read.by_key import large_cell
from pattern_stream.errors import Where
from pattern_stream.items import Piece
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.cells import Large


@dataclass(slots=True)
class PieceComparison:
    """The Large cells of one row while their Pieces come in. Memory: a piece of each side."""

    connection: Connection
    table: Table
    key: tuple[Any, ...]
    large: Mapping[str, Large]
    where: Where
    _differing: set[str] = field(default_factory=set)
    _column: str | None = None
    _stored: AsyncGenerator[bytes] | None = None
    _rest: bytes = b""

    async def add(self, piece: Piece) -> None:
        """Compare the next bytes of a cell."""
        if piece.column != self._column:
            await self._turn_to(piece.column)
        if piece.column in self._differing:
            return
        if await self._next(len(piece.data)) != piece.data:
            self._differing.add(piece.column)

    async def finish(self) -> list[str]:
        """The columns that differ."""
        await self._turn_to(None)
        return sorted(self._differing)

    async def _turn_to(self, column: str | None) -> None:
        if self._stored is not None:
            async with aclosing(self._stored):
                if self._rest or await anext(self._stored, None) is not None:
                    self._differing.add(str(self._column))
        self._column, self._rest = column, b""
        named = column is not None and column in self.table.names
        self._stored = large_cell(self.connection, self.table, self.key, str(column)) if named else None

    async def _next(self, count: int) -> bytes:
        """So many bytes of the stored cell, or as many as there are."""
        while len(self._rest) < count and self._stored is not None:
            data = await anext(self._stored, None)
            if data is None:
                break
            self._rest += data
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken
