"""Which rows go into which part of an archive, as conditions in SQL, and the order of rows of any table.

The version 3 part includes some rows; the extension tables of a whole constellation hold all others. Subject of all
conditions is a row by its alias; `:id` is the agent or group of the scope. Source: docs/format.md#rows-and-order.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from pattern_stream.db.catalog.catalog import Catalog, Table
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.format import LARGE_CELL_BYTES
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.records import DECLARED, ArchivalEntry, ArchiveSummary, MemoryUpdate, Message

IS_TEXT = "pattern_stream_is_text"
"""SQL function that the reading connection carries: whether bytes are UTF-8."""

_PARENTS: Final = ("agents", "agent_groups", "memory_blocks")


class IncludedRows:
    """The rows of the version 3 part, for one database.

    `unsound`: those tables of agents, groups and memory blocks in which some row has an id or document that no record
    can hold. Such rows, and the rows that belong to them, are extension rows.
    """

    def __init__(self, catalog: Catalog, unsound: frozenset[str] = frozenset()) -> None:
        self._catalog = catalog
        self._unsound = unsound
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
        """Whether a record can hold the id of an agent, group or memory block: true of all rows of most tables."""
        return _soundness(self._catalog, table, alias) if table in self._unsound else "1"

    def not_deleted(self, alias: str) -> str:
        """Whether a message is not deleted."""
        return f"{alias}.is_deleted = 0" if self._catalog.has("messages", "is_deleted") else "1"

    def attachment(self, alias: str, block_included: str) -> str:
        """Whether the memory block of an attachment is in the archive."""
        return f"EXISTS (SELECT 1 FROM memory_blocks b WHERE b.id = {alias}.block_id AND {block_included})"

    def in_whole(self, table: str, alias: str) -> str:
        """Whether the version 3 part of a whole constellation holds a row; `alias` is not b, g, m, o, or s."""
        owned = f"{alias}.agent_id IN ({self.agents})"
        return {
            "agents": self.sound("agents", alias),
            "agent_groups": self.sound("agent_groups", alias),
            "group_members": f"{owned} AND {alias}.group_id IN ({self.groups})",
            "memory_blocks": f"{alias}.id IN (SELECT b.id FROM memory_blocks b WHERE {self.in_constellation})",
            "shared_block_agents": f"{owned} AND {self.attachment(alias, self.in_constellation)}",
            "messages": f"{owned} AND {self.not_deleted(alias)}",
            "archival_entries": owned,
            "archive_summaries": owned,
            "memory_block_updates": self.attachment(alias, self.in_constellation),
            "memory_block_checkpoints": self.attachment(alias, self.in_constellation),
        }[table]

    def _ids(self, table: str) -> str:
        """# Trap: SQLite looks into the table's own index only where nothing but the id is asked for."""
        where = f" WHERE {self.sound(table, 'o')}" if table in self._unsound else ""
        return f"SELECT o.id FROM {table} o{where}"

    def _reached(self) -> str:
        """Whether an inactive block is shared into a group, which includes it.
        Source: docs/format.md#flaws-of-pattern."""
        return f"""EXISTS (SELECT 1 FROM shared_block_agents s JOIN group_members m ON m.agent_id = s.agent_id
            JOIN agents a ON a.id = m.agent_id JOIN agent_groups g ON g.id = m.group_id
            WHERE s.block_id = b.id AND {self.sound("agents", "a")} AND {self.sound("agent_groups", "g")}
            AND b.agent_id NOT IN (SELECT n.agent_id FROM group_members n JOIN agents o ON o.id = n.agent_id
                WHERE n.group_id = m.group_id AND {self.sound("agents", "o")}))"""


def where(*conditions: str) -> str:
    """A WHERE of the conditions other than `1`; nothing where there are none."""
    said = [condition for condition in conditions if condition != "1"]
    return f"WHERE {' AND '.join(said)}" if said else ""


async def read_included(connection: Connection, catalog: Catalog, *, with_tables: bool) -> IncludedRows:
    """The conditions for a database. It is searched for unsound rows only where extension tables can take them."""
    await connection.run(_carry_function)
    unsound = set()
    for table in _PARENTS if with_tables else ():
        sql = f"SELECT 1 FROM {table} t WHERE NOT {_soundness(catalog, table, 't')} LIMIT 1"
        if await connection.execute(sql, table=table):
            unsound.add(table)
    return IncludedRows(catalog, frozenset(unsound))


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


HISTORY: Final = tuple(HISTORY_COLUMNS)
"""The tables of memory history."""

_OWNED: Final = {record.table: record.owner for record in (Message, ArchivalEntry, ArchiveSummary)} | dict.fromkeys(
    HISTORY, MemoryUpdate.owner
)
"""The columns that name the agent or memory block of a row."""

PARTLY_INCLUDED: Final = frozenset({*DECLARED, *HISTORY})
"""Tables of which the version 3 part, or the history in it, includes some rows."""


def is_extension(included: IncludedRows, table: Table) -> str:
    """Whether the version 3 part of a constellation lacks a row `t` of a table of PARTLY_INCLUDED."""
    return f"(({included.in_whole(table.name, 't')}) IS NOT TRUE)"


def extension_rowids(included: IncludedRows, table: Table) -> str:
    """A SELECT of the rowids, as `r`, of the same rows.

    Of large tables it does not look at each row: an index tells the owners, and each owner all its rows; deleted
    messages stand together in theirs.
    """
    owner = _OWNED.get(table.name)
    if owner is None or owner not in table.leading:
        condition = is_extension(included, table)
        return f"SELECT t.{quoted(table.rowid or '')} AS r FROM {table.source('t')} WHERE {condition}"
    parts = [_of_absent_owners(included, table, owner)]
    if table.name == "messages" and included.not_deleted("m") != "1":
        parts += [_deleted(included, table, test) for test in ("> 0", "< 0", "IS NULL")]  # all but 0
    return " UNION ALL ".join(parts)


def _of_absent_owners(included: IncludedRows, table: Table, owner: str) -> str:
    """# Trap: DISTINCT would go through the whole index; this takes one step in it for each owner."""
    name, rowid = quoted(table.name), quoted(table.rowid or "")
    here = f"owners.v IN ({included.agents})"
    if owner == "block_id":
        here = f"EXISTS (SELECT 1 FROM memory_blocks b WHERE b.id = owners.v AND {included.in_constellation})"
    return f"""SELECT r FROM (WITH RECURSIVE owners(v) AS (SELECT min(x.{owner}) FROM {name} x UNION ALL
        SELECT (SELECT min(x.{owner}) FROM {name} x WHERE x.{owner} > owners.v) FROM owners WHERE owners.v IS NOT NULL)
        SELECT m.{rowid} AS r FROM owners CROSS JOIN {name} m ON m.{owner} = owners.v
        WHERE owners.v IS NOT NULL AND NOT {here}
        UNION ALL SELECT m.{rowid} FROM {name} m WHERE m.{owner} IS NULL)"""


def _deleted(included: IncludedRows, table: Table, test: str) -> str:
    agents = where(included.sound("agents", "a"))
    return f"""SELECT r FROM (SELECT m.{quoted(table.rowid or "")} AS r FROM agents a
        CROSS JOIN messages m ON m.agent_id = a.id AND m.is_deleted {test} {agents})"""


def in_order(table: Table, *, condition: str = "1", rowids: str | None = None) -> str:
    """The SQL after FROM for rows `t` of a table in order: those of a condition, or of a SELECT of rowids `r`.

    Rowids and keys alone are sorted, as sorting whole rows would take them through a temporary file.

    Order: by primary key, or rowid where there is none. Where rows refer to others of the table by an indexed column:
    by depth below a row that refers to none of those picked, then by key; rows on a cycle last.
    """
    rowid = quoted(table.rowid or "")
    if rowids is None and (table.rowid is None or _is_in_order(table)):
        return f"{table.source('t')} {_depths(table, None, 't')} {where(condition)} ORDER BY {_sorted(table, 't')}"
    if rowids is None and condition != "1":
        rowids = f"SELECT t.{rowid} AS r FROM {table.source('t')} WHERE {condition}"
    listed = table.source("o")
    picked = listed if rowids is None else f"({rowids}) k CROSS JOIN {listed} ON o.{rowid} = k.r"
    # a LIMIT keeps SQLite from leaving out the order of a part of a join
    return f"""(SELECT o.{rowid} AS r FROM {picked} {_depths(table, rowids, "o")}
        ORDER BY {_sorted(table, "o")} LIMIT -1) ordered CROSS JOIN {table.source("t")} ON t.{rowid} = ordered.r"""


def _is_in_order(table: Table) -> bool:
    """Whether the table is stored in the order of its key."""
    types = [column.type.upper() for column in table.columns if column.name in table.key]
    return table.parent is None and (not table.key or types == ["INTEGER"])


def _sorted(table: Table, alias: str) -> str:
    depth = ["d.depth IS NULL", "d.depth"] if table.parent else []
    return ", ".join([*depth, *table.order(alias)]) or f"{alias}.{quoted(table.names[0])}"


def _depths(table: Table, rowids: str | None, alias: str) -> str:
    """A join with the depth `d` of each row, for tables that refer to themselves."""
    if table.parent is None:
        return ""
    name, key, parent = quoted(table.name), quoted(table.key[0]), quoted(table.parent)
    among = "" if rowids is None else f" AND {{alias}}.{quoted(table.rowid or '')} IN ({rowids})"
    return f"""LEFT JOIN (WITH RECURSIVE tree(k, depth) AS (
        SELECT f.{key}, 0 FROM {name} f WHERE NOT EXISTS (
            SELECT 1 FROM {name} p WHERE p.{key} = f.{parent}{among.format(alias="p")}){among.format(alias="f")}
        UNION ALL SELECT n.{key}, tree.depth + 1
        FROM tree CROSS JOIN {name} n ON n.{parent} = tree.k{among.format(alias="n")})
        SELECT k, depth FROM tree) d ON d.k = {alias}.{key}"""
