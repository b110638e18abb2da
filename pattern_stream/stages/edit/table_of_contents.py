"""What an archive holds, by name: gone through once before the import proper, where that must know what comes later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Literal

from pattern_stream.errors import NotInArchive, UsageError
from pattern_stream.items import Cells, Close, Open, OpenTable, RecordEvent, Records, Ref
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.cells import in_short
from pattern_stream.schema.model.nodes import (
    AgentExport,
    GroupConfigExport,
    GroupExport,
    GroupExportThin,
    MemoryBlockExport,
    NodeType,
)
from pattern_stream.schema.model.records import Agent, Group, Member
from pattern_stream.stages.edit.owned_rows import NamingColumns, OwnedRows, RowKey

GROUP_NODES = frozenset({GroupExport, GroupExportThin, GroupConfigExport})
Kind = Literal["agent", "group"]


@dataclass(slots=True)
class ListedGroup:
    """A group: its members' ids, and the memory blocks that are its own or shared into it."""

    id: str
    name: str
    members: set[str] = field(default_factory=set)
    blocks: set[str] = field(default_factory=set)


@dataclass(slots=True)
class TableOfContents:
    """Agents as (id, name), and groups. Memory: one entry per agent, group, member and shared block, and
    those of `owned_rows`."""

    agents: list[tuple[str, str]] = field(default_factory=list)
    groups: list[ListedGroup] = field(default_factory=list)
    owned_rows: OwnedRows = field(default_factory=OwnedRows)
    _beyond: set[str] = field(default_factory=set)
    _open: list[type[NodeType]] = field(default_factory=list)
    _table: tuple[str, NamingColumns] | None = None

    @property
    def owners(self) -> frozenset[str]:
        """Ids of the agents and groups, rows beyond version 3 too: who owns memory blocks."""
        return frozenset((*(agent for agent, _ in self.agents), *(group.id for group in self.groups), *self._beyond))

    def add(self, event: RecordEvent) -> None:
        """Take note of one more event."""
        if isinstance(event, Open):
            self._add_open(event)
            self._open.append(event.node)
        elif isinstance(event, Close):
            self._open.pop()
            self._table = None
        elif isinstance(event, Cells):
            if self._table is not None:
                table, columns = self._table
                self.owned_rows.add(table, columns, event.rows)
                if table in (Agent.table, Group.table) and (at := columns.own_id_at) is not None:
                    self._beyond.update(row[at] for row in event.rows if isinstance(row[at], str))
        elif isinstance(event, Records) and event.record is Member:
            self.groups[-1].members.update(record["agent_id"] for record in event.records)
        elif isinstance(event, Ref) and event.node is MemoryBlockExport and self._in_group():
            self.groups[-1].blocks.add(event.key)

    def _add_open(self, event: Open) -> None:
        if isinstance(event, OpenTable):
            if event.table is not None:
                self._table = (event.table, NamingColumns(event.table, event.column_names))
        elif event.node is AgentExport:
            self.agents.append((event.record["id"], in_short(event.record["name"])))
        elif event.node in GROUP_NODES:
            self.groups.append(ListedGroup(event.record["id"], in_short(event.record["name"])))
        elif event.node is MemoryBlockExport and self._in_group():
            self.groups[-1].blocks.add(event.record["id"])

    def _in_group(self) -> bool:
        return bool(self._open) and self._open[-1] in GROUP_NODES


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of an archive is wanted: ids of agents, of groups, and of memory blocks beside those of the agents.

    `rows`: those beyond version 3 that other rows may name.
    """

    agents: frozenset[str]
    groups: frozenset[str]
    blocks: frozenset[str]
    rows: frozenset[RowKey] = frozenset()

    @property
    def owners(self) -> frozenset[str]:
        """Ids of the agents and groups."""
        return self.agents | self.groups


def choose(survey: TableOfContents, only: Iterable[str]) -> Wanted:
    """What `agent:NAME` and `group:NAME` mean: a name or id, and an exact id wins. A group brings its members along.

    Raises UsageError, NotInArchive (with the nearest names).
    """
    agents, groups, blocks = set[str](), set[str](), set[str]()
    for given in only:
        kind, name = part_of_archive(given)
        if kind == "agent":
            agents |= _named(survey.agents, name, "agent")
            continue
        for group_id in _named([(group.id, group.name) for group in survey.groups], name, "group"):
            groups.add(group_id)
            for group in survey.groups:
                if group.id == group_id:
                    agents |= group.members
                    blocks |= group.blocks
    return Wanted(
        frozenset(agents), frozenset(groups), frozenset(blocks), survey.owned_rows.of(frozenset(agents | groups))
    )


def part_of_archive(given: str) -> tuple[Kind, str]:
    """The kind and the name in `agent:NAME` or `group:NAME`. Raises UsageError."""
    kind, _, name = given.partition(":")
    if kind in ("agent", "group") and name:
        return "agent" if kind == "agent" else "group", name
    raise UsageError(f"--only is {given!r}, expected agent:NAME or group:NAME")


def _named(found: list[tuple[str, str]], name: str, kind: Kind) -> set[str]:
    ids = {row_id for row_id, _ in found if row_id == name} or {row_id for row_id, other in found if other == name}
    if ids:
        return ids
    from difflib import get_close_matches  # slow to load, and only for this

    near = get_close_matches(name, [other for _, other in found], n=3, cutoff=0.5)
    hint = f"the nearest names are {', '.join(near)}" if near else None
    raise NotInArchive(f"found no {kind} with the id or name {name!r} in the archive", hint=hint)
