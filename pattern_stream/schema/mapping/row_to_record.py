"""Rows of a record type to records, a whole batch at a time.

The usual direction is compiled: one list comprehension per record type with one dict literal, because a generic loop
over fields costs more than everything else in the line. The compiled text trusts the types, so those are looked at
first, column by column. Any fault sends the batch through the slow form, cell by cell, which says the cell and fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import add
from typing import Any

import orjson

from pattern_stream.errors import Finding, InvalidCell, LimitExceeded, Report, Where, ignore_findings
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.json_values import OverLimit, describe
from pattern_stream.schema.mapping.kinds import KINDS
from pattern_stream.schema.model.cells import Large, NotUtf8, Row
from pattern_stream.schema.model.fields import Field
from pattern_stream.schema.model.records import Record

Rows = Sequence[Row]
Columns = Sequence[Row]
MapBatch = Callable[[Rows], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class RowMapper:
    """Rows of one record type to records. `map_batch` is compiled and fast, `map_row` names the faulty cell."""

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
        """As `map`, and for each record a number that its arrays and maps do not exceed; None after the slow form."""
        return self.map_fast(rows) or ([self.map_row(row, report) for row in rows], None)

    def map_fast(self, rows: Rows) -> tuple[list[dict[str, Any]], list[int]] | None:
        """As `map_counted` where the compiled text can take all rows, else None."""
        columns = list(zip(*rows, strict=True))
        try:
            if self._fits(columns):
                return self.map_batch(rows), self._most_containers(len(rows), columns)
        except (ValueError, OverflowError):
            pass
        return None

    def map_row(self, row: Row, report: Report) -> dict[str, Any]:
        """The slow form of `map`, for one row."""
        cells = zip(self.record.fields, row, strict=True)
        values = [(field, map_cell(self.record, field, cell, row, report)) for field, cell in cells]
        return {field.name: value for field, value in values if field.wire}

    def _fits(self, columns: Columns) -> bool:
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
        fields, kinds = record.fields, [KINDS[field.kind] for field in record.fields]
        _MAPPERS[record] = RowMapper(
            record,
            _compile(record),
            tuple(
                frozenset({kind.stored, type(None)} if field.nullable else {kind.stored})
                for field, kind in zip(fields, kinds, strict=True)
            ),
            tuple(
                (index, field.choices | ({None} if field.nullable else set()))
                for index, field in enumerate(fields)
                if field.choices
            ),
            tuple(index for index, kind in enumerate(kinds) if kind.is_json),
            sum(kind.is_container for kind in kinds),
        )
    return _MAPPERS[record]


def _compile(record: type[Record]) -> MapBatch:
    names = [f"c{index}" for index in range(len(record.fields))]
    entries = [
        f"{field.name!r}: {_expression(field, name)}"
        for field, name in zip(record.fields, names, strict=True)
        if field.wire
    ]
    source = f"def map_batch(rows):\n    return [{{{', '.join(entries)}}} for {', '.join(names)}, in rows]\n"
    scope = {name: value for kind in KINDS.values() for name, value in kind.out_names.items()}
    exec(compile(source, f"<mapper of {record.__name__}>", "exec"), scope)  # noqa: S102  our own text, see ARCHITECTURE
    return scope["map_batch"]  # type: ignore[no-any-return]


def _expression(field: Field, cell: str) -> str:
    present = KINDS[field.kind].out_expression.format(cell=cell)
    if not field.nullable or (present == cell and field.null_as is None):
        return present
    return f"({present}) if {cell} is not None else {field.null_as!r}"


def map_cell(record: type[Record], field: Field, cell: Any, row: Row, report: Report = ignore_findings) -> Any:
    """One cell of a row as it stands on the wire. Raises InvalidCell or LimitExceeded with table, row and field."""
    if cell is None and field.nullable:
        return list(field.null_as) if isinstance(field.null_as, list) else field.null_as
    key, kind = row[record.key_column], KINDS[field.kind]
    where = Where(table=record.table, row_id=str(key) if isinstance(key, (str, int)) else None, field=field.column)
    if type(cell) is Large:
        if cell.text and field.may_be_large:
            return cell
        found = f"{'text' if cell.text else 'a BLOB'} of {cell.bytes} bytes"
        raise InvalidCell(f"found {found}, expected {kind.noun} that fits in its row", where=where)
    if type(cell) is NotUtf8:
        raise InvalidCell("found text that is no UTF-8, expected UTF-8", where=where)
    if not isinstance(cell, (kind.stored, *kind.also_stored)):
        raise InvalidCell(f"found {describe(cell)}, expected {kind.noun}", where=where)
    try:
        return kind.to_wire(cell, field, lambda code, message: report(Finding("warning", code, message, where)))
    except OverLimit as error:
        raise LimitExceeded(str(error), where=where) from error
    except (ValueError, OverflowError) as error:
        reason = str(error) if not isinstance(error, orjson.JSONDecodeError) else f"expected JSON: {error}"
        raise InvalidCell(f"found {describe(cell)}, {reason}", where=where) from error
