"""Blocks that are mostly one byte string, decoded around it: pieces of memory documents.
Source: docs/format.md#dag-cbor, #snapshot-chunks."""

from __future__ import annotations

from typing import Any, Final

from pattern_stream.codec.dagcbor import decode

_SMALL_BYTES: Final = 4096
"""Blocks up to this size are decoded as any other."""

_MAPS: Final = range(0xA1, 0xB8)
_KEYS: Final = range(0x60, 0x78)
_WIDTHS: Final = {0x59: (2, 1 << 8), 0x5A: (4, 1 << 16)}
"""Heads of longer byte strings: width of the length in bytes, and the least length that needs it. No block has more."""


def decode_piece(data: bytes) -> Any:
    """As `decode`, but a large byte string that is a map's first value is only sliced, never encoded again to compare.

    Without those bytes the block is canonical if and only if it is with them: their head is checked here, and the block
    is decoded with an empty byte string in their place.

    Raises:  as `decode`.
    """
    found = _first_bytes(data)
    if found is None:
        return decode(data)
    head, start, end = found
    value = decode(data[:head] + b"\x40" + data[end:])
    value[data[2:head].decode()] = data[start:end]
    return value


def _first_bytes(data: bytes) -> tuple[int, int, int] | None:
    """Where a map's first value, a byte string in its shortest form, has its head, start and end; None for all else."""
    if len(data) <= _SMALL_BYTES or data[0] not in _MAPS or data[1] not in _KEYS:
        return None
    head = 2 + data[1] - _KEYS.start
    width, least = _WIDTHS.get(data[head], (0, 0))
    start = head + 1 + width
    length = int.from_bytes(data[head + 1 : start], "big")
    if width == 0 or length < least or start + length > len(data):
        return None
    return head, start, start + length
