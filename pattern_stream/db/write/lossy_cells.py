"""Single cells of declared rows that version 3 could not bring back equal: the last of a row. Source: v4 4."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson

from pattern_stream.db.catalog.catalog import Target
from pattern_stream.db.connection.sql_text import Row, assigned, equal, parameters, quoted
from pattern_stream.db.write.import_context import Import
from pattern_stream.db.write.tables import INDEXED
from pattern_stream.errors import Finding, MalformedNode, Where
from pattern_stream.schema.model.nodes import CELL_COLUMNS, CELLS_KEY
from pattern_stream.schema.model.records import DECLARED, MemoryBlock


class CellRows:
    """Cells of rows that came with this import; cells of rows that stayed out, or were there before, stay out too.

    Memory:  one batch, and a count a table.
    """

    def __init__(self, work: Import) -> None:
        self._work = work
        self._lost: Counter[str] = Counter()
        self._first_lost: dict[str, str] = {}

    def add(self, rows: Sequence[Row]) -> None:
        """More cells, as (table, key, column, cell)."""
        if not self._work.stopped and any(row and row[0] in INDEXED for row in rows):
            self._work.index.catch_up()  # or the trigger would take out of the index what is not in it yet
        for row in rows:
            if len(row) != len(CELL_COLUMNS):
                raise self._malformed(f"row has {len(row)} cells, expected {len(CELL_COLUMNS)}")
            self._add(*row)

    def finish(self) -> None:
        """Say what was of no row."""
        for table, count in self._lost.items():
            where = Where(table=table, row_id=self._first_lost[table])
            message = f"{count} cells are of rows that are not there, and stay out; the first of them is named here"
            self._work.report(Finding("warning", "cell-without-row", message, where))

    def _add(self, table: Any, key: Any, column: Any, cell: Any) -> None:
        key = self._work.pieces.plain(key)
        if not isinstance(table, str) or not isinstance(column, str) or not isinstance(key, str):
            raise self._malformed("expected text for table, key and column")
        target = self._work.targets.get(table) if table in DECLARED else None
        if target is None:
            self._work.unknown.add_table(table, 1)
        elif column not in target.names:
            self._work.unknown.add_column(table, column, 1)
        elif column in DECLARED[table].key:
            raise self._malformed(f"column {column} is the key of {table}, and no cell can change it")
        elif not self._work.stopped:
            self._write(target, _key_of(table, key), column, cell)

    def _write(self, target: Target, key: Row, column: str, cell: Any) -> None:
        where = equal(DECLARED[target.name].key, key)
        owner = quoted(DECLARED[target.name].owner or "id")
        found = self._work.connection.execute(
            f"SELECT {target.before}, {owner} FROM {quoted(target.name)} WHERE {where}", key
        ).fetchone()
        if found is None:
            self._lose(target.name, " ".join(key))
        elif not found[0] or self._came_again(target.name, key, found[1]):
            self._update(target, key, column, cell)

    def _came_again(self, table: str, key: Row, owner: Any) -> bool:
        """Whether a row that was there is one that this import replaces."""
        if self._work.options.on_conflict != "replace":
            return False
        if table == MemoryBlock.table:
            return self._work.blocks.fate_of(key[0]) == "replace"
        return self._work.loaded.fate_of_owner(owner) in ("add", "replace")

    def _update(self, target: Target, key: Row, column: str, cell: Any) -> None:
        where = equal(DECLARED[target.name].key, key)
        sql = f"UPDATE {quoted(target.name)} SET {assigned((column,), (cell,))} WHERE {where}"
        try:
            self._work.connection.execute(sql, (*parameters((cell,)), *key))
        except sqlite3.IntegrityError as error:
            self._refuse(target, key, column, error)

    def _refuse(self, target: Target, key: Row, column: str, error: sqlite3.IntegrityError) -> None:
        """A cell that cannot be beside what is there, or not at all."""
        name = " ".join(key)
        if target.highest is None or error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
            where = Where(table=target.name, row_id=name, field=column)
            raise MalformedNode(
                f"cell cannot be stored beside the rest of the archive: {error}", where=where
            ) from error
        self._work.loaded.conflicts.add_named(f"row {name} of {target.name}: its {column} is taken ({error})")

    def _lose(self, table: str, key: str) -> None:
        """Rows that were skipped are not there either, nor are those of a part that was not wanted."""
        if self._work.options.on_conflict != "skip" and not self._work.options.partial:
            self._lost[table] += 1
            self._first_lost.setdefault(table, key)

    def _malformed(self, message: str) -> MalformedNode:
        return MalformedNode(message, where=Where(table=CELLS_KEY))


def _key_of(table: str, key: str) -> tuple[str, ...]:
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
