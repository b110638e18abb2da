"""Rows that agents own, compared with a database that had rows before: new ones, and those that are there already."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from pattern_stream.db.connection.sql_text import Row
from pattern_stream.db.write.already_seen import TakenBatches
from pattern_stream.db.write.conflicts import OTHER_OWNER, SAME_ID, Conflicts, LoadOptions, Resolution
from pattern_stream.errors import MalformedNode, Where
from pattern_stream.schema.model.records import Message, Record

_REWRITTEN: Final[tuple[Resolution, ...]] = ("add", "replace")


class ExistingRows:
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

    def resolve(self, record: type[Record], rows: list[Row]) -> Mapping[Resolution, list[Row]]:
        """Messages, archival entries or summaries by their resolution; conflicts are noted.

        Raises MalformedNode: # Trap: of two rows with one id the second would quietly update the first.
        """
        key, owner = record.index("id"), record.index("agent_id")
        marks = ", ".join("?" * len(rows))
        sql = f"SELECT id, agent_id FROM {record.table} WHERE id IN ({marks}) AND rowid <= ?"
        there = dict(self._connection.execute(sql, (*(row[key] for row in rows), self._highest[record])).fetchall())
        found: defaultdict[Resolution, list[Row]] = defaultdict(list)
        found["add"] = [row for row in rows if row[key] not in there]
        replaced = set[str]()
        for row in rows if there else ():
            row_id = row[key]
            if row_id not in there:
                continue
            same_owner = there[row_id] == row[owner]
            resolution = self._options.resolve(exists=True, same_owner=same_owner)
            found[resolution].append(row)
            if resolution == "conflict":
                self._conflicts.add_row(record.table, row_id, SAME_ID if same_owner else OTHER_OWNER)
            elif resolution == "replace":
                if row_id in replaced:
                    where = Where(table=record.table, row_id=row_id)
                    raise MalformedNode(f"{record.noun} is in the archive twice", where=where)
                replaced.add(row_id)
        if record is Message:
            for resolution in _REWRITTEN:
                found[resolution] = self.taken_batches().rewrite(found[resolution])
        return found

    def note_taken(self, record: type[Record], rows: list[Row]) -> None:
        """Note each row whose key is there as a conflict."""
        sql = f"SELECT 1 FROM {record.table} WHERE {' AND '.join(f'{key} = ?' for key in record.key)} AND rowid <= ?"
        for row in rows:
            key = tuple(row[record.index(column)] for column in record.key)
            if self._connection.execute(sql, (*key, self._highest[record])).fetchone() is not None:
                self._conflicts.add_row(record.table, " ".join(key))

    def taken_batches(self) -> TakenBatches:
        """The batch ids of the database. # Rule: made before the first message of the import goes in."""
        if self._batches is None:
            self._batches = TakenBatches(self._connection, self._options.batch_key)
        return self._batches

    def close(self) -> None:
        """Drop the temporary table."""
        if self._batches is not None:
            self._batches.close()
