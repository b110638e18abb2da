"""Attachments that an archive has brought already, and batch ids that the database has already.

Both are in temporary tables, as there may be many; a rollback drops those too. Source: docs/database.md#snowflakes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from pattern_stream.db.connection.sql_text import Row
from pattern_stream.schema.ids.snowflakes import mint_batch
from pattern_stream.schema.model.records import Message, SharedAttachment

_AGENT: Final = Message.index("agent_id")
_BATCH: Final = Message.index("batch_id")
_BATCHES: Final = "temp.pattern_stream_batches"
_ATTACHMENTS: Final = "temp.pattern_stream_attachments"


class SeenAttachments:
    """The attachments of an archive. A constellation lists them twice: with its groups, and all together once more."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(f"DROP TABLE IF EXISTS {_ATTACHMENTS}")
        connection.execute(f"CREATE TABLE {_ATTACHMENTS} (block, agent, PRIMARY KEY (block, agent)) WITHOUT ROWID")

    def first(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that come for the first time; the first of an attachment counts."""
        sql = f"INSERT OR IGNORE INTO {_ATTACHMENTS} VALUES (?, ?)"
        block, agent = SharedAttachment.index("block_id"), SharedAttachment.index("agent_id")
        return [row for row in rows if self._connection.execute(sql, (row[block], row[agent])).rowcount]

    def close(self) -> None:
        """Drop the table."""
        self._connection.execute(f"DROP TABLE {_ATTACHMENTS}")


class TakenBatches:
    """The batch ids that a database had before an import, and their agents.

    The original looks batches up by their id alone, so no two agents may share one.
    """

    def __init__(self, connection: sqlite3.Connection, key: bytes) -> None:
        self._connection = connection
        self._key = key
        connection.execute(f"DROP TABLE IF EXISTS {_BATCHES}")
        connection.execute(
            f"CREATE TABLE {_BATCHES} (batch_id TEXT, agent_id TEXT, PRIMARY KEY (batch_id, agent_id)) WITHOUT ROWID"
        )
        connection.execute(
            f"INSERT INTO {_BATCHES} SELECT DISTINCT batch_id, agent_id FROM messages WHERE batch_id IS NOT NULL"
        )

    def rewrite(self, rows: Sequence[Row]) -> list[Row]:
        """Messages with another batch id where theirs is another agent's, the same for all of one batch."""
        batches = {row[_BATCH] for row in rows}
        sql = f"SELECT batch_id FROM {_BATCHES} WHERE batch_id IN ({', '.join('?' * len(batches))})"
        taken = {batch for (batch,) in self._connection.execute(sql, (*batches,))}
        pairs = {(row[_BATCH], row[_AGENT]) for row in rows if row[_BATCH] in taken} if taken else set()
        changed = {pair: new for pair in pairs if (new := self.free(*pair)) != pair[0]}
        if not changed:
            return list(rows)
        return [
            (*row[:_BATCH], changed[pair], *row[_BATCH + 1 :])
            if (pair := (row[_BATCH], row[_AGENT])) in changed
            else row
            for row in rows
        ]

    def free(self, batch: str, agent: str) -> str:
        """The batch id that an agent's messages of a batch get: the same each time."""
        found, attempt = batch, 0
        sql = f"SELECT agent_id FROM {_BATCHES} WHERE batch_id = ?"
        while (owners := self._connection.execute(sql, (found,)).fetchall()) and (agent,) not in owners:
            found, attempt = mint_batch(self._key, batch, attempt), attempt + 1
        return found

    def close(self) -> None:
        """Drop the table."""
        self._connection.execute(f"DROP TABLE {_BATCHES}")
