"""Unsigned varints (LEB128): seven bits a byte, least significant first. Source: docs/format.md#container.

Strict both ways: the shortest form only, and at most nine bytes (63 bits), as the multiformats definition has it.
"""

from __future__ import annotations

from typing import Final

from pattern_stream.errors import MalformedSection

MAX_VARINT_BYTES: Final = 9
"""Longest varint: 9 x 7 = 63 bits. Source: multiformats/unsigned-varint."""

_BEYOND: Final = 1 << (7 * MAX_VARINT_BYTES)


def encode_varint(value: int) -> bytes:
    """The shortest bytes of `value`.

    Raises:  ValueError: negative, or beyond 63 bits.
    """
    if not 0 <= value < _BEYOND:
        raise ValueError(f"varint of {value}, expected 0 to 2^63 - 1")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[int, int] | None:
    """The value at `offset` and the offset after it; None where the data ends before the varint does.

    Raises:  MalformedSection: longer than needed, or longer than nine bytes.
    """
    value = shift = 0
    limit = offset + MAX_VARINT_BYTES
    for at in range(offset, min(len(data), limit)):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise MalformedSection(f"varint of {value} takes {at + 1 - offset} bytes, expected its shortest form")
            return value, at + 1
        shift += 7
    if len(data) >= limit:
        raise MalformedSection(f"varint is longer than {MAX_VARINT_BYTES} bytes, expected at most {MAX_VARINT_BYTES}")
    return None
