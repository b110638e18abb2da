"""The attachments of an archive, which a constellation has twice: with its groups, and all together once more."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from pattern_stream.schema.model.records import SharedAttachment

Row = tuple[Any, ...]

_TABLE: Final = "temp.pattern_stream_attachments"
_BLOCK, _AGENT = SharedAttachment.index("block_id"), SharedAttachment.index("agent_id")


class MetAttachments:
    """Those that have come already, in a temporary table: so each is stored, skipped or in the way once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(f"DROP TABLE IF EXISTS {_TABLE}")
        connection.execute(f"CREATE TABLE {_TABLE} (block, agent, PRIMARY KEY (block, agent)) WITHOUT ROWID")

    def first(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that come for the first time; the first of an attachment counts."""
        sql = f"INSERT OR IGNORE INTO {_TABLE} VALUES (?, ?)"
        return [row for row in rows if self._connection.execute(sql, (row[_BLOCK], row[_AGENT])).rowcount]

    def close(self) -> None:
        """Drop the table; a rollback does it too."""
        self._connection.execute(f"DROP TABLE {_TABLE}")
