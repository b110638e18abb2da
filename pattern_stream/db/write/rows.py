"""Rows into a table, many in one statement.

One statement of 512 rows runs long enough without Python's global lock for the next batch to be decoded beside it;
`executemany` is as fast alone, but takes the lock again for every row, and waits for it each time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Final

from pattern_stream.db.connection.sql_text import (
    Row,
    assigned,
    equal,
    has_staged,
    is_odd,
    listed,
    mark,
    parameters,
    quoted,
    shown,
)
from pattern_stream.db.write.balance import Balance
from pattern_stream.db.write.conflicts import Resolution
from pattern_stream.errors import MalformedNode, NameConflict, PatternStreamError, Where
from pattern_stream.format import BATCH_ROWS
from pattern_stream.schema.model.records import Record

_SIZES: Final = (BATCH_ROWS, 64, 8, 1)
"""Rows a statement has, so that few different statements are prepared."""

_NAMING_CELLS: Final = 3
"""Cells that name a row of a table without a key."""

_RULED: Final = {
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
    sqlite3.SQLITE_CONSTRAINT_NOTNULL,
    sqlite3.SQLITE_CONSTRAINT_CHECK,
}
"""Errors of constraints that may say themselves what becomes of a row."""


class TableWriter:
    """The INSERT statements of one table. `columns`: the table's own. `record`: whose rows they are, if any's."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        table: str,
        columns: Sequence[str],
        key: Sequence[str],
        balance: Balance,
        record: type[Record] | None = None,
    ) -> None:
        self.table = table
        self.columns = tuple(columns)
        self.key = tuple(key)
        self._connection = connection
        self._balance = balance
        self._record = record
        self._statements: dict[tuple[int, Resolution], str] = {}
        self._largest = max(1, connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // max(1, len(self.columns)))

    @classmethod
    def of_record(cls, connection: sqlite3.Connection, record: type[Record], balance: Balance) -> TableWriter:
        """The writer of a declared table."""
        return cls(connection, record.table, record.columns, record.key, balance, record)

    def write(self, rows: Sequence[Row], resolution: Resolution = "add") -> int:
        """Insert rows; how many were added or changed.

        `resolution`: what happens to a row whose key is there: with "add" it is an error, with "replace" the row is
        updated in place, with "skip" it stays. Raises MalformedNode naming the row that the table refuses, NameConflict
        naming one that it lets pass without storing it.
        """
        self._balance.open(self.table)
        there, distinct = self._there(rows) if resolution == "replace" else (0, 0)
        done = self._write_all(rows, resolution)
        self._balance.add(self.table, distinct - there if distinct else done, replaced=there)
        if done < len(rows):
            absent = self._absent(rows, len(rows) - done, resolution)
            if absent:
                self._balance.let_pass(self.table, self.name_of(absent[0]), len(absent))
            if resolution == "replace":
                return len(rows) - len(absent)
        return done

    def _has_rival(self, row: Row, *, by_key: bool) -> bool:
        """Whether a constraint's own clause would lose this row, or another for it. `by_key`: one of its key too."""
        cells = dict(zip(self.columns, row, strict=True))
        key = self.key if not by_key and set(self.key) <= set(self.columns) else ()
        others = f"NOT ({equal(key, [cells[name] for name in key])})" if key else "1"
        for columns in self._balance.lenient(self.table):
            if set(columns) <= set(self.columns):
                wanted = [cells[name] for name in columns]
                sql = f"SELECT 1 FROM {quoted(self.table)} WHERE {equal(columns, wanted)} AND {others}"
                given = parameters([*wanted, *(cells[name] for name in key)])
                if self._connection.execute(sql, given).fetchone() is not None:
                    return True
        return False

    def _there(self, rows: Sequence[Row]) -> tuple[int, int]:
        """How many rows have the keys of these, and how many keys those are."""
        places = [self.columns.index(name) for name in self.key]
        keys = {tuple(row[place] for place in places) for row in rows}
        marks = ", ".join([f"({', '.join('?' * len(places))})"] * len(keys))
        sql = f"SELECT count(*) FROM {quoted(self.table)} WHERE ({listed(self.key)}) IN (VALUES {marks})"
        (there,) = self._connection.execute(sql, (*chain.from_iterable(keys),)).fetchone()
        return int(there), len(keys)

    def _absent(self, rows: Sequence[Row], count: int, resolution: Resolution) -> list[Row]:
        """The rows, of which so many were not stored, that the table does not have: with "replace" as they came, else
        by their key. One that was added must not have been there, so where no key tells, the first ones are named.
        """
        by_key = self.key if set(self.key) <= set(self.columns) else ()
        same = [column for column in self.columns if column not in by_key] if resolution == "replace" else []
        absent = [row for row in rows if not self._has(row, by_key, same)] if by_key or same else []
        if resolution == "add" and len(absent) < count:
            absent += rows[: count - len(absent)]
        return absent

    def _has(self, row: Row, by_key: Sequence[str], same: Sequence[str]) -> bool:
        """Whether the table has a row with the cells of this one in both lists of columns."""
        cells = dict(zip(self.columns, row, strict=True))
        tests = [f"{quoted(name)} = {mark(cells[name])}" for name in by_key]
        tests += [f"{quoted(name)} COLLATE BINARY IS {mark(cells[name])}" for name in same]
        sql = f"SELECT 1 FROM {quoted(self.table)} WHERE {' AND '.join(tests)}"
        wanted = parameters([cells[name] for name in (*by_key, *same)])
        return self._connection.execute(sql, wanted).fetchone() is not None

    def _write_all(self, rows: Sequence[Row], resolution: Resolution) -> int:
        if has_staged(rows) or (self._record is None and is_odd(rows)) or self._balance.lenient(self.table):
            return sum(self._write_one(row, resolution) for row in rows)
        done = at = 0
        while at < len(rows):
            size = next(size for size in _SIZES if size <= min(len(rows) - at, self._largest))
            batch = rows[at : at + size]
            try:
                cursor = self._connection.execute(self._statement(size, resolution), (*chain.from_iterable(batch),))
            except sqlite3.IntegrityError as error:
                raise self._refused_batch(batch, resolution, error) from error
            done, at = done + cursor.rowcount, at + size
        return done

    def update(self, row: Row, key: Sequence[object]) -> int:
        """Update the row with this key in place, but for columns that the archive lacks. How many there are: one.

        Raises as `write`.
        """
        self._balance.open(self.table)
        kept = [at for at, column in enumerate(self.columns) if column not in self.key]
        columns, cells = [self.columns[at] for at in kept], [row[at] for at in kept]
        if columns and self._has_rival(row, by_key=False):
            self._balance.let_pass(self.table, self.name_of(row))
        elif columns:
            policy = self._balance.policy(self.table) and " OR ABORT"
            sql = f"UPDATE{policy} {quoted(self.table)} SET {assigned(columns, cells)} WHERE {equal(self.key, key)}"
            try:
                changed = self._connection.execute(sql, (*parameters(cells), *parameters(key))).rowcount
            except sqlite3.IntegrityError as error:
                raise self._refused(row, error) from error
            if not changed and self._absent([row], 1, "replace"):
                self._balance.let_pass(self.table, self.name_of(row))
        self._balance.add(self.table, 0, replaced=1)
        return 1

    def name_of(self, row: Row) -> str:
        """The key of a row, for messages; the first cells of one that has no key."""
        named = [row[self.columns.index(column)] for column in self.key if column in self.columns]
        return " ".join(map(shown, named or row[:_NAMING_CELLS]))

    def _write_one(self, row: Row, resolution: Resolution) -> int:
        sql = self._sql([f"({', '.join(map(mark, row))})"], resolution)
        if self._has_rival(row, by_key=resolution == "add"):
            self._balance.let_pass(self.table, self.name_of(row), 0)
            return 0
        try:
            return self._connection.execute(sql, parameters(row)).rowcount
        except sqlite3.IntegrityError as error:
            raise self._refused(row, error) from error

    def _statement(self, row_count: int, resolution: Resolution) -> str:
        """The INSERT of so many rows. The same text object each time, so that the driver finds it prepared."""
        found = self._statements.get((row_count, resolution))
        if found is None:
            values = [f"({', '.join('?' * len(self.columns))})"] * row_count
            found = self._statements[row_count, resolution] = self._sql(values, resolution)
        return found

    def _sql(self, values: Sequence[str], resolution: Resolution) -> str:
        """The statement. It says itself what a conflict does, or a constraint's own clause would: end the transaction.

        # Trap: never INSERT OR REPLACE, whose delete fires no trigger: stale terms stay in the full-text index.
        """
        sql = f"INTO {quoted(self.table)} ({listed(self.columns)}) VALUES {', '.join(values)}"
        policy = self._balance.policy(self.table, undo=self._record is None)
        if resolution == "add":
            return f"INSERT{policy} {sql}"
        policy = policy and " OR ABORT"
        if resolution == "skip":
            return f"INSERT{policy} {sql} ON CONFLICT ({listed(self.key)}) DO NOTHING"
        changed = [f"{quoted(name)} = excluded.{quoted(name)}" for name in self.columns if name not in self.key]
        return f"INSERT{policy} {sql} ON CONFLICT ({listed(self.key)}) DO UPDATE SET {', '.join(changed)}"

    def _refused_batch(
        self, rows: Sequence[Row], resolution: Resolution, error: sqlite3.IntegrityError
    ) -> PatternStreamError:
        """The row at fault, found by trying them one by one, those first that the statement has not put in.

        # Rule: nothing more is written where the error has ended the transaction, as a trigger may: it would stay.
        """
        if not self._connection.in_transaction:
            return self._refused(rows[0], error)
        inside = 0
        if self._statement(1, resolution).startswith("INSERT OR FAIL "):
            (inside,) = self._connection.execute("SELECT changes()").fetchone()
        for row in (*rows[inside:], *rows[:inside]):
            try:
                self._write_one(row, resolution)
            except (MalformedNode, NameConflict) as refusal:
                return refusal
        return self._refused(rows[0], error)

    def _refused(self, row: Row, error: sqlite3.IntegrityError) -> PatternStreamError:
        if not self._connection.in_transaction:
            message = f"a trigger or constraint of {self.table} ended the import, and nothing of it is kept: {error}"
            return MalformedNode(message, where=Where(table=self.table))
        noun = "row" if self._record is None else self._record.noun
        where = Where(table=self.table, row_id=self.name_of(row) or None)
        if self._balance.has_clause(self.table) and error.sqlite_errorcode in _RULED:
            message = f"{noun} would not be stored ({error}): the constraint is the database's own"
            return NameConflict(message, where=where, hint="--on-conflict skip goes on without such rows")
        return MalformedNode(f"{noun} cannot be stored beside the rest of the archive: {error}", where=where)
