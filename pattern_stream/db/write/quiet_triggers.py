"""Triggers of the database's owner, kept quiet while a backup comes back into an empty database.

The rows that such a trigger makes (an audit, a counter) are in the archive as rows of their own, so firing would make
them twice. Triggers before a change stay: they are guards, and may refuse.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import suppress
from typing import Final

from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.db.ddl.fulltext import FULL_TEXT, FULL_TEXT_TRIGGERS
from pattern_stream.errors import Finding, Report, Where

_WORD: Final = re.compile(
    r"""--[^\n]*|/\*.*?\*/|"(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`|\[[^\]]*\]|\w+|\S""", re.DOTALL
)


class QuietTriggers:
    """Takes the owner's AFTER triggers away, inside the import's transaction; `restore` puts them back as they were."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        found = connection.execute("SELECT name, sql FROM main.sqlite_schema WHERE type = 'trigger' ORDER BY rowid")
        self._taken = [
            (name, sql) for name, sql in found.fetchall() if name not in FULL_TEXT_TRIGGERS and fires_after(sql)
        ]
        for name, _ in self._taken:
            connection.execute(f"DROP TRIGGER main.{quoted(name)}")

    def restore(self, report: Report) -> None:
        """Put the triggers back, say which they are, and have the owner's full-text tables read their rows anew."""
        for _, sql in self._taken:
            self._connection.execute(sql)
        if self._taken:
            names = ", ".join(name for name, _ in self._taken)
            message = f"triggers of the database did not fire for the rows that came back: {names}"
            report(Finding("warning", "quiet-triggers", message, Where(stage="import")))
            self._rebuild()

    def _rebuild(self) -> None:
        """Full-text tables over other tables are kept by such triggers, and an archive does not carry them."""
        over_others = "type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%fts5%content=%'"
        for (name,) in self._connection.execute(f"SELECT name FROM main.sqlite_schema WHERE {over_others}").fetchall():
            if name not in {index.name for index in FULL_TEXT}:
                with suppress(sqlite3.OperationalError):  # its module or its content is not there
                    self._connection.execute(f"INSERT INTO {quoted(name)} ({quoted(name)}) VALUES ('rebuild')")


def fires_after(sql: str) -> bool:
    """Whether the trigger that a statement creates fires after the change. `CREATE TRIGGER name [BEFORE|AFTER] ...`."""
    words = [word for word in _WORD.findall(sql) if not word.startswith(("--", "/*"))]
    at = next(place for place, word in enumerate(words) if word.upper() == "TRIGGER") + 1
    if [word.upper() for word in words[at : at + 3]] == ["IF", "NOT", "EXISTS"]:
        at += 3
    at += 3 if words[at + 1 : at + 2] == ["."] else 1
    return words[at : at + 1] != [] and words[at].upper() == "AFTER"
