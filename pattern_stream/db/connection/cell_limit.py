"""How long a cell may be that is read as it is, and how SQLite and its driver say that one is not to be read so."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from pattern_stream.format import LARGE_CELL_BYTES


class NeedsCare(Exception):
    """The next row has a cell that is too large, or text that is no UTF-8: it is to be read cell by cell."""


@contextmanager
def limited(connection: sqlite3.Connection) -> Iterator[None]:
    """No cell longer than LARGE_CELL_BYTES is read inside: SQLite refuses with SQLITE_TOOBIG, and reads none of it."""
    usual = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGE_CELL_BYTES)
    try:
        yield
    finally:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, usual)


def too_large(error: sqlite3.Error) -> bool:
    """Whether reading ended at a cell beyond the limit."""
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_TOOBIG


def no_text(error: sqlite3.Error) -> bool:
    """Whether reading ended at text that is no UTF-8: the driver's own error, without a code of SQLite's."""
    return str(error).startswith("Could not decode to UTF-8")
