"""Counting what an export of a scope will and will not carry, before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from pattern_stream.db.catalog.catalog import Table, count_rows
from pattern_stream.db.catalog.sequences import SEQUENCES, marks_above_rows
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.db.ddl.fulltext import FULL_TEXT
from pattern_stream.db.read.extension import left_out
from pattern_stream.db.read.fetch import Reading
from pattern_stream.db.read.row_selection import HISTORY, PARTLY_INCLUDED, IncludedRows, where
from pattern_stream.errors import PatternStreamError
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.id_columns import AGENT_COLUMNS, AGENT_LISTS
from pattern_stream.schema.model.records import DECLARED, Record
from pattern_stream.schema.model.scopes import ResolvedScope, Selection

_OF_SCOPE: Final = {
    "agent": "= :id",
    "group": "IN (SELECT m.agent_id FROM group_members m WHERE m.group_id = :id)",
}


_INDEXES: Final = frozenset(index.name for index in FULL_TEXT)


@dataclass(slots=True)
class Census:
    """Row counts of a scope. `carried`: rows by table that the archive will hold, but for memory documents' pieces.

    `beyond`: those of them outside the version 3 part. `not_carried`: rows by table that stay behind, empty tables left
    out. `unreadable`: tables of which no row can be read or counted, with the collation that only another program has.
    `derived`: rows that can be made again from the others, but for the full-text indexes of the schema, which
    every import makes. `unwanted`: those that are not carried as an option leaves them out.
    """

    carried: dict[str, int] = field(default_factory=dict)
    not_carried: dict[str, int] = field(default_factory=dict)
    derived: dict[str, int] = field(default_factory=dict)
    beyond: dict[str, int] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    unwanted: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All carried rows."""
        return sum(self.carried.values())


async def take_census(connection: Connection, scope: ResolvedScope, selection: Selection) -> Census:
    """Count the rows of a scope by table: all of them, those in the version 3 part, and those of memory history.

    The rest of the scope is in the extension tables, or stays behind where an archive has none.
    # Rule: lossy rows, which are only found while they are mapped, are counted as version 3 rows.
    """
    with_tables = selection.with_tables(scope)
    reading = await Reading.of(connection, with_tables=with_tables)
    conditions = _Conditions(scope, reading.catalog.tables, reading.included)

    tables = reading.catalog.tables

    async def count(conditions: Mapping[str, str], unwanted: bool = False) -> dict[str, int]:
        without = left_out(selection)
        wanted = {name: condition for name, condition in conditions.items() if unwanted is (name in without)}
        sources = {name: f"{tables[name].source('t')} {where(condition)}" for name, condition in wanted.items()}
        return await count_rows(connection, sources, scope.id)

    all_rows, version_3 = await count(conditions.scope()), await count(conditions.version_3())
    if scope.kind == "constellation":
        without = left_out(selection)
        all_rows[SEQUENCES] = len(await connection.run(lambda raw: marks_above_rows(raw, tables, without)))
    if with_tables:
        beyond = _rest(all_rows, version_3)
    else:
        beyond = await count(conditions.history()) if selection.with_history(scope) else {}
    carried = version_3 | {name: version_3.get(name, 0) + rows for name, rows in beyond.items() if rows}
    everything = conditions.scope()
    unwanted = await count({name: everything[name] for name in left_out(selection) if name in everything}, True)
    unwanted = {name: rows for name, rows in unwanted.items() if rows}
    not_carried, derived = _rest(all_rows, carried) | unwanted, dict[str, int]()
    if scope.kind == "constellation":
        virtual = [table for table in reading.catalog.virtual if not (table.derived and table.name in _INDEXES)]
        counts = await count_rows(connection, {table.name: quoted(table.counted) for table in virtual})
        not_carried |= {table.name: counts[table.name] for table in virtual if counts[table.name] and not table.derived}
        derived = {table.name: counts[table.name] for table in virtual if counts[table.name] and table.derived}
    beyond = {name: rows for name, rows in beyond.items() if rows}
    unreadable = reading.catalog.unreadable if scope.kind == "constellation" else {}
    return Census(carried, not_carried, derived, beyond, unreadable, unwanted)


def _rest(rows: Mapping[str, int], less: Mapping[str, int]) -> dict[str, int]:
    """Rows by table less others, without the tables of which none are left."""
    return {name: rest for name, count in rows.items() if (rest := count - less.get(name, 0))}


def _names_in_list(column: str, owners: str) -> str:
    """Whether a JSON array of `t` has one of the owners in it; anything else there has none."""
    is_array = f"typeof(t.{column}) = 'text' AND json_valid(t.{column}) AND json_type(t.{column}) = 'array'"
    array = f"CASE WHEN {is_array} THEN t.{column} ELSE '[]' END"
    return f"EXISTS (SELECT 1 FROM json_each({array}) e WHERE e.value {owners})"


async def has_rows(connection: Connection, record: type[Record], scope: ResolvedScope, least: int = 1) -> bool:
    """Whether there may be so many messages or memory blocks in a scope: a quick look, as far as an index has them."""
    owned = f" WHERE agent_id {_OF_SCOPE[scope.kind]}" if scope.kind in _OF_SCOPE else ""
    sql = f"SELECT 1 FROM {record.table}{owned} LIMIT 1 OFFSET {least - 1}"
    try:
        return bool(await connection.execute(sql, {"id": scope.id}, table=record.table))
    except PatternStreamError:
        return False  # counting them will say more


@dataclass(frozen=True, slots=True)
class _Conditions:
    """Conditions on rows `t` by table."""

    of: ResolvedScope
    tables: Mapping[str, Table]
    included: IncludedRows

    def scope(self) -> dict[str, str]:
        """All rows of a scope: of an agent or group those that it owns, and those of other tables that name its agents.

        Rows that the version 3 part includes are among them, so a group has the memory blocks shared into it.
        """
        if self.of.thin:
            return {"agent_groups": "t.id = :id", "group_members": "t.group_id = :id"}
        if self.of.kind == "constellation":
            return dict.fromkeys(self.tables, "1")
        owners = _OF_SCOPE[self.of.kind]
        owned = f"t.agent_id {owners}"
        found = dict.fromkeys(self.version_3(), owned)
        found |= {"shared_block_agents": owned, "group_members": owned, "agents": f"t.id {owners}"}
        blocks = f"(SELECT b.id FROM memory_blocks b WHERE b.agent_id {owners} OR {self._block})"
        found["memory_blocks"] = f"t.id IN {blocks}"
        if self.of.kind == "group":
            found |= {"agent_groups": "t.id = :id", "group_members": "t.group_id = :id"}
        for name, table in self.tables.items():
            naming = [f"t.{quoted(column)} {owners}" for column in table.names if column in AGENT_COLUMNS]
            naming += [
                _names_in_list(quoted(column), owners) for column in AGENT_LISTS.get(name, ()) if column in table.names
            ]
            if name in HISTORY:
                found[name] = f"t.block_id IN {blocks}"
            elif naming and name not in PARTLY_INCLUDED:
                found[name] = f"({' OR '.join(naming)})"
        return found

    def version_3(self) -> dict[str, str]:
        """The rows of the version 3 part."""
        included = self.included
        if self.of.thin:
            return {"agent_groups": "t.id = :id"}
        if self.of.kind == "constellation":
            return {name: included.in_whole(name, "t") for name in DECLARED}
        owners = _OF_SCOPE[self.of.kind]
        owned = f"t.agent_id {owners} AND t.agent_id IN ({included.agents})"
        found = {
            "agents": f"t.id {owners}",
            "memory_blocks": f"t.id IN (SELECT b.id FROM memory_blocks b WHERE {self._block})",
            "archive_summaries": owned,
            "messages": f"{owned} AND {included.not_deleted('t')}",
            "archival_entries": owned,
        }
        if self.of.kind == "group":
            found["agent_groups"] = "t.id = :id"
            found["group_members"] = f"t.group_id = :id AND t.agent_id IN ({included.agents})"
            found["shared_block_agents"] = f"{owned} AND {included.attachment('t', self._block)}"
        return found

    def history(self) -> dict[str, str]:
        """The rows of memory history of the memory blocks that the version 3 part includes."""
        return {name: self.included.attachment("t", self._block) for name in HISTORY if name in self.tables}

    @property
    def _block(self) -> str:
        """Whether the version 3 part includes a memory block `b`."""
        return {
            "agent": "b.is_active = 1 AND b.agent_id = :id",
            "group": self.included.in_group,
            "constellation": self.included.in_constellation,
        }[self.of.kind]
