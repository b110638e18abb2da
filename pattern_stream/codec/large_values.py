"""Blocks that are mostly one value, a map's first: pieces of memory documents, chunks of messages.

Such a block is decoded in two parts: the large value, and the block with an empty one in its place. It is canonical if
and only if both are. A byte string is only sliced, never encoded again to compare. Of an array a few elements at a time
are decoded and compared while they are in the processor's cache, where all values of a block do not fit.
Source: docs/format.md#dag-cbor, #snapshot-chunks, #message-chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pattern_stream.codec.dagcbor import NotProved, decode, decode_elements
from pattern_stream.codec.heads import array_head, bytes_head
from pattern_stream.errors import ArchiveError

_SMALL_BYTES: Final = 4096
"""Blocks up to this size are decoded as any other."""

_MAPS: Final = range(0xA1, 0xB8)
_KEYS: Final = range(0x60, 0x78)
_BYTES: Final = 0x40
_ARRAY: Final = 0x80
_WIDTHS: Final = {24: 1, 25: 2, 26: 4}
"""Bytes of a length behind its head, by the head's low five bits; no block is as long as a wider one could say."""


class _Place(NamedTuple):
    """A map's first value: where its head is and its content starts, and how many bytes or elements that has."""

    head: int
    start: int
    size: int


def decode_large(data: bytes) -> Any:
    """As `decode`, but sooner where a map's first value is a long byte string or array.

    Raises:  as `decode`.
    """
    elements: list[Any] = []
    try:
        if (place := _first_value(data, _BYTES)) is not None:
            end = place.start + place.size
            value = decode(data[: place.head] + bytes_head(0) + data[end:])
            content: Any = data[place.start : end]
        else:
            value = decode_array(data, elements.extend)
            content = elements
    except (ArchiveError, NotProved):
        return decode(data)  # says what is wrong, and at which byte of the whole block
    value[next(iter(value))] = content
    return value


def decode_array(data: bytes, take: Callable[[list[Any]], object]) -> dict[str, Any]:
    """Decode a block whose first value is an array: `take` gets the elements, a few at a time. Returns the rest.

    In the rest, the array is empty. Until the end nothing is sure of the block but what `take` got.

    Raises:  NotProved, ArchiveError: `decode` is needed, which says what the block is and what is wrong with it.
    """
    place = _first_value(data, _ARRAY)
    if place is None:
        raise NotProved
    end = decode_elements(data, place.start, place.size, take)
    value: dict[str, Any] = decode(data[: place.head] + array_head(0) + data[end:])
    return value


def _first_value(data: bytes, kind: int) -> _Place | None:
    """The place of a map's first value where it is of that kind, with its shortest head, in a block that is large."""
    if len(data) <= _SMALL_BYTES or data[0] not in _MAPS or data[1] not in _KEYS:
        return None
    head = 2 + data[1] - _KEYS.start
    info = data[head] - kind
    start = head + 1 + _WIDTHS.get(info, 0)
    size = int.from_bytes(data[head + 1 : start], "big") if info in _WIDTHS else info
    shortest = bytes_head if kind == _BYTES else array_head
    if not 0 < size <= len(data) - start or data[head:start] != shortest(size):
        return None
    return _Place(head, start, size)
