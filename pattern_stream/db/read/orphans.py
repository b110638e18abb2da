"""Rows that refer to rows which are not there: a shell that checks no foreign keys leaves them behind.

A whole backup carries them as they are, and export lists them.
"""

from __future__ import annotations

import sqlite3
from itertools import groupby
from operator import itemgetter
from typing import Final

from pattern_stream.db.catalog.catalog import Catalog, Table
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.quick_dataclass import dataclass

_KEYS: Final = """SELECT f.id, s.name, f."from", f."to" FROM pragma_foreign_key_list(?) f
    JOIN sqlite_schema s ON s.name = f."table" COLLATE NOCASE AND s.type = 'table' ORDER BY f.id, f.seq"""


@dataclass(frozen=True, slots=True)
class Orphans:
    """Rows of a table whose column, the first of a foreign key, refers to no row of the parent."""

    table: str
    column: str
    parent: str
    count: int


async def count_orphans(connection: Connection) -> list[Orphans]:
    """All orphans of a database by table and foreign key, in the order of the catalog. Raises CorruptDatabase."""
    return await connection.run(_count_orphans)


def _count_orphans(raw: sqlite3.Connection) -> list[Orphans]:
    tables = Catalog.read(raw).tables
    found = []
    for table in tables.values():
        for _, listed in groupby(raw.execute(_KEYS, (table.name,)).fetchall(), itemgetter(0)):
            rows = list(listed)
            parent = tables.get(rows[0][1])
            columns = [row[2] for row in rows]
            if parent is None or parent.collations or table.collations or not set(columns) <= set(table.names):
                continue
            ends = [row[3] if row[3] is not None else key for row, key in zip(rows, parent.key, strict=False)]
            ends = [row[3] for row in rows] if all(row[3] is not None for row in rows) else ends
            if len(ends) == len(columns) and set(ends) <= set(parent.names):
                (count,) = raw.execute(_sql(table, columns, parent, ends)).fetchone()
                found += [Orphans(table.name, columns[0], parent.name, count)] if count else []
    return found


def _sql(table: Table, columns: list[str], parent: Table, ends: list[str]) -> str:
    """# Trap: looking for the parent of each message costs as much as reading it; an index tells the few owners."""
    name, up = quoted(table.name), quoted(parent.name)
    if len(columns) == 1 and columns[0] in table.leading:
        column, end = quoted(columns[0]), quoted(ends[0])
        return f"""WITH RECURSIVE owners(v) AS (SELECT min(x.{column}) FROM {name} x UNION ALL
            SELECT (SELECT min(x.{column}) FROM {name} x WHERE x.{column} > owners.v) FROM owners
            WHERE owners.v IS NOT NULL)
            SELECT coalesce(sum((SELECT count(*) FROM {name} m WHERE m.{column} = owners.v)), 0) FROM owners
            WHERE owners.v IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {up} p WHERE p.{end} = owners.v)"""
    filled = " AND ".join(f"t.{quoted(column)} IS NOT NULL" for column in columns)
    same = " AND ".join(f"p.{quoted(end)} = t.{quoted(column)}" for end, column in zip(ends, columns, strict=True))
    return f"SELECT count(*) FROM {name} t WHERE {filled} AND NOT EXISTS (SELECT 1 FROM {up} p WHERE {same})"
