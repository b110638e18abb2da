"""The tables of a database, as SQLite itself describes them, and the SELECT lists that follow from their columns.

User tables: tables that store rows of their own. So no views, no virtual tables and none of the tables in which those
of a known module keep their content, nothing of SQLite's or of the migrations. Source: docs/database.md#migrations.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, fields, replace
from typing import Final, Self

from pattern_stream.db.catalog.virtual_tables import VirtualTable, virtual_tables
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.errors import UnsupportedSchema, Where
from pattern_stream.items import Row
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.records import DECLARED, MemoryBlock, Record, canonical

_MIGRATIONS: Final = "_sqlx_migrations"
_ROWID_NAMES: Final = ("rowid", "_rowid_", "oid")
_SELECTS_AT_ONCE: Final = 100
"""# Trap: a statement has at most 500 SELECTs, and a database may have more tables."""

_STORED: Final = "s.type = 'table' AND s.sql NOT LIKE 'CREATE VIRTUAL%'"
_KINDS: Final = "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main'"
_VIRTUAL: Final = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%'"
_COLUMNS: Final = f"""SELECT s.name, c.name, c.type, c.dflt_value IS NOT NULL, c.pk, c.hidden
    FROM sqlite_schema s JOIN pragma_table_xinfo(s.name) c WHERE {_STORED} ORDER BY s.name, c.cid"""
_INDEXES: Final = f"""SELECT s.name, i.name, i."unique" AND i.origin <> 'pk', c.name
    FROM sqlite_schema s JOIN pragma_index_list(s.name) i JOIN pragma_index_info(i.name) c
    WHERE {_STORED} AND i.partial = 0 ORDER BY s.name, i.seq, c.seqno"""
_COLLATIONS: Final = f"""SELECT s.name, x.coll, i.origin = 'pk' FROM sqlite_schema s
    JOIN pragma_index_list(s.name) i JOIN pragma_index_xinfo(i.name) x
    WHERE {_STORED} AND upper(x.coll) NOT IN ('BINARY', 'NOCASE', 'RTRIM')"""
_PARENTS: Final = f"""SELECT s.name, min(f."from"), min(f."to") FROM sqlite_schema s
    JOIN pragma_foreign_key_list(s.name) f WHERE {_STORED} AND f."table" = s.name COLLATE NOCASE
    GROUP BY s.name, f.id HAVING count(*) = 1"""

_NEWEST_CHECKPOINT = """CASE WHEN length({alias}.loro_snapshot) = 0 THEN coalesce((SELECT c.snapshot
    FROM memory_block_checkpoints c WHERE c.block_id = {alias}.id ORDER BY c.created_at DESC, c.id DESC LIMIT 1),
    {alias}.loro_snapshot) ELSE {alias}.loro_snapshot END"""
"""An empty document with a checkpoint starts from the checkpoint."""


@dataclass(frozen=True, slots=True)
class Column:
    """A stored column: its declared type as written, and whether a default is declared."""

    name: str
    type: str
    has_default: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A user table. `key`: the columns of its primary key, none where it has none.

    `rowid`: a name by which the rowid can be read; None: it has none, or its columns have taken all the names.
    `parent`: the column in which a row names another of this table by its key, where an index finds the children.
    `leading`: the columns that stand first in an index. `unique`: further columns that must be unique; indexes over a
    part of the rows or over expressions are left to the insert itself. `collations`: those of its indexes that only
    another program registers. Such an index cannot be used, and a key is ordered and compared by its bytes.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rowid: str | None
    parent: str | None
    leading: frozenset[str]
    unique: tuple[tuple[str, ...], ...] = ()
    collations: frozenset[str] = frozenset()

    def source(self, alias: str) -> str:
        """The table under an alias, as SQL after FROM."""
        return f"{quoted(self.name)} {alias}{' NOT INDEXED' if self.collations else ''}"

    def key_part(self, alias: str, column: str) -> str:
        """A column of the key, as SQL that orders and compares."""
        return f"{alias}.{quoted(column)}{' COLLATE BINARY' if self.collations else ''}"

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in physical order."""
        return tuple(column.name for column in self.columns)

    @property
    def keyed(self) -> Self:
        """The table itself or, where it has no key, the table with its rowid as first column and as its key."""
        if self.key or self.rowid is None:
            return self
        return replace(self, key=(self.rowid,), columns=(Column(self.rowid, "INTEGER", False), *self.columns))

    @property
    def address(self) -> tuple[str, ...]:
        """The columns that find one row: the rowid or, without one, the primary key."""
        return (self.rowid,) if self.rowid else self.key

    def order(self, alias: str) -> tuple[str, ...]:
        """The columns to sort by: the primary key, then the rowid, as a key may be NULL in several rows."""
        columns = [*self.key, *([self.rowid] if self.rowid else [])]
        return tuple(self.key_part(alias, column) for column in columns)

    def select(self, alias: str) -> tuple[str, ...]:
        """All stored columns as SQL."""
        return tuple(f"{alias}.{quoted(column.name)}" for column in self.columns)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The user tables of a database by name, in canonical key order, and the virtual tables that have shadow tables.

    `unreadable`: tables that are stored in the order of a collation that is not there, with the collation.
    """

    tables: Mapping[str, Table]
    virtual: Sequence[VirtualTable] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    _lists: dict[tuple[type[Record], str], tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def read(cls, raw: sqlite3.Connection) -> Catalog:
        """Read the catalog of a database, on the driver's thread."""
        columns, indexes, parents = (_grouped(raw.execute(sql)) for sql in (_COLUMNS, _INDEXES, _PARENTS))
        virtual = virtual_tables(raw.execute(_VIRTUAL), {name: rows[0][0] for name, rows in columns.items()})
        shadows = {shadow for table in virtual for shadow in table.shadows} - {*DECLARED, *HISTORY_COLUMNS}
        without_rowid = {
            name: bool(wr)
            for name, kind, wr in raw.execute(_KINDS)
            if kind in ("table", "shadow")
            and not name.startswith("sqlite_")
            and name != _MIGRATIONS
            and name not in shadows
        }
        collations = _missing_collations(raw)
        unreadable = {
            name: collation
            for name, found in collations.items()
            for collation, is_key in found
            if is_key and without_rowid.get(name)
        }
        tables = {
            name: _table(name, without_rowid[name], columns[name], indexes[name], parents[name], collations[name])
            for name in sorted(without_rowid, key=canonical)
            if name not in unreadable
        }
        return cls(tables, virtual, unreadable)

    def has(self, table: str, column: str | None = None) -> bool:
        """Whether there is such a user table, or such a column in it."""
        return table in self.tables and (column is None or column in self.tables[table].names)

    def find(self, table: str) -> Table:
        """A user table. Raises UnsupportedSchema where there is none."""
        found = self.tables.get(table)
        if found is None:
            raise UnsupportedSchema(f"found no ordinary table {table}", where=Where(stage="source", table=table))
        return found

    def expressions(self, record: type[Record], alias: str) -> tuple[str, ...]:
        """The SELECT list of a record, in `record.columns` order; a missing column reads as its default.

        Raises UnsupportedSchema where a column is missing that every schema has.
        """
        key = record, alias
        if key not in self._lists:  # every agent asks for them
            self._lists[key] = tuple(self._expression(record, column, alias) for column in record.columns)
        return self._lists[key]

    def _expression(self, record: type[Record], column: str, alias: str) -> str:
        if not self.has(record.table, column):
            missing = next(field.missing for field in record.fields if field.column == column)
            if missing is None or not self.has(record.table):
                raise UnsupportedSchema(
                    f"found no column {column}, expected it in every schema of the original program",
                    where=Where(stage="source", table=record.table, field=column),
                )
            return missing
        if record is MemoryBlock and column == "loro_snapshot" and self.has("memory_block_checkpoints"):
            return _NEWEST_CHECKPOINT.format(alias=alias)
        return f'{alias}."{column}"'


@dataclass(frozen=True, slots=True)
class Target(Table):
    """A table that an import may write into. `highest`: its highest rowid before the import (1 where there are rows
    without rowids), None where it was empty."""

    highest: int | None = None

    @property
    def before(self) -> str:
        """The condition that a row was there before the import, as far as can be known."""
        return "1" if self.rowid is None else f"{self.rowid} <= {self.highest or 0}"


def read_targets(raw: sqlite3.Connection) -> dict[str, Target]:
    """All user tables before an import: an archive's word on a table is only ever compared with these."""
    return {
        name: Target(**{part.name: getattr(table, part.name) for part in fields(table)}, highest=_highest(raw, table))
        for name, table in Catalog.read(raw).tables.items()
    }


async def read_catalog(connection: Connection) -> Catalog:
    """Read the catalog of a database."""
    return await connection.run(Catalog.read)


async def count_rows(connection: Connection, sources: Mapping[str, str], subject: str | None = None) -> dict[str, int]:
    """Rows by name; `sources`: the SQL after FROM, with `subject` as `:id`. Many in one statement."""
    counts: dict[str, int] = {}
    for at in range(0, len(sources), _SELECTS_AT_ONCE):
        names = list(sources)[at : at + _SELECTS_AT_ONCE]
        parts = (f"SELECT {number}, count(*) FROM {sources[name]}" for number, name in enumerate(names))
        rows = await connection.execute(" UNION ALL ".join(parts), {"id": subject})
        counts |= {names[number]: count for number, count in rows}
    return counts


def _missing_collations(raw: sqlite3.Connection) -> defaultdict[str, list[Row]]:
    """The collations of indexes that are not registered, by table, and whether they are the primary key's.

    # Trap: SQLite lists a collation that any index names, so only its use shows whether it is there.
    """
    found = _grouped(raw.execute(_COLLATIONS))
    missing = set()
    for collation in {row[0] for rows in found.values() for row in rows}:
        try:
            raw.execute(f"SELECT 'a' < 'b' COLLATE {quoted(collation)}").fetchall()
        except sqlite3.OperationalError:
            missing.add(collation)
    kept = ((name, *row) for name, rows in found.items() for row in rows if row[0] in missing)
    return _grouped(kept)


def _table(
    name: str,
    without_rowid: bool,
    columns: Sequence[Row],
    indexes: Sequence[Row],
    parents: Sequence[Row],
    collations: Sequence[Row],
) -> Table:
    key = tuple(row[0] for row in sorted((row for row in columns if row[3]), key=lambda row: row[3]))
    taken = {row[0].lower() for row in columns}
    free = [] if without_rowid else [alias for alias in _ROWID_NAMES if alias not in taken]
    parts: defaultdict[tuple[str, bool], list[str | None]] = defaultdict(list)
    for index, unique, column in indexes:
        parts[index, bool(unique)].append(column)
    leading = frozenset(listed[0] for listed in parts.values() if listed[0] is not None)
    up = [child for child, target in parents if child in leading and key == (target or key[0],)] if key else []
    if collations:  # whose index cannot be used to go from row to row
        up = []
    return Table(
        name,
        tuple(Column(row[0], row[1] or "", bool(row[2])) for row in columns if not row[4]),  # hidden or generated
        key,
        free[0] if free else None,
        up[0] if up else None,
        leading,
        tuple(
            tuple(column for column in listed if column is not None)
            for (_, unique), listed in parts.items()
            if unique and None not in listed
        ),
        frozenset(row[0] for row in collations),
    )


def _highest(raw: sqlite3.Connection, table: Table) -> int | None:
    highest = "1" if table.rowid is None else f"max({table.rowid})"
    found = raw.execute(f"SELECT {highest} FROM {table.source('t')} LIMIT 1").fetchone()
    return None if found is None else found[0]


def _grouped(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    """Rows by their first cell, without it."""
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(row[1:])
    return found
