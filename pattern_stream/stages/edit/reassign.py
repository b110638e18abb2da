"""Another owner for memory blocks that nobody in the archive owns."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from pattern_stream.format import CONSTELLATION_OWNER
from pattern_stream.items import CELLS_TABLE, Cells, OpenMemoryBlock, OpenTable, RecordEvent
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.cells import Large
from pattern_stream.schema.model.nodes import CELL_COLUMNS
from pattern_stream.schema.model.records import MemoryBlock

_OWNER = "agent_id"


@dataclass(slots=True)
class Reassigner:
    """Gives memory blocks whose owner is neither in `owners` nor the constellation to `owner`; inactive ones too.

    `moved`: how many there were.
    """

    owner: str
    owners: Collection[str]
    moved: int = 0
    _at: int | None = None

    def reassign(self, event: RecordEvent) -> RecordEvent:
        """One event with the owner in it replaced."""
        if isinstance(event, OpenMemoryBlock):
            owner = self._owner_of(event.record[_OWNER])
            return event if owner == event.record[_OWNER] else replace(event, record=event.record | {_OWNER: owner})
        if isinstance(event, OpenTable):
            columns = event.column_names if event.table == MemoryBlock.table else ()
            self._at = columns.index(_OWNER) if _OWNER in columns else None
        elif isinstance(event, Cells) and event.table == MemoryBlock.table and (at := self._at) is not None:
            return Cells(event.table, [(*row[:at], self._owner_of(row[at]), *row[at + 1 :]) for row in event.rows])
        elif isinstance(event, Cells) and event.table == CELLS_TABLE:
            # Trap: a cell that no record can hold is written over its record, and is nobody's id.
            return Cells(event.table, [self._lossy(row) for row in event.rows])
        return event

    def _owner_of(self, owner: Any) -> Any:
        if owner in self.owners or owner == CONSTELLATION_OWNER or type(owner) is Large:
            return owner
        self.moved += owner != self.owner
        return self.owner

    def _lossy(self, row: Any) -> Any:
        named = len(row) == len(CELL_COLUMNS) and row[0] == MemoryBlock.table and row[2] == _OWNER
        return (*row[:3], self.owner) if named and type(row[3]) is not Large else row
