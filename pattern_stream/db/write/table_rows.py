"""Rows of the tables in an archive's extension, declared tables among them. Source: docs/format.md#extension-tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from pattern_stream.db.catalog.catalog import Target
from pattern_stream.db.connection.sql_text import SHOWN_CHARS, Row, equal, has_staged, mark, parameters, quoted, shown
from pattern_stream.db.ddl.fulltext import FULL_TEXT
from pattern_stream.db.write.conflicts import ONLY_SKIP, OTHER_OWNER, SAME_ID, Resolution
from pattern_stream.db.write.context import ImportContext
from pattern_stream.db.write.memory_blocks import HistoryRows
from pattern_stream.db.write.names import NAME_COLUMNS
from pattern_stream.db.write.rows import TableWriter
from pattern_stream.errors import Finding, MalformedNode, Where
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.id_columns import BATCH_AGENTS
from pattern_stream.schema.model.records import DECLARED, MemoryBlock

INDEXED: Final = frozenset(index.base for index in FULL_TEXT)
"""Tables with a full-text index."""

_OWNERS: Final = {table: record.owner for table, record in DECLARED.items() if record.owner is not None}
"""Tables whose rows share the resolution of an agent or group, and the column that names it."""

_NAME: Final = "name"
"""A column by which people know a row: where it is taken, the row may be renamed."""

_READ_HERE: Final = frozenset(
    {*_OWNERS.values(), *BATCH_AGENTS.values(), *NAME_COLUMNS.values(), _NAME, "batch_id", "block_id", "last_seq"}
)
"""Columns whose cells Python looks at, and not SQLite alone."""


class ColumnMapping:
    """The rows of an archive's `table` with its `columns`, cut to the columns that the database's table has.

    `target` is None where the database has no such table, or one that no archive may write. `untranslated`: the ids of
    the table cannot be found, and all others are new. `rowid`: the place of the archive's rowids, which are the key
    where the database's table has none either.
    """

    def __init__(
        self,
        context: ImportContext,
        table: str,
        columns: Sequence[str],
        *,
        untranslated: bool = False,
        rowid: int | None = None,
    ) -> None:
        self._connection = context.connection
        self._unknown = context.unknown
        self._width = len(columns)
        self.table = table
        if len(set(columns)) != self._width:
            raise MalformedNode("table has two columns of one name", where=Where(table=table))
        found = None if untranslated else context.targets.get(table)
        self._reason = "it is not known where its ids are, to make new ones" if untranslated else "no such table here"
        if found is not None and (lacking := what_is_missing(context, found)) is not None:
            found, self._reason = None, f"what only another program registers is missing here ({lacking})"
        names = found.names if found is not None else ()
        self._places = [at for at, name in enumerate(columns) if at != rowid and name in names]
        self.target: Target | None = found if self._places else None
        known = {*self._places, rowid}
        self._missing = [name for at, name in enumerate(columns) if at not in known] if self._places else []
        kept = [columns[at] for at in self._places]
        self.by_rowid = self.target is not None and rowid is not None and self.target.keyed is not self.target
        if self.target is not None and rowid is not None and self.by_rowid:
            self.target = self.target.keyed
            self._places, kept = [rowid, *self._places], [*self.target.key, *kept]
        key = self.target.key if self.target is not None else ()
        self.writer = TableWriter(context.connection, table, kept, key, context.balance)
        self.key_places = tuple(kept.index(name) for name in key) if key and set(key) <= set(kept) else ()

    def fit(self, rows: Sequence[Row]) -> list[Row]:
        """The rows as the database can have them. The rest is noted as unknown. Raises MalformedNode."""
        for row in rows:
            if len(row) != self._width:
                message = f"row has {len(row)} cells, expected {self._width}"
                raise MalformedNode(message, where=Where(table=self.table))
        if self.target is None:
            self._unknown.add_table(self.table, len(rows), self._reason)
            return []
        for column in self._missing:
            self._unknown.add_column(self.table, column, len(rows))
        if self._places == list(range(self._width)):
            return list(rows)
        return [tuple(row[at] for at in self._places) for row in rows]

    def place(self, column: str) -> int | None:
        """Where a column stands in a row that fits."""
        return self.writer.columns.index(column) if column in self.writer.columns else None

    def has_equal(self, row: Row) -> bool:
        """Whether the database had a row with all these cells before the import."""
        columns = zip(self.writer.columns, row, strict=True)
        same = " AND ".join(f"{quoted(column)} COLLATE BINARY IS {mark(cell)}" for column, cell in columns)
        before = self.target.before if self.target is not None else "0"
        sql = f"SELECT 1 FROM {quoted(self.table)} WHERE {before} AND {same}"
        return self._connection.execute(sql, parameters(row)).fetchone() is not None

    def key_of(self, row: Row) -> Row | None:
        """The primary key of a row that fits; None where it has none, or NULL in it, which equals nothing."""
        key = tuple(row[at] for at in self.key_places)
        return key if key and None not in key else None


def what_is_missing(context: ImportContext, table: Target) -> str | None:
    """The collation or function that a table's indexes, checks, defaults or triggers need and nobody registered here,
    in SQLite's words; None where rows can go in. Statements are compiled for it, none is run.
    """
    connection = context.connection
    name, column = quoted(table.name), quoted(table.names[0])
    try:
        connection.execute(f"EXPLAIN INSERT INTO {name} ({column}) VALUES (NULL)")
        if context.options.on_conflict == "replace":
            connection.execute(f"EXPLAIN UPDATE {name} SET {column} = NULL")
        connection.execute(f"EXPLAIN PRAGMA foreign_key_check({name})")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_ERROR:
            raise
        return str(error)
    return None


class TableRows:
    """The rows of one table. A row is resolved by its primary key, and by its owner where it has one.

    Memory:  one batch.
    """

    def __init__(self, context: ImportContext, mapping: ColumnMapping) -> None:
        table = mapping.table
        self._context = context
        self._mapping = mapping
        self._owner = mapping.place(_OWNERS[table]) if table in _OWNERS else None
        self._history = HistoryRows(context, mapping) if table in HISTORY_COLUMNS else None
        places = (at for at, column in enumerate(mapping.writer.columns) if column in _READ_HERE)
        self._read_here = (*mapping.key_places, *places)
        if mapping.target is not None and table in DECLARED:
            context.foreign_keys.watch(DECLARED[table])

    def add(self, rows: Sequence[Row]) -> None:
        """More rows of the table."""
        target, found = self._mapping.target, self._mapping.fit(rows)
        if target is None or not found:
            return
        if has_staged(found):
            found = [self._context.pieces.in_memory_at(found[0], *self._read_here)]
        if self._history is not None:
            self._history.add_of_table(found)
            return
        found, added, replaced = self._with_free_batches(found), list[Row](), set[Row]()
        named = DECLARED.get(target.name) in NAME_COLUMNS or (
            self._context.options.new_ids and any(columns[-1] == _NAME for columns in target.unique)
        )
        if target.highest is None and self._owner is None and not named:
            found, added = [], found
        for row in found:
            resolution, row = self._resolve(row, target)
            self._note(row, resolution)
            if resolution == "add":
                added.append(row)
            elif resolution == "skip":
                self._context.loaded.skipped[target.name] += 1
            elif resolution == "replace":
                self._replace(row, replaced)
            if named:  # the next row may have its name
                self._insert(added, target)
                added = []
        self._insert(added, target)

    def _insert(self, added: list[Row], target: Target) -> None:
        if added and not self._context.stopped:
            if target.name in INDEXED:
                self._context.index.count(len(added))
                if has_staged(added):
                    self._context.index.defer()
            self._context.loaded.rows[target.name] += self._mapping.writer.write(added)

    def _with_free_batches(self, rows: list[Row]) -> list[Row]:
        """The rows, with other batch ids where another agent has theirs, as the agent's other messages have."""
        agent_column = BATCH_AGENTS.get(self._mapping.table)
        if agent_column is None or not self._context.populated:
            return rows
        agent, batch = self._mapping.place(agent_column), self._mapping.place("batch_id")
        if agent is None or batch is None:
            return rows
        free = self._context.existing.taken_batches().free
        return [
            (*row[:batch], free(row[batch], row[agent]), *row[batch + 1 :])
            if isinstance(row[batch], str) and isinstance(row[agent], str)
            else row
            for row in rows
        ]

    def _resolve(self, row: Row, target: Target) -> tuple[Resolution, Row]:
        """The resolution of a row, and the row as it is written; conflicts are noted."""
        context, mapping = self._context, self._mapping
        if self._owner is not None and context.loaded.resolution_of_owner(row[self._owner]) == "skip":
            return "skip", row
        key, found = mapping.key_of(row), None
        if target.highest is None:
            pass
        elif key is not None:
            owners = () if self._owner is None else (row[self._owner],)
            same = equal([_OWNERS[target.name]], owners) if owners else "1"
            sql = f"SELECT {same} FROM {quoted(target.name)} WHERE {equal(target.key, key)} AND {target.before}"
            found = context.connection.execute(sql, parameters((*owners, *key))).fetchone()
            if found is not None and mapping.by_rowid and mapping.has_equal(row):
                return "skip", row
        elif mapping.key_places and mapping.has_equal(row):  # NULL in the key, which finds no row
            return "skip", row
        same_owner = found is None or bool(found[0])
        resolution = context.options.resolve(exists=found is not None, same_owner=same_owner)
        if resolution == "conflict":
            name = mapping.writer.name_of(row)
            context.loaded.conflicts.add_row(target.name, name, SAME_ID if same_owner else OTHER_OWNER)
        for columns in target.unique if resolution in ("add", "replace") else ():
            if resolution in ("add", "replace"):
                resolution, row = self._with_unique(row, target, columns, key, resolution)
        return resolution, row

    def _with_unique(
        self, row: Row, target: Target, columns: Sequence[str], key: Row | None, resolution: Resolution
    ) -> tuple[Resolution, Row]:
        """The same row, if its cells in these columns, which must be unique, are those of no other row that was there.

        A name waits for a row of the archive that may free it, or gets a number where the rules say so. Anything else
        is a conflict; with `skip` a row that cannot be renamed stays out.
        """
        context, mapping = self._context, self._mapping
        places = [at for column in columns if (at := mapping.place(column)) is not None]
        cells, row_id, at = tuple(row[one] for one in places), self._cell(row, "id"), places[-1] if places else 0
        if len(cells) < len(columns) or None in cells:
            return resolution, row
        record, is_named = DECLARED.get(target.name), isinstance(row_id, str) and isinstance(cells[-1], str)
        if record is not None and is_named and columns[-1] == NAME_COLUMNS.get(record):
            before = len(context.loaded.conflicts.named)
            owner = row[self._owner] if self._owner is not None else None
            old = None if context.options.new_ids else row_id
            name = context.names.choose(record, row_id, owner, cells[-1], archive_id=old)
            if len(context.loaded.conflicts.named) > before:
                return "conflict", row
            return resolution, (*row[:at], name, *row[at + 1 :])
        found = self._other(target, columns, cells, key) if target.highest is not None else None
        if found is None:
            return resolution, row
        its = " and ".join(f"{column} {shown(cell)!r}" for column, cell in zip(columns, cells, strict=True))
        name = mapping.writer.name_of(row)
        message = f"row {name} of {target.name}: its {its} is that of row {found} in the database"
        if is_named and columns[-1] == _NAME:
            number, base = 2, cells[-1] if context.options.new_ids else cells[-1][:SHOWN_CHARS]
            while self._other(target, columns, (*cells[:-1], f"{base} ({number})"), key) is not None:
                number += 1
            free = f"{base} ({number})"
            if context.options.new_ids:
                where = Where(table=target.name, row_id=row_id)
                context.report(Finding("warning", "name-twice", f"{message}: now {shown(free)!r}", where))
                return resolution, (*row[:at], free, *row[at + 1 :])
            context.loaded.conflicts.add_name(message, f"id:{row_id}", free)
        elif context.options.on_conflict == "skip":
            return "skip", row
        else:
            context.loaded.conflicts.add(message, ONLY_SKIP)
        return "conflict", row

    def _other(self, target: Target, columns: Sequence[str], cells: Row, key: Row | None) -> str | None:
        """The key of another row that has these cells; one of this import too, where it may have got a number."""
        before = "1" if self._context.options.new_ids and columns[-1] == _NAME else target.before
        # Trap: a key may be text that is no UTF-8, which only comes out as bytes.
        names = ", ".join(f"CAST({quoted(column)} AS BLOB)" for column in target.key) or "NULL"
        others = "1" if key is None else f"NOT ({equal(target.key, key)})"
        found = self._context.connection.execute(
            f"SELECT {names} FROM {quoted(target.name)} WHERE {equal(columns, cells)} AND {before} AND {others}",
            parameters((*cells, *(key or ()))),
        ).fetchone()
        return None if found is None else " ".join(map(shown, found))

    def _cell(self, row: Row, column: str) -> Any:
        at = self._mapping.place(column)
        return None if at is None else row[at]

    def _replace(self, row: Row, replaced: set[Row]) -> None:
        context, mapping, key = self._context, self._mapping, self._mapping.key_of(row) or ()
        if key in replaced:
            where = Where(table=mapping.table, row_id=mapping.writer.name_of(row))
            raise MalformedNode("row is in the archive twice", where=where)
        replaced.add(key)
        if context.stopped:
            return
        if mapping.table == MemoryBlock.table:
            row = context.blocks.without_edits(row, mapping.writer.columns)
        if mapping.table in INDEXED:
            context.index.count(1)
        context.loaded.rows[mapping.table] += mapping.writer.update(row, key)

    def _note(self, row: Row, resolution: Resolution) -> None:
        """The resolution of a memory block is that of its edits, which come later."""
        identity = self._mapping.place("id")
        if self._mapping.table == MemoryBlock.table and identity is not None and isinstance(row[identity], str):
            self._context.blocks.note(row[identity], resolution)
