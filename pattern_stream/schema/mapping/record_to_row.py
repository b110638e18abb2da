"""From a record's declaration to the function that turns whole batches of records back into rows: `compile` reversed.

Records from an archive were checked when their blocks were decoded, so the compiled path looks only for what must be
said: a bare number where JSON stands. When anything is odd the batch is gone through again, value by value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pattern_stream.errors import Finding, MalformedNode, Report, Where
from pattern_stream.format import MAX_BLOCK_VALUES
from pattern_stream.schema.checks.check_nodes import describe_value, record_checker
from pattern_stream.schema.mapping.instants import instant_to_column
from pattern_stream.schema.mapping.json_values import read_json, write_json
from pattern_stream.schema.model.cells import Large, StoredText
from pattern_stream.schema.model.fields import Field
from pattern_stream.schema.model.records import Record

Row = tuple[Any, ...]
UnmapBatch = Callable[[Sequence[dict[str, Any]]], list[Row]]

_I64: Final = (-(2**63), 2**63 - 1)
_NULL_TEXT: Final = "null"
_APART: Final = frozenset({Large, StoredText})
"""What stands for the cells that came apart from their records, and were looked at there."""


class _BareNumber(Exception):
    """The whole value of a JSON field is a number: the careful half warns of it."""


@dataclass(frozen=True, slots=True)
class RecordUnmapper:
    """Records of one type to rows, in `record.columns` order. What is not on the wire is taken as it is."""

    record: type[Record]
    unmap_batch: UnmapBatch

    def unmap(self, records: Sequence[dict[str, Any]], report: Report) -> list[Row]:
        """One row a record. Raises MalformedNode with table, row and field; reports bare numbers."""
        try:
            return self.unmap_batch(records)
        except (_BareNumber, KeyError, TypeError, ValueError, AttributeError):
            return [self.unmap_one(record, report) for record in records]

    def unmap_plain(self, records: Sequence[dict[str, Any]]) -> list[Row] | None:
        """The same where there is nothing to say of any of them, else None."""
        try:
            return self.unmap_batch(records)
        except (_BareNumber, KeyError, TypeError, ValueError, AttributeError):
            return None

    def unmap_one(self, record: dict[str, Any], report: Report) -> Row:
        """The slow and careful form of `unmap`, for one record."""
        key = record.get(self.record.columns[self.record.key_column])
        where = Where(table=self.record.table, row_id=key if isinstance(key, str) else None)
        apart = {name: value for name, value in record.items() if type(value) in _APART}
        try:
            checked = record_checker(self.record).check_one(record | dict.fromkeys(apart, "")) | apart
        except MalformedNode as error:
            raise error.at(where) from None
        return tuple(
            _careful(field, checked[field.name], where, report) if field.wire else record[field.column]
            for field in self.record.fields
        )


_UNMAPPERS: dict[type[Record], RecordUnmapper] = {}


def record_unmapper(record: type[Record]) -> RecordUnmapper:
    """The unmapper of a record type, compiled once."""
    if record not in _UNMAPPERS:
        _UNMAPPERS[record] = RecordUnmapper(record, _compile(record))
    return _UNMAPPERS[record]


def _compile(record: type[Record]) -> UnmapBatch:
    cells = ", ".join(_expression(field, f"r[{field.name!r}]") for field in record.fields)
    source = f"def unmap_batch(records):\n    return [({cells},) for r in records]\n"
    scope: dict[str, Any] = {"instant": instant_to_column, "json": _json_cell, "dumps": orjson.dumps}
    exec(compile(source, f"<unmapper of {record.__name__}>", "exec"), scope)  # noqa: S102  our own text, see ARCHITECTURE
    return scope["unmap_batch"]  # type: ignore[no-any-return]


def _expression(field: Field, value: str) -> str:
    absent = "None" if field.nullable and field.null_as is None else None
    present = {
        "flag": f"1 if {value} else 0",
        "instant": f"{value}[:-1] + '+00:00' if {value}[-1] == 'Z' else instant({value})",
        "json": f"dumps(v).decode() if type(v := {value}) is dict else json(v, {field.nullable})",
        "strings": f"dumps({value}).decode()",
        "role": f"dumps({value}).decode()",
        "octets": f"bytes({value})",
    }.get(field.kind, value)
    if field.kind == "json" or present == value or absent is None:
        return f"({present})"
    return f"({present}) if {value} is not None else {absent}"


def _json_cell(value: Any, nullable: bool) -> str | None:
    if value is None:
        return None if nullable else _NULL_TEXT
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise _BareNumber
    if type(value) is StoredText:
        return _stored_json(value)
    return value if type(value) is Large else write_json(value)  # type: ignore[return-value]  # a marker, see `stored`


def _stored_json(stored: str) -> str:
    """Text that stays as it is. It is parsed only where that cannot take much memory. Raises ValueError."""
    text = str(stored)  # Trap: orjson takes no subclass of str.
    if text.count(",") + text.count("[") + text.count("{") <= MAX_BLOCK_VALUES:
        read_json(text)
    return text


def _careful(field: Field, value: Any, where: Where, report: Report) -> Any:
    where = where.filled(Where(field=field.column))
    if value is None:
        return _NULL_TEXT if field.kind == "json" and not field.nullable else None
    if field.kind == "json" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _bare_number(value, where, report)
    if type(value) is Large:
        return value
    try:
        return _stored_json(value) if type(value) is StoredText else _CAREFUL[field.kind](value)
    except ValueError as error:
        raise MalformedNode(f"found {describe_value(value)}, {error}", where=where) from error


def _bare_number(value: int | float, where: Where, report: Report) -> int | float:
    """# Trap: the column has NUMERIC affinity, so even the text of a number would be stored as one."""
    message = f"JSON is the bare number {value}: stored, but the original program cannot read such a row"
    report(Finding("warning", "bare-number", message, where))
    return value if isinstance(value, float) or _I64[0] <= value <= _I64[1] else float(value)


_CAREFUL: Final[dict[str, Callable[[Any], Any]]] = {
    "text": lambda value: value,
    "choice": lambda value: value,
    "integer": lambda value: value,
    "flag": lambda value: 1 if value else 0,
    "instant": instant_to_column,
    "json": write_json,
    "strings": write_json,
    "role": write_json,
    "octets": bytes,
}
