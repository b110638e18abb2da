"""Records of one type back to rows, a whole batch at a time: the reverse of `row_to_record`.

Records from an archive were checked when their blocks were decoded, so the compiled text only stops where a warning is
due: a bare number where JSON stands. Any fault sends the batch through the slow form, value by value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from pattern_stream.errors import Finding, MalformedNode, Report, Where
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.kinds import KINDS, BareNumber, check_record
from pattern_stream.schema.mapping.wire_values import describe_value
from pattern_stream.schema.model.cells import Large, Row, StoredText
from pattern_stream.schema.model.fields import Field
from pattern_stream.schema.model.records import Record

UnmapBatch = Callable[[Sequence[dict[str, Any]]], list[Row]]

_OUT_OF_LINE: Final = frozenset({Large, StoredText})
"""Values that came in pieces outside their records, and were checked there."""


@dataclass(frozen=True, slots=True)
class RecordUnmapper:
    """Records of one type to rows, in `record.columns` order. A field that is not on the wire is taken as it is."""

    record: type[Record]
    unmap_batch: UnmapBatch

    def unmap(self, records: Sequence[dict[str, Any]], report: Report) -> list[Row]:
        """One row a record. Raises MalformedNode with table, row and field; reports bare numbers."""
        rows = self.unmap_fast(records)
        return [self.unmap_one(record, report) for record in records] if rows is None else rows

    def unmap_fast(self, records: Sequence[dict[str, Any]]) -> list[Row] | None:
        """The rows where no record has a fault and none is worth a warning, else None."""
        try:
            return self.unmap_batch(records)
        except (BareNumber, KeyError, TypeError, ValueError, AttributeError):
            return None

    def unmap_one(self, record: dict[str, Any], report: Report) -> Row:
        """The slow form of `unmap`, for one record."""
        key = record.get(self.record.columns[self.record.key_column])
        where = Where(table=self.record.table, row_id=key if isinstance(key, str) else None)
        out_of_line = {name: value for name, value in record.items() if type(value) in _OUT_OF_LINE}
        try:
            checked = check_record(self.record, record | dict.fromkeys(out_of_line, "")) | out_of_line
        except MalformedNode as error:
            raise error.at(where) from None
        return tuple(
            _unmap_value(field, checked[field.name], where, report) if field.wire else record[field.column]
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
    scope = {name: value for kind in KINDS.values() for name, value in kind.in_names.items()}
    exec(compile(source, f"<unmapper of {record.__name__}>", "exec"), scope)  # noqa: S102  our own text, see ARCHITECTURE
    return scope["unmap_batch"]  # type: ignore[no-any-return]


def _expression(field: Field, value: str) -> str:
    present = KINDS[field.kind].in_expression.format(value=value, nullable=field.nullable)
    if field.kind == "json" or present == value or not field.nullable or field.null_as is not None:
        return f"({present})"
    return f"({present}) if {value} is not None else None"


def _unmap_value(field: Field, value: Any, where: Where, report: Report) -> Any:
    where = where.filled(Where(field=field.column))
    if type(value) is Large or (value is None and field.kind != "json"):
        return value
    try:
        return KINDS[field.kind].to_cell(
            value, field, lambda code, message: report(Finding("warning", code, message, where))
        )
    except ValueError as error:
        raise MalformedNode(f"found {describe_value(value)}, {error}", where=where) from error
