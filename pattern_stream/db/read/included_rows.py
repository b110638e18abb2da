"""Which rows the version 3 part of an archive holds, as conditions in SQL: for reading them, and for all others.

Subject of all conditions is a row by its alias; `:id` is the agent or group of the scope. Source: v3 6; v4 3.
"""

from __future__ import annotations

import sqlite3
from contextlib import aclosing
from typing import Final

from pattern_stream.db.catalog.catalog import Catalog
from pattern_stream.db.connection.connection import Connection
from pattern_stream.format import LARGE_CELL_BYTES

IS_TEXT = "pattern_stream_is_text"
"""SQL function that the reading connection carries: whether bytes are UTF-8."""

_PARENTS: Final = ("agents", "agent_groups", "memory_blocks")


class Held:
    """The conditions for one database. `apart`: tables of agents, groups and memory blocks in which some row has an id
    or document that no record can name; such rows, and what hangs on them, are beyond version 3.
    """

    def __init__(self, catalog: Catalog, apart: frozenset[str] = frozenset()) -> None:
        self._catalog = catalog
        self._apart = apart
        self.agents = self._ids("agents")
        self.groups = self._ids("agent_groups")
        self.members = f"""SELECT m.agent_id FROM group_members m JOIN agents a ON a.id = m.agent_id
            WHERE m.group_id = :id AND {self.sound("agents", "a")}"""
        self.grouped = f"""SELECT m.agent_id FROM group_members m JOIN agent_groups g ON g.id = m.group_id
            WHERE {self.sound("agent_groups", "g")}"""
        self.shared_into_group = f"""b.agent_id NOT IN ({self.members})
            AND b.id IN (SELECT s.block_id FROM shared_block_agents s WHERE s.agent_id IN ({self.members}))"""
        self.unowned = "b.is_active = 1 AND NOT EXISTS (SELECT 1 FROM agents o WHERE o.id = b.agent_id)"
        self.in_group = f"""({self.sound("memory_blocks", "b")} AND (({self.shared_into_group})
            OR (b.is_active = 1 AND (b.agent_id = :id OR b.agent_id IN ({self.members})))))"""
        self.in_constellation = f"({self.sound('memory_blocks', 'b')} AND (b.is_active = 1 OR {self._reached()}))"

    def sound(self, table: str, alias: str) -> str:
        """Whether a row of a table of parents can be named by a record: mostly there is no need to look."""
        return _soundness(self._catalog, table, alias) if table in self._apart else "1"

    def living(self, alias: str) -> str:
        """Whether a message is not deleted."""
        return f"{alias}.is_deleted = 0" if self._catalog.has("messages", "is_deleted") else "1"

    def attachment(self, alias: str, block_held: str) -> str:
        """Whether the memory block of an attachment is in the archive."""
        return f"EXISTS (SELECT 1 FROM memory_blocks b WHERE b.id = {alias}.block_id AND {block_held})"

    def in_whole(self, table: str, alias: str) -> str:
        """Whether the version 3 part of a whole constellation holds a row; `alias` is not b, g, m, o, or s."""
        owned = f"{alias}.agent_id IN ({self.agents})"
        return {
            "agents": self.sound("agents", alias),
            "agent_groups": self.sound("agent_groups", alias),
            "group_members": f"{owned} AND {alias}.group_id IN ({self.groups})",
            "memory_blocks": f"{alias}.id IN (SELECT b.id FROM memory_blocks b WHERE {self.in_constellation})",
            "shared_block_agents": f"{owned} AND {self.attachment(alias, self.in_constellation)}",
            "messages": f"{owned} AND {self.living(alias)}",
            "archival_entries": owned,
            "archive_summaries": owned,
            "memory_block_updates": self.attachment(alias, self.in_constellation),
            "memory_block_checkpoints": self.attachment(alias, self.in_constellation),
        }[table]

    def _ids(self, table: str) -> str:
        """# Trap: SQLite looks into the table's own index only where nothing but the id is asked for."""
        where = f" WHERE {self.sound(table, 'o')}" if table in self._apart else ""
        return f"SELECT o.id FROM {table} o{where}"

    def _reached(self) -> str:
        """An inactive block goes along only where a group reaches it. Source: v3 11 (E4)."""
        return f"""EXISTS (SELECT 1 FROM shared_block_agents s JOIN group_members m ON m.agent_id = s.agent_id
            JOIN agents a ON a.id = m.agent_id JOIN agent_groups g ON g.id = m.group_id
            WHERE s.block_id = b.id AND {self.sound("agents", "a")} AND {self.sound("agent_groups", "g")}
            AND b.agent_id NOT IN (SELECT n.agent_id FROM group_members n JOIN agents o ON o.id = n.agent_id
                WHERE n.group_id = m.group_id AND {self.sound("agents", "o")}))"""


def where(*conditions: str) -> str:
    """A WHERE of the conditions that say anything; nothing where none does."""
    said = [condition for condition in conditions if condition != "1"]
    return f"WHERE {' AND '.join(said)}" if said else ""


async def read_held(connection: Connection, catalog: Catalog, *, with_tables: bool) -> Held:
    """The conditions for a database, which is asked for odd ids only where odd rows have somewhere to go."""
    await connection.run(_carry_function)
    if not with_tables:
        return Held(catalog)
    found = [table for table in _PARENTS if await _has_odd(connection, catalog, table)]
    return Held(catalog, frozenset(found))


async def _has_odd(connection: Connection, catalog: Catalog, table: str) -> bool:
    sql = f"SELECT 1 FROM {table} t WHERE NOT {_soundness(catalog, table, 't')} LIMIT 1"
    async with aclosing(connection.rows(sql, table=table)) as found:
        async for batch in found:
            return bool(batch)
    return False


def _soundness(catalog: Catalog, table: str, alias: str) -> str:
    if table != "memory_blocks":
        return _is_id(f"{alias}.id")
    kinds = f"typeof({alias}.loro_snapshot) = 'blob'"
    if catalog.has(table, "frontier"):
        kinds += f" AND typeof({alias}.frontier) IN ('blob', 'null')"
    return f"({kinds} AND {_is_id(f'{alias}.id')} AND {_is_id(f'{alias}.agent_id')})"


def _is_id(cell: str) -> str:
    raw = f"CAST({cell} AS BLOB)"
    return f"(typeof({cell}) = 'text' AND length({raw}) <= {LARGE_CELL_BYTES} AND {IS_TEXT}({raw}))"


def _carry_function(connection: sqlite3.Connection) -> None:
    connection.create_function(IS_TEXT, 1, _is_utf8, deterministic=True)


def _is_utf8(raw: object) -> bool:
    try:
        return isinstance(raw, bytes) and raw.decode() is not None
    except UnicodeDecodeError:
        return False
