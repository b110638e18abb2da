"""The balance of an import: every row that came is stored, skipped or refused, and no table has more or fewer."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence

from pattern_stream.db.connection.sql_text import Row, equal, parameters, quoted
from pattern_stream.db.write.conflicts import Loaded, LoadOptions
from pattern_stream.errors import NameConflict, Where

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
        row_id = " ".join(str(missing[0][columns.index(name)]) for name in key if name in columns) or None
        message = f"row was let pass without being stored, by a trigger or constraint of {table}"
        raise NameConflict(message, where=Where(table=table, row_id=row_id), hint=_HINT)

    def settle(self) -> None:
        """At the end: does each table have just the rows that it got? Raises NameConflict."""
        if self._options.on_conflict == "replace":  # rows that are changed in place, and edits that go, count otherwise
            return
        for table, before in self._before.items():
            found, expected = self._count(table) - before, self._stored[table]
            if found != expected:
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
