"""References into nothing: an archive of one agent lacks what lay outside it, and the original's own archives more.

Source: docs/format.md#flaws-of-pattern.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pattern_stream.db.catalog.catalog import Catalog, Table
from pattern_stream.db.connection.sql_text import Row, quoted, shown
from pattern_stream.db.write.conflicts import Loaded, Orphans
from pattern_stream.errors import Finding, MalformedNode, Report, Where
from pattern_stream.schema.model.records import DECLARED, Member, Record, SharedAttachment

_ENDS: Final[dict[type[Record], tuple[tuple[str, str], ...]]] = {
    SharedAttachment: (("block_id", "memory_blocks"), ("agent_id", "agents")),
    Member: (("group_id", "agent_groups"), ("agent_id", "agents")),
}
"""Records that are left out where one of two rows is missing."""

_ROWS_AT_ONCE: Final = 500
_NAMED_ROWS: Final = 20
_REFERRING: Final = """SELECT s.name FROM sqlite_schema s WHERE s.type = 'table' AND s.sql NOT LIKE 'CREATE VIRTUAL%'
    AND EXISTS (SELECT 1 FROM pragma_foreign_key_list(s.name)) ORDER BY s.rowid"""
_KEYS: Final = 'SELECT "from", "to" FROM pragma_foreign_key_list(?) WHERE id = ? ORDER BY seq'
_EARLIER_NAME: Final = "pattern_stream_faults"
_EARLIER: Final = f"temp.{_EARLIER_NAME}"


class ForeignKeys:
    """Notes which records may refer to nothing, and mends them when all rows are in.

    `highest`: rowids before the import; rows up to them are left alone. `replaced`: some of those were changed, so
    their parents are looked at too.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        highest: Mapping[type[Record], int],
        report: Report,
        *,
        replaced: bool = False,
    ) -> None:
        self._connection = connection
        self._highest = highest
        self._report = report
        self._replaced = replaced
        self._seen: set[type[Record]] = set()

    def watch(self, record: type[Record], rows: Sequence[Row] | None = None) -> None:
        """Rows of this type went in. None: unknown ones, of which some may have a parent."""
        if record not in self._seen:
            at = record.index(record.parent) if record.parent is not None else None
            if rows is None or at is None or any(row[at] is not None for row in rows):
                self._seen.add(record)

    def mend(self) -> dict[type[Record], int]:
        """Cut parents that are nowhere, drop attachments and members without both ends. Out: rows dropped, by type.

        Only after the full-text indexes are whole again: cutting is an update, which un-indexes the old row.
        """
        for record in DECLARED.values():
            if record in self._seen and record.parent is not None:
                self._cut(record, record.parent)
        return {record: self._drop(record) for record in _ENDS if record in self._seen}

    def _cut(self, record: type[Record], column: str) -> None:
        table = record.table
        lost = f"t.{column} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {table} p WHERE p.id = t.{column})"
        sql = f"SELECT t.rowid, t.id, t.{column} FROM {table} t WHERE {lost}"
        for rowid, row_id, parent in self._found(sql, -1 if self._replaced else self._highest[record]):
            self._connection.execute(f"UPDATE {table} SET {column} = NULL WHERE rowid = ?", (rowid,))
            where, message = Where(table=table, row_id=row_id, field=column), "neither in the archive nor here: cut"
            self._report(Finding("warning", "parent-missing", f"{parent} is {message}", where))

    def _drop(self, record: type[Record]) -> int:
        (left, left_table), (right, right_table) = _ENDS[record]
        lost = f"""(NOT EXISTS (SELECT 1 FROM {left_table} e WHERE e.id = t.{left})
            OR NOT EXISTS (SELECT 1 FROM {right_table} e WHERE e.id = t.{right}))"""
        dropped = 0
        sql = f"SELECT t.rowid, t.{left}, t.{right} FROM {record.table} t WHERE {lost}"
        for rowid, one, other in self._found(sql, self._highest[record]):
            self._connection.execute(f"DELETE FROM {record.table} WHERE rowid = ?", (rowid,))
            where = Where(table=record.table, row_id=f"{one} {other}")
            message = f"{record.noun} left out: one of the two is neither in the archive nor in the database"
            self._report(Finding("warning", "ends-missing", message, where))
            dropped += 1
        return dropped

    def _found(self, sql: str, after: int) -> Iterator[Row]:
        """Rows with a rowid above `after`, a few at a time, so that they can be changed meanwhile."""
        while rows := self._connection.execute(
            f"{sql} AND t.rowid > ? ORDER BY t.rowid LIMIT {_ROWS_AT_ONCE}", (after,)
        ).fetchall():
            yield from rows
            after = rows[-1][0]


def note_earlier_faults(connection: sqlite3.Connection) -> None:
    """Note the references that are broken already, so that `settle_orphans` finds those of this import alone."""
    connection.execute(f"DROP TABLE IF EXISTS {_EARLIER}")
    connection.execute(f"CREATE TABLE {_EARLIER} (child, row, parent, number)")
    connection.executemany(f"INSERT INTO {_EARLIER} VALUES (?, ?, ?, ?)", broken_references(connection))


def settle_orphans(connection: sqlite3.Connection, rule: Orphans | None, loaded: Loaded, report: Report) -> None:
    """Rows of this import that refer to rows which are nowhere: kept and listed, dropped and counted, or refused.

    Raises MalformedNode naming them, where no rule says what to do.
    """
    while found := _orphans(connection):
        if rule is None:
            raise _refusal(connection, found)
        for table, orphans in found.items():
            rows = f"{len(orphans.rowids)} rows refer to rows that are nowhere"
            named = orphans.named(connection)
            message = f"{rows}, and were {'kept as they were' if rule == 'keep' else 'left out'}: {named}"
            report(Finding("warning", "orphans", message, Where(table=table)))
        if rule == "keep":
            return
        for table, orphans in found.items():
            deleted = _delete(connection, table, orphans)
            if not deleted:  # a trigger lets them pass, and would each time
                raise _refusal(connection, {table: orphans})
            loaded.rows[table] -= deleted
            loaded.dropped[table] += deleted


def _delete(connection: sqlite3.Connection, table: str, orphans: _OrphanRows) -> int:
    """Delete those rows, by rowid or, where there is none, by what is wrong with them; 0 where that cannot be."""
    target = Catalog.read(connection).tables.get(table)
    if target is None:
        return 0
    if target.rowid is not None:
        sql = f"DELETE FROM {quoted(table)} WHERE {quoted(target.rowid)} = ?"  # a column may be named rowid
        return connection.executemany(sql, [(rowid,) for rowid in orphans.rowids]).rowcount
    if _EARLIER_NAME in _temporary_tables(connection):
        noted = connection.execute(f"SELECT 1 FROM {_EARLIER} WHERE child = ? LIMIT 1", (table,)).fetchone()
        if noted is not None:  # nobody can tell those rows from these
            return 0
    broken = [_broken(connection, table, parent, number) for parent, number in sorted(orphans.keys)]
    return sum(connection.execute(f"DELETE FROM {quoted(table)} AS t WHERE {where}").rowcount for where in broken)


@dataclass(slots=True)
class _OrphanRows:
    """Rows of one table that refer to nothing: all their rowids, the first of their broken references, and the foreign
    keys that are broken, by parent and number.

    # Trap: SQLite gives None for each row of a table WITHOUT ROWID.
    """

    rowids: list[int | None] = field(default_factory=list)
    first: list[Row] = field(default_factory=list)
    keys: set[tuple[str, int]] = field(default_factory=set)

    def add(self, fault: Row) -> None:
        """One more broken reference; a row may have several."""
        rowid = fault[1]
        self.keys.add((fault[2], fault[3]))
        if rowid is None or rowid not in self.rowids[-_ROWS_AT_ONCE:]:
            self.rowids.append(rowid)
            if len(self.first) < _NAMED_ROWS:
                self.first.append(fault)

    def names(self, connection: sqlite3.Connection) -> Iterator[str]:
        """The first rows by their keys."""
        table = Catalog.read(connection).tables.get(self.first[0][0])
        keys = dict[int, Iterator[str]]()
        for _, rowid, parent, number in self.first:
            if rowid is None and table is not None:
                if number not in keys:
                    keys[number] = _names_of_broken(connection, table, parent, number)
                yield next(keys[number], "a row without rowid")
            else:
                yield _name_at(connection, table, rowid)

    def named(self, connection: sqlite3.Connection) -> str:
        """The first rows by their keys, and how many there are besides."""
        more = len(self.rowids) - len(self.first)
        return ", ".join(self.names(connection)) + (f" and {more} more" if more else "")


def _orphans(connection: sqlite3.Connection) -> dict[str, _OrphanRows]:
    """The rows by table that refer to nothing and did not do so before."""
    found: dict[str, _OrphanRows] = {}
    for fault in _new_faults(connection):
        found.setdefault(fault[0], _OrphanRows()).add(fault)
    return found


def _refusal(connection: sqlite3.Connection, found: Mapping[str, _OrphanRows]) -> MalformedNode:
    """The first row by its place, all tables with their rows in the further lines."""
    (table, first), *_ = found.items()
    _, _, parent, number = first.first[0]
    keys = connection.execute(_KEYS, (table, number)).fetchall()
    where = Where(table=table, row_id=next(first.names(connection)), field=keys[0][0] if keys else None)
    lines = [f"{name}: {len(rows.rowids)} rows: {rows.named(connection)}" for name, rows in found.items()]
    total = sum(len(rows.rowids) for rows in found.values())
    message = f"row refers to a row of {parent} that is neither in the archive nor in the database"
    message = "\n".join([message, *([f"{total} rows refer to nothing:", *lines] if total > 1 else [])])
    return MalformedNode(message, where=where, hint="--orphans keep or --orphans drop goes on")


def broken_references(connection: sqlite3.Connection) -> Iterator[Row]:
    """References into nothing as SQLite lists them, table by table: (table, rowid, parent, number of the foreign key).

    # Trap: one key that no unique column of its parent answers ends a list of all tables; such a table has no answer.
    """
    for (table,) in connection.execute(_REFERRING).fetchall():
        try:
            yield from connection.execute("SELECT * FROM pragma_foreign_key_check(?)", (table,))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_ERROR:
                raise


def _new_faults(connection: sqlite3.Connection) -> Iterator[Row]:
    """The broken references that were not noted before this import."""
    noted = _EARLIER_NAME in _temporary_tables(connection)
    earlier = Counter(connection.execute(f"SELECT * FROM {_EARLIER}") if noted else ())
    for fault in broken_references(connection):
        earlier[fault] -= 1
        if earlier[fault] < 0:
            yield fault


def _temporary_tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_temp_schema")}


def _name_at(connection: sqlite3.Connection, table: Table | None, rowid: int | None) -> str:
    """The key of the row at a rowid."""
    if table is None or table.rowid is None:
        return "a row without rowid" if rowid is None else f"rowid {rowid}"
    sql = f"SELECT {_key_of(table.keyed)} FROM {table.source('t')} WHERE t.{quoted(table.rowid)} = ?"
    return " ".join(map(shown, connection.execute(sql, (rowid,)).fetchone()))


def _names_of_broken(connection: sqlite3.Connection, table: Table, parent: str, number: int) -> Iterator[str]:
    """The keys of rows whose foreign key of that number is broken."""
    lost = _broken(connection, table.name, parent, number)
    for row in connection.execute(f"SELECT {_key_of(table)} FROM {table.source('t')} WHERE {lost}"):
        yield " ".join(map(shown, row))


def _broken(connection: sqlite3.Connection, table: str, parent: str, number: int) -> str:
    """Whether the foreign key of that number is broken in a row `t`, as SQL. Its parent may be missing altogether."""
    keys = connection.execute(_KEYS, (table, number)).fetchall()
    sql = "SELECT name, pk FROM pragma_table_info(?) ORDER BY pk"
    columns = connection.execute(sql, (parent,)).fetchall()
    lost = " AND ".join(f"t.{quoted(at)} IS NOT NULL" for at, _ in keys)
    if columns:
        own = [name for name, place in columns if place]
        ends = [to if to is not None else own[at] for at, (_, to) in enumerate(keys)]
        same = " AND ".join(f"p.{quoted(to)} = t.{quoted(at)}" for (at, _), to in zip(keys, ends, strict=True))
        lost += f" AND NOT EXISTS (SELECT 1 FROM {quoted(parent)} p WHERE {same})"
    return lost


def _key_of(table: Table) -> str:
    """The key of a row `t` as SQL. # Trap: it may be text that is no UTF-8, which only comes out as bytes."""
    return ", ".join(f"CAST(t.{quoted(column)} AS BLOB)" for column in table.key)
