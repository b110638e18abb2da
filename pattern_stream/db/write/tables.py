"""Rows of tables beyond version 3 on their way in, and of declared tables where they came as such. Source: v4 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pattern_stream.db.catalog.catalog import Target
from pattern_stream.db.connection.sql_text import Row, equal, has_staged, parameters, quoted, shown
from pattern_stream.db.ddl.fulltext import FULL_TEXT
from pattern_stream.db.write.column_mapping import Incoming
from pattern_stream.db.write.history import HistoryRows
from pattern_stream.db.write.import_context import Import
from pattern_stream.db.write.memory_blocks import Fate
from pattern_stream.db.write.name_conflicts import MET
from pattern_stream.errors import MalformedNode, Where
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.id_columns import BATCH_AGENTS
from pattern_stream.schema.model.records import DECLARED, MemoryBlock

INDEXED: Final = frozenset(index.base for index in FULL_TEXT)
"""Tables with a full-text index."""

_OWNERS: Final = {table: record.owner for table, record in DECLARED.items() if record.owner is not None}
"""Tables whose rows share the fate of an agent or group, and the column that names it."""


class TableRows:
    """The rows of one table. Fates are decided by its own primary key, and by the owner where a row has one.

    Memory:  one batch.
    """

    def __init__(self, work: Import, table: str, columns: Sequence[str], *, untranslated: bool = False) -> None:
        self._work = work
        self._incoming = Incoming(work, table, columns, untranslated=untranslated)
        self._target = self._incoming.target
        self._owner = self._incoming.place(_OWNERS[table]) if table in _OWNERS else None
        self._history = HistoryRows(work, self._incoming) if table in HISTORY_COLUMNS else None
        if self._target is not None and table in DECLARED:
            work.dangling.watch(DECLARED[table])

    def add(self, rows: Sequence[Row]) -> None:
        """More rows of the table."""
        found = self._incoming.fit(rows)
        if self._target is None or not found:
            return
        if has_staged(found):
            found = [self._with_looked_at(found[0])]
        if self._history is not None:
            self._history.add_beyond(found)
            return
        found = self._kept_apart(self._owned(found))
        if self._target.highest is not None or self._target.name == MemoryBlock.table:
            found = self._sift(found, self._target)
        self._write(found, self._target.name)

    def _with_looked_at(self, row: Row) -> Row:
        """The row with all cells in memory that are looked at here, and not by SQLite alone."""
        names = {*_OWNERS.values(), *BATCH_AGENTS.values(), "batch_id", "block_id", "last_seq"}
        looked_at = [at for at, column in enumerate(self._incoming.columns) if column in names]
        return self._work.pieces.plain_at(row, *self._incoming.key_places, *looked_at)

    def _owned(self, rows: list[Row]) -> list[Row]:
        """Rows but for those of owners that were skipped."""
        if self._owner is None:
            return rows
        kept = []
        for row in rows:
            if self._work.loaded.fate_of_owner(row[self._owner]) != "skip":
                kept.append(row)
            else:
                self._note(row, "skip")
        self._work.loaded.skipped[self._incoming.table] += len(rows) - len(kept)
        return kept

    def _kept_apart(self, rows: list[Row]) -> list[Row]:
        """Batch ids that another agent has here become others, as those of the agent's other messages do."""
        agent_column = BATCH_AGENTS.get(self._incoming.table)
        if agent_column is None or not self._work.living:
            return rows
        agent, batch = self._incoming.place(agent_column), self._incoming.place("batch_id")
        if agent is None or batch is None:
            return rows
        return [
            (*row[:batch], self._work.sieve.free_batch(row[batch], row[agent]), *row[batch + 1 :])
            if isinstance(row[batch], str) and isinstance(row[agent], str)
            else row
            for row in rows
        ]

    def _sift(self, rows: list[Row], target: Target) -> list[Row]:
        """The rows to add. Those that are there are noted as conflicts, left alone, or updated in place."""
        added: list[Row] = []
        replaced: set[Row] = set()
        for row in rows:
            fate = self._meet(row, target)
            self._note(row, fate)
            if fate == "add":
                added.append(row)
            elif fate == "skip":
                self._work.loaded.skipped[target.name] += 1
            elif fate == "replace":
                self._replace(row, replaced)
        return added

    def _meet(self, row: Row, target: Target) -> Fate:
        if target.highest is None:
            return "add"
        key = self._incoming.key_of(row)
        same_owner = self._find_same(row, target, key) if key is not None else None
        if same_owner is None:
            return "conflict" if self._is_taken(row, target, key) else "add"
        fate = MET[self._work.options.on_conflict]
        if fate == "conflict" or not same_owner:
            self._work.loaded.conflicts.add_row(target.name, self._incoming.insert.name_of(row))
            return "conflict"
        return "conflict" if fate == "replace" and self._is_taken(row, target, key) else fate

    def _find_same(self, row: Row, target: Target, key: Row) -> bool | None:
        """Whether the row that was there with this key has the same owner; None where there was no such row."""
        owners = () if self._owner is None else (row[self._owner],)
        sql = f"SELECT {equal([_OWNERS[target.name]], owners) if owners else 1} FROM {quoted(target.name)}"
        found = self._work.connection.execute(
            f"{sql} WHERE {equal(target.key, key)} AND {target.before}", parameters((*owners, *key))
        ).fetchone()
        return None if found is None else bool(found[0])

    def _is_taken(self, row: Row, target: Target, key: Row | None) -> bool:
        """Whether something else that must be unique is that of another row here, which is a conflict then."""
        for columns in target.unique:
            cells = tuple(row[at] for column in columns if (at := self._incoming.place(column)) is not None)
            if len(cells) < len(columns) or None in cells:
                continue
            other = self._find_other(target, columns, cells, key)
            if other is not None:
                its = " and ".join(f"{column} {shown(cell)!r}" for column, cell in zip(columns, cells, strict=True))
                name = self._incoming.insert.name_of(row)
                self._work.loaded.conflicts.add_named(
                    f"row {name} of {target.name}: its {its} is that of row {other} in the database"
                )
                return True
        return False

    def _find_other(self, target: Target, columns: Sequence[str], cells: Row, key: Row | None) -> str | None:
        """The name of a row that was there with these cells and another key."""
        # Trap: a key may be text that is no UTF-8, which only comes out as bytes.
        names = ", ".join(f"CAST({quoted(column)} AS BLOB)" for column in target.key) or "NULL"
        others = "1" if key is None else f"NOT ({equal(target.key, key)})"
        found = self._work.connection.execute(
            f"SELECT {names} FROM {quoted(target.name)} WHERE {equal(columns, cells)} AND {target.before} AND {others}",
            parameters((*cells, *(key or ()))),
        ).fetchone()
        return None if found is None else " ".join(map(shown, found))

    def _replace(self, row: Row, replaced: set[Row]) -> None:
        key = self._incoming.key_of(row) or ()
        if key in replaced:
            where = Where(table=self._incoming.table, row_id=self._incoming.insert.name_of(row))
            raise MalformedNode("row is in the archive twice", where=where)
        replaced.add(key)
        if self._work.stopped:
            return
        if self._incoming.table == MemoryBlock.table:
            row = self._without_edits(row)
        if self._incoming.table in INDEXED:
            self._work.index.count(1)
        self._work.loaded.rows[self._incoming.table] += self._incoming.insert.replace(row, key)

    def _without_edits(self, row: Row) -> Row:
        """# Trap: old edits would be applied on top of the new document, and their numbers must not come again."""
        identity, last_seq = self._incoming.place("id"), self._incoming.place("last_seq")
        highest = 0 if identity is None else self._work.blocks.forget_edits(row[identity])
        if last_seq is None or not isinstance(row[last_seq], int):
            return row
        return (*row[:last_seq], max(row[last_seq], highest), *row[last_seq + 1 :])

    def _note(self, row: Row, fate: Fate) -> None:
        """The fate of a memory block is that of its edits, which come later."""
        identity = self._incoming.place("id")
        if self._incoming.table == MemoryBlock.table and identity is not None and isinstance(row[identity], str):
            self._work.blocks.note(row[identity], fate)

    def _write(self, rows: list[Row], table: str) -> None:
        if not rows or self._work.stopped:
            return
        if table in INDEXED:
            self._work.index.count(len(rows))
            if has_staged(rows):
                self._work.index.defer()
        self._work.loaded.rows[table] += self._incoming.insert.add(rows)
