"""Rows that agents own, held against a database that had rows before: which are new, which are there already."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pattern_stream.db.write.batch_ids import TakenBatches
from pattern_stream.db.write.conflicts import Conflicts, LoadOptions
from pattern_stream.errors import MalformedNode, Where
from pattern_stream.schema.model.records import Message, Record

Row = tuple[Any, ...]


@dataclass(slots=True)
class Sifted:
    """Rows to add, rows to update in place, and how many stay out."""

    added: list[Row] = field(default_factory=list)
    replaced: list[Row] = field(default_factory=list)
    skipped: int = 0


class Sieve:
    """What was in the database before an import. `highest`: rowids then; rows above came with this import."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        options: LoadOptions,
        highest: Mapping[type[Record], int],
        conflicts: Conflicts,
    ) -> None:
        self._connection = connection
        self._options = options
        self._highest = highest
        self._conflicts = conflicts
        self._batches: TakenBatches | None = None

    def sift(self, record: type[Record], rows: list[Row]) -> Sifted:
        """Messages, archival entries or summaries. One that is there under another owner is always a conflict."""
        taken = self._owners(record, rows)
        key, sifted = record.index("id"), Sifted()
        for row in rows:
            if row[key] in taken:
                self._meet(record, row, taken[row[key]], sifted)
            else:
                sifted.added.append(row)
        self._refuse_twice(record, sifted.replaced)
        if record is Message:
            sifted.added, sifted.replaced = self._keep_apart(sifted.added), self._keep_apart(sifted.replaced)
        return sifted

    def find_taken(self, record: type[Record], rows: list[Row]) -> None:
        """Note each row whose key is there as a conflict."""
        keys = record.key
        sql = f"SELECT 1 FROM {record.table} WHERE {' AND '.join(f'{key} = ?' for key in keys)} AND rowid <= ?"
        for row in rows:
            key = tuple(row[record.index(column)] for column in keys)
            if self._connection.execute(sql, (*key, self._highest[record])).fetchone() is not None:
                self._conflicts.add_row(record.table, " ".join(key))

    def free_batch(self, batch: str, agent: str) -> str:
        """The batch id of an agent's message, or another one where it is another agent's here."""
        return self._taken_batches().free(batch, agent)

    def close(self) -> None:
        """Drop what was made for it."""
        if self._batches is not None:
            self._batches.close()

    def _owners(self, record: type[Record], rows: list[Row]) -> dict[str, str]:
        """Owners of the rows that are there, by id."""
        key, marks = record.index("id"), ", ".join("?" * len(rows))
        return dict(
            self._connection.execute(
                f"SELECT id, agent_id FROM {record.table} WHERE id IN ({marks}) AND rowid <= ?",
                (*(row[key] for row in rows), self._highest[record]),
            ).fetchall()
        )

    def _meet(self, record: type[Record], row: Row, owner: str, sifted: Sifted) -> None:
        if owner != row[record.index("agent_id")] or self._options.on_conflict == "fail":
            self._conflicts.add_row(record.table, row[record.index("id")])
        elif self._options.on_conflict == "skip":
            sifted.skipped += 1
        else:
            sifted.replaced.append(row)

    def _refuse_twice(self, record: type[Record], rows: list[Row]) -> None:
        """# Trap: of two rows with one id the second would quietly update the first."""
        key, seen = record.index("id"), set[str]()
        for row in rows:
            if row[key] in seen:
                where = Where(table=record.table, row_id=row[key])
                raise MalformedNode(f"{record.noun} is in the archive twice", where=where)
            seen.add(row[key])

    def _keep_apart(self, rows: list[Row]) -> list[Row]:
        return self._taken_batches().keep_apart(rows)

    def _taken_batches(self) -> TakenBatches:
        """# Rule: made before the first message of the import goes in."""
        if self._batches is None:
            self._batches = TakenBatches(self._connection, self._options.batch_key)
        return self._batches
