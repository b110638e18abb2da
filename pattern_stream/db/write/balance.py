"""The balance of an import: every row that came is stored, skipped or refused, and no table has more or fewer."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final, Literal

from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.db.ddl.fulltext import FULL_TEXT_TRIGGERS
from pattern_stream.db.write.conflicts import Loaded, LoadOptions
from pattern_stream.errors import Finding, NameConflict, Report, Where

InsertPolicy = Literal["", " OR ABORT", " OR FAIL", " OR IGNORE"]
"""The clause of an INSERT that decides over a constraint's own."""

_UNIQUE: Final = """SELECT i.name, c.name FROM pragma_index_list(?) i JOIN pragma_index_info(i.name) c
    WHERE i."unique" AND NOT i.partial ORDER BY i.seq, c.seqno"""

_HINT: Final = "--on-conflict skip goes on without such rows; the trigger or constraint is the database's own"
_CHANGE_HINT: Final = "the trigger is the database's own: drop it for the import, or import into a new database"


class Balance:
    """Compares what went into each table with what the table has.

    A trigger of the database may let a row pass without storing it, delete it later, or add rows of its own to a table
    that the archive brings: counts alone tell. Rows that are replaced are counted apart, as they make no table longer.
    """

    def __init__(self, connection: sqlite3.Connection, options: LoadOptions, loaded: Loaded, report: Report) -> None:
        self._connection = connection
        self._options = options
        self._loaded = loaded
        self._report = report
        self._before: dict[str, int] = {}
        self._added: Counter[str] = Counter()
        self._changed: set[str] = set()
        self._let_pass: Counter[str] = Counter()
        self._unique: dict[str, list[tuple[str, ...]]] = {}
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

    def lenient(self, table: str) -> Sequence[tuple[str, ...]]:
        """The columns that must be unique where a constraint's clause counts, as its table has triggers too."""
        if table not in self._with_clause or table not in self._triggered:
            return ()
        if table not in self._unique:
            found: defaultdict[str, list[str]] = defaultdict(list)
            for index, column in self._connection.execute(_UNIQUE, (table,)):
                found[index].append(column)
            self._unique[table] = [tuple(columns) for columns in found.values() if None not in columns]
        return self._unique[table]

    def open(self, table: str) -> None:
        """Rows are about to go into this table: count those that are there."""
        if table not in self._before:
            self._before[table] = self._count(table)

    def add(self, table: str, added: int, *, replaced: int = 0) -> None:
        """So many rows came in, and so many others in the place of rows that were there."""
        self._added[table] += added
        if added or replaced:
            self._changed.add(table)
        if replaced:
            self._loaded.replaced[table] += replaced

    def let_pass(self, table: str, row_id: str, count: int = 1) -> None:
        """So many rows, this one first, were let pass without being stored: counted as skipped, or refused.

        Raises NameConflict.
        """
        if self._options.on_conflict != "skip":
            message = f"row was let pass without being stored, by a trigger or constraint of {table}"
            raise NameConflict(message, where=Where(table=table, row_id=row_id), hint=_HINT)
        self._loaded.skipped[table] += count
        self._let_pass[table] += count

    def change(self, table: str, row_id: str, sql: str, cells: Sequence[Any]) -> None:
        """Run an UPDATE of a row that is there. Raises NameConflict where a trigger lets it pass, but for `skip`."""
        if self._connection.execute(sql, cells).rowcount:
            return
        self._let_pass[table] += 1
        if self._options.on_conflict != "skip":
            message = f"row was not changed: a trigger of {table} lets it pass"
            raise NameConflict(message, where=Where(table=table, row_id=row_id), hint=_CHANGE_HINT)

    def delete(self, table: str, column: str, cell: str) -> int:
        """Delete the rows with this cell, which count as gone. How many. Raises NameConflict where one stays."""
        self.open(table)
        where = f"FROM {quoted(table)} WHERE {quoted(column)} = ?"
        deleted = self._connection.execute(f"DELETE {where}", (cell,)).rowcount
        if self._connection.execute(f"SELECT EXISTS (SELECT 1 {where})", (cell,)).fetchone()[0]:
            message = f"rows were not deleted: a trigger of {table} lets them pass"
            raise NameConflict(message, where=Where(table=table, row_id=cell, field=column), hint=_CHANGE_HINT)
        if deleted:
            self._added[table] -= deleted
            self._changed.add(table)
        return deleted

    def settle(self) -> None:
        """At the end: does each table have just the rows that it got? Raises NameConflict, or reports with `skip`."""
        for table, count in (+self._let_pass).items():
            message = (
                f"{count} rows were let pass without being stored or changed, by a trigger or constraint of {table}"
            )
            self._report(Finding("warning", "rows-let-pass", message, Where(table=table)))
        for table in sorted(self._changed):
            expected, found = self._added[table], self._count(table) - self._before[table]
            if found == expected:
                continue
            what = f"{table} has {_more(found)} rows than before, expected {_more(expected)}"
            if self._options.on_conflict != "skip":
                message = f"{what}, as many as were stored: triggers of the database add or delete rows there"
                raise NameConflict(message, where=Where(table=table), hint=_HINT)
            lost = min(max(0, expected - found), self._loaded.rows[table])
            self._loaded.skipped[table] += lost
            self._loaded.rows[table] -= lost
            acted = f"delete {expected - found}" if found < expected else f"add {found - expected}"
            message = f"{what}: triggers of the database {acted} rows there"
            self._report(Finding("warning", "rows-of-triggers", message, Where(table=table)))

    def _count(self, table: str) -> int:
        (count,) = self._connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()
        return int(count)


def _more(count: int) -> str:
    return f"{abs(count)} {'fewer' if count < 0 else 'more'}"
