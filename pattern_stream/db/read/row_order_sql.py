"""SQL that picks rows of any table cheaply, and puts them in the order of their keys, parents before children.

What is sorted is rowids and keys only: sorting whole rows would take them through a temporary file.
"""

from __future__ import annotations

from typing import Final

from pattern_stream.db.catalog.catalog import Table
from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.db.read.included_rows import Held, where
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.records import DECLARED, ArchivalEntry, ArchiveSummary, MemoryUpdate, Message

HISTORY: Final = tuple(HISTORY_COLUMNS)
"""The tables of memory history."""

_OWNED: Final = {record.table: record.owner for record in (Message, ArchivalEntry, ArchiveSummary)} | dict.fromkeys(
    HISTORY, MemoryUpdate.owner
)
"""The columns by which rows hang on an agent or memory block."""

PARTLY_HELD: Final = frozenset({*DECLARED, *HISTORY})
"""Tables of which the version 3 part, or the history in it, holds some rows."""


def beyond(held: Held, table: Table) -> str:
    """Whether the version 3 part of a constellation lacks a row `t` of a table of PARTLY_HELD."""
    return f"(({held.in_whole(table.name, 't')}) IS NOT TRUE)"


def beyond_rowids(held: Held, table: Table) -> str:
    """A SELECT of the rowids, as `r`, of the same rows.

    Of large tables it does not look at each row: an index tells the owners, and each owner all its rows; deleted
    messages stand together in theirs.
    """
    owner = _OWNED.get(table.name)
    if owner is None or owner not in table.leading:
        return f"SELECT t.{quoted(table.rowid or '')} AS r FROM {quoted(table.name)} t WHERE {beyond(held, table)}"
    parts = [_of_absent_owners(held, table, owner)]
    if table.name == "messages" and held.living("m") != "1":
        parts += [_deleted(held, table, test) for test in ("> 0", "< 0", "IS NULL")]  # all but 0
    return " UNION ALL ".join(parts)


def _of_absent_owners(held: Held, table: Table, owner: str) -> str:
    """# Trap: DISTINCT would go through the whole index; this takes one step in it for each owner."""
    name, rowid = quoted(table.name), quoted(table.rowid or "")
    here = f"owners.v IN ({held.agents})"
    if owner == "block_id":
        here = f"EXISTS (SELECT 1 FROM memory_blocks b WHERE b.id = owners.v AND {held.in_constellation})"
    return f"""SELECT r FROM (WITH RECURSIVE owners(v) AS (SELECT min(x.{owner}) FROM {name} x UNION ALL
        SELECT (SELECT min(x.{owner}) FROM {name} x WHERE x.{owner} > owners.v) FROM owners WHERE owners.v IS NOT NULL)
        SELECT m.{rowid} AS r FROM owners CROSS JOIN {name} m ON m.{owner} = owners.v
        WHERE owners.v IS NOT NULL AND NOT {here}
        UNION ALL SELECT m.{rowid} FROM {name} m WHERE m.{owner} IS NULL)"""


def _deleted(held: Held, table: Table, test: str) -> str:
    agents = where(held.sound("agents", "a"))
    return f"""SELECT r FROM (SELECT m.{quoted(table.rowid or "")} AS r FROM agents a
        CROSS JOIN messages m ON m.agent_id = a.id AND m.is_deleted {test} {agents})"""


def in_order(table: Table, *, condition: str = "1", rowids: str | None = None) -> str:
    """What comes after FROM for rows `t` of a table in order: those of a condition, or of a SELECT of rowids `r`.

    Order: by primary key, or rowid where there is none. Where rows refer to others of the table by an indexed column:
    by depth below a row that refers to none of those picked, then by key; rows on a cycle last.
    """
    name, rowid = quoted(table.name), quoted(table.rowid or "")
    if rowids is None and (table.rowid is None or _is_in_order(table)):
        return f"{name} t {_depths(table, None, 't')} {where(condition)} ORDER BY {_sorted(table, 't')}"
    if rowids is None and condition != "1":
        rowids = f"SELECT t.{rowid} AS r FROM {name} t WHERE {condition}"
    picked = f"{name} o" if rowids is None else f"({rowids}) k CROSS JOIN {name} o ON o.{rowid} = k.r"
    # a LIMIT keeps SQLite from leaving out the order of a part of a join
    return f"""(SELECT o.{rowid} AS r FROM {picked} {_depths(table, rowids, "o")}
        ORDER BY {_sorted(table, "o")} LIMIT -1) ordered CROSS JOIN {name} t ON t.{rowid} = ordered.r"""


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
