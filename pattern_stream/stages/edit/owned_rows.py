"""Rows beyond version 3 of some agents and groups: by the columns that name their owners and other rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from pattern_stream.format import CONSTELLATION_OWNER
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.json_values import read_json
from pattern_stream.schema.model.cells import Row
from pattern_stream.schema.model.id_columns import AGENT_COLUMNS, AGENT_LISTS, ROW_TABLES, is_known, references_of
from pattern_stream.schema.model.records import MemoryBlock

RowKey = tuple[str, str]
"""The table and the id of a row."""

_NAMES_OWNER: Final = frozenset({"agent", "owner", "group"})

_OWNED_PARENTS: Final = frozenset(
    {
        MemoryBlock.table,
        *(table for table in ROW_TABLES.values() if not _NAMES_OWNER.isdisjoint(references_of(table).values())),
    }
)
"""Tables whose rows have an owner and are named by other rows."""


@dataclass(frozen=True, slots=True)
class RowReferences:
    """The owners and the rows that one row names."""

    owners: tuple[str, ...] = ()
    rows: tuple[RowKey, ...] = ()


class NamingColumns:
    """The columns of a table that name owners and rows. Of an unknown table only those that name agents are known."""

    def __init__(self, table: str, columns: Sequence[str]) -> None:
        references: Mapping[str, str] = references_of(table)
        if not is_known(table):
            references = dict.fromkeys(AGENT_COLUMNS, "agent")
        lists = AGENT_LISTS.get(table, ())
        self.owned = not _NAMES_OWNER.isdisjoint(references.values()) or bool(lists)
        self.own_id_at = columns.index("id") if "id" in columns else None
        self.id_at = self.own_id_at if table in _OWNED_PARENTS else None
        places = {name: at for at, name in enumerate(columns) if name != "id"}
        self._owners = [at for name, at in places.items() if references.get(name) in _NAMES_OWNER]
        self._lists = [at for name, at in places.items() if name in lists]
        self._rows = [(at, ROW_TABLES[name]) for name, at in places.items() if references.get(name) == "row"]
        self._rows += [(at, MemoryBlock.table) for name, at in places.items() if references.get(name) == "memory_block"]

    def of(self, row: Row) -> RowReferences:
        """The owners and rows that a row names; the constellation is there always."""
        owners = [row[at] for at in self._owners if isinstance(row[at], str)]
        for at in self._lists:
            owners += _texts(row[at])
        rows = tuple((table, row[at]) for at, table in self._rows if isinstance(row[at], str))
        return RowReferences(tuple(owner for owner in owners if owner != CONSTELLATION_OWNER), rows)


@dataclass(slots=True)
class OwnedRows:
    """Rows beyond version 3 that other rows may name, until it is known whose are wanted.

    Memory:  an entry for each task, event, and memory block beyond version 3.
    """

    _named: dict[RowKey, RowReferences] = field(default_factory=dict)

    def add(self, table: str, columns: NamingColumns, rows: Sequence[Row]) -> None:
        """More rows of a table."""
        if columns.id_at is not None:
            for row in rows:
                if isinstance(row[columns.id_at], str):
                    self._named[table, row[columns.id_at]] = columns.of(row)

    def of(self, owners: frozenset[str]) -> frozenset[RowKey]:
        """The rows of these owners that name nobody else, and no row that is not among them."""
        taken = {key for key, named in self._named.items() if named.owners and owners.issuperset(named.owners)}
        naming = defaultdict[RowKey, list[RowKey]](list)
        for key in taken:
            for parent in self._named[key].rows:
                naming[parent].append(key)
        gone = [key for parent, keys in naming.items() if parent not in taken for key in keys]
        while gone:
            key = gone.pop()
            if key in taken:
                taken.discard(key)
                gone += naming.get(key, ())
        return frozenset(taken)


def part_of(
    rows: Sequence[Row], columns: NamingColumns, owners: Collection[str], has: Callable[[RowKey], bool], *, takes: bool
) -> tuple[list[Row], int]:
    """The rows that belong to the owners and name nothing else, and how many others of the owners stay behind.

    A row of a table that names no owners belongs to the row that it names. `takes`: False where nobody knows all that
    the rows name.
    """
    kept, left = list[Row](), 0
    for row in rows:
        named = columns.of(row)
        is_theirs = any(owner in owners for owner in named.owners)
        resolves = all(owner in owners for owner in named.owners) and all(map(has, named.rows))
        if not columns.owned:
            is_theirs = bool(named.rows) and resolves
        if is_theirs and resolves and takes:
            kept.append(row)
        else:
            left += is_theirs
    return kept, left


def _texts(cell: Any) -> Iterator[str]:
    """The texts in a JSON array; none of anything else."""
    if not isinstance(cell, str):
        return
    try:
        found = read_json(cell)
    except ValueError:
        return
    yield from (one for one in found if isinstance(one, str)) if isinstance(found, list) else ()
