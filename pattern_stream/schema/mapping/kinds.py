"""One class per kind of field: how a value is stored, sent, checked and compared.

The hot directions are compiled (`row_to_record`, `record_to_row`): a kind gives them an expression and the functions
that it names. The quick looks judge a whole column of a batch; the slow methods judge one value and say what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, ClassVar, Final

import orjson

from pattern_stream.errors import MalformedNode, Where
from pattern_stream.format import MAX_BLOCK_VALUES, MAX_JSON_DEPTH
from pattern_stream.schema.mapping import wire_values
from pattern_stream.schema.mapping.instants import (
    instant_to_column,
    instant_to_wire,
    is_plain_column,
    is_plain_wire,
    parse_instant,
)
from pattern_stream.schema.mapping.json_values import (
    LONGEST_SHALLOW,
    OverLimit,
    all_come_back,
    check_role,
    comes_back,
    equal_json,
    json_depth,
    loads,
    may_be_deep,
    negative_zero,
    read_json,
    read_role,
    read_shallow,
    read_strings,
    write_json,
)
from pattern_stream.schema.mapping.wire_values import (
    I64,
    STRICT_JSON,
    Wrong,
    describe_value,
    expect_map,
    join,
    malformed,
    typed,
)
from pattern_stream.schema.model.cells import Large, StoredText
from pattern_stream.schema.model.fields import Field, Kind
from pattern_stream.schema.model.records import Record

Warn = Callable[[str, str], None]
"""Takes the code and message of a warning."""

LookAtValues = Callable[[Sequence[Any]], bool]
"""Whether all decoded values of a column are as they must be. May also raise TypeError or ValueError."""

LookAtCells = Callable[[Sequence[Any], Sequence[dict[str, Any]], str], bool]
"""Whether all cells of a column come back equal: the cells, the records made of them, the key there."""


class BareNumber(Exception):
    """The whole value of a JSON field is a number, of which the slow form of a mapping warns."""


def json_cell(value: Any, nullable: bool) -> Any:
    """The cell of a JSON value. Raises BareNumber, ValueError."""
    if value is None:
        return None if nullable else "null"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise BareNumber
    if type(value) is StoredText:
        text = str(value)  # Trap: orjson takes no subclass of str.
        if text.count(",") + text.count("[") + text.count("{") <= MAX_BLOCK_VALUES:
            read_json(text)  # proved only where that cannot take much memory
        return text
    return value if type(value) is Large else write_json(value)


class FieldKind:
    """A kind whose values are the same in a column and on the wire."""

    stored: ClassVar[type] = str
    also_stored: ClassVar[tuple[type, ...]] = ()
    """Types of cells that the slow form takes too."""

    noun: ClassVar[str] = "text"
    """The expected cell, for messages."""

    sent: ClassVar[type | None] = str
    """None: any JSON value."""

    is_json: ClassVar[bool] = False
    is_container: ClassVar[bool] = False
    """The value is an array or map on the wire, whatever the cell."""

    out_expression: ClassVar[str] = "{cell}"
    out_names: ClassVar[Mapping[str, Any]] = {}
    in_expression: ClassVar[str] = "{value}"
    in_names: ClassVar[Mapping[str, Any]] = {}

    def to_wire(self, cell: Any, field: Field, warn: Warn) -> Any:
        """Raises ValueError; OverLimit where no block could hold the value."""
        return cell

    def to_cell(self, value: Any, field: Field, warn: Warn) -> Any:
        """The cell for a checked value. Raises ValueError."""
        return value

    def check(self, value: Any, field: Field) -> Any:
        """The decoded value in its usual form. Raises ValueError."""
        return value if self.sent is None else typed(value, self.sent)

    def look_at_values(self, field: Field) -> LookAtValues | None:
        """The look at a column of decoded values, beside the one at their types."""
        return None

    def look_at_cells(self, field: Field) -> LookAtCells | None:
        """The look at a column of cells that were mapped."""
        return _no_null if field.null_as is not None else None

    def equal(self, cell: Any, back: Any) -> bool:
        """Whether a cell that came back counts as the same; neither is NULL."""
        return type(cell) is type(back) and bool(cell == back)

    def neutral(self, field: Field) -> Any:
        """The cell that stands in a record for one that has no place there, of a field that is not nullable."""
        return ""


class TextKind(FieldKind):
    """Text that may be anything."""


class IntegerKind(FieldKind):
    """A signed 64-bit integer."""

    stored, noun, sent = int, "an integer", int

    def check(self, value: Any, field: Field) -> Any:
        return wire_values.integer(value, *I64)

    def look_at_values(self, field: Field) -> LookAtValues | None:
        return lambda column: all(number is None or I64[0] <= number <= I64[1] for number in column)

    def neutral(self, field: Field) -> Any:
        return 0


class FlagKind(FieldKind):
    """0 or 1, and a bool on the wire."""

    stored, noun, sent = int, "0 or 1", bool
    out_expression, in_expression = "{cell} != 0", "1 if {value} else 0"

    def to_wire(self, cell: Any, field: Field, warn: Warn) -> Any:
        return cell != 0

    def to_cell(self, value: Any, field: Field, warn: Warn) -> Any:
        return 1 if value else 0

    def look_at_cells(self, field: Field) -> LookAtCells | None:
        return lambda column, records, name: _BITS.issuperset(column)

    def neutral(self, field: Field) -> Any:
        return 0


class ChoiceKind(FieldKind):
    """One of the spellings of an enum of the original."""

    def to_wire(self, cell: Any, field: Field, warn: Warn) -> Any:
        if cell not in field.choices:
            raise ValueError(f"expected one of {', '.join(sorted(field.choices))}")
        return cell

    def check(self, value: Any, field: Field) -> Any:
        return wire_values.choice(value, field.choices)

    def look_at_values(self, field: Field) -> LookAtValues | None:
        return (field.choices | ({None} if field.wire_nullable else set())).issuperset

    def neutral(self, field: Field) -> Any:
        return _LEAST_RIGHTS if _LEAST_RIGHTS in field.choices else min(field.choices)


class InstantKind(FieldKind):
    """A timestamp to the nanosecond: its offset differs between column and wire."""

    out_expression = "{cell}[:-6] + 'Z' if plain({cell}) else instant({cell})"
    out_names: ClassVar[Mapping[str, Any]] = {"plain": is_plain_column, "instant": instant_to_wire}
    in_expression = "{value}[:-1] + '+00:00' if {value}[-1] == 'Z' else instant({value})"
    in_names: ClassVar[Mapping[str, Any]] = {"instant": instant_to_column}

    def to_wire(self, cell: Any, field: Field, warn: Warn) -> Any:
        return instant_to_wire(cell)

    def to_cell(self, value: Any, field: Field, warn: Warn) -> Any:
        return instant_to_column(value)

    def check(self, value: Any, field: Field) -> Any:
        return wire_values.instant(value)

    def look_at_values(self, field: Field) -> LookAtValues | None:
        return lambda column: all(map(is_plain_wire, column))

    def equal(self, cell: Any, back: Any) -> bool:
        try:
            return isinstance(cell, str) and parse_instant(cell) == parse_instant(back)
        except ValueError:
            return False

    def neutral(self, field: Field) -> Any:
        return "1970-01-01T00:00:00+00:00"


class JsonTextKind(FieldKind):
    """JSON text in a column, a value of a known shape on the wire."""

    noun, is_json, is_container = "JSON text", True, True
    in_expression = "dumps({value}).decode()"
    in_names: ClassVar[Mapping[str, Any]] = {"dumps": orjson.dumps}

    def to_cell(self, value: Any, field: Field, warn: Warn) -> Any:
        return write_json(value)

    def equal(self, cell: Any, back: Any) -> bool:
        if not isinstance(cell, str) or not isinstance(back, str):
            return super().equal(cell, back)
        return cell == back or equal_json(cell, back)


class JsonKind(JsonTextKind):
    """Any JSON value.

    # Trap: a JSON column has NUMERIC affinity, so SQLite turns the text `7` into a number.
    """

    also_stored = (int, float)
    sent = None
    is_container = False
    out_expression = (
        "json({cell}) if len({cell}) > shallow or '-' in {cell} and negative_zero({cell}) else loads({cell})"
    )
    out_names: ClassVar[Mapping[str, Any]] = {
        "json": read_shallow,
        "loads": loads,
        "negative_zero": negative_zero,
        "shallow": LONGEST_SHALLOW,
    }
    in_expression = "dumps(v).decode() if type(v := {value}) is dict else json(v, {nullable})"
    in_names: ClassVar[Mapping[str, Any]] = {"json": json_cell, "dumps": orjson.dumps}

    def to_wire(self, cell: Any, field: Field, warn: Warn) -> Any:
        if not isinstance(cell, str):
            if not isfinite(cell):
                raise OverLimit(f"found {cell}, which format version 3 cannot hold")
            warn(*_bare_number(cell, "carried"))
            return cell
        value = read_json(cell)
        if may_be_deep(cell) and (depth := json_depth(value)) > MAX_JSON_DEPTH:
            limit = f"the original program reads {MAX_JSON_DEPTH} at most"
            warn("deep-json", f"JSON is nested {depth} levels deep: carried, but {limit}")
        return value

    def to_cell(self, value: Any, field: Field, warn: Warn) -> Any:
        try:
            return json_cell(value, field.nullable)
        except BareNumber:
            warn(*_bare_number(value, "stored"))
            return value if isinstance(value, float) or I64[0] <= value <= I64[1] else float(value)

    def check(self, value: Any, field: Field) -> Any:
        try:
            orjson.dumps(value, option=STRICT_JSON)
        except TypeError as error:
            raise Wrong(f"found {describe_value(value)} that is no JSON: {error}") from error
        return value

    def look_at_values(self, field: Field) -> LookAtValues | None:
        return lambda column: bool(orjson.dumps(list(column), option=STRICT_JSON))  # raises TypeError

    def look_at_cells(self, field: Field) -> LookAtCells | None:
        return _as_many_nulls if field.nullable else _all_come_back

    def neutral(self, field: Field) -> Any:
        return "{}"


class StringsKind(JsonTextKind):
    """An array of text."""

    sent = list
    out_expression = "strings({cell})"
    out_names: ClassVar[Mapping[str, Any]] = {"strings": read_strings}

    def to_wire(self, cell: Any, field: Field, warn: Warn) -> Any:
        return read_strings(cell)

    def check(self, value: Any, field: Field) -> Any:
        return wire_values.strings(value)

    def look_at_values(self, field: Field) -> LookAtValues | None:
        return lambda column: all(_TEXT_ONLY.issuperset(map(type, texts)) for texts in column)

    def look_at_cells(self, field: Field) -> LookAtCells | None:
        return _no_null_strings

    def neutral(self, field: Field) -> Any:
        return "[]"


class RoleKind(JsonTextKind):
    """A group member's role: only `type` and `domain` are sent."""

    sent = dict
    out_expression = "role({cell})"
    out_names: ClassVar[Mapping[str, Any]] = {"role": read_role}

    def to_wire(self, cell: Any, field: Field, warn: Warn) -> Any:
        return read_role(cell)

    def check(self, value: Any, field: Field) -> Any:
        return check_role(value)

    def look_at_values(self, field: Field) -> LookAtValues | None:
        return lambda column: all(role is None or check_role(role) == role for role in column)

    def look_at_cells(self, field: Field) -> LookAtCells | None:
        return _same_roles


class OctetsKind(FieldKind):
    """Bytes that are sent as an array of integers. # Trap: `frontier` is no byte string on the wire."""

    stored, noun, sent, is_container = bytes, "a BLOB", list, True
    out_expression, in_expression = "list({cell})", "bytes({value})"

    def to_wire(self, cell: Any, field: Field, warn: Warn) -> Any:
        return list(cell)

    def to_cell(self, value: Any, field: Field, warn: Warn) -> Any:
        return bytes(value)

    def check(self, value: Any, field: Field) -> Any:
        return [wire_values.integer(number, 0, 255) for number in typed(value, list)]

    def look_at_values(self, field: Field) -> LookAtValues | None:
        return lambda column: all(numbers is None or _all_octets(numbers) for numbers in column)


class BlobKind(FieldKind):
    """Bytes that are not sent in the record's own map."""

    stored, noun = bytes, "a BLOB"


KINDS: Final[Mapping[Kind, FieldKind]] = {
    "text": TextKind(),
    "integer": IntegerKind(),
    "flag": FlagKind(),
    "json": JsonKind(),
    "instant": InstantKind(),
    "choice": ChoiceKind(),
    "strings": StringsKind(),
    "role": RoleKind(),
    "octets": OctetsKind(),
    "blob": BlobKind(),
}

_LEAST_RIGHTS: Final = "read_only"
_BITS: Final = frozenset({0, 1})
_TEXT_ONLY: Final = frozenset({str})
_INT_ONLY: Final = frozenset({int})


def check_record(record: type[Record], value: Any, path: str = "") -> dict[str, Any]:
    """A decoded map as a record: known keys only, in their usual form. The slow form: raises MalformedNode by field."""
    expect_map(value, path)
    checked = {}
    for field in record.wire_fields():
        if field.name not in value and not (field.nullable and field.wire_nullable):
            place = Where(field=join(path, field.name))
            raise MalformedNode(f"found no {field.name}, which must be there", where=place)
        found = value.get(field.name)
        try:
            null = found is None and field.wire_nullable
            checked[field.name] = None if null else KINDS[field.kind].check(found, field)
        except ValueError as error:
            raise malformed(error, found, join(path, field.name)) from error
    return checked


def _bare_number(number: float, fate: str) -> tuple[str, str]:
    return "bare-number", f"JSON is the bare number {number}: {fate}, but the original program cannot read such a row"


def _all_octets(numbers: list[Any]) -> bool:
    return _INT_ONLY.issuperset(map(type, numbers)) and bytes(numbers) is not None  # raises ValueError beyond a byte


def _no_null(column: Sequence[Any], records: Sequence[dict[str, Any]], name: str) -> bool:
    return None not in column


def _as_many_nulls(column: Sequence[Any], records: Sequence[dict[str, Any]], name: str) -> bool:
    """# Trap: the text `null` is a value, and comes back as NULL."""
    values = [record[name] for record in records]
    return column.count(None) == values.count(None) and all_come_back(column, values)


def _all_come_back(column: Sequence[Any], records: Sequence[dict[str, Any]], name: str) -> bool:
    return all_come_back(column, [record[name] for record in records])


def _no_null_strings(column: Sequence[Any], records: Sequence[dict[str, Any]], name: str) -> bool:
    """# Trap: NULL and the text `null` both read as an array of nothing, and come back as one."""
    pairs = zip(column, records, strict=True)
    return all(record[name] or (cell is not None and cell.strip() != "null") for cell, record in pairs)


def _same_roles(column: Sequence[Any], records: Sequence[dict[str, Any]], name: str) -> bool:
    pairs = ((cell, record[name]) for cell, record in zip(column, records, strict=True) if cell is not None)
    return all(read_json(cell) == role and comes_back(cell, role) for cell, role in pairs)
