"""JSON columns, roles and octets: one value between its column and the wire. Source: docs/format.md#json-values.

The original reads JSON with serde_json. orjson agrees with it on all but an integer `-0`, which is a float there.
"""

from __future__ import annotations

import json as standard_json
import re
from collections.abc import Sequence
from decimal import Decimal
from math import ulp
from typing import Any, Final

import orjson

from pattern_stream.format import MAX_DEPTH, MAX_JSON_DEPTH
from pattern_stream.schema.model.cells import StoredText
from pattern_stream.schema.model.records import ROLE_TYPES

negative_zero: Final = re.compile(r"-0(?=[\s,}\]]|\Z)").search
"""Finds what may be the integer `-0`, which orjson reads as 0. A hit inside a string only costs time."""

_may_round: Final = re.compile(r"[0-9.]{16,}|[0-9][eE][+-]?[0-9]{3}").search
"""Finds what may be a number with more digits, or a larger exponent, than 64 bits hold. Fifteen digits always fit."""

DEEPEST_JSON: Final = MAX_DEPTH - 10
"""Levels of JSON that are carried: what fits below the nodes that hold it, within what the decoder takes."""

LONGEST_SHALLOW: Final = 2 * DEEPEST_JSON
"""Shorter text cannot be nested deeper than that, since each level opens and closes; counting costs more than parsing.
"""

ORJSON_DEPTH: Final = 250
"""Levels of JSON that orjson writes for sure; its own limit is 254."""

loads: Final = orjson.loads


class OverLimit(ValueError):
    """A valid value that no block can hold: nested too deep, or not finite. The message is whole."""


def read_json(text: str) -> Any:
    """JSON text to its value as the original reads it. Raises ValueError with what is wrong."""
    value = _read_exactly(text) if negative_zero(text) else loads(text)
    if may_be_deep(text) and (depth := json_depth(value)) > DEEPEST_JSON:
        raise OverLimit(f"JSON is nested {depth} levels deep, limit is {DEEPEST_JSON}")
    return value


def read_shallow(text: str) -> Any:
    """As `read_json` for the fast path: text that may be nested deep is a ValueError, and goes to the slow form."""
    if may_be_deep(text):
        raise ValueError("may be nested deeper than the original reads back")
    return _read_exactly(text) if negative_zero(text) else loads(text)


def may_be_deep(text: str) -> bool:
    """Whether JSON text is long and opens more arrays and objects than the original reads back nested."""
    return len(text) > LONGEST_SHALLOW and text.count("[") + text.count("{") > MAX_JSON_DEPTH


def json_depth(value: Any) -> int:
    """Levels of arrays and objects in a value; a scalar has none."""
    depth, level = 0, [value]
    while level := [v for v in level if isinstance(v, (dict, list))]:
        depth += 1
        level = [inner for v in level for inner in (v.values() if isinstance(v, dict) else v)]
    return depth


def write_json(value: Any) -> str:
    """A value as the original writes a JSON column: compact, shortest floats, at any depth. Raises ValueError."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        if json_depth(value) > ORJSON_DEPTH:  # beyond what orjson writes; an archive may hold it all the same
            return _write_deep(value)
        raise ValueError(str(error)) from error


def all_come_back(cells: Sequence[Any], values: Sequence[Any]) -> bool:
    """Whether the JSON texts of a column would be written equal from their values. Other cells are not looked at.

    Text as the original writes it comes back byte for byte, so one comparison is enough for a whole column.
    """
    texts = ["null" if cell is None else cell for cell in cells] if None in cells else cells
    try:
        if orjson.dumps(values) == f"[{','.join(texts)}]".encode():
            return True
    except TypeError:  # nested too deep, or cells that are no text
        pass
    return all(map(comes_back, cells, values))


def comes_back(cell: Any, value: Any) -> bool:
    """Whether a JSON text would be written equal from its value: same numbers, same members as often."""
    if type(cell) is not str or type(value) is StoredText:
        return True
    written = write_json(value)
    if written == cell:
        return True
    if not (_may_round(cell) or negative_zero(cell) or "\\u003" in cell) and cell.count(":") == written.count(":"):
        return True  # no member is gone, and no number has changed
    return equal_json(cell, written)


def equal_json(left: str, right: str, *, ulps: int = 0) -> bool:
    """Whether two JSON texts say the same: numbers as exact decimals, integers apart from floats, members with their
    repetition, in any order of the others. `ulps`: how far floats may be apart, in units of the last place.
    """
    try:
        return _equal_exact(_read_exact(left), _read_exact(right), ulps)
    except (ValueError, ArithmeticError, RecursionError):
        return False


def read_strings(text: str) -> list[str]:
    """A JSON array of text. JSON null counts as none. Raises ValueError."""
    value = read_json(text)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("expected a JSON array of text")
    return value


def read_role(text: str) -> dict[str, str] | None:
    """A member's role; members of the object beside `type` and `domain` are dropped. Raises ValueError."""
    value = read_json(text)
    return None if value is None else check_role(value)


def check_role(value: Any) -> dict[str, str]:
    """A role's map in its own form. Raises ValueError."""
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in ROLE_TYPES:
        raise ValueError(f'expected a role object with a "type" of {", ".join(sorted(ROLE_TYPES))}')
    if kind != "specialist":
        return {"type": kind}
    if not isinstance(value.get("domain"), str):
        raise ValueError('expected a "domain" of text beside type specialist')
    return {"type": kind, "domain": value["domain"]}


def describe(value: object) -> str:
    """A cell in few words, for messages: its storage class and size, or the value where it is a number."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"a BLOB of {len(value)} bytes"
    if isinstance(value, str):
        return f"text {value!r}" if len(value) <= 40 else f"text of {len(value)} characters"
    return f"{'an integer' if isinstance(value, int) else 'a float'} ({value})"


class _Integer(str):
    """The digits of an integer."""


class _Float(Decimal):
    """A number with a fraction or exponent, as it is written."""


class _Members(list[tuple[str, Any]]):
    """The members of an object by name, those of one name in their order."""


def _read_exact(text: str) -> Any:
    return standard_json.loads(
        text, parse_int=_Integer, parse_float=_Float, object_pairs_hook=lambda pairs: _Members(sorted(pairs, key=_name))
    )


def _name(member: tuple[str, Any]) -> str:
    return member[0]


def _equal_exact(left: Any, right: Any, ulps: int) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, _Members):
        return list(map(_name, left)) == list(map(_name, right)) and all(
            _equal_exact(one, other, ulps) for (_, one), (_, other) in zip(left, right, strict=True)
        )
    if isinstance(left, list):
        return len(left) == len(right) and all(_equal_exact(a, b, ulps) for a, b in zip(left, right, strict=True))
    if isinstance(left, _Float):
        near = left == right or (
            bool(ulps) and abs(left - right) <= ulps * Decimal(ulp(float(max(abs(left), abs(right)))))
        )
        return near and left.is_signed() == right.is_signed()
    return bool(left == right)


def _read_exactly(text: str) -> Any:
    loads(text)  # the same refusals as everywhere; the standard library takes NaN and lone surrogates
    return standard_json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int | float:
    if digits == "-0":
        return -0.0
    value = int(digits) if len(digits) <= 20 else None
    return value if value is not None and -(2**63) <= value < 2**64 else float(digits)


def _write_deep(value: Any) -> str:
    try:
        return standard_json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error
