"""Rows into a table, many in one statement.

One statement of 512 rows runs long enough without Python's global lock for the next batch to be decoded beside it;
`executemany` is as fast alone, but takes the lock again for every row, and waits for it each time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, Literal

from pattern_stream.errors import MalformedNode, Where
from pattern_stream.format import BATCH_ROWS
from pattern_stream.schema.model.records import Record

Row = tuple[Any, ...]
Manner = Literal["add", "replace", "keep"]
"""What happens to a row whose key is there: it is an error; it is updated in place; it stays as it is.

# Trap: never INSERT OR REPLACE, whose delete fires no trigger, so that stale terms stay in the full-text index.
"""

_SIZES: Final = (BATCH_ROWS, 64, 8, 1)
"""Rows a statement has, so that few different statements are prepared."""

_STATEMENTS: Final[dict[tuple[type[Record], int, Manner], str]] = {}


def insert(connection: sqlite3.Connection, record: type[Record], rows: Sequence[Row], manner: Manner = "add") -> int:
    """Insert rows; how many were added or changed. Raises MalformedNode where two rows of the archive have one key."""
    done, at = 0, 0
    largest = max(1, connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // len(record.columns))
    while at < len(rows):
        size = next(size for size in _SIZES if size <= min(len(rows) - at, largest))
        batch = rows[at : at + size]
        try:
            cursor = connection.execute(statement(record, size, manner), tuple(chain.from_iterable(batch)))
        except sqlite3.IntegrityError as error:
            raise _refused(connection, record, batch, manner, error) from error
        done, at = done + cursor.rowcount, at + size
    return done


def statement(record: type[Record], row_count: int, manner: Manner = "add") -> str:
    """The INSERT of so many rows. The same text object each time, so that the driver finds it prepared."""
    key = record, row_count, manner
    if key not in _STATEMENTS:
        _STATEMENTS[key] = _statement(record, row_count, manner)
    return _STATEMENTS[key]


def _statement(record: type[Record], row_count: int, manner: Manner) -> str:
    columns = ", ".join(f'"{column}"' for column in record.columns)
    values = ", ".join([f"({', '.join('?' * len(record.columns))})"] * row_count)
    sql = f"INTO {record.table} ({columns}) VALUES {values}"
    if manner == "add":
        return f"INSERT OR FAIL {sql}"  # to undo what the statement did would take copies of all pages it changes
    sql = f"INSERT {sql}"
    keys = record.key
    if manner == "keep":
        return f"{sql} ON CONFLICT ({', '.join(keys)}) DO NOTHING"
    changed = ", ".join(f'"{column}" = excluded."{column}"' for column in record.columns if column not in keys)
    return f"{sql} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"


def _refused(
    connection: sqlite3.Connection,
    record: type[Record],
    rows: Sequence[Row],
    manner: Manner,
    error: sqlite3.IntegrityError,
) -> MalformedNode:
    """The row at fault, found by trying them one by one, those first that the statement has not put in."""
    inside = _row_count_inside(connection, record, rows) if manner == "add" else 0
    for row in (*rows[inside:], *rows[:inside]):
        try:
            connection.execute(statement(record, 1, manner), row)
        except sqlite3.IntegrityError as refusal:
            key = " ".join(str(row[record.index(column)]) for column in record.key)
            where = Where(table=record.table, row_id=key)
            return MalformedNode(
                f"{record.noun} cannot be stored beside the rest of the archive: {refusal}", where=where
            )
    return MalformedNode(f"{record.noun} cannot be stored: {error}", where=Where(table=record.table))


def _row_count_inside(connection: sqlite3.Connection, record: type[Record], rows: Sequence[Row]) -> int:
    """How many of these rows seem to be in: up to the one whose key the last row of the table has."""
    columns = record.key
    names = ", ".join(columns)
    last = connection.execute(f"SELECT {names} FROM {record.table} ORDER BY rowid DESC LIMIT 1").fetchone()
    keys = [tuple(row[record.index(column)] for column in columns) for row in rows]
    return keys.index(last) + 1 if last in keys else 0
