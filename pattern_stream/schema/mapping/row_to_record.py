"""From a record's declaration to the functions that convert whole batches.

The hot direction is compiled: one list comprehension per record type with one dict literal, because a generic loop over
fields costs more than everything else in the line. It trusts that types were looked at, column by column, and when
anything is odd the batch is gone through again, cell by cell, by the careful half, which can say what and where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from operator import add
from typing import Any

import orjson

from pattern_stream.errors import Finding, InvalidCell, LimitExceeded, Report, Where, ignore_findings
from pattern_stream.format import MAX_JSON_DEPTH
from pattern_stream.schema.mapping.instants import instant_to_wire, is_plain_column
from pattern_stream.schema.mapping.json_values import (
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
from pattern_stream.schema.model.cells import Large, NotUtf8
from pattern_stream.schema.model.fields import Field
from pattern_stream.schema.model.records import Record

Rows = Sequence[tuple[Any, ...]]
Columns = Sequence[tuple[Any, ...]]
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

_JSON_KINDS = frozenset({"json", "strings", "role"})
_LIST_KINDS = frozenset({"octets", "strings", "role"})
"""Kinds that are an array or a map on the wire, whatever stands in the column."""


@dataclass(frozen=True, slots=True)
class RowMapper:
    """Rows of one record type to records. `map_batch` is compiled and fast, `map_row` says what is wrong."""

    record: type[Record]
    map_batch: MapBatch
    column_types: tuple[frozenset[type], ...]
    column_choices: tuple[tuple[int, frozenset[str | None]], ...]
    json_columns: tuple[int, ...]
    list_count: int

    def map(self, rows: Rows, report: Report) -> list[dict[str, Any]]:
        """One record a row. Raises InvalidCell or LimitExceeded with table, row and field; reports bare numbers."""
        return self.map_counted(rows, report)[0]

    def map_counted(self, rows: Rows, report: Report) -> tuple[list[dict[str, Any]], list[int] | None]:
        """As `map`, and for each record a number that its arrays and maps do not exceed, where that can be told."""
        plain = self.map_plain(rows)
        return ([self.map_row(row, report) for row in rows], None) if plain is None else plain

    def map_plain(self, rows: Rows) -> tuple[list[dict[str, Any]], list[int]] | None:
        """As `map_counted` where nothing in any row is odd, else None: `map_row` finds the cell."""
        columns = list(zip(*rows, strict=True))
        try:
            if self._looks_plain(columns):
                return self.map_batch(rows), self._most_containers(len(rows), columns)
        except (ValueError, OverflowError):
            pass
        return None

    def map_row(self, row: tuple[Any, ...], report: Report) -> dict[str, Any]:
        """The slow and careful form of `map`, for one row."""
        record = {}
        for field, cell in zip(self.record.fields, row, strict=True):
            where = Where(table=self.record.table, row_id=row_name(self.record, row), field=field.column)
            value = _careful(field, cell, where, report)
            if field.wire:
                record[field.name] = value
        return record

    def _looks_plain(self, columns: Columns) -> bool:
        return all(
            allowed.issuperset(map(type, column)) for allowed, column in zip(self.column_types, columns, strict=False)
        ) and all(choices.issuperset(columns[index]) for index, choices in self.column_choices if columns)

    def _most_containers(self, row_count: int, columns: Columns) -> list[int]:
        """In JSON an array or map takes two characters, and no text need be looked at to know its length."""
        most = [1 + self.list_count] * row_count
        for index in self.json_columns if columns else ():
            most = list(map(add, most, [len(text) // 2 if text else 0 for text in columns[index]]))
        return most


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
        tuple(index for index, field in enumerate(record.fields) if field.kind in _JSON_KINDS),
        sum(field.kind in _LIST_KINDS for field in record.fields),
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
        "json": f"json({cell}) if len({cell}) > shallow or '-' in {cell} and negative_zero({cell}) else loads({cell})",
        "strings": f"strings({cell})",
        "role": f"role({cell})",
        "octets": f"list({cell})",
    }.get(field.kind, cell)
    if not field.nullable or (present == cell and field.null_as is None):
        return present
    return f"({present}) if {cell} is not None else {field.null_as!r}"


def careful_value(record: type[Record], field: Field, cell: Any, row: Sequence[Any]) -> Any:
    """One cell of a row as it stands on the wire. Raises InvalidCell or LimitExceeded with table, row and field."""
    where = Where(table=record.table, row_id=row_name(record, row), field=field.column)
    return _careful(field, cell, where, ignore_findings)


def _careful(field: Field, cell: Any, where: Where, report: Report) -> Any:
    if cell is None and field.nullable:
        return list(field.null_as) if isinstance(field.null_as, list) else field.null_as
    if type(cell) is Large:
        return _large(field, cell, where)
    if type(cell) is NotUtf8:
        raise InvalidCell("found text that is no UTF-8, expected UTF-8", where=where)
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


def _large(field: Field, cell: Large, where: Where) -> Large:
    """What is too large for its row travels apart: text and JSON, but nothing that the nodes above must know."""
    if not cell.text or field.kind not in ("text", "json") or field.names is not None:
        found = f"{'text' if cell.text else 'a BLOB'} of {cell.bytes} bytes"
        raise InvalidCell(f"found {found}, expected {_TYPES_OF[field.kind]} that fits in its row", where=where)
    return cell


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
