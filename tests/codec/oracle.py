"""DAG-CBOR and CAR once more, slow and obvious: what the fast ways of the package are held against."""

from __future__ import annotations

import base64
import struct
from typing import Any

from pattern_stream.codec.car import Section, SectionSplitter
from pattern_stream.codec.cid import cid_from_text
from pattern_stream.codec.dagcbor import Link


def oracle_head(major: int, number: int) -> bytes:
    """Major type and argument in the fewest bytes."""
    if number < 24:
        return bytes([major * 32 + number])
    if number < 2**8:
        return bytes([major * 32 + 24]) + struct.pack(">B", number)
    if number < 2**16:
        return bytes([major * 32 + 25]) + struct.pack(">H", number)
    if number < 2**32:
        return bytes([major * 32 + 26]) + struct.pack(">I", number)
    return bytes([major * 32 + 27]) + struct.pack(">Q", number)


def oracle_encode(value: Any) -> bytes:
    """The one way to write a value. Source: docs/format.md#dag-cbor."""
    match value:
        case None:
            return b"\xf6"
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return oracle_head(0, value) if value >= 0 else oracle_head(1, -1 - value)
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case str():
            return oracle_head(3, len(value.encode())) + value.encode()
        case bytes():
            return oracle_head(2, len(value)) + value
        case Link():
            return oracle_head(6, 42) + oracle_encode(b"\x00" + value.cid)
        case list():
            return oracle_head(4, len(value)) + b"".join(oracle_encode(element) for element in value)
        case dict():
            entries = sorted((oracle_encode(key), oracle_encode(content)) for key, content in value.items())
            return oracle_head(5, len(value)) + b"".join(key + content for key, content in entries)
    raise TypeError(type(value))


def from_dag_json(value: Any) -> Any:
    """A parsed DAG-JSON value: `{"/": text}` is a link, `{"/": {"bytes": base64}}` bytes."""
    if isinstance(value, list):
        return [from_dag_json(element) for element in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"/": str(text)}:
            return Link(cid_from_text(text))
        case {"/": {"bytes": str(text)}}:
            return base64.b64decode(text + "=" * (-len(text) % 4))
    return {key: from_dag_json(content) for key, content in value.items()}


def same(left: Any, right: Any) -> bool:
    """Equal in type and value; -0.0 is not 0.0, 1 is not 1.0 nor True. As deep as it may be."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if type(one) is not type(other):
            return False
        if isinstance(one, dict | list) and len(one) != len(other):
            return False
        if isinstance(one, dict):
            if one.keys() != other.keys():
                return False
            pairs += [(one[key], other[key]) for key in one]
        elif isinstance(one, list):
            pairs += zip(one, other, strict=True)
        elif one != other or (isinstance(one, float) and str(one) != str(other)):
            return False
    return True


def split(data: bytes, piece_bytes: int | None = None, *, any_roots: bool = False) -> list[Section]:
    """All sections of an archive that is fed in pieces of one size (None: whole)."""
    splitter = SectionSplitter(any_roots=any_roots)
    size = piece_bytes or max(1, len(data))
    sections = [section for at in range(0, len(data), size) for section in splitter.feed(data[at : at + size])]
    splitter.finish()
    return sections
