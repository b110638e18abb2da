"""Agents, groups and memory blocks of a database: finding the one that a scope names, and listing all for a person.

Names are for people here: text that is no UTF-8 is shown with its bytes escaped, so that one bad cell hides no others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pattern_stream.db.catalog.catalog import count_rows, read_catalog
from pattern_stream.db.connection.connection import Connection
from pattern_stream.errors import NameConflict, NotInDatabase, Where
from pattern_stream.schema.model.scopes import ResolvedScope, Scope, ScopeKind

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_TABLES: dict[ScopeKind, str] = {"agent": "agents", "group": "agent_groups"}


async def resolve_scope(connection: Connection | AsyncConnection, scope: Scope) -> ResolvedScope:
    """Find the agent or group that a scope names: an exact id wins over a name.

    Raises NotInDatabase (with the nearest names) or NameConflict (an agent and a group, or several of a kind).
    """
    if scope.kind == "constellation" or scope.name is None:
        return ResolvedScope("constellation")
    connection = await Connection.of(connection)
    kinds: tuple[ScopeKind, ...] = (scope.kind,) if scope.kind else ("group",) if scope.thin else ("agent", "group")
    for column in ("id", "name"):
        found: list[tuple[ScopeKind, str, str]] = []
        for kind in kinds:
            sql = f"SELECT id, name FROM {_TABLES[kind]} WHERE {column} = ? ORDER BY id LIMIT 3"
            rows = await connection.execute(sql, (scope.name,), table=_TABLES[kind], escaped=True)
            found += ((kind, row_id, name) for row_id, name in rows)
        if len(found) > 1:
            raise _ambiguous(scope.name, found)
        if found:
            kind, row_id, name = found[0]
            return ResolvedScope(kind, row_id, name, scope.thin)
    raise await _missing(connection, kinds, scope.name)


def _ambiguous(name: str, found: list[tuple[ScopeKind, str, str]]) -> NameConflict:
    listed = ", ".join(f"{kind} {row_id}" for kind, row_id, _ in found)
    if len({kind for kind, _, _ in found}) > 1:
        return NameConflict(
            f"{name!r} is an agent and a group, expected one of them: {listed}",
            hint="say which with --scope agent or --scope group",
        )
    return NameConflict(f"{name!r} is the name of several: {listed}", hint="give the id instead of the name")


async def _missing(connection: Connection, kinds: tuple[ScopeKind, ...], name: str) -> NotInDatabase:
    names: list[str] = []
    for kind in kinds:
        sql = f"SELECT name FROM {_TABLES[kind]} ORDER BY name LIMIT 1000"
        rows = await connection.execute(sql, table=_TABLES[kind], escaped=True)
        names += [str(found) for (found,) in rows]
    from difflib import get_close_matches  # slow to load, and only for this

    near = get_close_matches(name, names, n=3, cutoff=0.5) or names[:5]
    word = " or ".join(kinds)
    hint = f"there is {', '.join(repr(n) for n in near)}" if near else f"the database has no {word}"
    return NotInDatabase(
        f"no {word} has the id or name {name!r}",
        where=Where(table=_TABLES[kinds[0]] if len(kinds) == 1 else None),
        hint=f"{hint}; `pattern-stream list` shows all",
    )


async def list_agents(connection: Connection) -> list[dict[str, Any]]:
    """Every agent by name, with counts of its rows."""
    deleted = "m.is_deleted <> 0" if (await read_catalog(connection)).has("messages", "is_deleted") else "0"
    rows = await connection.execute(
        f"""SELECT a.id, a.name, a.status, a.model_provider || '/' || a.model_name,
            (SELECT count(*) FROM messages m WHERE m.agent_id = a.id AND NOT ({deleted})),
            (SELECT count(*) FROM messages m WHERE m.agent_id = a.id AND {deleted}),
            (SELECT count(*) FROM memory_blocks b WHERE b.agent_id = a.id AND b.is_active = 1),
            (SELECT count(*) FROM archival_entries e WHERE e.agent_id = a.id)
            FROM agents a ORDER BY a.name, a.id""",
        escaped=True,
    )
    names = ("id", "name", "status", "model", "messages", "deleted_messages", "memory_blocks", "archival_entries")
    return [dict(zip(names, row, strict=True)) for row in rows]


async def list_groups(connection: Connection) -> list[dict[str, Any]]:
    """Every group by name, with its members' names."""
    rows = await connection.execute(
        """SELECT g.id, g.name, g.pattern_type, m.agent_id IS NOT NULL, coalesce(a.name, m.agent_id)
            FROM agent_groups g LEFT JOIN group_members m ON m.group_id = g.id LEFT JOIN agents a ON a.id = m.agent_id
            ORDER BY g.name, g.id, 5""",
        escaped=True,
    )
    groups: dict[str, dict[str, Any]] = {}
    for group_id, name, pattern, is_member, member in rows:
        group = groups.setdefault(group_id, {"id": group_id, "name": name, "pattern_type": pattern, "members": []})
        if is_member:
            group["members"].append(member)
    return list(groups.values())


async def list_blocks(connection: Connection) -> list[dict[str, Any]]:
    """Every active memory block by owner and label."""
    rows = await connection.execute(
        """SELECT b.id, b.label, b.agent_id, coalesce(a.name, g.name), b.block_type, b.permission,
            length(CAST(coalesce(b.content_preview, '') AS BLOB))
            FROM memory_blocks b LEFT JOIN agents a ON a.id = b.agent_id LEFT JOIN agent_groups g ON g.id = b.agent_id
            WHERE b.is_active = 1 ORDER BY coalesce(a.name, g.name, b.agent_id), b.label, b.id""",
        escaped=True,
    )
    names = ("id", "label", "owner_id", "owner_name", "block_type", "permission", "preview_bytes")
    return [dict(zip(names, row, strict=True)) for row in rows]


async def list_tables(connection: Connection) -> list[dict[str, Any]]:
    """Every user table by name, with its rows: all that an export of the constellation carries."""
    tables = (await read_catalog(connection)).tables
    counts = await count_rows(connection, {name: tables[name].source("t") for name in sorted(tables)})
    return [{"name": name, "rows": count} for name, count in counts.items()]
