"""From a record's declaration to the functions that convert whole batches.

The hot direction is compiled: one list comprehension per record type with one dict literal, because a generic loop over
fields costs more than everything else in the line. It trusts that types were looked at, column by column, and when
anything is odd the batch is gone through again, cell by cell, by the careful half, which can say what and where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import orjson

from pattern_stream.errors import Finding, InvalidCell, LimitExceeded, Report, Where
from pattern_stream.format import MAX_JSON_DEPTH
from pattern_stream.schema.fields import Field
from pattern_stream.schema.instants import instant_to_wire, is_plain_column
from pattern_stream.schema.records import Record
from pattern_stream.schema.values import (
    LONGEST_SHALLOW,
    TooDeep,
    describe,
    json_depth,
    loads,
    may_be_deep,
    negative_zero,
    read_json,
    read_role,
    read_shallow,
    read_strings,
)

Rows = Sequence[tuple[Any, ...]]
MapBatch = Callable[[Rows], list[dict[str, Any]]]

_STORED: dict[str, type] = {"integer": int, "flag": int, "octets": bytes, "blob": bytes}
_TYPES_OF = {
    "text": "text",
    "choice": "text",
    "instant": "text",
    "json": "JSON text",
    "strings": "JSON text",
    "role": "JSON text",
    "integer": "an integer",
    "flag": "0 or 1",
    "octets": "a BLOB",
    "blob": "a BLOB",
}


@dataclass(frozen=True, slots=True)
class RowMapper:
    """Rows of one record type to records. `map_batch` is compiled and fast, `map_row` says what is wrong."""

    record: type[Record]
    map_batch: MapBatch
    column_types: tuple[frozenset[type], ...]
    column_choices: tuple[tuple[int, frozenset[str | None]], ...]

    def map(self, rows: Rows, report: Report) -> list[dict[str, Any]]:
        """One record a row. Raises InvalidCell or LimitExceeded with table, row and field; reports bare numbers."""
        try:
            if self._looks_plain(rows):
                return self.map_batch(rows)
        except (ValueError, OverflowError):
            pass  # the careful half below finds the cell
        return [self.map_row(row, report) for row in rows]

    def map_row(self, row: tuple[Any, ...], report: Report) -> dict[str, Any]:
        """The slow and careful form of `map`, for one row."""
        record = {}
        for field, cell in zip(self.record.fields, row, strict=True):
            where = Where(table=self.record.table, row_id=row_name(self.record, row), field=field.column)
            value = _careful(field, cell, where, report)
            if field.wire:
                record[field.name] = value
        return record

    def _looks_plain(self, rows: Rows) -> bool:
        columns = list(zip(*rows, strict=True))
        return all(
            allowed.issuperset(map(type, column)) for allowed, column in zip(self.column_types, columns, strict=False)
        ) and all(choices.issuperset(columns[index]) for index, choices in self.column_choices if columns)


_MAPPERS: dict[type[Record], RowMapper] = {}


def row_mapper(record: type[Record]) -> RowMapper:
    """The mapper of a record type, compiled once."""
    if record not in _MAPPERS:
        _MAPPERS[record] = _mapper(record)
    return _MAPPERS[record]


def _mapper(record: type[Record]) -> RowMapper:
    return RowMapper(
        record,
        _compile(record),
        tuple(_plain_types(field) for field in record.fields),
        tuple(
            (index, frozenset(field.choices) | ({None} if field.nullable else set()))
            for index, field in enumerate(record.fields)
            if field.kind == "choice"
        ),
    )


def row_name(record: type[Record], row: Sequence[Any]) -> str | None:
    """What names a row in messages: its key column, where that is readable."""
    key = row[record.key_column]
    return str(key) if isinstance(key, (str, int)) else None


def _plain_types(field: Field) -> frozenset[type]:
    stored = _STORED.get(field.kind, str)
    return frozenset({stored, type(None)}) if field.nullable else frozenset({stored})


def _compile(record: type[Record]) -> MapBatch:
    names = [f"c{index}" for index in range(len(record.fields))]
    entries = [
        f"{field.name!r}: {_expression(field, name)}"
        for field, name in zip(record.fields, names, strict=True)
        if field.wire
    ]
    source = f"def map_batch(rows):\n    return [{{{', '.join(entries)}}} for {', '.join(names)}, in rows]\n"
    scope: dict[str, Any] = {
        "plain": is_plain_column,
        "instant": instant_to_wire,
        "json": read_shallow,
        "loads": loads,
        "negative_zero": negative_zero,
        "shallow": LONGEST_SHALLOW,
        "strings": read_strings,
        "role": read_role,
    }
    exec(compile(source, f"<mapper of {record.__name__}>", "exec"), scope)  # noqa: S102  our own text, see ARCHITECTURE
    return scope["map_batch"]  # type: ignore[no-any-return]


def _expression(field: Field, cell: str) -> str:
    present = {
        "flag": f"{cell} != 0",
        "instant": f"{cell}[:-6] + 'Z' if plain({cell}) else instant({cell})",
        "json": f"loads({cell}) if len({cell}) <= shallow and not negative_zero({cell}) else json({cell})",
        "strings": f"strings({cell})",
        "role": f"role({cell})",
        "octets": f"list({cell})",
    }.get(field.kind, cell)
    if not field.nullable or (present == cell and field.null_as is None):
        return present
    return f"({present}) if {cell} is not None else {field.null_as!r}"


def _careful(field: Field, cell: Any, where: Where, report: Report) -> Any:
    if cell is None and field.nullable:
        return list(field.null_as) if isinstance(field.null_as, list) else field.null_as
    if field.kind == "json" and isinstance(cell, (int, float)):
        return _bare_number(cell, where, report)
    if not isinstance(cell, _STORED.get(field.kind, str)):
        raise InvalidCell(f"found {describe(cell)}, expected {_TYPES_OF[field.kind]}", where=where)
    try:
        if field.kind == "json" and isinstance(cell, str):
            return _nested(cell, where, report)
        return _CAREFUL[field.kind](cell, field)
    except TooDeep as error:
        raise LimitExceeded(str(error), where=where) from error
    except (ValueError, OverflowError) as error:
        reason = str(error) if not isinstance(error, orjson.JSONDecodeError) else f"expected JSON: {error}"
        raise InvalidCell(f"found {describe(cell)}, {reason}", where=where) from error


def _bare_number(cell: int | float, where: Where, report: Report) -> int | float:
    """# Trap: a JSON column has NUMERIC affinity, so SQLite turned the text `7` into a number."""
    if not isfinite(cell):
        raise LimitExceeded(f"found {cell}, which format version 3 cannot hold", where=where)
    report(
        Finding(
            "warning",
            "bare-number",
            f"JSON is the bare number {cell}: carried, but the original program cannot read such a row",
            where,
        )
    )
    return cell


def _nested(cell: str, where: Where, report: Report) -> Any:
    value = read_json(cell)
    if may_be_deep(cell) and (depth := json_depth(value)) > MAX_JSON_DEPTH:
        message = (
            f"JSON is nested {depth} levels deep: carried, but the original program reads {MAX_JSON_DEPTH} at most"
        )
        report(Finding("warning", "deep-json", message, where))
    return value


def _choice(cell: str, field: Field) -> str:
    if cell not in field.choices:
        raise ValueError(f"expected one of {', '.join(sorted(field.choices))}")
    return cell


_CAREFUL: dict[str, Callable[[Any, Field], Any]] = {
    "text": lambda cell, field: cell,
    "integer": lambda cell, field: cell,
    "flag": lambda cell, field: cell != 0,
    "instant": lambda cell, field: instant_to_wire(cell),
    "choice": _choice,
    "strings": lambda cell, field: read_strings(cell),
    "role": lambda cell, field: read_role(cell),
    "octets": lambda cell, field: list(cell),
    "blob": lambda cell, field: cell,
}
