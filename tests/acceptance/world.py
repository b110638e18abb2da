"""Small databases of our own invention, in the schema that the package makes, filled by plain sqlite3.

Foreign keys are off: what is broken here is meant to be.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pattern_stream.db.ddl.create import schema_statements

TIME = "2026-01-02T03:04:05+00:00"

DEFAULTS: dict[str, dict[str, Any]] = {
    "agents": {
        "model_provider": "p", "model_name": "m", "system_prompt": "s", "config": "{}", "enabled_tools": "[]",
        "created_at": TIME, "updated_at": TIME,
    },
    "agent_groups": {
        "pattern_type": "dynamic", "pattern_config": "{}", "created_at": TIME, "updated_at": TIME,
    },
    "group_members": {"joined_at": TIME},
    "memory_blocks": {
        "description": "d", "block_type": "core", "loro_snapshot": b"", "created_at": TIME, "updated_at": TIME,
    },
    "shared_block_agents": {"attached_at": TIME},
    "archival_entries": {"content": "c", "created_at": TIME},
    "messages": {"position": "31358194177998848", "role": "user", "content_json": '{"Text":"t"}', "created_at": TIME},
    "archive_summaries": {
        "summary": "s", "start_position": "1", "end_position": "2", "message_count": 1, "created_at": TIME,
    },
    "memory_block_updates": {"created_at": TIME},
    "memory_block_checkpoints": {"created_at": TIME},
}  # fmt: skip
"""What a row has unless it is said otherwise."""


class World:
    """A database being filled."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def add(self, table: str, **cells: Any) -> None:
        """One row; an agent or group without a name is named by its id."""
        if table in ("agents", "agent_groups"):
            cells = {"name": f"name of {cells['id']}", **cells}
        if table == "memory_block_updates":
            cells = {"byte_size": len(cells["update_blob"]), **cells}
        row = {**DEFAULTS[table], **cells}
        marks = ", ".join("?" * len(row))
        self.connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))

    def block(self, id: str, owner: str, *, attached: tuple[str, ...] = (), **cells: Any) -> None:
        """A memory block labelled by its id, and who it is attached to."""
        self.add("memory_blocks", id=id, agent_id=owner, **{"label": id, **cells})
        for agent in attached:
            self.add("shared_block_agents", block_id=id, agent_id=agent)


@contextmanager
def making(path: Path) -> Iterator[World]:
    """A new database with the full schema, to be filled inside the block."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        for statement in schema_statements():
            connection.execute(statement)
        yield World(connection)
