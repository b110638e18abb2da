"""The extension of an archive on its way in: tables, the history of memory blocks, and lossy cells.

A lossy cell is one that no version 3 record could bring back equal; it is written over the cell of the record.
Source: docs/format.md#memory-history, #lossy-cells.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from pattern_stream.db.catalog.catalog import Target
from pattern_stream.db.catalog.sequences import SEQUENCE_COLUMNS, SEQUENCES, raise_marks
from pattern_stream.db.connection.sql_text import Row, assigned, equal, parameters, quoted
from pattern_stream.db.write.conflicts import NEW_DATABASE, Resolution
from pattern_stream.db.write.context import ImportContext
from pattern_stream.db.write.memory_blocks import HistoryRows
from pattern_stream.db.write.names import NAME_COLUMNS
from pattern_stream.db.write.table_rows import INDEXED, ColumnMapping, TableRows
from pattern_stream.errors import Finding, MalformedNode, ProtocolError, Where
from pattern_stream.items import CELLS_TABLE, Cells, MemoryHistory, OpenTable
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.nodes import CELL_COLUMNS, CELLS_KEY
from pattern_stream.schema.model.records import DECLARED, MemoryBlock


class Extension:
    """The open table, or the open memory block and its history."""

    def __init__(self, context: ImportContext) -> None:
        self._context = context
        self._columns: Mapping[str, tuple[str, ...]] = {}
        self._table: TableRows | HighWaterMarks | None = None
        self._marks = HighWaterMarks(context)
        self._cells = LossyCellWriter(context)
        self._block: tuple[str, Resolution] | None = None
        self._history: dict[str, HistoryRows] = {}

    def columns_of(self, event: Cells) -> tuple[str, ...]:
        """The columns that the archive says these rows have. Raises ProtocolError where it has said nothing."""
        found = self._columns.get(event.table)
        if found is None:
            raise ProtocolError(f"found rows of {event.table!r} outside of the table or memory block they are of")
        return found

    def open_block(self, block_id: str, resolution: Resolution, history: MemoryHistory | None) -> None:
        """A memory block starts; the rows of its history may follow."""
        self._block, self._table, self._history = (block_id, resolution), None, {}
        self._columns = history.columns if history is not None else HISTORY_COLUMNS

    def open_table(self, event: OpenTable) -> None:
        """A table starts, or the lossy cells."""
        self._block, table = None, event.table
        if table is None:
            self._columns, self._table = {CELLS_TABLE: CELL_COLUMNS}, None
            return
        self._columns = {table: event.column_names}
        if table == SEQUENCES and event.column_names == SEQUENCE_COLUMNS:
            self._table = self._marks
            return
        mapping = ColumnMapping(
            self._context, table, event.column_names, untranslated=event.untranslated, rowid=event.rowid_at
        )
        self._table = TableRows(self._context, mapping)

    def close(self) -> None:
        """The table or memory block ends."""
        self._columns, self._table, self._block = {}, None, None

    def add(self, event: Cells) -> None:
        """Rows of the open node."""
        columns = self.columns_of(event)
        if self._table is not None:
            self._table.add(event.rows)
        elif self._block is None:
            self._cells.add(event.rows)
        else:
            if event.table not in self._history:
                self._history[event.table] = HistoryRows(
                    self._context, ColumnMapping(self._context, event.table, columns)
                )
            self._history[event.table].add_of_block(event.rows, *self._block)

    def finish(self) -> None:
        """Report lossy cells without a row, and raise the marks of AUTOINCREMENT."""
        self._cells.finish()
        self._marks.finish()


class HighWaterMarks:
    """The marks of AUTOINCREMENT that the rows of an archive do not show: no id of a deleted row is given again."""

    def __init__(self, context: ImportContext) -> None:
        self._context = context
        self._marks: dict[str, int] = {}

    def add(self, rows: Sequence[Row]) -> None:
        """More marks, as (table, highest id). Raises MalformedNode."""
        for row in rows:
            if len(row) != len(SEQUENCE_COLUMNS) or not isinstance(row[0], str) or type(row[1]) is not int:
                message = "expected rows of a table and its highest id, an integer"
                raise MalformedNode(message, where=Where(table=SEQUENCES))
            self._marks[row[0]] = max(row[1], self._marks.get(row[0], 0))

    def finish(self) -> None:
        """Each mark becomes the larger of the archive's and the database's."""
        if self._context.stopped:
            return
        for table in raise_marks(self._context.connection, self._marks):
            message = f"highest id {self._marks[table]} of {table!r} is not kept: no such table with AUTOINCREMENT here"
            self._context.report(Finding("warning", "sequence-left-out", message, Where(table=SEQUENCES)))


class LossyCellWriter:
    """Lossy cells of rows that this import wrote; those of skipped rows and of all others stay out too.

    Memory:  one batch, and a count a table.
    """

    def __init__(self, context: ImportContext) -> None:
        self._context = context
        self._lost: Counter[str] = Counter()
        self._first_lost: dict[str, str] = {}

    def add(self, rows: Sequence[Row]) -> None:
        """More cells, as (table, key, column, cell)."""
        if not self._context.stopped and any(row and row[0] in INDEXED for row in rows):
            self._context.index.catch_up()  # or the trigger would take out of the index what is not in it yet
        for row in rows:
            if len(row) != len(CELL_COLUMNS):
                raise _malformed(f"row has {len(row)} cells, expected {len(CELL_COLUMNS)}")
            self._add(*row)

    def finish(self) -> None:
        """Report cells without a row, once a table."""
        for table, count in self._lost.items():
            where = Where(table=table, row_id=self._first_lost[table])
            message = f"{count} cells are of rows that are not there, and stay out; the first of them is named here"
            self._context.report(Finding("warning", "cell-without-row", message, where))

    def _add(self, table: Any, key: Any, column: Any, cell: Any) -> None:
        context, key = self._context, self._context.pieces.in_memory(key)
        if not isinstance(table, str) or not isinstance(column, str) or not isinstance(key, str):
            raise _malformed("expected text for table, key and column")
        target = context.targets.get(table) if table in DECLARED else None
        if target is None:
            context.unknown.add_table(table, 1)
        elif column not in target.names:
            context.unknown.add_column(table, column, 1)
        elif column in DECLARED[table].key:
            raise _malformed(f"column {column} is the key of {table}, and no cell can change it")
        elif not context.stopped:
            keys = _keys_of(table, key)
            owner = quoted(DECLARED[table].owner or "id")
            found = context.connection.execute(
                f"SELECT {target.before}, {owner} FROM {quoted(table)} WHERE {equal(DECLARED[table].key, keys)}", keys
            ).fetchone()
            if found is not None:
                if not found[0] or self._is_replaced(table, keys, found[1]):
                    self._update(target, keys, column, cell)
            elif context.options.on_conflict != "skip" and not context.options.partial:  # else the row stayed out too
                self._lost[table] += 1
                self._first_lost.setdefault(table, " ".join(keys))

    def _is_replaced(self, table: str, key: Row, owner: Any) -> bool:
        """Whether this import replaces a row that was there."""
        if self._context.options.on_conflict != "replace":
            return False
        if table == MemoryBlock.table:
            return self._context.blocks.resolution_of(key[0]) == "replace"
        return self._context.loaded.resolution_of_owner(owner) in ("add", "replace")

    def _update(self, target: Target, key: Row, column: str, cell: Any) -> None:
        balance, name = self._context.balance, " ".join(key)
        policy = balance.policy(target.name) and " OR ABORT"
        sql = f"UPDATE{policy} {quoted(target.name)} SET {assigned((column,), (cell,))}"
        try:
            same = equal(DECLARED[target.name].key, key)
            balance.change(target.name, name, f"{sql} WHERE {same}", (*parameters((cell,)), *key))
        except sqlite3.IntegrityError as error:
            if target.highest is None or error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                where = Where(table=target.name, row_id=name, field=column)
                message = f"cell cannot be stored beside the rest of the archive: {error}"
                raise MalformedNode(message, where=where) from error
            message = f"row {name} of {target.name}: its {column} is taken ({error})"
            if column == NAME_COLUMNS.get(DECLARED[target.name]):
                self._context.loaded.conflicts.add_name(message, f"id:{name}", f"{name} ({column})")
            else:
                self._context.loaded.conflicts.add(message, NEW_DATABASE)


def _malformed(message: str) -> MalformedNode:
    return MalformedNode(message, where=Where(table=CELLS_KEY))


def _keys_of(table: str, key: str) -> tuple[str, ...]:
    """The cells of a primary key; one of several columns is a JSON array. Raises MalformedNode."""
    columns = DECLARED[table].key
    if len(columns) == 1:
        return (key,)
    try:
        parts = orjson.loads(key)
    except ValueError as error:
        raise MalformedNode("key is no JSON", where=Where(table=table, row_id=key)) from error
    if not isinstance(parts, list) or len(parts) != len(columns) or not all(isinstance(part, str) for part in parts):
        raise MalformedNode(f"key is no array of {len(columns)} texts", where=Where(table=table, row_id=key))
    return tuple(parts)
