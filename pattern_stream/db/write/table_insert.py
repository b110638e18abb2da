"""Rows of any table into it: `inserting` for tables that are no declared records, and for rows with odd cells."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from pattern_stream.db.connection.sql_text import Row, assigned, equal, is_odd, listed, mark, parameters, quoted, shown
from pattern_stream.db.write.rows import Manner
from pattern_stream.errors import MalformedNode, Where
from pattern_stream.format import BATCH_ROWS
from pattern_stream.schema.model.records import Record

_SIZES: Final = (BATCH_ROWS, 64, 8, 1)
"""Rows a statement has, so that few different statements are prepared."""


@dataclass(slots=True)
class TableInsert:
    """INSERT statements of one table with these columns, which are the table's own."""

    connection: sqlite3.Connection
    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...] = ()
    _statements: dict[int, str] = field(default_factory=dict)

    def add(self, rows: Sequence[Row]) -> int:
        """Insert rows; how many. Raises MalformedNode naming the one that the table refuses."""
        if is_odd(rows):
            for row in rows:
                self.add_one(row)
        else:
            for batch in self._batches(rows):
                self._add_plain(batch)
        return len(rows)

    def add_first(self, rows: Sequence[Row]) -> int:
        """Insert plain rows up to those that the table refuses together. How many went in: all others are not in it."""
        done = 0
        for batch in () if is_odd(rows) else self._batches(rows):
            try:
                self._run(batch)
            except sqlite3.IntegrityError:
                break
            done += len(batch)
        return done

    def add_one(self, row: Row) -> None:
        """Insert one row, whatever its cells are. Raises MalformedNode."""
        marks = ", ".join(map(mark, row))
        sql = f"INSERT INTO {quoted(self.table)} ({listed(self.columns)}) VALUES ({marks})"
        try:
            self.connection.execute(sql, parameters(row))
        except sqlite3.IntegrityError as error:
            raise self.refused(row, error) from error

    def replace(self, row: Row, key: Sequence[object]) -> int:
        """Update the row with this key in place. How many there were."""
        kept = [at for at, column in enumerate(self.columns) if column not in self.key]
        columns, cells = [self.columns[at] for at in kept], [row[at] for at in kept]
        if not columns:
            return 0
        sql = f"UPDATE {quoted(self.table)} SET {assigned(columns, cells)} WHERE {equal(self.key, key)}"
        try:
            return self.connection.execute(sql, (*parameters(cells), *parameters(key))).rowcount
        except sqlite3.IntegrityError as error:
            raise self.refused(row, error) from error

    def name_of(self, row: Row) -> str:
        """What names a row in messages."""
        return " ".join(shown(row[self.columns.index(column)]) for column in self.key if column in self.columns)

    def refused(self, row: Row, error: sqlite3.IntegrityError) -> MalformedNode:
        """A row that the table does not take."""
        where = Where(table=self.table, row_id=self.name_of(row) or None)
        return MalformedNode(f"row cannot be stored beside the rest of the archive: {error}", where=where)

    def _batches(self, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
        largest = max(1, self.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // max(1, len(self.columns)))
        at = 0
        while at < len(rows):
            size = next(size for size in _SIZES if size <= min(len(rows) - at, largest))
            yield rows[at : at + size]
            at += size

    def _add_plain(self, rows: Sequence[Row]) -> None:
        """# Trap: a statement that fails leaves nothing behind: its rows are tried one by one for the one at fault."""
        try:
            self._run(rows)
        except sqlite3.IntegrityError as error:
            for row in rows:
                self.add_one(row)
            raise self.refused(rows[0], error) from error

    def _run(self, rows: Sequence[Row]) -> None:
        self.connection.execute(self._statement(len(rows)), tuple(chain.from_iterable(rows)))

    def _statement(self, row_count: int) -> str:
        if row_count not in self._statements:
            marks = ", ".join([f"({', '.join('?' * len(self.columns))})"] * row_count)
            self._statements[row_count] = f"INSERT INTO {quoted(self.table)} ({listed(self.columns)}) VALUES {marks}"
        return self._statements[row_count]


def insert_staged(connection: sqlite3.Connection, record: type[Record], row: Row, manner: Manner) -> int:
    """Insert the row of a record that has large cells; how many were added or changed. Raises MalformedNode."""
    keys = record.key
    changed = ", ".join(f'"{column}" = excluded."{column}"' for column in record.columns if column not in keys)
    sql = f"INSERT INTO {record.table} ({listed(record.columns)}) VALUES ({', '.join(map(mark, row))})"
    if manner != "add":
        done = "NOTHING" if manner == "keep" else f"UPDATE SET {changed}"
        sql += f" ON CONFLICT ({', '.join(keys)}) DO {done}"
    try:
        return connection.execute(sql, parameters(row)).rowcount
    except sqlite3.IntegrityError as error:
        raise TableInsert(connection, record.table, record.columns, keys).refused(row, error) from error
