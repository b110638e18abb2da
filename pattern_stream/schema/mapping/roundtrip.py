"""What of a row would not come back equal from a version 3 record, or has no place in one at all. Source: v4 3, 4.

Equal means: JSON columns as values (order of members aside, integers and floats apart), timestamps as instants to the
nanosecond, everything else storage class and bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from pattern_stream.codec.dagcbor import encode_record
from pattern_stream.errors import InvalidCell, LimitExceeded, UnencodableValue, ignore_findings
from pattern_stream.schema.mapping.instants import parse_instant
from pattern_stream.schema.mapping.json_values import read_json
from pattern_stream.schema.mapping.record_to_row import record_unmapper
from pattern_stream.schema.mapping.row_to_record import careful_value, row_mapper
from pattern_stream.schema.model.cells import Large, Row
from pattern_stream.schema.model.fields import Field
from pattern_stream.schema.model.records import Agent, Group, MemoryBlock, Record

PARENTS: Final = frozenset({Agent, Group, MemoryBlock})
"""Record types that others hang on: their rows go out whatever is in their cells."""

_ELSEWHERE: Final = frozenset({"frontier", "loro_snapshot"})
"""Cells of a memory block that its history has as they are stored."""

_LEAST_RIGHTS: Final = "read_only"


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
            careful_value(record, field, cell, row)
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
    columns = list(zip(*rows, strict=True))
    return all(looks(columns[at], records, name) for at, name, looks in _looks(record))


def _equal(field: Field, cell: Any, back: Any) -> bool:
    if cell is None or back is None or type(cell) is Large:
        return bool(cell == back)
    if field.kind in ("json", "strings", "role") and isinstance(cell, str) and isinstance(back, str):
        try:
            return encode_record(read_json(cell)) == encode_record(read_json(back))
        except (ValueError, UnencodableValue):
            return False
    if field.kind == "instant" and isinstance(cell, str):
        try:
            return parse_instant(cell) == parse_instant(back)
        except ValueError:
            return False
    return type(cell) is type(back) and bool(cell == back)


def _neutral(record: type[Record], field: Field, row: Row) -> Any:
    """What stands in the record for a cell that has no place there: the least that can be read."""
    if field.nullable:
        return None
    if field.column == "name":
        return row[record.index("id")]  # names are unique
    if field.kind == "choice":
        return _LEAST_RIGHTS if _LEAST_RIGHTS in field.choices else min(field.choices)
    return _NEUTRAL[field.kind]


_NEUTRAL: Final[dict[str, Any]] = {
    "text": "",
    "integer": 0,
    "flag": 0,
    "json": "{}",
    "strings": "[]",
    "instant": "1970-01-01T00:00:00+00:00",
}

# --- columns: quick looks at a whole batch ------------------------------------------------------------------------

_Look = Callable[[Sequence[Any], Sequence[dict[str, Any]], str], bool]
_BITS: Final = frozenset({0, 1})


def _as_many_nulls(column: Sequence[Any], records: Sequence[dict[str, Any]], name: str) -> bool:
    """# Trap: the text `null` is a value, and comes back as NULL."""
    return column.count(None) == [record[name] for record in records].count(None)


def _no_null(column: Sequence[Any], records: Sequence[dict[str, Any]], name: str) -> bool:
    return None not in column


def _no_null_strings(column: Sequence[Any], records: Sequence[dict[str, Any]], name: str) -> bool:
    """# Trap: NULL and the text `null` both read as an array of nothing, and come back as one."""
    pairs = zip(column, records, strict=True)
    return all(record[name] or (cell is not None and cell.strip() != "null") for cell, record in pairs)


def _only_bits(column: Sequence[Any], records: Sequence[dict[str, Any]], name: str) -> bool:
    return _BITS.issuperset(column)


def _same_roles(column: Sequence[Any], records: Sequence[dict[str, Any]], name: str) -> bool:
    """# Trap: of a role only `type` and `domain` travel."""
    return all(cell is None or read_json(cell) == record[name] for cell, record in zip(column, records, strict=True))


_LOOKS: Final[dict[type[Record], list[tuple[int, str, _Look]]]] = {}


def _looks(record: type[Record]) -> list[tuple[int, str, _Look]]:
    if record not in _LOOKS:
        _LOOKS[record] = [
            (at, field.name, look)
            for at, field in enumerate(record.fields)
            if (look := _look(field)) is not None and field.wire
        ]
    return _LOOKS[record]


def _look(field: Field) -> _Look | None:
    if field.kind == "role":
        return _same_roles
    if field.kind == "flag":
        return _only_bits
    if field.kind == "strings":
        return _no_null_strings
    if field.null_as is not None:
        return _no_null
    return _as_many_nulls if field.kind == "json" and field.nullable else None
