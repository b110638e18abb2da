"""A group that came alone: it names its members and says no more of them."""

from __future__ import annotations

import sqlite3
from typing import Any

from pattern_stream.errors import Finding, Report, Where
from pattern_stream.items import Open
from pattern_stream.schema.model.records import Group, Member

Row = tuple[Any, ...]


def thin_members(connection: sqlite3.Connection, event: Open, report: Report) -> list[Row]:
    """Those that are in the database become members without a role; each of the others is a warning."""
    group = dict(zip(Group.columns, event.record, strict=True))
    candidates = event.extra.get("member_candidates") or [(member,) for member in event.extra["member_agent_ids"]]
    found = []
    for ids in candidates:
        there = next((one for one in ids if _is_there(connection, one)), None)
        if there is None:
            where = Where(table="group_members", row_id=f"{group['id']} {ids[-1]}")
            report(Finding("warning", "member-left-out", "agent is not in the database: no member", where))
        else:
            found.append(there)
    cells = {"group_id": group["id"], "joined_at": group["created_at"], "role": None, "capabilities": "[]"}
    return [tuple((cells | {"agent_id": agent})[column] for column in Member.columns) for agent in dict.fromkeys(found)]


def _is_there(connection: sqlite3.Connection, agent_id: str) -> bool:
    return connection.execute("SELECT 1 FROM agents WHERE id = ?", (agent_id,)).fetchone() is not None
