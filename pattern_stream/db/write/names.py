"""Names of agents and groups, and labels of memory blocks: unique, whatever order an archive brings them in."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from pattern_stream.db.connection.sql_text import SHOWN_CHARS, shown
from pattern_stream.db.write.balance import Balance
from pattern_stream.db.write.conflicts import Loaded, LoadOptions
from pattern_stream.db.write.memory_blocks import BlockStore
from pattern_stream.errors import Finding, Report, Where
from pattern_stream.format import CONSTELLATION_OWNER
from pattern_stream.schema.model.records import Agent, Group, MemoryBlock, Record

NAME_COLUMNS: Final[Mapping[type[Record], str]] = {Agent: "name", Group: "name", MemoryBlock: "label"}
"""Records with a name that only one of them may have; a label is unique under its owner."""

_TABLE: Final = "temp.pattern_stream_names"


class Names:
    """Gives each row the name of the archive, or notes a conflict.

    A name may be that of a row which this import still replaces, and frees by that. So where rows are replaced, a row
    whose name is taken goes in under a provisional one, and `settle` decides when all rows are in.

    Memory:  none here: names that wait are in a temporary table.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        options: LoadOptions,
        loaded: Loaded,
        blocks: BlockStore,
        balance: Balance,
        report: Report,
    ) -> None:
        self._connection = connection
        self._options = options
        self._loaded = loaded
        self._blocks = blocks
        self._balance = balance
        self._offered: set[tuple[type[Record], str | None, str]] = set()
        self._report = report
        connection.execute(f"DROP TABLE IF EXISTS {_TABLE}")
        connection.execute(f"CREATE TABLE {_TABLE} (number INTEGER PRIMARY KEY, record, id, owner, name, old)")

    def choose(
        self,
        record: type[Record],
        row_id: str,
        owner: str | None,
        name: str,
        *,
        archive_id: str | None = None,
        last: bool = False,
    ) -> str:
        """The name that a row gets: its own, a provisional one unless this is the `last` time, or a numbered label.

        `archive_id`: the id in the archive, by which the row can be renamed; None where that is not known.
        """
        holder = self._holder(record, row_id, owner, name)
        if holder is None:
            return name
        came = (record.table, holder) in self._loaded.resolutions
        if record is MemoryBlock:
            came = self._blocks.resolution_of(holder) is not None
        if self._options.on_conflict == "replace" and not came and not last:
            sql = f"INSERT INTO {_TABLE} (record, id, owner, name, old) VALUES (?, ?, ?, ?, ?)"
            self._connection.execute(sql, (record.table, row_id, owner, name, archive_id))
            return _provisional(row_id)
        if record is MemoryBlock and (came or (self._options.new_ids and owner == CONSTELLATION_OWNER)):
            held = "there twice" if came else "that of another memory block here"
            free = self._free(record, row_id, owner, name)
            message = f"label {shown(name)!r} is {held} under {owner}: now {shown(free)!r}"
            self._report(Finding("warning", "label-twice", message, Where(table=record.table, row_id=row_id)))
            return free
        if record is MemoryBlock:
            its, whose = f"its label {shown(name)!r} of owner {owner}", ""
        else:
            its, whose = f"its name {shown(name)!r}", " of the archive" if came else " in the database"
        message = f"{record.noun} {row_id}: {its} is that of {record.noun} {holder}{whose}"
        free = self._free(record, row_id, owner, name[:SHOWN_CHARS])
        self._offered.add((record, owner, free))
        by_name = f"block:{name}" if record is MemoryBlock else name
        self._loaded.conflicts.add_name(message, by_name if archive_id is None else f"id:{archive_id}", free)
        return name

    def settle(self) -> None:
        """Give the rows that have a provisional name their own, or note a conflict.

        Only after the full-text indexes are whole: a label is indexed, and an update un-indexes the old one.
        """
        for record, column in NAME_COLUMNS.items():
            waiting = f"SELECT id, owner, name, old FROM {_TABLE} WHERE record = ? ORDER BY number"
            for row_id, owner, name, old in self._connection.execute(waiting, (record.table,)):
                provisional = (row_id, _provisional(row_id))
                where = f"WHERE id = ? AND {column} = ?"  # a cell of the archive may have changed it since
                if self._connection.execute(f"SELECT 1 FROM {record.table} {where}", provisional).fetchone():
                    found = self.choose(record, row_id, owner, name, archive_id=old, last=True)
                    if not self._loaded.conflicts:
                        sql = f"UPDATE {record.table} SET {column} = ? {where}"
                        self._balance.change(record.table, row_id, sql, (found, *provisional))
        self._connection.execute(f"DROP TABLE {_TABLE}")

    def _free(self, record: type[Record], row_id: str, owner: str | None, name: str) -> str:
        """The name with the first number under which nobody has it, and nobody else was told to take it."""
        number = 2
        while True:
            found = f"{name} ({number})"
            if (record, owner, found) not in self._offered and self._holder(record, row_id, owner, found) is None:
                return found
            number += 1

    def _holder(self, record: type[Record], row_id: str, owner: str | None, name: str) -> str | None:
        """The id of another row that has this name."""
        column = NAME_COLUMNS[record]
        under = "AND agent_id = ?3" if record is MemoryBlock else ""
        found = self._connection.execute(
            f"SELECT id FROM {record.table} WHERE {column} = ?1 AND id <> ?2 {under}",
            (name, row_id, owner) if under else (name, row_id),
        ).fetchone()
        return None if found is None else str(found[0])


def _provisional(row_id: str) -> str:
    return f"\ufffe{row_id}"
