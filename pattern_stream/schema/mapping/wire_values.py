"""Checks of single decoded values. A refusal says the value found and the one expected; the caller adds the place."""

from __future__ import annotations

from typing import Any, Final

import orjson

from pattern_stream.codec.link import Link
from pattern_stream.errors import MalformedNode, Where
from pattern_stream.schema.mapping.instants import instant_to_column, is_plain_wire

STRICT_JSON: Final = (
    orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME
)
"""With these orjson writes exactly the types of JSON and refuses bytes and links: the quickest check of a value."""

I64: Final = (-(2**63), 2**63 - 1)
U64: Final = 2**64 - 1
_NOUNS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "a bool",
    int: "an integer",
    str: "text",
    bytes: "a byte string",
    list: "an array",
    dict: "a map",
    Link: "a link",
}


class Wrong(ValueError):
    """A whole message, before the place is known. Of any other ValueError the message lacks the value found."""


def malformed(error: ValueError, found: object, place: str) -> MalformedNode:
    """The refusal of a value at its place."""
    message = str(error) if isinstance(error, Wrong) else f"found {describe_value(found)}, {error}"
    return MalformedNode(message, where=Where(field=place or None))


def describe_value(value: object) -> str:
    """A decoded value in few words, for messages."""
    if isinstance(value, (bool, int, float)):
        return f"{'a bool' if isinstance(value, bool) else 'a number'} ({value})"
    if isinstance(value, str):
        return f"text {value!r}" if len(value) <= 40 else f"text of {len(value)} characters"
    return _NOUNS.get(type(value), "a value of no known kind")


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def typed(value: Any, kind: type) -> Any:
    """The value, which must be of exactly this type."""
    if type(value) is not kind:
        raise Wrong(f"found {describe_value(value)}, expected {_NOUNS[kind]}")
    return value


def expect_map(value: Any, path: str) -> None:
    """Raises MalformedNode for anything but a map."""
    if type(value) is not dict:
        raise malformed(Wrong(f"found {describe_value(value)}, expected a map"), value, path)


def integer(value: Any, least: int, most: int) -> int:
    number: int = typed(value, int)
    if not least <= number <= most:
        raise Wrong(f"found {number}, expected an integer from {least} to {most}")
    return number


def instant(value: Any) -> str:
    """An instant in its usual form."""
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


def links(value: Any) -> list[bytes]:
    """An array of links as CIDs."""
    return [typed(link, Link).cid for link in typed(value, list)]
