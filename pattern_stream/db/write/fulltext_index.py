"""Going round the triggers that index each inserted row: most of the cost of an insert, and cheap when done at once.

Only the triggers after INSERT are taken away, and put back from their own text, inside the import's transaction.
Triggers after UPDATE and DELETE stay, and so does anything that somebody else added. (Python 3.12 could switch all
triggers of a connection off instead, foreign ones included: no faster, and not what their owner wants.)
"""

from __future__ import annotations

import sqlite3
from typing import Final

from pattern_stream.db.ddl.fulltext import FULL_TEXT, FullText
from pattern_stream.quick_dataclass import dataclass

_ROWS_WORTH_IT: Final = 2_000
"""Inserted rows after which the triggers are gone round; fewer are not worth changing the schema for a moment."""

_HIGHEST_ROWID: Final = 2**62
"""Above this, SQLite may soon hand out rowids in no order, and new rows could not be found by theirs."""

_ROWS_AT_ONCE: Final = 8_192
"""Rows that are indexed in one statement: many, as each one ends a segment of the index; not all, as the next rows are
being decoded meanwhile."""


@dataclass(slots=True)
class _DroppedTrigger:
    """An index whose trigger is away: the trigger's own text, and the highest rowid that is indexed."""

    index: FullText
    trigger: str
    indexed: int


class DeferredIndex:
    """The full-text indexes of a transaction under way. Call `count` before rows go in, `finish` when all are in."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows = 0
        self._dropped: list[_DroppedTrigger] = []
        self._unindexed = 0
        self._decided = False

    def count(self, rows: int) -> None:
        """So many rows are about to be inserted."""
        self._rows += rows
        if not self._decided and self._rows >= _ROWS_WORTH_IT:
            self.defer()
        elif self._unindexed >= _ROWS_AT_ONCE:
            self.catch_up()
        self._unindexed += rows

    def defer(self) -> None:
        """Go round the triggers from here on: a trigger keeps one copy more of a large cell."""
        if self._decided:
            return
        self._decided = True
        for index in FULL_TEXT:
            highest = highest_rowid(self._connection, index.base)
            found = self._connection.execute(
                "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?", (index.triggers[0],)
            ).fetchone()
            if found is not None and highest < _HIGHEST_ROWID:
                self._connection.execute(f"DROP TRIGGER {index.triggers[0]}")
                self._dropped.append(_DroppedTrigger(index, found[0], highest))

    def catch_up(self) -> None:
        """Index the rows that are in, one statement a table: needed before a row of this import is changed."""
        for one in self._dropped:
            highest = highest_rowid(self._connection, one.index.base)
            if highest > one.indexed:
                self._connection.execute(one.index.index_after(), (one.indexed,))
                one.indexed = highest
        self._unindexed = 0

    def finish(self) -> None:
        """Index the rest, and put the triggers back."""
        self.catch_up()
        for one in self._dropped:
            self._connection.execute(one.trigger)
        self._dropped = []


def highest_rowid(connection: sqlite3.Connection, table: str) -> int:
    """The highest rowid of a table, 0 where it has no rows."""
    (highest,) = connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()
    return int(highest or 0)
