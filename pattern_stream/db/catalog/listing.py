"""Agents, groups and memory blocks of a database, for a person who wants to name one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from pattern_stream.db.catalog.columns import read_columns
from pattern_stream.db.catalog.user_tables import count_rows, read_tables
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.sql_text import quoted


async def list_agents(connection: Connection) -> list[dict[str, Any]]:
    """Every agent by name, with counts of what it owns."""
    living = "AND m.is_deleted = 0" if (await read_columns(connection)).has("messages", "is_deleted") else ""
    return await _dicts(
        connection,
        f"""SELECT a.id, a.name, a.status, a.model_provider || '/' || a.model_name AS model,
            (SELECT count(*) FROM messages m WHERE m.agent_id = a.id {living}) AS messages,
            (SELECT count(*) FROM memory_blocks b WHERE b.agent_id = a.id AND b.is_active = 1) AS memory_blocks,
            (SELECT count(*) FROM archival_entries e WHERE e.agent_id = a.id) AS archival_entries
            FROM agents a ORDER BY a.name, a.id""",
    )


async def list_groups(connection: Connection) -> list[dict[str, Any]]:
    """Every group by name, with its members' names."""
    groups = await _dicts(connection, "SELECT id, name, pattern_type FROM agent_groups ORDER BY name, id")
    for group in groups:
        members = await connection.execute(
            """SELECT coalesce(a.name, m.agent_id) FROM group_members m LEFT JOIN agents a ON a.id = m.agent_id
            WHERE m.group_id = :id ORDER BY 1""",
            {"id": group["id"]},
        )
        group["members"] = [name for (name,) in members]
    return groups


async def list_blocks(connection: Connection) -> list[dict[str, Any]]:
    """Every active memory block by owner and label."""
    return await _dicts(
        connection,
        """SELECT b.id, b.label, b.agent_id AS owner_id, coalesce(a.name, g.name) AS owner_name, b.block_type,
            b.permission, length(CAST(coalesce(b.content_preview, '') AS BLOB)) AS preview_bytes
            FROM memory_blocks b LEFT JOIN agents a ON a.id = b.agent_id LEFT JOIN agent_groups g ON g.id = b.agent_id
            WHERE b.is_active = 1 ORDER BY coalesce(a.name, g.name, b.agent_id), b.label, b.id""",
    )


async def list_tables(connection: Connection) -> list[dict[str, Any]]:
    """Every ordinary table by name, with its rows: what an export of the constellation carries, and no more."""
    counts = await count_rows(connection, {name: quoted(name) for name in sorted(await read_tables(connection))})
    return [{"name": name, "rows": count} for name, count in counts.items()]


async def _dicts(connection: Connection, sql: str) -> list[dict[str, Any]]:
    return await connection.run(_named_rows, sql)


def _named_rows(raw: sqlite3.Connection, sql: str) -> list[dict[str, Any]]:
    with closing(raw.execute(sql)) as cursor:
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]
