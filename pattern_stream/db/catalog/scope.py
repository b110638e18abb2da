"""Finding what a scope names."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

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
    connection = await Connection.of(connection)
    if scope.kind == "constellation" or scope.name is None:
        return ResolvedScope("constellation")
    kinds: tuple[ScopeKind, ...] = (scope.kind,) if scope.kind else ("group",) if scope.thin else ("agent", "group")
    for column in ("id", "name"):
        found = [hit for kind in kinds for hit in await _matches(connection, kind, column, scope.name)]
        if len(found) > 1:
            raise _ambiguous(scope.name, found)
        if found:
            kind, row_id, name = found[0]
            return ResolvedScope(kind, row_id, name, scope.thin)
    raise await _missing(connection, kinds, scope.name)


async def _matches(
    connection: Connection, kind: ScopeKind, column: str, value: str
) -> list[tuple[ScopeKind, str, str]]:
    sql = f"SELECT id, name FROM {_TABLES[kind]} WHERE {column} = ? ORDER BY id LIMIT 3"
    rows = await connection.execute(sql, (value,), table=_TABLES[kind])
    return [(kind, row_id, name) for row_id, name in rows]


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
        table = _TABLES[kind]
        rows = await connection.execute(f"SELECT name FROM {table} ORDER BY name LIMIT 1000", table=table)
        names += [str(found) for (found,) in rows]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:5]
    word = " or ".join(kinds)
    hint = f"there is {', '.join(repr(n) for n in near)}" if near else f"the database has no {word}"
    return NotInDatabase(
        f"no {word} has the id or name {name!r}",
        where=Where(table=_TABLES[kinds[0]] if len(kinds) == 1 else None),
        hint=f"{hint}; `pattern-stream list` shows all",
    )
