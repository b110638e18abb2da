"""Strict DAG-CBOR both ways; alone knows cbor2 and libipld. Source: docs/format.md#dag-cbor.

Encoding has two ways that give the same bytes (the tests hold them against each other and against a slow oracle):

* `encode_record` is libipld: 1.2 ms for 900 kB of messages, where cbor2 takes 4 ms and with sorted keys 14 ms.
  Trap: libipld writes any bytes that look like a CID as a link, so it never sees bytes that should stay bytes.
* `encode_node` takes links and bytes: cbor2, keys sorted beforehand, since its `canonical` shortens floats.

Decoding is cbor2 with everything but DAG-CBOR switched off, then the value is encoded again and compared with the
input: equal bytes prove shortest heads, key order, 64 bit floats, no trailing bytes, no unknown simple value, at the
speed of the encoder. 900 kB of messages take 5.5 ms, cbor2 alone 2.7 ms, reading each value in Python 30 ms.
libipld's decoder is faster (1.8 ms), but not used: it allocates arrays by declared lengths, and whether a byte is such
a head or in the middle of a text cannot be told without decoding. A block that does not compare equal goes to
`diagnostic_decoder`, which says the fault and its byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from math import isfinite
from typing import Any, Final
from zlib import adler32

import cbor2
import libipld

from pattern_stream.codec.cid import cid_parts
from pattern_stream.codec.diagnostic_decoder import decode_with_diagnosis
from pattern_stream.codec.heads import array_head, bytes_head, integer, link, map_head, text
from pattern_stream.codec.link import Link
from pattern_stream.errors import MalformedBlock, UnencodableValue
from pattern_stream.format import CID_BYTES, CID_PREFIX, CID_TAG, MAX_BLOCK_BYTES, MAX_BLOCK_CONTAINERS, MAX_DEPTH

__all__ = [
    "Link", "NotProved", "array_head", "bytes_head", "decode", "decode_elements", "encode_node", "encode_record",
    "encode_records", "integer", "is_readable", "link", "map_head", "text",
]  # fmt: skip

_OWN_LINK: Final = b"\x00" + CID_PREFIX
_OWN_LINK_BYTES: Final = 1 + CID_BYTES
_libipld_encode: Final[Callable[[Any], bytes]] = libipld.encode_dag_cbor
_LEAST_INTEGER: Final = -(1 << 64)
_BEYOND_INTEGER: Final = 1 << 64


# --- values to bytes ---------------------------------------------------------------------------------------------


def encode_record(value: Any) -> bytes:
    """The bytes of a value without links and without bytes: records, JSON, plain fields. The fast way.

    In:      dict with text keys, list, str, int, float, bool, None; nested as deep as JSON text can be (1024).
    Raises:  UnencodableValue: what DAG-CBOR cannot hold, and where in the value.
    """
    try:
        return _libipld_encode(value)
    except ValueError:
        return encode_node(value)  # says what is wrong, by path


def encode_records(values: Sequence[Any]) -> list[bytes]:
    """The bytes of each of many values, as `encode_record`: one call a batch instead of one a record."""
    try:
        return list(map(_libipld_encode, values))
    except ValueError:
        return [encode_record(value) for value in values]


def encode_node(value: Any) -> bytes:
    """The bytes of any value: as `encode_record`, and `Link` and bytes.

    Only these very types are taken: tuples, sets and subclasses would come back as something else.

    Raises:  UnencodableValue: what DAG-CBOR cannot hold, and where in the value.
    """
    try:
        return cbor2.dumps(_ordered(value, 0), encoders=_ENCODERS)
    except (TypeError, ValueError, RecursionError) as error:
        raise _explained(value) from error


def _ordered(value: Any, depth: int) -> Any:
    """The same value with the keys of every map in canonical order. Raises TypeError where it does not fit."""
    kind = type(value)
    if _is_fit(value, kind):
        return value
    if depth >= MAX_DEPTH and value:
        raise TypeError
    if kind is Link:
        return value
    if kind is dict:
        entries = {}
        for key in sorted(value, key=_key_order):
            entries[key] = _ordered(value[key], depth + 1)
        return entries
    if kind is list:
        elements = []
        for element in value:  # no comprehension: it would be a second frame per level before Python 3.12
            elements.append(_ordered(element, depth + 1))
        return elements
    raise TypeError


def _is_fit(value: Any, kind: type) -> bool:
    """Whether this is a scalar, not a link, that DAG-CBOR holds (text may still have lone surrogates)."""
    if kind is int:
        return bool(_LEAST_INTEGER <= value < _BEYOND_INTEGER)
    if kind is float:
        return isfinite(value)
    return kind in _SCALARS


def _key_order(key: Any) -> tuple[int, str]:
    """Shorter encodings first, then bytewise: UTF-8 sorts as its code points do. Source: docs/format.md#dag-cbor."""
    if type(key) is not str:
        raise TypeError
    return len(key) if key.isascii() else len(key.encode()), key


def _write_link(encoder: cbor2.CBOREncoder, value: Link) -> None:
    encoder.write(link(value.cid))


_SCALARS: Final = frozenset((str, bytes, bool, type(None)))
_ENCODERS: Final[Mapping[type, Callable[[cbor2.CBOREncoder, Any], None]]] = {Link: _write_link}


def _explained(value: Any) -> UnencodableValue:
    """The first thing in a value that does not fit, with its path."""
    stack: list[tuple[Any, tuple[str, ...]]] = [(value, ())]
    while stack:
        current, path = stack.pop()
        if fault := _fault(current, len(path)):
            place = f" at {'.'.join(path)}" if path else ""
            return UnencodableValue(f"{fault}{place}, expected what DAG-CBOR can hold")
        children = current.items() if type(current) is dict else enumerate(current) if type(current) is list else ()
        stack += reversed([(child, (*path, str(step))) for step, child in children])
    return UnencodableValue("value that cannot be encoded, expected what DAG-CBOR can hold")


def _fault(value: Any, depth: int) -> str | None:
    kind = type(value)
    if kind in (dict, list, Link):
        if depth >= MAX_DEPTH and value:
            return f"nesting of more than {MAX_DEPTH} levels"
        bad = [key for key in value if type(key) is not str or _has_surrogate(key)] if kind is dict else ()
        return f"map key {bad[0]!a}" if bad else None
    if kind is str:
        return "text with a lone surrogate" if _has_surrogate(value) else None
    if _is_fit(value, kind):
        return None
    if kind is int:
        return f"integer of {value.bit_length()} bits"
    return f"float {value}" if kind is float else f"value of type {kind.__name__}"


def _has_surrogate(value: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in value)


# --- bytes to values ---------------------------------------------------------------------------------------------


def decode(data: bytes | memoryview, *, any_cid: bool = False, strict: bool = True) -> Any:
    """The value of a block: dict, list, str, bytes, int, float, bool, None, `Link`.

    `any_cid`: links of every kind, not only ours. Not `strict`: longer heads of integers and lengths, any key order and
    32 bit floats pass too, as the original reads them.

    Values nest at most MAX_DEPTH deep, counting links. There is no recursion in Python, whatever the input.

    Memory:  up to 184 bytes for each array or map, of which there are at most MAX_BLOCK_CONTAINERS, and 64 for each
             other value, of which a block beyond MAX_BLOCK_BYTES has at most MAX_BLOCK_VALUES.
    Raises:  MalformedBlock: what was found and expected, and at which byte of the block.
             UnsupportedCid: a link of another kind, by name.
    """
    data = bytes(data)
    if not _may_be_crowded(data):
        try:
            value = cbor2.loads(data, tag_hook=_any_link if any_cid else _own_link, **_STRICT)
            if _is_canonical(value, data):
                return value
        except (cbor2.CBORError, ValueError, TypeError):
            pass  # the diagnostic decoder says the fault
    return decode_with_diagnosis(data, any_cid=any_cid, strict=strict)


class NotProved(Exception):
    """A block was not shown to be plain and canonical: `decode` says whether it is, and what is wrong with it."""


def decode_elements(data: bytes, at: int, count: int, take: Callable[[list[Any]], object]) -> int:
    """Decode the elements of an array in a block's map, from byte `at` on, a few at a time. Returns where they end.

    `take`: gets them, each proved to be what `decode` would read there, and none a link or with one in it.

    Memory:  as `decode`, but only of the few.
    Raises:  NotProved.
    """
    if _may_be_crowded(data):
        raise NotProved
    source = BytesIO(data)
    source.seek(at)
    decoder = cbor2.CBORDecoder(source, tag_hook=_refuse_tag, **_STRICT | {"max_depth": MAX_DEPTH - 2})
    for first in range(0, count, _AT_ONCE):
        try:
            values = [decoder.decode() for _ in range(min(count - first, _AT_ONCE))]
            encoded = b"".join(map(_libipld_encode, values))
        except (cbor2.CBORError, ValueError, TypeError) as error:
            raise NotProved from error
        if data[at : at + len(encoded)] != encoded:
            raise NotProved
        at += len(encoded)
        take(values)
    return at


_AT_ONCE: Final = 32
"""Messages that are decoded together: few enough for the processor's cache."""


def _own_link(tag: cbor2.CBORTag, _immutable: bool) -> Link:
    content = tag.value
    if tag.tag != CID_TAG or type(content) is not bytes:
        raise ValueError
    if len(content) != _OWN_LINK_BYTES or not content.startswith(_OWN_LINK):
        raise ValueError
    return Link(content[1:])


def _any_link(tag: cbor2.CBORTag, _immutable: bool) -> Link:
    content = tag.value
    if tag.tag != CID_TAG or type(content) is not bytes or not content.startswith(b"\x00"):
        raise ValueError
    cid_parts(content[1:])
    return Link(content[1:])


def _refuse_tag(*_: Any) -> Any:
    raise ValueError


_CBOR2_TAGS: Final = (
    0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799,
)  # fmt: skip
"""Tags that cbor2 gives a meaning by itself. Trap: 28 and 29 make cycles, 5 and 30 numbers that take forever."""

_STRICT: Final[dict[str, Any]] = {
    "semantic_decoders": dict.fromkeys(_CBOR2_TAGS, _refuse_tag),
    "max_depth": MAX_DEPTH,
    "allow_indefinite": False,
    "allow_duplicate_keys": False,
    "strict_hashable_types": True,
}


def _is_canonical(value: Any, data: bytes) -> bool:
    """Whether `data` is how `value` is encoded. Raises ValueError or CBORError where it cannot be encoded at all."""
    with suppress(ValueError):  # a link, or a value that DAG-CBOR lacks: see below
        if _libipld_encode(value) == data:
            return True
    # Slower: for links, and for bytes that libipld took for a CID.
    return _is_tidy(value) and cbor2.dumps(value, encoders=_ENCODERS) == data


def _is_tidy(value: Any) -> bool:
    """Whether all that cbor2 decoded is DAG-CBOR with the keys of every map in canonical order."""
    stack = [value]
    while stack:
        current = stack.pop()
        kind = type(current)
        if kind is list:
            stack += current
        elif kind is dict:
            keys = list(current)
            if keys != sorted(keys, key=_key_order):
                return False
            stack += current.values()
        elif kind is not Link and not _is_fit(current, kind):
            return False
    return True


def is_readable(data: bytes) -> bool:
    """Whether `decode` takes what was just encoded: it has a limit on arrays and maps, which encoding has not."""
    if not _may_be_crowded(data):
        return True
    try:
        decode(data)
    except MalformedBlock:
        return False
    return True


def _may_be_crowded(data: bytes) -> bool:
    """Whether decoding a block could take far more memory than an honest one, judged by its bytes alone.

    4 MiB of `80` are four million empty lists: 256 MB. The diagnostic decoder counts while it reads, so it gets the
    blocks that no writer of the format makes: those beyond the limit, and those with too many bytes that could be the
    head of an array or map. Text of three-byte characters has many, so of those only the ones count that stand where
    UTF-8 could not have them (the leads that CBOR also uses, f4 to f6, made harmless). The heads hidden behind other
    leads are at most a third of the block.
    """
    if len(data) > MAX_BLOCK_BYTES:
        return True
    if len(data) <= MAX_BLOCK_CONTAINERS or _sum(data.translate(_CONTAINER_HEADS)) <= MAX_BLOCK_CONTAINERS:
        return False
    return data.translate(_HARMLESS).decode("utf-8", "replace").count("\ufffd") > MAX_BLOCK_CONTAINERS


def _sum(ones: bytes) -> int:
    """The sum of bytes that are 0 or 1: Adler-32 has it in its low half, and nothing in the library is quicker."""
    view = memoryview(ones)
    return sum(adler32(view[at : at + _ADLER_BYTES], 0) & 0xFFFF for at in range(0, len(view), _ADLER_BYTES))


_ADLER_BYTES: Final = 65_520  # its sums are modulo 65521
_CONTAINER_HEADS: Final = bytes(0x80 <= byte <= 0xBB for byte in range(256))
_HARMLESS: Final = bytes(0 if 0xF4 <= byte <= 0xF6 else byte for byte in range(256))
