"""Old ids that an import with new ones leaves where they are: in text, in free JSON, and in what documents show.

They are looked for when all rows are in, in those that came: whatever looks like an id is given its new form, and
counts where that is the id of a row here. So no ids are kept, and nothing is taken for one that is none. Source: v4 6.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from pattern_stream.db.catalog.catalog import Target, read_targets
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.cursor import NeedsCare
from pattern_stream.db.connection.sql_text import SHOWN_CHARS, quoted, shown
from pattern_stream.errors import Finding, Report, Where
from pattern_stream.schema.ids.id_search import IdSearch
from pattern_stream.schema.ids.new_ids import Identity, mint_bytes
from pattern_stream.schema.model.id_columns import AGENT_LISTS, is_known, references_of
from pattern_stream.schema.model.records import MemoryBlock, Message

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

_LEAST, _LAST = -(2**63), 2**63 - 1
"""No rowid is lower, or higher."""

_ANY: Final = "SELECT 1 FROM {} LIMIT 1"

_Cell = tuple[int, str, bytes | None]
"""Rowid, column, text; None for what is no text, and for what is too large."""


@dataclass(slots=True)
class _Tally:
    """The cells of one column that name something, the first of them, and those that were too large to look into."""

    cells: int = 0
    rowid: int = 0
    id: bytes = b""
    too_large: int = 0

    def add(self, rowid: int, token: bytes) -> None:
        """A cell of that row names something by this id."""
        if not self.cells:
            self.rowid, self.id = rowid, token
        self.cells += 1


@dataclass(frozen=True, slots=True)
class _Part:
    """One table: the columns that are looked into, and the rowid after which there is what came."""

    table: Target
    columns: tuple[str, ...]
    after: int
    tallies: defaultdict[str, _Tally] = field(default_factory=lambda: defaultdict(_Tally))

    def sql(self, columns: Sequence[str]) -> str:
        """The statement for rows from one rowid, not included, to another: the rowid, and text of these columns."""
        rowid = f"t.{self.table.rowid}"
        texts = [
            f"CASE typeof(t.{quoted(name)}) WHEN 'text' THEN CAST(t.{quoted(name)} AS BLOB) END" for name in columns
        ]
        listed = ", ".join([rowid, *texts])
        return f"SELECT {listed} FROM {quoted(self.table.name)} t WHERE {rowid} > ? AND {rowid} <= ? ORDER BY {rowid}"

    @property
    def names(self) -> str:
        """The statement for what names a row by its rowid: its key, as long as a message bears."""
        keys = [f"substr(CAST(t.{quoted(name)} AS BLOB), 1, {SHOWN_CHARS * 4})" for name in self.table.key] or ["''"]
        return f"SELECT {', '.join(keys)} FROM {quoted(self.table.name)} t WHERE t.{self.table.rowid} = ?"


class Mentions:
    """Of one import into this connection's database; made before rows go in.

    `encoding`: of text as SQLite stores it. `tables`: as they were then. `replacing`: any of their rows may have been.
    """

    def __init__(self, connection: Connection, encoding: str, tables: Sequence[Target], *, replacing: bool) -> None:
        self._connection = connection
        self._encoding = encoding
        self._tables = tables
        self._replacing = replacing

    @classmethod
    async def watch(cls, connection: Connection, *, replacing: bool = False) -> Mentions:
        """Note what is there already, which is not looked at; `replacing`: it is, as any of it may be replaced."""
        encoding, tables = await connection.run(_noted)
        return cls(connection, encoding, tables, replacing=replacing)

    async def report(self, identity: Identity, named: Iterable[str], report: Report) -> None:
        """Look through all that came. `named`: the old ids of agents and groups that have new ones.

        Memory:  one batch of rows, a set of the ids.
        Reports: ids-in-text (warning): once for a column, with the number of cells and the first of them.
        Raises:  CorruptDatabase, DatabaseStorage.
        """
        known = await self._connection.run(_Known, self._tables, identity)
        search = IdSearch(named)
        for table in self._tables:
            part = _part_of(table, everything=self._replacing)
            async with aclosing(self._cells(part)) as found:
                async for cells in found:
                    await self._look(part, cells, search, known)
            await self._tell(part, report)

    async def _cells(self, part: _Part) -> AsyncGenerator[list[_Cell]]:
        """The cells that came, in batches. Around one that is too large they come one by one."""
        after: int | None = part.after
        while after is not None:
            try:
                async with aclosing(self._rows(part, part.columns, after, _LAST)) as found:
                    async for rows in found:
                        yield [
                            (row[0], column, self._plain(cell))
                            for row in rows
                            for column, cell in zip(part.columns, row[1:], strict=True)
                        ]
                        after = rows[-1][0]
                after = None
            except NeedsCare:
                some = f"{part.sql(())} LIMIT {_ROWS_WITH_CARE}"
                rowids = [rowid for (rowid,) in await self._connection.run(_all, some, (after, _LAST))]
                for rowid in rowids:
                    for column in part.columns:
                        yield [(rowid, column, await self._cell(part, column, rowid))]
                after = rowids[-1] if rowids else None

    def _rows(self, part: _Part, columns: Sequence[str], after: int, last: int) -> AsyncGenerator[list[Any]]:
        return self._connection.rows(part.sql(columns), (after, last), table=part.table.name, careful=True)

    async def _cell(self, part: _Part, column: str, rowid: int) -> bytes | None:
        """One cell; None where it is too large, which is counted."""
        try:
            async with aclosing(self._rows(part, (column,), rowid - 1, rowid)) as rows:
                return self._plain(next(iter([row[-1] async for (row,) in rows]), None))
        except NeedsCare:
            part.tallies[column].too_large += 1
            return None

    def _plain(self, cell: bytes | None) -> bytes | None:
        """Text as UTF-8, whatever the database keeps it in."""
        if cell is None or self._encoding == "UTF-8":
            return cell
        return cell.decode(self._encoding, errors="replace").encode()

    async def _look(self, part: _Part, cells: list[_Cell], search: IdSearch, known: _Known) -> None:
        hits = [
            (rowid, column, tokens)
            for rowid, column, cell in cells
            if cell is not None and (tokens := list(dict.fromkeys(islice(search.find(cell), _MOST_LOOKED_UP))))
        ]
        asked = {token for _, _, tokens in hits for token in tokens} - search.odd
        here = search.odd | (await self._connection.run(known.among, asked) if asked else set())
        for rowid, column, tokens in hits:
            token = next((token for token in tokens if token in here), None)
            if token is not None:
                part.tallies[column].add(rowid, token)

    async def _tell(self, part: _Part, report: Report) -> None:
        table = part.table.name
        for column, tally in part.tallies.items():
            if tally.cells:
                shows = (table, column) == _DOCUMENT
                what = _counted(tally.cells, *(_SHOW if shows else _HAVE))
                left = "documents" if shows else "text and free JSON"
                message = f"{what} old ids, such as {shown(tally.id)}: ids in {left} are left as they are"
                where = Where(table=table, row_id=await self._name(part, tally.rowid), field=column)
                report(Finding("warning", "ids-in-text", message, where))
            if tally.too_large:
                message = f"{_counted(tally.too_large, *_ARE)} too large to look for old ids in"
                report(Finding("warning", "ids-in-text", message, Where(table=table, field=column)))

    async def _name(self, part: _Part, rowid: int) -> str:
        """What names a row: its key, or its rowid where that is too large to be read."""
        found = self._connection.rows(part.names, (rowid,), table=part.table.name, careful=True)
        try:
            async with aclosing(found) as rows:
                keys = [self._plain(key) for key in [key async for (row,) in rows for key in row] if key]
        except NeedsCare:
            keys = []
        return " ".join(shown(key) for key in keys if key) or f"rowid {rowid}"


class _Known:
    """The things that have new ids here. Made, and asked, on the driver's thread."""

    def __init__(self, connection: sqlite3.Connection, tables: Sequence[Target], identity: Identity) -> None:
        self._identity = identity
        self._kinds = {
            table.name: kind
            for table in tables
            if table.key == ("id",)
            and (kind := references_of(table.name).get("id")) is not None
            and _all(connection, _ANY.format(quoted(table.name)), ())
        }
        self._sql = " UNION ALL ".join(f"SELECT 1 FROM {quoted(name)} WHERE id = ?" for name in self._kinds)

    def among(self, connection: sqlite3.Connection, tokens: Iterable[bytes]) -> frozenset[bytes]:
        """Those of these old ids that are the ids of something."""
        if not self._kinds:
            return frozenset()
        return frozenset(token for token in tokens if connection.execute(self._sql, self._minted(token)).fetchone())

    def _minted(self, token: bytes) -> list[str]:
        return [mint_bytes(self._identity.key, token, kind) for kind in self._kinds.values()]


def _noted(connection: sqlite3.Connection) -> tuple[str, list[Target]]:
    """How text is stored, and the tables where it is known what ids there are: no others get rows with new ids."""
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    targets = read_targets(connection)
    return encoding, [table for table in targets.values() if is_known(table.name) and table.rowid is not None]


def _all(connection: sqlite3.Connection, sql: str, parameters: Sequence[object]) -> list[Any]:
    return connection.execute(sql, parameters).fetchall()


def _part_of(table: Target, *, everything: bool) -> _Part:
    left_out = {*references_of(table.name), *AGENT_LISTS.get(table.name, ()), *_DERIVED.get(table.name, ()), *table.key}
    columns = tuple(column for column in table.names if column not in left_out)
    return _Part(table, columns, _LEAST if everything or table.highest is None else table.highest)


def _counted(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
