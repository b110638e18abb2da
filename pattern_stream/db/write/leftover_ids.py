"""Old ids that an import with new ones leaves where they are: in text, in free JSON, and in what documents show.

The search comes when all rows are in, and reads those of the import: each text that looks like an id is given its new
form, and counts where a row has that as its id. So no ids are kept, and no other text counts as one.
Source: docs/format.md#new-ids.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import field
from itertools import islice
from typing import Final

from pattern_stream.db.catalog.catalog import Target, read_targets
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.cursor import NeedsCare
from pattern_stream.db.connection.sql_text import SHOWN_CHARS, quoted, shown
from pattern_stream.errors import Finding, Report, Where
from pattern_stream.items import Row
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.ids.id_search import IdSearch
from pattern_stream.schema.ids.new_ids import Identity, mint_bytes
from pattern_stream.schema.model.id_columns import AGENT_LISTS, is_known, references_of
from pattern_stream.schema.model.records import MemoryBlock, Message

_DERIVED: Final = {Message.table: ("content_preview",)}
"""Columns with nothing in them that is not in another one too."""

_DOCUMENT: Final = (MemoryBlock.table, "content_preview")
"""Where the whole text is that a memory document shows."""

_ROWS_WITH_CARE: Final = 128
"""So many rows are read cell by cell once one of them has a cell that is too large to be searched."""

_MOST_LOOKED_UP: Final = 256
"""Candidates of one cell, beyond which the rest is left: a cell that has no old id among them is one of hashes."""

_LEAST, _LAST = -(2**63), 2**63 - 1
"""No rowid is lower, or higher."""

_Cell = tuple[int, str, bytes | None]
"""Rowid, column, text; None for a cell that is no text, and for one that is too large."""


@dataclass(slots=True)
class _ColumnCount:
    """The cells of one column that have an old id, the first of them, and those that were too large to search."""

    cells: int = 0
    rowid: int = 0
    id: bytes = b""
    too_large: int = 0


@dataclass(frozen=True, slots=True)
class _SearchedTable:
    """One table: the columns that are searched, and the rowid after which the rows of the import are."""

    table: Target
    columns: tuple[str, ...]
    after: int
    counts: defaultdict[str, _ColumnCount] = field(default_factory=lambda: defaultdict(_ColumnCount))

    def sql(self, columns: Sequence[str]) -> str:
        """The statement for rows from one rowid, not included, to another: the rowid, and text of these columns."""
        rowid = f"t.{self.table.rowid}"
        texts = (
            f"CASE typeof(t.{quoted(name)}) WHEN 'text' THEN CAST(t.{quoted(name)} AS BLOB) END" for name in columns
        )
        listed = ", ".join([rowid, *texts])
        return f"SELECT {listed} FROM {quoted(self.table.name)} t WHERE {rowid} > ? AND {rowid} <= ? ORDER BY {rowid}"


class LeftoverIds:
    """The search of one import into this connection's database; made before rows go in.

    `encoding`: of text as SQLite stores it. `tables`: as they were then. `replacing`: any of their rows may have been.
    """

    def __init__(self, connection: Connection, encoding: str, tables: Sequence[Target], *, replacing: bool) -> None:
        self._connection = connection
        self._encoding = encoding
        self._tables = tables
        self._replacing = replacing

    @classmethod
    async def watch(cls, connection: Connection, *, replacing: bool = False) -> LeftoverIds:
        """Note which rows are there already. They are not searched, unless `replacing`: any of them may be replaced."""
        ((encoding,),) = await connection.execute("PRAGMA encoding")
        targets = await connection.run(read_targets)
        known = [table for table in targets.values() if is_known(table.name) and table.rowid is not None]
        return cls(connection, encoding, known, replacing=replacing)

    async def report(self, identity: Identity, named: Iterable[str], report: Report) -> None:
        """Search all rows of the import. `named`: the old ids of agents and groups that have new ones.

        Memory:  one batch of rows, a set of the ids.
        Reports: ids-in-text (warning): once for a column, with the number of cells and the first of them.
        Raises:  CorruptDatabase, DatabaseStorage.
        """
        known = await self._connection.run(_KnownIds, self._tables, identity)
        search = IdSearch(named)
        for table in self._tables:
            left_out = {*references_of(table.name), *AGENT_LISTS.get(table.name, ()), *table.key}
            left_out |= {*_DERIVED.get(table.name, ())}
            columns = tuple(column for column in table.names if column not in left_out)
            after = _LEAST if self._replacing or table.highest is None else table.highest
            searched = _SearchedTable(table, columns, after)
            async with aclosing(self._cells(searched)) as found:
                async for cells in found:
                    await self._search(searched, cells, search, known)
            for column, count in searched.counts.items():
                await self._report_column(searched, column, count, report)

    async def _cells(self, searched: _SearchedTable) -> AsyncGenerator[list[_Cell]]:
        """The cells of the import, in batches. Around one that is too large they come one by one."""
        after: int | None = searched.after
        while after is not None:
            try:
                async with aclosing(self._rows(searched, searched.columns, after, _LAST)) as found:
                    async for rows in found:
                        yield [
                            (row[0], column, self._utf8(cell))
                            for row in rows
                            for column, cell in zip(searched.columns, row[1:], strict=True)
                        ]
                        after = rows[-1][0]
                after = None
            except NeedsCare:
                some = f"{searched.sql(())} LIMIT {_ROWS_WITH_CARE}"
                rowids = [rowid for (rowid,) in await self._connection.execute(some, (after, _LAST))]
                for rowid in rowids:
                    for column in searched.columns:
                        yield [(rowid, column, await self._cell(searched, column, rowid))]
                after = rowids[-1] if rowids else None

    def _rows(
        self, searched: _SearchedTable, columns: Sequence[str], after: int, last: int
    ) -> AsyncGenerator[list[Row]]:
        return self._connection.rows(searched.sql(columns), (after, last), table=searched.table.name, careful=True)

    async def _cell(self, searched: _SearchedTable, column: str, rowid: int) -> bytes | None:
        """One cell; None where it is too large, which is counted."""
        try:
            async with aclosing(self._rows(searched, (column,), rowid - 1, rowid)) as rows:
                return self._utf8(next(iter([row[-1] async for (row,) in rows]), None))
        except NeedsCare:
            searched.counts[column].too_large += 1
            return None

    def _utf8(self, cell: bytes | None) -> bytes | None:
        """Text as UTF-8, whatever the database keeps it in."""
        if cell is None or self._encoding == "UTF-8":
            return cell
        return cell.decode(self._encoding, errors="replace").encode()

    async def _search(self, searched: _SearchedTable, cells: list[_Cell], search: IdSearch, known: _KnownIds) -> None:
        hits = [
            (rowid, column, tokens)
            for rowid, column, cell in cells
            if cell is not None and (tokens := list(dict.fromkeys(islice(search.find(cell), _MOST_LOOKED_UP))))
        ]
        asked = {token for _, _, tokens in hits for token in tokens} - search.names
        here = search.names | (await self._connection.run(known.among, asked) if asked else set())
        for rowid, column, tokens in hits:
            token = next((token for token in tokens if token in here), None)
            if token is not None:
                count = searched.counts[column]
                if not count.cells:
                    count.rowid, count.id = rowid, token
                count.cells += 1

    async def _report_column(self, searched: _SearchedTable, column: str, count: _ColumnCount, report: Report) -> None:
        table, many = searched.table.name, count.cells != 1
        if count.cells:
            if (table, column) == _DOCUMENT:
                found, left = "documents still show" if many else "document still shows", "documents"
            else:
                found, left = "cells still have" if many else "cell still has", "text and free JSON"
            where = Where(table=table, row_id=await self._name(searched, count.rowid), field=column)
            ids = f"old ids, such as {shown(count.id)}: ids in {left} are left as they are"
            report(Finding("warning", "ids-in-text", f"{count.cells} {found} {ids}", where))
        if count.too_large:
            cells = "cell is" if count.too_large == 1 else "cells are"
            message = f"{count.too_large} {cells} too large to look for old ids in"
            report(Finding("warning", "ids-in-text", message, Where(table=table, field=column)))

    async def _name(self, searched: _SearchedTable, rowid: int) -> str:
        """The key of a row, as long as a message bears, or its rowid where the key is too large to be read."""
        table = searched.table
        keys = [f"substr(CAST(t.{quoted(name)} AS BLOB), 1, {SHOWN_CHARS * 4})" for name in table.key] or ["''"]
        sql = f"SELECT {', '.join(keys)} FROM {quoted(table.name)} t WHERE t.{table.rowid} = ?"
        try:
            async with aclosing(self._connection.rows(sql, (rowid,), table=table.name, careful=True)) as rows:
                found = [self._utf8(key) async for (row,) in rows for key in row if key]
        except NeedsCare:
            found = []
        return " ".join(shown(key) for key in found if key) or f"rowid {rowid}"


class _KnownIds:
    """The rows that have new ids here. Made, and asked, on the driver's thread."""

    def __init__(self, connection: sqlite3.Connection, tables: Sequence[Target], identity: Identity) -> None:
        self._identity = identity
        self._kinds = {
            table.name: kind
            for table in tables
            if table.key == ("id",)
            and (kind := references_of(table.name).get("id")) is not None
            and connection.execute(f"SELECT 1 FROM {table.source('t')} LIMIT 1").fetchone() is not None
        }
        self._sql = " UNION ALL ".join(f"SELECT 1 FROM {quoted(name)} WHERE id = ?" for name in self._kinds)

    def among(self, connection: sqlite3.Connection, tokens: Iterable[bytes]) -> frozenset[bytes]:
        """Those of these old ids whose new form is the id of a row."""
        if not self._kinds:
            return frozenset()
        key, kinds = self._identity.key, self._kinds.values()
        return frozenset(
            token
            for token in tokens
            if connection.execute(self._sql, [mint_bytes(key, token, kind) for kind in kinds]).fetchone()
        )
