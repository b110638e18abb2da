"""Rows of a table as an archive has them, cut to what the database has of it."""

from __future__ import annotations

from collections.abc import Sequence

from pattern_stream.db.catalog.catalog import Target
from pattern_stream.db.connection.sql_text import Row
from pattern_stream.db.write.import_context import Import
from pattern_stream.db.write.table_insert import TableInsert
from pattern_stream.errors import MalformedNode, Where


class Incoming:
    """The rows of `table`, which in the archive has `columns`. `untranslated`: nobody knows where its ids are, and all
    others are new.

    `target` is None where the database has no such table, or one that no archive may write.
    """

    def __init__(self, work: Import, table: str, columns: Sequence[str], *, untranslated: bool = False) -> None:
        self._work = work
        self._untranslated = untranslated
        self._width = len(columns)
        self.table = table
        if len(set(columns)) != self._width:
            raise MalformedNode("table has two columns of one name", where=Where(table=table))
        found = None if untranslated else work.targets.get(table)
        kept = () if found is None else tuple(name for name in columns if name in found.names)
        self.target: Target | None = found if kept else None
        self._missing = [name for name in columns if name not in kept] if kept else []
        self._places = [at for at, name in enumerate(columns) if name in kept]
        self.columns = kept
        key = found.key if found is not None else ()
        self.insert = TableInsert(work.connection, table, kept, key)
        self.key_places = tuple(kept.index(name) for name in key) if key and set(key) <= set(kept) else ()

    def fit(self, rows: Sequence[Row]) -> list[Row]:
        """The rows as the database can have them. What it cannot have is noted. Raises MalformedNode."""
        for row in rows:
            if len(row) != self._width:
                message = f"row has {len(row)} cells, expected {self._width}"
                raise MalformedNode(message, where=Where(table=self.table))
        if self.target is None:
            self._work.unknown.add_table(self.table, len(rows), untranslated=self._untranslated)
            return []
        for column in self._missing:
            self._work.unknown.add_column(self.table, column, len(rows))
        return [tuple(row[at] for at in self._places) for row in rows] if self._missing else list(rows)

    def place(self, column: str) -> int | None:
        """Where a column stands in a row that fits."""
        return self.columns.index(column) if column in self.columns else None

    def key_of(self, row: Row) -> Row | None:
        """The primary key of a row that fits; None where it has none, or NULL in it, which equals nothing."""
        key = tuple(row[at] for at in self.key_places)
        return key if key and None not in key else None
