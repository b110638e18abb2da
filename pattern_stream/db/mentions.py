"""Old ids that an import with new ones leaves where they are: in text, in free JSON, and in what documents show.

They are looked for when all rows are in, in those that came: whatever looks like an id is given its new form, and
counts where that is the id of a row here. So no ids are kept, and nothing is taken for one that is none. Source: v4 6.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from pattern_stream.db.binding import quoted, shown
from pattern_stream.db.cursor import batches, on_thread
from pattern_stream.db.limits import NeedsCare
from pattern_stream.db.ordinary import Table, read_tables
from pattern_stream.errors import Finding, Report, Where
from pattern_stream.schema.identity import Identity, mint_bytes
from pattern_stream.schema.records import MemoryBlock, Message
from pattern_stream.schema.references import AGENT_LISTS, is_known, references_of
from pattern_stream.schema.seeming import IdSearch

_DERIVED: Final = {Message.table: ("content_preview",)}
"""Columns with nothing in them that is not in another one too."""

_DOCUMENT: Final = (MemoryBlock.table, "content_preview")
"""Where the whole text is that a memory document shows."""

_HAVE: Final = ("cell still has", "cells still have")
_SHOW: Final = ("document still shows", "documents still show")
_ARE: Final = ("cell is", "cells are")

_ROWS_WITH_CARE: Final = 128
"""So many rows are read cell by cell once one of them has a cell that is too large to be looked into."""


_MOST_LOOKED_UP: Final = 256
"""What looks like an id in one cell, beyond which the rest is left: a cell that has none of them is one of hashes."""

_SOME: Final = f" LIMIT {_ROWS_WITH_CARE}"
_LAST: Final = 2**63 - 1
"""No rowid is higher."""

_Key = tuple[Any, ...]
"""The rowid, and what names the row."""

_Cell = tuple[_Key, str, bytes | None]
"""Row, column, text; None for what is no text, and for what is too large."""


@dataclass(slots=True)
class _Tally:
    """The cells of one column that name something, and the first of them; those that were too large to look into."""

    cells: int = 0
    row: str = ""
    id: str = ""
    too_large: int = 0

    def add(self, key: _Key, token: bytes) -> None:
        """A cell of that row names something by this id."""
        if not self.cells:
            self.row, self.id = " ".join(map(shown, key[1:])), shown(token)
        self.cells += 1


@dataclass(frozen=True, slots=True)
class _Part:
    """One table: the columns that are looked into, and the highest rowid before the import."""

    table: Table
    columns: tuple[str, ...]
    before: int
    tallies: dict[str, _Tally] = field(default_factory=dict)

    def sql(self, columns: Sequence[str]) -> str:
        """The statement for rows from one rowid, not included, to another: rowid, key, text of these columns."""
        rowid = f"t.{self.table.rowid}"
        keys = [f"CAST(t.{quoted(name)} AS BLOB)" for name in self.table.key]
        texts = [
            f"CASE typeof(t.{quoted(name)}) WHEN 'text' THEN CAST(t.{quoted(name)} AS BLOB) END" for name in columns
        ]
        listed = ", ".join([rowid, *keys, *texts])
        return f"SELECT {listed} FROM {quoted(self.table.name)} t WHERE {rowid} > ? AND {rowid} <= ? ORDER BY {rowid}"

    def cells_of(self, row: Sequence[Any]) -> Iterator[_Cell]:
        """The cells of a row of that statement."""
        split = 1 + len(self.table.key)
        key = tuple(row[:split])
        return ((key, column, cell) for column, cell in zip(self.columns, row[split:], strict=True))


class Mentions:
    """Of one import into this connection's database; made before rows go in."""

    def __init__(self, connection: AsyncConnection, before: Mapping[str, int]) -> None:
        self._connection = connection
        self._before = before

    @classmethod
    async def watch(cls, connection: AsyncConnection) -> Mentions:
        """Note what is there already, which is not looked at."""
        tables = await read_tables(connection)
        return cls(connection, await on_thread(connection, _highest, tables.values()))

    async def report(self, identity: Identity, named: Iterable[str], report: Report) -> None:
        """Look through all that came. `named`: the old ids of agents and groups.

        Memory:  one batch of rows.
        Reports: ids-in-text (warning): once for a column, with the number of cells and the first of them.
        Raises:  CorruptDatabase, DatabaseStorage.
        """
        tables = await read_tables(self._connection)
        known, search = _Known(tables, identity), IdSearch(named)
        for table in tables.values():
            part = _part_of(table, self._before.get(table.name, 0))
            if part is not None:
                async with aclosing(self._cells(part)) as found:
                    async for cells in found:
                        await self._look(part, cells, search, known)
                _tell(part, report)

    async def _cells(self, part: _Part) -> AsyncGenerator[list[_Cell]]:
        """The cells that came, in batches. Around one that is too large they come one by one."""
        after: int | None = part.before
        while after is not None:
            try:
                async with aclosing(self._rows(part, after)) as found:
                    async for rows in found:
                        yield [cell for row in rows for cell in part.cells_of(row)]
                        after = rows[-1][0]
                after = None
            except NeedsCare:
                keys = await on_thread(self._connection, _all, part.sql(()) + _SOME, (after, _LAST))
                for key in keys:
                    for column in part.columns:
                        yield [(key, column, await self._cell(part, column, key[0]))]
                after = keys[-1][0] if keys else None

    def _rows(self, part: _Part, after: int) -> AsyncGenerator[list[Any]]:
        return batches(self._connection, part.sql(part.columns), (after, _LAST), table=part.table.name, careful=True)

    async def _cell(self, part: _Part, column: str, rowid: int) -> bytes | None:
        """One cell; None where it is too large, which is counted."""
        found = batches(self._connection, part.sql((column,)), (rowid - 1, rowid), table=part.table.name, careful=True)
        try:
            async with aclosing(found) as rows:
                return next(iter([row[-1] async for (row,) in rows]), None)
        except NeedsCare:
            part.tallies.setdefault(column, _Tally()).too_large += 1
            return None

    async def _look(self, part: _Part, cells: list[_Cell], search: IdSearch, known: _Known) -> None:
        hits = [
            (key, column, tokens)
            for key, column, cell in cells
            if cell is not None and (tokens := list(dict.fromkeys(islice(search.find(cell), _MOST_LOOKED_UP))))
        ]
        asked = {token for _, _, tokens in hits for token in tokens} - search.odd
        here = search.odd | (await on_thread(self._connection, known.among, asked) if asked else set())
        for key, column, tokens in hits:
            token = next((token for token in tokens if token in here), None)
            if token is not None:
                part.tallies.setdefault(column, _Tally()).add(key, token)


class _Known:
    """The things that have new ids here."""

    def __init__(self, tables: Mapping[str, Table], identity: Identity) -> None:
        self._identity = identity
        self._kinds = {
            name: references_of(name)["id"]
            for name, table in tables.items()
            if table.key == ("id",) and "id" in references_of(name)
        }
        self._sql = " UNION ALL ".join(f"SELECT 1 FROM {quoted(name)} WHERE id = ?" for name in self._kinds)

    def among(self, connection: sqlite3.Connection, tokens: Iterable[bytes]) -> frozenset[bytes]:
        """Those of these old ids that are the ids of something."""
        return frozenset(token for token in tokens if connection.execute(self._sql, self._minted(token)).fetchone())

    def _minted(self, token: bytes) -> list[str]:
        return [mint_bytes(self._identity.key, token, kind) for kind in self._kinds.values()]


def _highest(connection: sqlite3.Connection, tables: Iterable[Table]) -> dict[str, int]:
    found = {}
    for table in tables:
        if table.rowid is not None:
            (highest,) = connection.execute(f"SELECT max({table.rowid}) FROM {quoted(table.name)}").fetchone()
            found[table.name] = int(highest or 0)
    return found


def _all(connection: sqlite3.Connection, sql: str, parameters: Sequence[object]) -> list[Any]:
    return connection.execute(sql, parameters).fetchall()


def _part_of(table: Table, before: int) -> _Part | None:
    """None where nothing is to be looked into: what nobody knows does not come in with new ids."""
    if not is_known(table.name) or table.rowid is None:
        return None
    left_out = {*references_of(table.name), *AGENT_LISTS.get(table.name, ()), *_DERIVED.get(table.name, ()), *table.key}
    columns = tuple(column.name for column in table.columns if column.name not in left_out)
    return _Part(table, columns, before)


def _tell(part: _Part, report: Report) -> None:
    table = part.table.name
    for column, tally in part.tallies.items():
        if tally.cells:
            shows = (table, column) == _DOCUMENT
            what = _counted(tally.cells, *(_SHOW if shows else _HAVE))
            left = "documents" if shows else "text and free JSON"
            message = f"{what} old ids, such as {tally.id}: ids in {left} are left as they are"
            report(Finding("warning", "ids-in-text", message, Where(table=table, row_id=tally.row, field=column)))
        if tally.too_large:
            message = f"{_counted(tally.too_large, *_ARE)} too large to look for old ids in"
            report(Finding("warning", "ids-in-text", message, Where(table=table, field=column)))


def _counted(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
