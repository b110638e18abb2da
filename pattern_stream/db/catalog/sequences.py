"""The high-water marks of AUTOINCREMENT: SQLite keeps the highest id that each such table ever gave, in a table.

Most marks follow from the rows; a mark above them is the only trace of ids that deleted rows had. Source:
https://www.sqlite.org/autoinc.html.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Mapping
from typing import Final

from pattern_stream.db.catalog.catalog import Table
from pattern_stream.db.connection.sql_text import quoted

SEQUENCES: Final = "sqlite_sequence"
SEQUENCE_COLUMNS: Final = ("name", "seq")

_EXISTS: Final = f"SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '{SEQUENCES}'"
_NUMBERED: Final = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'"


def high_water_marks(raw: sqlite3.Connection) -> dict[str, int]:
    """All marks by table; none where no table has AUTOINCREMENT."""
    if raw.execute(_EXISTS).fetchone() is None:
        return {}
    rows = raw.execute(f"SELECT name, max(seq) FROM {SEQUENCES} WHERE typeof(seq) = 'integer' GROUP BY name")
    return {name: mark for name, mark in rows if isinstance(name, str)}


def marks_above_rows(
    raw: sqlite3.Connection, tables: Mapping[str, Table], without: Container[str] = ()
) -> list[tuple[str, int]]:
    """The marks of these tables that their rows do not show, by table, as rows of SEQUENCE_COLUMNS."""
    found = []
    for name, mark in sorted(high_water_marks(raw).items()):
        table = tables.get(name)
        if table is None or table.rowid is None or name in without:
            continue
        (highest,) = raw.execute(f"SELECT max({quoted(table.rowid)}) FROM {quoted(name)}").fetchone()
        if mark > (highest or 0):
            found.append((name, mark))
    return found


def raise_marks(raw: sqlite3.Connection, marks: Mapping[str, int]) -> list[str]:
    """Make each mark the larger of the given one and the one that is there. Out: tables without AUTOINCREMENT."""
    numbered = {name for (name,) in raw.execute(_NUMBERED)}
    there = high_water_marks(raw)
    for name in numbered.intersection(marks):
        if name not in there:
            raw.execute(f"INSERT INTO {SEQUENCES} (name, seq) VALUES (?, ?)", (name, marks[name]))
        elif there[name] < marks[name]:
            raw.execute(f"UPDATE {SEQUENCES} SET seq = ? WHERE name = ?", (marks[name], name))
    return sorted(set(marks) - numbered)
