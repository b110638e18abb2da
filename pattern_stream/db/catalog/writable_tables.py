"""The tables that an import may write into, as the database itself has them. What an archive says of a table is only
ever compared with this.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pattern_stream.db.catalog.user_tables import KINDS, MODULES, VIRTUAL, ordinary_names
from pattern_stream.db.connection.sql_text import quoted

_ROWID_NAMES: Final = ("rowid", "_rowid_", "oid")


@dataclass(frozen=True)
class Target:
    """A table: its columns that can be written, its primary key (empty where it has none), its other unique columns.

    `rowid`: what its rowid is called, None for a table without. `highest`: the highest one before the import (1 where
    there are rows without rowids), None where the table was empty.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...]
    rowid: str | None
    highest: int | None

    @cached_property
    def before(self) -> str:
        """The condition that a row was there before the import, as far as can be told."""
        return "1" if self.rowid is None else f"{self.rowid} <= {self.highest or 0}"


class Targets:
    """All of them. `highest` is read at once, before anything is written; the rest when it is asked for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._highest = {
            name: self._rowids(name, without_rowid=without) for name, without in _ordinary(connection).items()
        }
        self._found: dict[str, Target] = {}

    def find(self, name: str) -> Target | None:
        """The table of exactly that name, None where there is none, or none that an archive may write."""
        if name not in self._highest:
            return None
        if name not in self._found:
            self._found[name] = self._read(name)
        return self._found[name]

    def _rowids(self, name: str, *, without_rowid: bool) -> tuple[str | None, int | None]:
        taken = {row[1].lower() for row in self._info(name)}
        rowid = next((one for one in _ROWID_NAMES if one not in taken), None)
        if rowid is not None and not without_rowid:
            return rowid, self._connection.execute(f"SELECT max({rowid}) FROM {quoted(name)}").fetchone()[0]
        (there,) = self._connection.execute(f"SELECT EXISTS (SELECT 1 FROM {quoted(name)})").fetchone()
        return None, 1 if there else None

    def _read(self, name: str) -> Target:
        info = self._info(name)
        key = sorted((row[5], row[1]) for row in info if row[5])
        columns = tuple(row[1] for row in info if not row[6])
        return Target(name, columns, tuple(column for _, column in key), self._unique(name), *self._highest[name])

    def _info(self, name: str) -> list[tuple[int, str, str, int, str | None, int, int]]:
        return self._connection.execute(f"PRAGMA table_xinfo({quoted(name)})").fetchall()

    def _unique(self, name: str) -> tuple[tuple[str, ...], ...]:
        """Columns that must be unique beside the key. Indexes over a part of the rows or over expressions are left to
        the insert itself."""
        found = []
        for _, index, unique, origin, partial, *_ in self._connection.execute(f"PRAGMA index_list({quoted(name)})"):
            if unique and origin != "pk" and not partial:
                columns = [row[2] for row in self._connection.execute(f"PRAGMA index_info({quoted(index)})")]
                if None not in columns:
                    found.append(tuple(columns))
        return tuple(found)


def writable_tables(connection: sqlite3.Connection) -> list[str]:
    """Ordinary tables: not SQLite's own, the notes of migrations, nor what belongs to a virtual table."""
    return list(_ordinary(connection))


def _ordinary(connection: sqlite3.Connection) -> dict[str, bool]:
    return ordinary_names(*(connection.execute(sql).fetchall() for sql in (KINDS, VIRTUAL, MODULES)))
