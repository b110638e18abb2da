"""Finding what a scope names, and counting what an export of it will and will not carry."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from pattern_stream.db.columns import Columns, read_columns
from pattern_stream.db.failures import translated
from pattern_stream.db.source import IN_CONSTELLATION, IN_GROUP
from pattern_stream.errors import NameConflict, NotInDatabase, Where
from pattern_stream.schema.scopes import ResolvedScope, Scope, ScopeKind, Selection

_TABLES: dict[ScopeKind, str] = {"agent": "agents", "group": "agent_groups"}
_DERIVED = ("embeddings",)
_INTERNAL = ("sqlite_", "_sqlx_", "messages_fts", "memory_blocks_fts", "archival_fts", "embeddings")
_CARRIED = frozenset(
    {
        "agents",
        "agent_groups",
        "group_members",
        "memory_blocks",
        "shared_block_agents",
        "archival_entries",
        "messages",
        "archive_summaries",
    }
)
_PRESENT = "t.agent_id IN (SELECT id FROM agents)"
"""Whether the agent that a row names is there: rows of agents that have gone are in no scope."""

_OF_SCOPE = {
    "agent": "= :id",
    "group": "IN (SELECT m.agent_id FROM group_members m WHERE m.group_id = :id)",
}


@dataclass(slots=True)
class Census:
    """Row counts of a scope. `carried`: rows by table that the archive will hold, but for memory documents' pieces.

    `not_carried`: rows by table that format version 3 has no place for, empty tables left out. `derived`: rows that can
    be made again from the others.
    """

    carried: dict[str, int] = field(default_factory=dict)
    not_carried: dict[str, int] = field(default_factory=dict)
    derived: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All carried rows."""
        return sum(self.carried.values())


async def resolve_scope(connection: AsyncConnection, scope: Scope) -> ResolvedScope:
    """Find the agent or group that a scope names: an exact id wins over a name.

    Raises NotInDatabase (with the nearest names) or NameConflict (an agent and a group, or several of a kind).
    """
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
    connection: AsyncConnection, kind: ScopeKind, column: str, value: str
) -> list[tuple[ScopeKind, str, str]]:
    query = text(f"SELECT id, name FROM {_TABLES[kind]} WHERE {column} = :value ORDER BY id LIMIT 3")
    rows = await connection.execute(query, {"value": value})
    return [(kind, row_id, name) for row_id, name in rows.all()]


def _ambiguous(name: str, found: list[tuple[ScopeKind, str, str]]) -> NameConflict:
    listed = ", ".join(f"{kind} {row_id}" for kind, row_id, _ in found)
    if len({kind for kind, _, _ in found}) > 1:
        return NameConflict(
            f"{name!r} is an agent and a group, expected one of them: {listed}",
            hint="say which with --scope agent or --scope group",
        )
    return NameConflict(f"{name!r} is the name of several: {listed}", hint="give the id instead of the name")


async def _missing(connection: AsyncConnection, kinds: tuple[ScopeKind, ...], name: str) -> NotInDatabase:
    names: list[str] = []
    for kind in kinds:
        rows = await connection.execute(text(f"SELECT name FROM {_TABLES[kind]} ORDER BY name LIMIT 1000"))
        names += [str(found) for (found,) in rows.all()]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:5]
    word = " or ".join(kinds)
    hint = f"there is {', '.join(repr(n) for n in near)}" if near else f"the database has no {word}"
    table = _TABLES[kinds[0]] if len(kinds) == 1 else None
    return NotInDatabase(
        f"no {word} has the id or name {name!r}",
        where=Where(table=table),
        hint=f"{hint}; `pattern-stream list` shows all",
    )


async def take_census(connection: AsyncConnection, scope: ResolvedScope, selection: Selection) -> Census:
    """Count the rows of a scope by table: what goes out, and what version 3 has no place for."""
    columns = await read_columns(connection)
    lost = await _counts(connection, _lost_conditions(columns, scope, selection), scope)
    shadows = {f"{table}_rowids": "1" for table in _DERIVED if columns.has(f"{table}_rowids")}  # of a vec0 table
    derived = await _counts(connection, shadows if scope.kind == "constellation" else {}, scope)
    return Census(
        carried=await _counts(connection, _carried_counts(columns, scope, selection), scope),
        not_carried={table: count for table, count in lost.items() if count},
        derived={table.removesuffix("_rowids"): count for table, count in derived.items()},
    )


async def _counts(connection: AsyncConnection, conditions: Mapping[str, str], scope: ResolvedScope) -> dict[str, int]:
    """Rows by table that meet the table's condition, all in one statement."""
    if not conditions:
        return {}
    parts = [
        f"SELECT {number}, count(*) FROM {quoted(table)} t WHERE {where}"
        for number, (table, where) in enumerate(conditions.items())
    ]
    with translated():
        rows = await connection.exec_driver_sql(" UNION ALL ".join(parts), {"id": scope.id})
        found: Sequence[Any] = rows.all()
        counts = {int(row[0]): int(row[1]) for row in found}
    return {table: counts[number] for number, table in enumerate(conditions)}


def quoted(name: str) -> str:
    """A table's name inside SQL, whatever is in it: databases may hold tables that this program does not know."""
    return '"' + name.replace('"', '""') + '"'


def _carried_counts(columns: Columns, scope: ResolvedScope, selection: Selection) -> dict[str, str]:
    if scope.thin:
        return {"agent_groups": "t.id = :id"}
    owned, everything = _owned(scope), scope.kind == "constellation"
    living = "t.is_deleted = 0" if columns.has("messages", "is_deleted") else "1"
    counts = {
        "agents": "1" if everything else f"t.id {_OF_SCOPE[scope.kind]}",
        "memory_blocks": f"t.id IN (SELECT b.id FROM memory_blocks b WHERE {_held(scope)})",
        "archive_summaries": f"{owned} AND {_PRESENT}",
    }
    if selection.messages:
        counts["messages"] = f"{owned} AND {living} AND {_PRESENT}"
    if selection.archival:
        counts["archival_entries"] = f"{owned} AND {_PRESENT}"
    if scope.kind != "agent":
        counts["agent_groups"] = "1" if everything else "t.id = :id"
        counts["group_members"] = _PRESENT if everything else f"t.group_id = :id AND {_PRESENT}"
        members = "1" if everything else f"t.agent_id {_OF_SCOPE['group']}"
        counts["shared_block_agents"] = f"{members} AND {_PRESENT} AND {_block_held(scope)}"
    return counts


def _held(scope: ResolvedScope) -> str:
    """The condition on block `b` that an archive of the scope holds it."""
    if scope.kind == "agent":
        return "b.is_active = 1 AND b.agent_id = :id"
    return IN_CONSTELLATION if scope.kind == "constellation" else IN_GROUP


def _block_held(scope: ResolvedScope) -> str:
    return f"EXISTS (SELECT 1 FROM memory_blocks b WHERE b.id = t.block_id AND {_held(scope)})"


def _owned(scope: ResolvedScope) -> str:
    return "1" if scope.kind == "constellation" else f"t.agent_id {_OF_SCOPE[scope.kind]}"


def _lost_conditions(columns: Columns, scope: ResolvedScope, selection: Selection) -> dict[str, str]:
    """By table, the condition that picks the rows of a scope that are left behind."""
    if scope.thin:
        return {"group_members": "t.group_id = :id"}
    lost = _lost_rows(columns, scope, selection)
    if scope.kind == "constellation":
        others = [name for name in columns.tables if name not in _CARRIED and not name.startswith(_INTERNAL)]
        return lost | dict.fromkeys(others, "1")
    owners = _OF_SCOPE[scope.kind]
    for table in ("memory_block_updates", "memory_block_checkpoints"):
        if columns.has(table):
            lost[table] = f"t.block_id IN (SELECT b.id FROM memory_blocks b WHERE b.agent_id {owners})"
    return lost | _agents_other_rows(columns, scope)


def _lost_rows(columns: Columns, scope: ResolvedScope, selection: Selection) -> dict[str, str]:
    """Of the tables that version 3 carries, the rows that it does not."""
    owned, everything = _owned(scope), scope.kind == "constellation"
    absent = f"NOT ({_PRESENT})"
    lost = {
        "memory_blocks": f"{owned} AND t.id NOT IN (SELECT b.id FROM memory_blocks b WHERE {_held(scope)})",
        "archive_summaries": f"{owned} AND {absent}",
    }
    if selection.messages:
        deleted = "t.is_deleted <> 0" if columns.has("messages", "is_deleted") else "0"
        lost["messages"] = f"{owned} AND ({deleted} OR {absent})"
    if selection.archival:
        lost["archival_entries"] = f"{owned} AND {absent}"
    if scope.kind == "agent":
        return lost | {"shared_block_agents": "t.agent_id = :id", "group_members": "t.agent_id = :id"}
    members = "1" if everything else f"t.agent_id {_OF_SCOPE['group']}"
    lost["shared_block_agents"] = f"{members} AND NOT ({_PRESENT} AND {_block_held(scope)})"
    lost["group_members"] = absent if everything else f"t.group_id = :id AND {absent}"
    return lost


def _agents_other_rows(columns: Columns, scope: ResolvedScope) -> dict[str, str]:
    """Rows of the tables beyond version 3 that name an agent of the scope."""
    naming = ("agent_id", "assigned_to", "from_agent", "target_agent_id")
    found = {}
    for table, names in columns.tables.items():
        column = next((name for name in naming if name in names), None)
        if column and table not in _CARRIED and not table.startswith(_INTERNAL):
            found[table] = f't."{column}" {_OF_SCOPE[scope.kind]}'
    return found
