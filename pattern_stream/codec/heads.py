"""Ready DAG-CBOR bytes: the heads and small values that are put around bytes encoded already.
Source: docs/format.md#dag-cbor."""

from __future__ import annotations

from typing import Final

from pattern_stream.errors import UnencodableValue
from pattern_stream.format import CID_BYTES

_LINK_HEAD: Final = bytes.fromhex("d82a582500")
"""Tag 42, byte string of 37 bytes, identity multibase prefix. Source: docs/format.md#dag-cbor."""


def map_head(count: int) -> bytes:
    """The bytes before `count` keys and their values; the keys must come in canonical order."""
    return _head(5, count)


def array_head(count: int) -> bytes:
    """The bytes before `count` values."""
    return _head(4, count)


def bytes_head(count: int) -> bytes:
    """The bytes before a byte string of `count` bytes."""
    return _head(2, count)


def text(value: str) -> bytes:
    """A whole text. Raises UnencodableValue: a lone surrogate."""
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:
        raise UnencodableValue("text with a lone surrogate, expected what UTF-8 can hold") from error
    return _head(3, len(encoded)) + encoded


def integer(value: int) -> bytes:
    """A whole integer, -2^64 to 2^64 - 1. Raises UnencodableValue: beyond."""
    return _head(0, value) if value >= 0 else _head(1, -1 - value)


def link(cid: bytes) -> bytes:
    """A whole link: 41 bytes for a CID of ours."""
    if len(cid) == CID_BYTES:
        return _LINK_HEAD + cid
    return b"\xd8\x2a" + _head(2, 1 + len(cid)) + b"\x00" + cid


def _head(major: int, argument: int) -> bytes:
    """The shortest head of a major type and its argument."""
    initial = major << 5
    if argument < 24:
        return bytes((initial | argument,))
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * size):
            return bytes((initial | info,)) + argument.to_bytes(size, "big")
    raise UnencodableValue(f"integer of {argument.bit_length()} bits, expected at most 64")
