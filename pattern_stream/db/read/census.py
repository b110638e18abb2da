"""Counting what an export of a scope will and will not carry, before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from pattern_stream.db.catalog.catalog import DERIVED, Table, count_rows
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.db.read.included_rows import Held
from pattern_stream.db.read.reading import open_reading
from pattern_stream.db.read.reread import left_out
from pattern_stream.db.read.row_order_sql import HISTORY, PARTLY_HELD, beyond, beyond_rowids
from pattern_stream.errors import PatternStreamError
from pattern_stream.schema.model.records import DECLARED, Message
from pattern_stream.schema.model.scopes import ResolvedScope, Selection

_OF_SCOPE: Final = {
    "agent": "= :id",
    "group": "IN (SELECT m.agent_id FROM group_members m WHERE m.group_id = :id)",
}
_NAMING: Final = ("agent_id", "assigned_to", "from_agent", "target_agent_id")
"""The columns by which rows of other tables name an agent."""


@dataclass(slots=True)
class Census:
    """Row counts of a scope. `carried`: rows by table that the archive will hold, but for memory documents' pieces.

    `beyond`: those of them that travel outside the part which version 3 has a place for. `not_carried`: rows by table
    that stay behind, empty tables left out. `derived`: rows that can be made again from the others.
    """

    carried: dict[str, int] = field(default_factory=dict)
    not_carried: dict[str, int] = field(default_factory=dict)
    derived: dict[str, int] = field(default_factory=dict)
    beyond: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All carried rows."""
        return sum(self.carried.values())


async def take_census(connection: Connection, scope: ResolvedScope, selection: Selection) -> Census:
    """Count the rows of a scope by table: what goes out and where, and what stays behind.

    # Rule: odd rows, which are only found while they are mapped, are counted as version 3 rows.
    """
    with_tables = selection.with_tables(scope)
    reading = await open_reading(connection, with_tables=with_tables)
    counts = _Counts(scope, selection, reading.catalog.tables, reading.held)
    held = await counts.take(connection, counts.of_version_3())
    further = await counts.take(connection, counts.further())
    lost = {} if with_tables else await counts.take(connection, counts.lost())
    derived = {}
    if scope.kind == "constellation" and f"{DERIVED}_rowids" in reading.catalog.internal:  # of a vec0 table
        derived = await counts.take(connection, {f"{DERIVED}_rowids": "1"})
    return Census(
        carried=held | {name: held.get(name, 0) + count for name, count in _present(further).items()},
        not_carried=_present(lost),
        derived={name.removesuffix("_rowids"): count for name, count in derived.items()},
        beyond=_present(further),
    )


async def has_messages(connection: Connection, scope: ResolvedScope, least: int) -> bool:
    """Whether there may be so many messages in a scope: a quick look, as far as an index has them."""
    owned = f" WHERE agent_id {_OF_SCOPE[scope.kind]}" if scope.kind in _OF_SCOPE else ""
    sql = f"SELECT 1 FROM messages{owned} LIMIT 1 OFFSET {least - 1}"
    try:
        async with aclosing(connection.rows(sql, {"id": scope.id}, table=Message.table)) as found:
            return [row async for batch in found for row in batch] != []
    except PatternStreamError:
        return False  # counting them will say more


def _present(counts: Mapping[str, int]) -> dict[str, int]:
    return {table: count for table, count in counts.items() if count}


@dataclass(frozen=True, slots=True)
class _Counts:
    """What to count, as a condition on rows `t` by table, or as a whole SELECT whose rows are counted."""

    scope: ResolvedScope
    selection: Selection
    tables: Mapping[str, Table]
    held: Held

    async def take(self, connection: Connection, conditions: Mapping[str, str]) -> dict[str, int]:
        """Rows by table."""
        sources = {
            name: f"({what})" if what.startswith("SELECT") else f"{quoted(name)} t WHERE {what}"
            for name, what in conditions.items()
        }
        return await count_rows(connection, sources, self.scope.id)

    def of_version_3(self) -> dict[str, str]:
        """The rows that the version 3 part holds."""
        if self.scope.thin:
            return {"agent_groups": "t.id = :id"}
        if self.scope.kind == "constellation":
            return {name: self.held.in_whole(name, "t") for name in DECLARED if name not in self._left_out()}
        owned, present = f"t.agent_id {_OF_SCOPE[self.scope.kind]}", f"t.agent_id IN ({self.held.agents})"
        counts = {
            "agents": f"t.id {_OF_SCOPE[self.scope.kind]}",
            "memory_blocks": self._held_block("t.id"),
            "archive_summaries": f"{owned} AND {present}",
            "messages": f"{owned} AND {self.held.living('t')} AND {present}",
            "archival_entries": f"{owned} AND {present}",
        }
        if self.scope.kind == "group":
            counts["agent_groups"] = "t.id = :id"
            counts["group_members"] = f"t.group_id = :id AND {present}"
            counts["shared_block_agents"] = f"{owned} AND {present} AND {self._held_block('t.block_id')}"
        return {name: what for name, what in counts.items() if name not in self._left_out()}

    def further(self) -> dict[str, str]:
        """The rows that travel outside it: history, and with tables everything else."""
        if self.selection.with_tables(self.scope):
            return {name: self._beyond(table) for name, table in self.tables.items() if name not in self._left_out()}
        if self.selection.with_history(self.scope):
            return {name: self._held_block("t.block_id") for name in HISTORY if name in self.tables}
        return {}

    def lost(self) -> dict[str, str]:
        """The rows of a scope that are left behind."""
        if self.scope.thin:
            return {"group_members": "t.group_id = :id"}
        if self.scope.kind == "constellation":
            return {
                name: self._left_behind(table) for name, table in self.tables.items() if name not in self._left_out()
            }
        return self._lost_of_version_3() | self._lost_history() | self._naming_agents()

    def _lost_of_version_3(self) -> dict[str, str]:
        owned, absent = f"t.agent_id {_OF_SCOPE[self.scope.kind]}", f"t.agent_id NOT IN ({self.held.agents})"
        lost = {
            "memory_blocks": f"{owned} AND NOT {self._held_block('t.id')}",
            "archive_summaries": f"{owned} AND {absent}",
            "messages": f"{owned} AND (NOT {self.held.living('t')} OR {absent})",
            "archival_entries": f"{owned} AND {absent}",
            "shared_block_agents": owned,
            "group_members": owned,
        }
        if self.scope.kind == "group":
            lost["shared_block_agents"] = f"{owned} AND NOT ({self._held_block('t.block_id')} AND NOT {absent})"
            lost["group_members"] = f"t.group_id = :id AND {absent}"
        return {name: what for name, what in lost.items() if name not in self._left_out()}

    def _lost_history(self) -> dict[str, str]:
        owners = _OF_SCOPE[self.scope.kind]
        of_scope = f"t.block_id IN (SELECT b.id FROM memory_blocks b WHERE b.agent_id {owners})"
        kept = f" AND NOT {self._held_block('t.block_id')}" if self.selection.with_history(self.scope) else ""
        return {name: of_scope + kept for name in HISTORY if name in self.tables}

    def _naming_agents(self) -> dict[str, str]:
        """Rows of the tables beyond version 3 that name an agent of the scope."""
        found = {}
        for name, table in self.tables.items():
            column = next((column for column in _NAMING if column in table.names), None)
            if column and name not in PARTLY_HELD:
                found[name] = f"t.{quoted(column)} {_OF_SCOPE[self.scope.kind]}"
        return found

    def _left_out(self) -> frozenset[str]:
        return left_out(self.selection)

    def _beyond(self, table: Table) -> str:
        """Rows outside the version 3 part of a constellation, history included."""
        return "1" if table.name in HISTORY else self._unheld(table)

    def _left_behind(self, table: Table) -> str:
        """The same for an archive without tables, which may have the history of its memory blocks."""
        return self._unheld(table) if self.selection.with_history(self.scope) else self._beyond(table)

    def _unheld(self, table: Table) -> str:
        if table.name not in PARTLY_HELD:
            return "1"
        return beyond(self.held, table) if table.rowid is None else beyond_rowids(self.held, table)

    def _held_block(self, block_id: str) -> str:
        """Whether the archive holds a memory block."""
        held = {
            "agent": "b.is_active = 1 AND b.agent_id = :id",
            "group": self.held.in_group,
            "constellation": self.held.in_constellation,
        }[self.scope.kind]
        return f"EXISTS (SELECT 1 FROM memory_blocks b WHERE b.id = {block_id} AND {held})"
