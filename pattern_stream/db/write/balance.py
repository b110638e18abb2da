"""The balance of an import: every row that came is stored, skipped or refused, and no table has more or fewer."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal

from pattern_stream.db.connection.sql_text import Row, equal, parameters, quoted, shown
from pattern_stream.db.ddl.fulltext import FULL_TEXT_TRIGGERS
from pattern_stream.db.write.conflicts import Loaded, LoadOptions
from pattern_stream.errors import NameConflict, Where

InsertPolicy = Literal["", " OR ABORT", " OR FAIL", " OR IGNORE"]
"""The clause of an INSERT that decides over a constraint's own."""

_NAMING_CELLS: Final = 3
"""Cells that name a row of a table without a key."""

_HINT = "--on-conflict skip goes on without such rows; the trigger or constraint is the database's own"


class Balance:
    """Compares what went into each table with what the table has.

    A trigger of the database may let a row pass without storing it, delete it later, or add rows of its own to a table
    that the archive brings: counts alone tell.
    """

    def __init__(self, connection: sqlite3.Connection, options: LoadOptions, loaded: Loaded) -> None:
        self._connection = connection
        self._options = options
        self._loaded = loaded
        self._before: dict[str, int] = {}
        self._stored: Counter[str] = Counter()
        sql = "SELECT name, tbl_name, lower(sql) FROM main.sqlite_schema WHERE type = 'trigger'"
        triggers = [row for row in connection.execute(sql).fetchall() if row[0] not in FULL_TEXT_TRIGGERS]
        self._triggered = {table for _, table, _ in triggers}
        tables = connection.execute("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
        for (table,) in tables.fetchall() if triggers else ():
            if any(table.lower() in text for *_, text in triggers):  # may get rows before the archive brings any
                self.open(table)
        clauses = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND sql LIKE '%ON%CONFLICT%'"
        self._with_clause = {name for (name,) in connection.execute(clauses)}

    def policy(self, table: str, *, undo: bool = True) -> InsertPolicy:
        """The clause for an INSERT, or a constraint's own would end the transaction or let rows pass.

        `undo`: a statement that fails is undone, at the price of copies of all pages that it changes.

        # Trap: the clause holds in the triggers that the statement fires, too, where it would turn an INSERT OR IGNORE
        of the owner's into an error. So a table with triggers gets none.
        """
        if table in self._triggered:
            return ""
        if table in self._with_clause and self._options.on_conflict == "skip":
            return " OR IGNORE"
        return " OR ABORT" if undo else " OR FAIL"

    def has_clause(self, table: str) -> bool:
        """Whether a constraint of the table says itself what a conflict does."""
        return table in self._with_clause

    def open(self, table: str) -> None:
        """Rows are about to go into this table: count those that are there."""
        if table not in self._before:
            self._before[table] = self._count(table)

    def add(
        self, table: str, columns: Sequence[str], key: Sequence[str], rows: Sequence[Row], stored: int, *, exact: bool
    ) -> None:
        """So many of these rows were stored. `exact`: the others may not be there already.

        Raises NameConflict naming the first row that is not there, unless such rows are to be skipped.
        """
        self._stored[table] += stored
        if stored == len(rows) or (not exact and not key):
            return
        missing = self._missing(table, columns, key, rows)
        if missing is None:
            missing = list(rows[: len(rows) - stored])
        elif exact and len(missing) < len(rows) - stored:
            missing = [*missing, *rows[: len(rows) - stored - len(missing)]]
        if not missing:
            return
        if self._options.on_conflict == "skip":
            self._loaded.skipped[table] += len(missing)
            return
        named = [missing[0][columns.index(name)] for name in key if name in columns]
        row_id = " ".join(map(shown, named or missing[0][:_NAMING_CELLS]))
        message = f"row was let pass without being stored, by a trigger or constraint of {table}"
        raise NameConflict(message, where=Where(table=table, row_id=row_id), hint=_HINT)

    def settle(self) -> None:
        """At the end: does each table have just the rows that it got? Raises NameConflict."""
        if self._options.on_conflict == "replace":  # rows that are changed in place, and edits that go, count otherwise
            return
        for table, expected in (+self._stored).items():
            found = self._count(table) - self._before[table]
            if found != expected and self._options.on_conflict == "skip":
                lost = max(0, expected - found)  # rows that triggers add are no rows of the archive
                self._loaded.skipped[table] += lost
                self._loaded.rows[table] -= lost
            elif found != expected:
                message = (
                    f"{table} has {found} more rows than before, expected {expected}, as many as were stored: "
                    "triggers of the database add or delete rows there"
                )
                raise NameConflict(message, where=Where(table=table), hint=_HINT)

    def _missing(self, table: str, columns: Sequence[str], key: Sequence[str], rows: Sequence[Row]) -> list[Row] | None:
        """The rows whose key the table does not have; None where a key cannot tell."""
        if not key or not set(key) <= set(columns):
            return None
        places = [columns.index(name) for name in key]
        missing = []
        for row in rows:
            cells = tuple(row[place] for place in places)
            sql = f"SELECT 1 FROM {quoted(table)} WHERE {equal(key, cells)}"
            if None in cells or self._connection.execute(sql, parameters(cells)).fetchone() is None:
                missing.append(row)
        return missing

    def _count(self, table: str) -> int:
        (count,) = self._connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()
        return int(count)
