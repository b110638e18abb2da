"""Decoded records against their declarations, a whole batch at a time.

The rules are the original reader's: a nullable field may be missing and is then null; any other missing field refuses
the block; unknown keys are skipped. Whole columns of a batch are looked at; only when anything is odd is the batch gone
through again, value by value, by the careful half, which knows how to say what and where. Source: v3 2.1, 2.2, 4, 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import orjson

from pattern_stream.codec.dagcbor import Link
from pattern_stream.codec.message_arrays import AlikeMaps, NotAlike
from pattern_stream.errors import MalformedNode, Where
from pattern_stream.schema.mapping.instants import instant_to_column, is_plain_wire
from pattern_stream.schema.mapping.json_values import check_role
from pattern_stream.schema.model.fields import Field
from pattern_stream.schema.model.records import Record

_STRICT_JSON: Final = (
    orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME
)
"""orjson writes exactly the types of JSON and refuses bytes and links: the quickest check that a value is JSON."""

_WIRE: Final[dict[str, type]] = {"integer": int, "flag": bool, "octets": list, "strings": list, "role": dict}
_AT_ONCE: Final = 64
"""Values that are looked at together: few enough for the processor's cache."""

_I64: Final = (-(2**63), 2**63 - 1)
_KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "a bool",
    str: "text",
    bytes: "a byte string",
    list: "an array",
    dict: "a map",
    Link: "a link",
}


class Wrong(Exception):
    """What was found and expected, before the place is known."""


@dataclass(frozen=True, slots=True)
class RecordChecker:
    """Decoded maps of one record type to checked records: known keys only, instants in their usual form."""

    record: type[Record]
    fields: tuple[Field, ...]
    names: tuple[str, ...]
    cells_of: Callable[[Any], tuple[Any, ...]]
    types: tuple[frozenset[type] | None, ...]
    judges: tuple[tuple[int, Callable[[Sequence[Any]], bool]], ...]

    def check(self, values: Sequence[Any], path: str = "") -> Sequence[dict[str, Any]]:
        """One record a value. Raises MalformedNode naming the field by its path from the block's own map.

        AlikeMaps are proved here too, and stay what they are. Raises NotAlike where they would not.
        """
        if isinstance(values, AlikeMaps):
            for _ in self.proved(values, path):
                pass
            return values
        checked: list[dict[str, Any]] = []
        for start in range(0, len(values), _AT_ONCE):
            checked += self._check(values[start : start + _AT_ONCE], start, path)
        return checked

    def proved(self, values: AlikeMaps, path: str = "") -> Iterator[list[dict[str, Any]]]:
        """A few records at a time, each proved and checked. Raises MalformedNode, NotAlike."""
        for group in values.groups(prove=True):
            if self._check(group, 0, path) is not group:
                raise NotAlike
            yield group

    def _check(self, values: Sequence[Any], start: int, path: str) -> Sequence[dict[str, Any]]:
        try:
            rows = list(map(self.cells_of, values))
            if self._is_plain(rows):
                return self._records(values, rows)
        except (KeyError, TypeError, ValueError):
            pass  # the careful half below finds the field
        return [self.check_one(value, f"{path}[{index}]" if path else "") for index, value in enumerate(values, start)]

    def check_single(self, value: dict[str, Any], path: str = "") -> dict[str, Any]:
        """As `check`, for one map, which may have keys of its own beside the record's."""
        try:
            row = self.cells_of(value)
            if self._is_plain([row]):
                return dict(zip(self.names, row, strict=True))
        except (KeyError, TypeError, ValueError):
            pass
        return self.check_one(value, path)

    def check_one(self, value: Any, path: str = "") -> dict[str, Any]:
        """The slow and careful form of `check`, for one value."""
        expect(value, dict, path)
        return {field.name: _field(field, value, path) for field in self.fields}

    def _is_plain(self, rows: list[tuple[Any, ...]]) -> bool:
        columns = list(zip(*rows, strict=True))
        for allowed, column in zip(self.types, columns, strict=False):
            if allowed is not None and not allowed.issuperset(map(type, column)):
                return False
        return all(judge(columns[index]) for index, judge in self.judges if columns)

    def _records(self, values: Sequence[Any], rows: list[tuple[Any, ...]]) -> Sequence[dict[str, Any]]:
        if set(map(len, values)) == {len(self.names)}:
            return values
        return [dict(zip(self.names, row, strict=True)) for row in rows]


_CHECKERS: Final[dict[str, RecordChecker]] = {}


def record_checker(record: type[Record]) -> RecordChecker:
    """The checker of a record type, put together once."""
    if record.__name__ not in _CHECKERS:
        _CHECKERS[record.__name__] = _make_checker(record)
    return _CHECKERS[record.__name__]


def _make_checker(record: type[Record]) -> RecordChecker:
    fields = record.wire_fields()
    judges = [(index, judge) for index, field in enumerate(fields) if (judge := _judge(field)) is not None]
    names = tuple(field.name for field in fields)
    return RecordChecker(record, fields, names, itemgetter(*names), tuple(map(_types, fields)), tuple(judges))


def describe_value(value: object) -> str:
    """A decoded value in few words, for messages."""
    if isinstance(value, (bool, int, float)):
        return f"{'a bool' if isinstance(value, bool) else 'a number'} ({value})"
    if isinstance(value, str):
        return f"text {value!r}" if len(value) <= 40 else f"text of {len(value)} characters"
    return _KINDS.get(type(value), "a value of no known kind")


# --- columns: quick looks at a whole batch ------------------------------------------------------------------------


def _types(field: Field) -> frozenset[type] | None:
    if field.kind == "json":
        return None
    kind = _WIRE.get(field.kind, str)
    return frozenset({kind, type(None)}) if field.wire_nullable else frozenset({kind})


def _judge(field: Field) -> Callable[[Sequence[Any]], bool] | None:
    if field.kind == "choice":
        return (field.choices | ({None} if field.wire_nullable else set())).issuperset
    return _JUDGES.get(field.kind)


def _all_plain_instants(column: Sequence[Any]) -> bool:
    return all(map(is_plain_wire, column))


def _all_json(column: Sequence[Any]) -> bool:
    orjson.dumps(list(column), option=_STRICT_JSON)  # raises TypeError where it is not
    return True


def _all_i64(column: Sequence[Any]) -> bool:
    return all(number is None or _I64[0] <= number <= _I64[1] for number in column)


def _all_strings(column: Sequence[Any]) -> bool:
    return all(_TEXT_ONLY.issuperset(map(type, texts)) for texts in column)


def _all_octets(column: Sequence[Any]) -> bool:
    return all(numbers is None or (_INT_ONLY.issuperset(map(type, numbers)) and _fits(numbers)) for numbers in column)


def _fits(numbers: list[int]) -> bool:
    bytes(numbers)  # raises ValueError where one is beyond a byte
    return True


def _all_roles(column: Sequence[Any]) -> bool:
    return all(role is None or check_role(role) == role for role in column)


_TEXT_ONLY: Final = frozenset({str})
_INT_ONLY: Final = frozenset({int})
_JUDGES: Final[dict[str, Callable[[Sequence[Any]], bool]]] = {
    "instant": _all_plain_instants,
    "json": _all_json,
    "integer": _all_i64,
    "strings": _all_strings,
    "octets": _all_octets,
    "role": _all_roles,
}


# --- values: the careful half -------------------------------------------------------------------------------------


def _field(field: Field, value: dict[str, Any], path: str) -> Any:
    place = join(path, field.name)
    if field.name not in value:
        if field.nullable and field.wire_nullable:
            return None
        raise MalformedNode(f"found no {field.name}, which must be there", where=Where(field=place))
    found = value[field.name]
    if found is None and field.wire_nullable:
        return None
    try:
        return _CAREFUL[field.kind](found, field)
    except Wrong as error:
        raise MalformedNode(str(error), where=Where(field=place)) from error
    except ValueError as error:
        raise MalformedNode(f"found {describe_value(found)}, {error}", where=Where(field=place)) from error


def expect(value: Any, kind: type, path: str) -> None:
    if type(value) is not kind:
        expected = "text" if kind is str else _KINDS.get(kind, "an integer")
        message = f"found {describe_value(value)}, expected {expected}"
        raise MalformedNode(message, where=Where(field=path or None))


def typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise Wrong(f"found {describe_value(value)}, expected {_KINDS.get(kind, 'an integer')}")
    return value


def integer(value: Any, least: int, most: int) -> int:
    number: int = typed(value, int)
    if not least <= number <= most:
        raise Wrong(f"found {number}, expected an integer from {least} to {most}")
    return number


def instant(value: Any) -> str:
    text: str = typed(value, str)
    return text if is_plain_wire(text) else instant_to_column(text)[: -len("+00:00")] + "Z"


def choice(value: Any, choices: frozenset[str]) -> str:
    text: str = typed(value, str)
    if text not in choices:
        raise Wrong(f"found {describe_value(text)}, expected one of {', '.join(sorted(choices))}")
    return text


def strings(value: Any) -> list[str]:
    texts: list[str] = typed(value, list)
    for text in texts:
        typed(text, str)
    return texts


def _octets(value: Any) -> list[int]:
    """# Trap: `frontier` is an array of integers on the wire, and a byte string there is refused."""
    numbers: list[int] = typed(value, list)
    for number in numbers:
        integer(number, 0, 255)
    return numbers


def _json(value: Any) -> Any:
    try:
        orjson.dumps(value, option=_STRICT_JSON)
    except TypeError as error:
        raise Wrong(f"found {describe_value(value)} that is no JSON: {error}") from error
    return value


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


_CAREFUL: Final[dict[str, Callable[[Any, Field], Any]]] = {
    "text": lambda value, field: typed(value, str),
    "integer": lambda value, field: integer(value, *_I64),
    "flag": lambda value, field: typed(value, bool),
    "json": lambda value, field: _json(value),
    "instant": lambda value, field: instant(value),
    "choice": lambda value, field: choice(value, field.choices),
    "strings": lambda value, field: strings(value),
    "role": lambda value, field: check_role(value),
    "octets": lambda value, field: _octets(value),
}
