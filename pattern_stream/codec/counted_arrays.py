"""Blocks that are mostly an array, counted without being decoded: the array's head, and the keys behind the array.
Source: docs/format.md#dag-cbor, #message-chunks, #extension-tables.

The keys of a map stand in canonical order, so what a chunk says of itself is the block's end. Nothing between is looked
at but, where a caller shows them, the first and the last map of the array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from pattern_stream.codec.dagcbor import decode
from pattern_stream.codec.heads import array_head, map_head, text
from pattern_stream.errors import ArchiveError

_TAIL_BYTES: Final = 4096
"""Where the keys behind the array are looked for: that far from the end."""

_ARRAYS: Final = range(0x80, 0x9B)
_MAPS: Final = range(0xA1, 0xB8)
_KEYS: Final = range(0x60, 0x78)


class CountedArray(NamedTuple):
    """How many elements the array has, the values behind it by key, and the elements at its ends: one, two or none."""

    length: int
    fields: dict[str, Any]
    ends: list[Any]


def count_array(data: bytes, keys: Sequence[str], *, ends: bool = False) -> CountedArray | None:
    """Count the array in a block of exactly these keys, the array's first, in canonical order.

    `ends`: decode its first and last elements too, which are maps with one and the same first key.

    None where the block is not that, or not plainly so: who decodes it finds out what it is. Every head that is read is
    the shortest one, every value is decoded strictly, and no element is shorter than a byte.
    """
    start = map_head(len(keys)) + text(keys[0])
    at = len(start)
    if not data.startswith(start) or (length := _array_length(data, at)) is None:
        return None
    first = at + len(array_head(length))
    tail = data.rfind(text(keys[1]), max(first, len(data) - _TAIL_BYTES))
    if tail < 0 or length > tail - first or (length == 0 and tail != first):
        return None
    try:
        fields = decode(map_head(len(keys) - 1) + data[tail:])
        found = list(map(decode, _end_maps(data, first, tail, length))) if ends and length else []
    except ArchiveError:
        return None
    return CountedArray(length, fields, found) if list(fields) == list(keys[1:]) else None


def _array_length(data: bytes, at: int) -> int | None:
    """The length in the head of an array, in its shortest form; None for all else."""
    if at >= len(data) or data[at] not in _ARRAYS:
        return None
    wide = data[at] - 0x98
    length = data[at] - 0x80 if wide < 0 else int.from_bytes(data[at + 1 : at + 1 + (1 << wide)], "big")
    return length if data.startswith(array_head(length), at) else None


def _end_maps(data: bytes, first: int, tail: int, length: int) -> list[bytes]:
    """The bytes of the first and the last map of an array, if no map inside them begins as they do."""
    if length == 1:
        return [data[first:tail]]
    if data[first] not in _MAPS or data[first + 1] not in _KEYS:
        return [b""]
    mark = data[first : first + 2 + data[first + 1] - _KEYS.start]
    return [data[first : data.find(mark, first + 1, tail)], data[data.rfind(mark, first, tail) : tail]]
