"""Decoded values against the declarations: what a block must hold before anybody believes it.

The rules are the original reader's: a nullable field may be missing and is then null; any other missing field refuses
the block; unknown keys are skipped. Whole columns of a batch are looked at; only when anything is odd is the batch gone
through again, value by value, by the careful half, which knows how to say what and where. Source: v3 2.1, 2.2, 4, 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Any, Final

import orjson

from pattern_stream.codec.dagcbor import Link
from pattern_stream.errors import MalformedNode, Where
from pattern_stream.schema.fields import Field
from pattern_stream.schema.instants import instant_to_column, is_plain_wire
from pattern_stream.schema.nodes import EXPORT_TYPES, LINEAGE_KEYS, STATS_KEYS, Edge, ExportManifest, NodeType
from pattern_stream.schema.records import Record
from pattern_stream.schema.values import check_role

_STRICT_JSON: Final = (
    orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME
)
"""orjson writes exactly the types of JSON and refuses bytes and links: the quickest check that a value is JSON."""

_WIRE: Final[dict[str, type]] = {"integer": int, "flag": bool, "octets": list, "strings": list, "role": dict}
_I64: Final = (-(2**63), 2**63 - 1)
_UNSIGNED: Final = {"u32": 2**32 - 1, "u64": 2**64 - 1}
_PLAIN_LINEAGE: Final = frozenset({str, int, type(None)})
_KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "a bool",
    str: "text",
    bytes: "a byte string",
    list: "an array",
    dict: "a map",
    Link: "a link",
}


class _Wrong(Exception):
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

    def check(self, values: Sequence[Any], path: str = "") -> list[dict[str, Any]]:
        """One record a value. Raises MalformedNode naming the field by its path from the block's own map."""
        try:
            rows = list(map(self.cells_of, values))
            if self._is_plain(rows):
                return self._records(values, rows)
        except (KeyError, TypeError, ValueError):
            pass  # the careful half below finds the field
        return [self.check_one(value, f"{path}[{index}]" if path else "") for index, value in enumerate(values)]

    def check_one(self, value: Any, path: str = "") -> dict[str, Any]:
        """The slow and careful form of `check`, for one value."""
        _expect(value, dict, path)
        return {field.name: _field(field, value, path) for field in self.fields}

    def _is_plain(self, rows: list[tuple[Any, ...]]) -> bool:
        columns = list(zip(*rows, strict=True))
        for allowed, column in zip(self.types, columns, strict=False):
            if allowed is not None and not allowed.issuperset(map(type, column)):
                return False
        return all(judge(columns[index]) for index, judge in self.judges if columns)

    def _records(self, values: Sequence[Any], rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
        width = len(self.names)
        if all(len(value) == width for value in values):
            return list(values)
        return [dict(zip(self.names, row, strict=True)) for row in rows]


@cache
def record_checker(record: type[Record]) -> RecordChecker:
    """The checker of a record type, put together once."""
    fields = record.wire_fields()
    judges = [(index, judge) for index, field in enumerate(fields) if (judge := _judge(field)) is not None]
    names = tuple(field.name for field in fields)
    return RecordChecker(record, fields, names, itemgetter(*names), tuple(map(_types, fields)), tuple(judges))


def check_node(node: type[NodeType], value: Any, path: str = "") -> dict[str, Any]:
    """A decoded block of a declared type: known keys only, links as CIDs. Raises MalformedNode naming the field."""
    _expect(value, dict, path)
    checked: dict[str, Any] = {}
    if node.record is not None:
        checked = _flat(node.record, value, path)
    for edge in node.edges:
        checked[edge.name] = _edge(edge, value, _join(path, edge.name))
    if node is ExportManifest:
        checked |= {key: value[key] for key in LINEAGE_KEYS if type(value.get(key)) in _PLAIN_LINEAGE and key in value}
    return checked


def unknown_keys(node: type[NodeType], value: Mapping[str, Any]) -> list[str]:
    """Keys of a decoded block that its type does not have; a reader of this version skips them."""
    lineage = LINEAGE_KEYS if node is ExportManifest else ()
    return [key for key in value if key not in node.keys and key not in lineage]


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
    return all(numbers is None or _INT_ONLY.issuperset(map(type, numbers)) and _fits(numbers) for numbers in column)


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


def _flat(record: type[Record], value: dict[str, Any], path: str) -> dict[str, Any]:
    checker = record_checker(record)
    try:
        rows = [checker.cells_of(value)]
        if checker._is_plain(rows):
            return dict(zip(checker.names, rows[0], strict=True))
    except (KeyError, TypeError, ValueError):
        pass
    return checker.check_one(value, path)


def _field(field: Field, value: dict[str, Any], path: str) -> Any:
    place = _join(path, field.name)
    if field.name not in value:
        if field.nullable and field.wire_nullable:
            return None
        raise MalformedNode(f"found no {field.name}, which must be there", where=Where(field=place))
    found = value[field.name]
    if found is None and field.wire_nullable:
        return None
    try:
        return _CAREFUL[field.kind](found, field)
    except _Wrong as error:
        raise MalformedNode(str(error), where=Where(field=place)) from error
    except ValueError as error:
        raise MalformedNode(f"found {describe_value(found)}, {error}", where=Where(field=place)) from error


def _edge(edge: Edge, value: dict[str, Any], place: str) -> Any:
    if edge.name not in value:
        if edge.nullable:
            return None
        raise MalformedNode(f"found no {edge.name}, which must be there", where=Where(field=place))
    found = value[edge.name]
    if found is None and edge.nullable:
        return None
    try:
        return _EDGES[edge.kind](found, edge, place)
    except _Wrong as error:
        raise MalformedNode(str(error), where=Where(field=place)) from error
    except ValueError as error:
        raise MalformedNode(f"found {describe_value(found)}, {error}", where=Where(field=place)) from error


def _expect(value: Any, kind: type, path: str) -> None:
    if type(value) is not kind:
        expected = "text" if kind is str else _KINDS.get(kind, "an integer")
        message = f"found {describe_value(value)}, expected {expected}"
        raise MalformedNode(message, where=Where(field=path or None))


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise _Wrong(f"found {describe_value(value)}, expected {_KINDS.get(kind, 'an integer')}")
    return value


def _integer(value: Any, least: int, most: int) -> int:
    number: int = _typed(value, int)
    if not least <= number <= most:
        raise _Wrong(f"found {number}, expected an integer from {least} to {most}")
    return number


def _instant(value: Any) -> str:
    text: str = _typed(value, str)
    return text if is_plain_wire(text) else instant_to_column(text)[: -len("+00:00")] + "Z"


def _choice(value: Any, choices: frozenset[str]) -> str:
    text: str = _typed(value, str)
    if text not in choices:
        raise _Wrong(f"found {describe_value(text)}, expected one of {', '.join(sorted(choices))}")
    return text


def _strings(value: Any) -> list[str]:
    texts: list[str] = _typed(value, list)
    for text in texts:
        _typed(text, str)
    return texts


def _octets(value: Any) -> list[int]:
    """# Trap: `frontier` is an array of integers on the wire, and a byte string there is refused."""
    numbers: list[int] = _typed(value, list)
    for number in numbers:
        _integer(number, 0, 255)
    return numbers


def _json(value: Any) -> Any:
    try:
        orjson.dumps(value, option=_STRICT_JSON)
    except TypeError as error:
        raise _Wrong(f"found {describe_value(value)} that is no JSON: {error}") from error
    return value


def _stats(value: Any) -> dict[str, int]:
    stats = _typed(value, dict)
    for key in STATS_KEYS:
        if key not in stats:
            raise _Wrong(f"found no {key}, which must be there")
    return {key: _integer(stats[key], 0, _UNSIGNED["u64"]) for key in STATS_KEYS}


def _link(value: Any) -> bytes:
    found = _typed(value, Link)
    return bytes(found.cid)


def _links(value: Any) -> list[bytes]:
    links = _typed(value, list)
    for link in links:
        _typed(link, Link)
    return [link.cid for link in links]


def _inline(value: Any, edge: Edge, place: str) -> list[dict[str, Any]]:
    nodes = _typed(value, list)
    of: Any = edge.of
    return [check_node(of, node, f"{place}[{index}]") for index, node in enumerate(nodes)]


def _records(value: Any, edge: Edge, place: str) -> list[dict[str, Any]]:
    of: Any = edge.of
    return record_checker(of).check(_typed(value, list), place)


def _record(value: Any, edge: Edge, place: str) -> dict[str, Any]:
    of: Any = edge.of
    _expect(value, dict, place)
    return _flat(of, value, place)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


_CAREFUL: Final[dict[str, Callable[[Any, Field], Any]]] = {
    "text": lambda value, field: _typed(value, str),
    "integer": lambda value, field: _integer(value, *_I64),
    "flag": lambda value, field: _typed(value, bool),
    "json": lambda value, field: _json(value),
    "instant": lambda value, field: _instant(value),
    "choice": lambda value, field: _choice(value, field.choices),
    "strings": lambda value, field: _strings(value),
    "role": lambda value, field: check_role(value),
    "octets": lambda value, field: _octets(value),
}
_VALUES: Final[dict[str, Callable[[Any], Any]]] = {
    "u32": lambda value: _integer(value, 0, _UNSIGNED["u32"]),
    "u64": lambda value: _integer(value, 0, _UNSIGNED["u64"]),
    "text": lambda value: _typed(value, str),
    "instant": _instant,
    "strings": _strings,
    "stats": _stats,
    "export_type": lambda value: _choice(value, frozenset(EXPORT_TYPES.values())),
}
_EDGES: Final[dict[str, Callable[[Any, Edge, str], Any]]] = {
    "record": _record,
    "records": _records,
    "links": lambda value, edge, place: _links(value),
    "link_map": lambda value, edge, place: {key: _link(link) for key, link in _typed(value, dict).items()},
    "inline": _inline,
    "link": lambda value, edge, place: _link(value),
    "octets": lambda value, edge, place: _typed(value, bytes),
    "value": lambda value, edge, place: _VALUES[edge.check](value),
}
