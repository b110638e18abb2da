"""Cells of a row that would not come back equal from a version 3 record, or have no place in one.
Source: docs/format.md#extension-tables, #lossy-cells.

Equal means: JSON columns as values (the same numbers as exact decimals, an integer no float, members as often as they
stand there, in any order), timestamps as instants to the nanosecond, everything else storage class and bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pattern_stream.errors import InvalidCell, LimitExceeded, ignore_findings
from pattern_stream.schema.mapping.kinds import KINDS, LookAtCells
from pattern_stream.schema.mapping.record_to_row import record_unmapper
from pattern_stream.schema.mapping.row_to_record import map_cell, row_mapper
from pattern_stream.schema.model.cells import Large, Row
from pattern_stream.schema.model.fields import Field
from pattern_stream.schema.model.records import Agent, Group, MemoryBlock, Record

PARENTS: Final = frozenset({Agent, Group, MemoryBlock})
"""Record types that others hang on: their rows go out whatever is in their cells."""

_ELSEWHERE: Final = frozenset({"frontier", "loro_snapshot"})
"""Cells of a memory block that its history has as they are stored."""


def holds(record: type[Record], row: Row) -> bool:
    """Whether version 3 can hold a row as a record. Slow: one row, cell by cell."""
    try:
        row_mapper(record).map_row(row, ignore_findings)
    except (InvalidCell, LimitExceeded):
        return False
    return True


def neutral_row(record: type[Record], row: Row) -> tuple[Row, list[InvalidCell | LimitExceeded]]:
    """The row with another value in each cell that version 3 cannot hold, and what was wrong with those.

    Raises InvalidCell or LimitExceeded where the cell is an id, for which nothing else can stand.
    """
    faults: list[InvalidCell | LimitExceeded] = []
    cells = list(row)
    for at, (field, cell) in enumerate(zip(record.fields, row, strict=True)):
        if not field.wire:
            continue
        try:
            map_cell(record, field, cell, row)
        except (InvalidCell, LimitExceeded) as error:
            if field.names is not None:
                raise
            faults.append(error)
            cells[at] = _neutral(record, field, row)
    return tuple(cells), faults


def lost_cells(record: type[Record], row: Row) -> list[tuple[str, Any]]:
    """The cells of a row that would not come back equal, by column. The row is one that goes out. Slow: one row."""
    sent, _ = neutral_row(record, row) if record in PARENTS else (row, [])
    values = row_mapper(record).map_row(sent, ignore_findings)
    unsent = {field.column: cell for field, cell in zip(record.fields, sent, strict=True) if not field.wire}
    returned = record_unmapper(record).unmap([values | unsent], ignore_findings)[0]
    skipped = _ELSEWHERE if record is MemoryBlock else frozenset[str]()
    return [
        (field.column, cell)
        for field, cell, back in zip(record.fields, row, returned, strict=True)
        if field.column not in skipped and not _equal(field, cell, back)
    ]


def batch_survives(record: type[Record], rows: Sequence[Row], records: Sequence[dict[str, Any]]) -> bool:
    """Whether all cells of rows that were mapped come back equal. Quick: a look at whole columns."""
    if not rows:
        return True
    if record not in _LOOKS:
        _LOOKS[record] = [
            (at, field.name, look)
            for at, field in enumerate(record.fields)
            if field.wire and (look := KINDS[field.kind].look_at_cells(field)) is not None
        ]
    columns = list(zip(*rows, strict=True))
    return all(look(columns[at], records, name) for at, name, look in _LOOKS[record])


_LOOKS: Final[dict[type[Record], list[tuple[int, str, LookAtCells]]]] = {}


def _equal(field: Field, cell: Any, back: Any) -> bool:
    if cell is None or back is None or type(cell) is Large:
        return bool(cell == back)
    return KINDS[field.kind].equal(cell, back)


def _neutral(record: type[Record], field: Field, row: Row) -> Any:
    """The least that a record can say in place of the cell."""
    if field.nullable:
        return None
    if field.column == "name":
        return row[record.index("id")]  # names are unique
    return KINDS[field.kind].neutral(field)
