"""The ordinary tables of a database, known or not, as SQLite itself describes them.

Ordinary: rows are stored in it and in nothing else. So no views, no virtual tables and none of the tables in which
those keep their own things, nothing of SQLite's or of the migrations. Source: database 2, 3; v4 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.schema.model.records import canonical

DERIVED: Final = "embeddings"
"""The virtual table of vectors; with those that hold its content it can be made again from the others."""

_INTERNAL: Final = ("sqlite_", "_sqlx_", DERIVED)
_MOST_PARTS: Final = 100
_ROWID_NAMES: Final = ("rowid", "_rowid_", "oid")


@dataclass(frozen=True, slots=True)
class Column:
    """A stored column: its declared type as written, and whether a default is declared."""

    name: str
    type: str
    has_default: bool


@dataclass(frozen=True, slots=True)
class Table:
    """An ordinary table. `key`: the columns of its primary key, none where it has none.

    `rowid`: a name by which the rowid can be had; None: it has none, or its columns have taken all the names.
    `parent`: the column in which a row names another of this table by its key, where an index finds the children.
    `leading`: the columns that stand first in an index.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rowid: str | None
    parent: str | None
    leading: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in physical order."""
        return tuple(column.name for column in self.columns)

    @property
    def address(self) -> tuple[str, ...]:
        """The columns that find one row: the rowid or, without one, the primary key."""
        return (self.rowid,) if self.rowid else self.key

    def order(self, alias: str) -> tuple[str, ...]:
        """What to sort by: the primary key, then the rowid, as a key may be NULL in several rows."""
        columns = [*self.key, *([self.rowid] if self.rowid else [])]
        return tuple(f"{alias}.{quoted(column)}" for column in columns)

    def select(self, alias: str) -> tuple[str, ...]:
        """All stored columns as SQL."""
        return tuple(f"{alias}.{quoted(column.name)}" for column in self.columns)


async def read_tables(connection: Connection) -> dict[str, Table]:
    """Every ordinary table by name, in canonical key order."""
    found = [await connection.execute(sql) for sql in (KINDS, VIRTUAL, MODULES)]
    names = ordinary_names(*found)
    columns = _grouped(await connection.execute(_COLUMNS))
    indexed = _grouped(await connection.execute(_INDEXED))
    parents = _grouped(await connection.execute(_PARENTS))
    return {
        name: _table(name, without_rowid, columns.get(name, ()), indexed.get(name, ()), parents.get(name, ()))
        for name, without_rowid in sorted(names.items(), key=lambda item: canonical(item[0]))
    }


_ORDINARY: Final = "s.type = 'table' AND s.sql NOT LIKE 'CREATE VIRTUAL%'"
_COLUMNS: Final = f"""SELECT s.name, c.name, c.type, c.dflt_value IS NOT NULL, c.pk
    FROM sqlite_schema s JOIN pragma_table_info(s.name) c WHERE {_ORDINARY} ORDER BY s.name, c.cid"""
"""# Rule: `table_info` leaves out hidden and generated columns."""
_INDEXED: Final = f"""SELECT s.name, c.name FROM sqlite_schema s JOIN pragma_index_list(s.name) i
    JOIN pragma_index_info(i.name) c WHERE {_ORDINARY} AND i.partial = 0 AND c.seqno = 0 AND c.name IS NOT NULL"""
_PARENTS: Final = f"""SELECT s.name, min(f."from"), min(f."to") FROM sqlite_schema s
    JOIN pragma_foreign_key_list(s.name) f WHERE {_ORDINARY} AND f."table" = s.name COLLATE NOCASE
    GROUP BY s.name, f.id HAVING count(*) = 1"""
KINDS: Final = "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main'"
VIRTUAL: Final = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%'"
MODULES: Final = "SELECT lower(name) FROM pragma_module_list"
_module_named: Final = re.compile(r"""\sUSING\s+["'`\[]?(\w+)""", re.IGNORECASE).search


def ordinary_names(kinds: Iterable[Any], virtual: Iterable[Any], modules: Iterable[Any]) -> dict[str, bool]:
    """The names of ordinary tables, and whether each is WITHOUT ROWID: of the rows of KINDS, VIRTUAL and MODULES.

    # Trap: SQLite tells which tables belong to a virtual one only where its module is loaded; else they have its name.
    """
    loaded = {module for (module,) in modules}
    unloaded = tuple(f"{name}_" for name, sql in virtual if _module(sql) not in loaded)
    return {
        name: bool(without_rowid)
        for name, kind, without_rowid in kinds
        if kind == "table" and not name.startswith(_INTERNAL) and not name.startswith(unloaded)
    }


async def count_rows(connection: Connection, sources: Mapping[str, str], subject: str | None = None) -> dict[str, int]:
    """Rows by name; `sources`: what comes after FROM, with `subject` as `:id`. Many in one statement."""
    counts: dict[str, int] = {}
    for names in _batched(list(sources)):
        parts = (f"SELECT {number}, count(*) FROM {sources[name]}" for number, name in enumerate(names))
        rows = await connection.execute(" UNION ALL ".join(parts), {"id": subject})
        counts |= {names[number]: count for number, count in rows}
    return counts


def _batched(names: list[str]) -> Iterator[list[str]]:
    """# Trap: a statement has at most 500 SELECTs, and a database may have more tables."""
    return (names[at : at + _MOST_PARTS] for at in range(0, len(names), _MOST_PARTS))


def _module(sql: str) -> str | None:
    found = _module_named(sql)
    return found.group(1).lower() if found else None


def _table(
    name: str, without_rowid: bool, columns: Sequence[Any], indexed: Sequence[Any], parents: Sequence[Any]
) -> Table:
    key = tuple(row[0] for row in sorted((row for row in columns if row[3]), key=lambda row: row[3]))
    taken = {row[0].lower() for row in columns}
    free = [] if without_rowid else [alias for alias in _ROWID_NAMES if alias not in taken]
    leading = frozenset(row[0] for row in indexed)
    up = [child for child, target in parents if child in leading and key == (target or key[0],)] if key else []
    return Table(
        name,
        tuple(Column(row[0], row[1] or "", bool(row[2])) for row in columns),
        key,
        free[0] if free else None,
        up[0] if up else None,
        leading,
    )


def _grouped(rows: Iterable[Sequence[Any]]) -> Mapping[str, list[Sequence[Any]]]:
    """Rows by their first cell, without it."""
    found: dict[str, list[Sequence[Any]]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(tuple(row[1:]))
    return found
