"""Other names for agents, groups, memory blocks and whatever else has a name, wherever the archive has them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import field, replace
from typing import Any, Final

from pattern_stream.errors import NotInArchive, UsageError
from pattern_stream.items import CELLS_TABLE, Cells, Open, OpenTable, Piece, RecordEvent, Row
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.json_values import read_json, write_json
from pattern_stream.schema.model.cells import Large, StoredText
from pattern_stream.schema.model.nodes import (
    CELL_COLUMNS,
    AgentExport,
    ConstellationExport,
    GroupConfigExport,
    GroupExport,
    GroupExportThin,
    MemoryBlockExport,
)
from pattern_stream.schema.model.records import Agent, Group, MemoryBlock
from pattern_stream.streams import Events, transform

BLOCK: Final = "block:"
ID: Final = "id:"
"""Prefixes of what is renamed by its label or id."""

_CONFIG: Final = "pattern_config"
_GROUPS: Final = frozenset({GroupExport, GroupConfigExport, GroupExportThin})
_NAMED: Final = _GROUPS | {AgentExport}
_NAMES: Final = frozenset({Agent.table, Group.table})
"""Tables in which a name is that of an agent or group."""

_JSON_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"(\s*:)?', re.DOTALL)
"""A text in JSON, with the colon after a key."""


@dataclass(slots=True)
class Renamer:
    """New names. `whole`: of the one agent or group that the archive is of; `names`: old name to new, of any.

    `block:LABEL` instead of an old name stands for memory blocks, `id:ID` for anything with this id, which wins. Names
    of agents and groups inside a group's `pattern_config` follow; those of ids once `learn` has met them.
    """

    whole: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    met: set[str] = field(default_factory=set)
    _inside: bool = False
    _replaced_column: str = ""
    _table: OpenTable | None = None
    _followed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._followed = {old: new for old, new in self.names.items() if not old.startswith((BLOCK, ID))}

    @property
    def by_id(self) -> bool:
        """Whether anything is renamed by its id, so that `learn` has to go through the archive first."""
        return any(old.startswith(ID) for old in self.names)

    def learn(self, event: RecordEvent) -> None:
        """Take note of the names of agents and groups that are renamed by their ids."""
        if isinstance(event, OpenTable):
            self._table = event
        elif isinstance(event, Open) and event.node in _NAMED:
            self._follow(event.record["id"], event.record["name"])
        elif isinstance(event, Cells) and event.table in _NAMES and self._table is not None:
            for row in event.rows:
                cells = dict(zip(self._table.column_names, row, strict=False))
                self._follow(cells.get("id"), cells.get("name"))

    def rename(self, event: RecordEvent) -> RecordEvent | None:
        """One event with the names in it replaced; None for a Piece of a name that was."""
        if isinstance(event, Piece):
            return None if event.column == self._replaced_column else event
        self._replaced_column = ""
        if isinstance(event, Cells):
            return self._cells(event)
        if not isinstance(event, Open):
            return event
        root, self._inside = not self._inside, True
        if root and self.whole is not None and event.node is ConstellationExport:
            raise UsageError(
                f"--rename {self.whole} names the agent or group of an archive, found a whole constellation",
                hint="say which with --rename OLD=NEW",
            )
        if isinstance(event, OpenTable):
            self._table = event
        if event.node is MemoryBlockExport:
            return self._renamed(event, "label", self._new_name(event.record["id"], event.record["label"], BLOCK))
        return self._rename_open(event, self.whole if root else None) if event.node in _NAMED else event

    def finish(self) -> None:
        """Raise NotInArchive where an old name was never met."""
        for old in self.names:
            if old not in self.met:
                kind, _, name = old.partition(":")
                looked_for = {
                    BLOCK: f"memory block labelled {name!r}",
                    ID: f"agent, group, memory block or other row with the id {name!r} and a name",
                }.get(f"{kind}:", f"agent or group named {old!r}")
                raise NotInArchive(f"found no {looked_for} in the archive, which --rename names")

    # --- records ------------------------------------------------------------------------------------------------

    def _rename_open(self, event: Open, whole: str | None) -> Open:
        old, row_id = event.record["name"], event.record["id"]
        new = self._new_name(row_id, old, "", whole)
        self._follow(row_id, old)
        event = self._renamed(event, "name", new)
        if event.node not in _GROUPS:
            return event
        followed = self._followed | ({old: new} if new is not None else {})
        return replace(event, record=event.record | {_CONFIG: _replaced(event.record[_CONFIG], followed)})

    def _renamed(self, event: Open, column: str, new: str | None) -> Open:
        if new is None or new == event.record[column]:
            return event
        self._replaced_column = column
        return replace(event, record=event.record | {column: new})

    def _new_name(self, row_id: Any, name: Any, prefix: str | None, whole: str | None = None) -> str | None:
        """The new name of what has this id and this name; an id wins. None where nothing names it.

        `prefix`: of names of this kind; None: only an id names it.
        """
        key = f"{prefix}{name}"
        by_name = prefix is not None and isinstance(name, str) and key.startswith((BLOCK, ID)) == bool(prefix)
        keys = [f"{ID}{row_id}", *([key] if by_name else [])]
        self.met.update(one for one in keys if one in self.names)
        named = [self.names[one] for one in keys if one in self.names]
        if whole is not None and keys[0] not in self.names:
            return whole
        return named[0] if named else None

    def _follow(self, row_id: Any, name: Any) -> None:
        if isinstance(name, str) and f"{ID}{row_id}" in self.names:
            self._followed[name] = self.names[f"{ID}{row_id}"]

    # --- rows beyond version 3 ----------------------------------------------------------------------------------

    def _cells(self, event: Cells) -> Cells | None:
        if event.table == CELLS_TABLE:
            return self._lossy_cells(event)
        if self._table is None or self._table.table != event.table:
            return event
        places = {name: at for at, name in enumerate(self._table.column_names)}
        column = "label" if event.table == MemoryBlock.table else "name"
        if "id" not in places or column not in places:
            return event
        prefix = {MemoryBlock.table: BLOCK, Agent.table: "", Group.table: ""}.get(event.table)
        at, config = places[column], places.get(_CONFIG) if event.table == Group.table else None
        rows: list[Row] = []
        for row in event.rows:
            new = self._new_name(row[places["id"]], row[at], prefix)
            if new is not None:
                self._replaced_column = column if type(row[at]) is Large else ""
                row = (*row[:at], new, *row[at + 1 :])
            if config is not None:
                row = (*row[:config], _replaced_text(row[config], self._followed), *row[config + 1 :])
            rows.append(row)
        return Cells(event.table, rows)

    def _lossy_cells(self, event: Cells) -> Cells | None:
        """# Trap: such a cell is written over the cell of its record, so the old name would come back."""
        rows: list[Row] = []
        for row in event.rows:
            table, key, column, cell = row if len(row) == len(CELL_COLUMNS) else (None, *CELL_COLUMNS[1:])
            if column == ("label" if table == MemoryBlock.table else "name") and f"{ID}{key}" in self.names:
                self._replaced_column = CELL_COLUMNS[-1] if type(cell) is Large else ""
            elif table == Group.table and column == _CONFIG:
                rows.append((table, key, column, _replaced_text(cell, self._followed)))
            else:
                rows.append(row)
        return Cells(event.table, rows) if rows else None


def rename(events: Events[RecordEvent], renamer: Renamer) -> AsyncGenerator[RecordEvent]:
    """Give agents, groups and memory blocks other names; names inside a group's `pattern_config` follow.

    In:      records as `unchunk` yields them.
    Raises:  UsageError: one name for a whole constellation. NotInArchive: an old name that nothing has.
    Source:  docs/format.md#how-pattern-imports, #flaws-of-pattern.
    """
    return transform(events, renamer.rename, finish=renamer.finish)


def _replaced(value: Any, names: Mapping[str, str]) -> Any:
    """A JSON value with every text that equals an old name replaced; keys stay. Depth is the decoder's to limit."""
    if type(value) is StoredText:
        return StoredText(_replaced_text(str(value), names))
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [_replaced(item, names) for item in value]
    if isinstance(value, dict):
        return {key: _replaced(item, names) for key, item in value.items()}
    return value


def _replaced_text(cell: Any, names: Mapping[str, str]) -> Any:
    """JSON as it is stored, likewise: its numbers and repeated members stay as they are. Other cells pass."""
    if type(cell) is not str:
        return cell

    def text(found: re.Match[str]) -> str:
        try:
            new = None if found[1] else names.get(str(read_json(found[0])))
        except ValueError:
            new = None
        return found[0] if new is None else write_json(new)

    return _JSON_TEXT.sub(text, cell)
