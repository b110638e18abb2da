"""Agents and groups on their way in: an id that is there decides by the rules, a name that is taken is a conflict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pattern_stream.db.connection.sql_text import shown
from pattern_stream.db.write.conflicts import OnConflict
from pattern_stream.db.write.import_context import Import
from pattern_stream.db.write.memory_blocks import Fate
from pattern_stream.schema.model.records import Record

MET: Final[Mapping[OnConflict, Fate]] = {"fail": "conflict", "skip": "skip", "replace": "replace"}
"""What becomes of a thing whose id, or of a row whose key, is there."""


def fate_of_named(work: Import, record: type[Record], row_id: str, name: str) -> Fate:
    """The fate of an agent or group, which is that of all it owns; conflicts are noted."""
    # Trap: a name may be text that is no UTF-8, which only comes out as bytes.
    sql = f"SELECT id = ?, id, CAST(name AS BLOB) FROM {record.table} WHERE id = ? OR name = ?"
    fate: Fate = "add"
    for same, other_id, other_name in work.connection.execute(sql, (row_id, row_id, name)).fetchall():
        met = MET[work.options.on_conflict] if same else "conflict"
        fate = "conflict" if fate == "conflict" else met
        if not same:
            whose = "of the archive" if (record.table, other_id) in work.loaded.fates else "in the database"
            work.loaded.conflicts.add_named(
                f"{record.noun} {row_id}: its name {name!r} is that of {record.noun} {other_id} {whose}"
            )
        elif met == "conflict":
            work.loaded.conflicts.add_named(f"{record.noun} {row_id} ({name!r}) is there, named {shown(other_name)!r}")
    return fate
