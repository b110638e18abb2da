"""Batch ids that would meet another agent's: the original looks batches up without asking for the agent.

Source: database 6.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from pattern_stream.schema.ids.snowflakes import mint_batch
from pattern_stream.schema.model.records import Message

Row = tuple[Any, ...]
_AGENT: Final = Message.index("agent_id")
_BATCH: Final = Message.index("batch_id")
_TABLE: Final = "temp.pattern_stream_batches"


class TakenBatches:
    """The batch ids that a database had before an import, with the agents they belong to.

    Memory:  none here: a temporary table.
    """

    def __init__(self, connection: sqlite3.Connection, key: bytes) -> None:
        self._connection = connection
        self._key = key
        connection.execute(f"DROP TABLE IF EXISTS {_TABLE}")
        connection.execute(
            f"CREATE TABLE {_TABLE} (batch_id TEXT, agent_id TEXT, PRIMARY KEY (batch_id, agent_id)) WITHOUT ROWID"
        )
        connection.execute(
            f"INSERT INTO {_TABLE} SELECT DISTINCT batch_id, agent_id FROM messages WHERE batch_id IS NOT NULL"
        )

    def keep_apart(self, rows: Sequence[Row]) -> list[Row]:
        """Messages with another batch id where theirs is another agent's, the same for all of one batch."""
        batches = {(row[_BATCH], row[_AGENT]) for row in rows if row[_BATCH] is not None}
        changed = {pair: new for pair in batches if (new := self.free(*pair)) != pair[0]}
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
        while self._is_others(found, agent):
            found, attempt = mint_batch(self._key, batch, attempt), attempt + 1
        return found

    def close(self) -> None:
        """Drop the table; a rollback does it too."""
        self._connection.execute(f"DROP TABLE {_TABLE}")

    def _is_others(self, batch: str, agent: str) -> bool:
        rows = self._connection.execute(f"SELECT agent_id FROM {_TABLE} WHERE batch_id = ?", (batch,)).fetchall()
        return bool(rows) and (agent,) not in rows
