"""Other names for agents, groups and memory blocks, and another owner for what nobody in the archive owns."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pattern_stream.errors import NotInArchive, UsageError
from pattern_stream.format import CONSTELLATION_OWNER
from pattern_stream.items import Open, OpenMemoryBlock, Piece, RecordEvent
from pattern_stream.schema.model.nodes import (
    AgentExport,
    ConstellationExport,
    GroupConfigExport,
    GroupExport,
    GroupExportThin,
    MemoryBlockExport,
)
from pattern_stream.streams import Events, transform

BLOCK = "block:"
ID = "id:"
"""Prefixes of what is renamed by its label or id."""

_GROUPS = frozenset({GroupExport, GroupConfigExport, GroupExportThin})
_NAMED = _GROUPS | {AgentExport}


@dataclass(slots=True)
class Renamer:
    """New names. `whole`: of the one agent or group that the archive is of; `names`: old name to new, of any.

    `block:LABEL` instead of an old name stands for memory blocks, `id:ID` for the agent, group or block of an id.
    """

    whole: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    met: set[str] = field(default_factory=set)
    _inside: bool = False
    _replaced_column: str = ""
    _by_id: dict[str, str] = field(default_factory=dict)

    def rename(self, event: RecordEvent) -> RecordEvent | None:
        """One event with the names in it replaced; None for a Piece of a name that was."""
        if not isinstance(event, Open):
            return None if isinstance(event, Piece) and event.column == self._replaced_column else event
        root, self._inside = not self._inside, True
        if root and self.whole is not None and event.node is ConstellationExport:
            raise UsageError(
                f"--rename {self.whole} names the agent or group of an archive, found a whole constellation",
                hint="say which with --rename OLD=NEW",
            )
        self._replaced_column = ""
        if event.node is MemoryBlockExport:
            return self._relabel(event)
        return self._rename_open(event, root) if event.node in _NAMED else event

    def finish(self) -> None:
        """Raise NotInArchive where an old name was never met."""
        for old in self.names:
            if old not in self.met:
                kind, _, name = old.partition(":")
                looked_for = {
                    BLOCK: f"memory block labelled {name!r}",
                    ID: f"agent, group or memory block with the id {name!r}",
                }.get(f"{kind}:", f"agent or group named {old!r}")
                raise NotInArchive(f"found no {looked_for} in the archive, which --rename names")

    def _relabel(self, event: Open) -> Open:
        label = event.record["label"]
        new = self._new_name(f"{BLOCK}{label}", event.record["id"])
        if new is None or new == label:
            return event
        self._replaced_column = "label"
        return replace(event, record=event.record | {"label": new})

    def _new_name(self, name: str, row_id: str) -> str | None:
        """The new name of what has this name and id; an id wins. None where nothing names it."""
        keys = (f"{ID}{row_id}", name)
        self.met.update(key for key in keys if key in self.names)
        return next((self.names[key] for key in keys if key in self.names), None)

    def _rename_open(self, event: Open, root: bool) -> Open:
        record = dict(event.record)
        old, names = record["name"], dict(self.names) | self._by_id
        if root and self.whole is not None:
            names[old] = self.whole
        new = self._new_name(old, record["id"])
        if new is not None and not (root and self.whole is not None):
            names[old] = new
            if f"{ID}{record['id']}" in self.names:
                self._by_id[old] = new
        record["name"] = names[old] if new is not None or (root and self.whole is not None) else old
        self._replaced_column = "name" if record["name"] is not old else ""
        if event.node in _GROUPS:
            record["pattern_config"] = _replaced(record["pattern_config"], names)
        return replace(event, record=record)


def rename(events: Events[RecordEvent], renamer: Renamer) -> AsyncGenerator[RecordEvent]:
    """Give agents and groups other names; names inside a group's `pattern_config` follow.

    In:      records as `unchunk` yields them.
    Raises:  UsageError: one name for a whole constellation. NotInArchive: an old name that nothing has.
    Source:  docs/format.md#how-pattern-imports, #flaws-of-pattern.
    """
    return transform(events, renamer.rename, finish=renamer.finish)


def reassign(event: RecordEvent, owner: str, owners: Collection[str]) -> RecordEvent:
    """Give a memory block whose owner is neither in `owners` nor the constellation to `owner`."""
    if not isinstance(event, OpenMemoryBlock) or event.record["agent_id"] in {*owners, CONSTELLATION_OWNER}:
        return event
    return replace(event, record=event.record | {"agent_id": owner})


def _replaced(value: Any, names: Mapping[str, str]) -> Any:
    """A JSON value with every text that equals an old name replaced; keys stay. Depth is the decoder's to limit."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [_replaced(item, names) for item in value]
    if isinstance(value, dict):
        return {key: _replaced(item, names) for key, item in value.items()}
    return value
