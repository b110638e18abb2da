"""Faults inside a block: depth, width, lengths beyond the data, keys, floats, tags, text that is none."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from tests.acceptance.car import cid_of, encode
from tests.archives import entry_record
from tests.hostile.case import SOUND, UNSUPPORTED, Case, as_note, rooted


def key(text: str) -> bytes:
    """The encoding of a short key."""
    return encode(text)


def note_with(field: str, value: bytes) -> bytes:
    """A sound archive, but one field of an archival entry is encoded as given."""
    record = {name: encode(found) for name, found in entry_record(1).items()} | {field: value}
    pairs = sorted((len(name), name, found) for name, found in record.items())
    return as_note(bytes([0xA0 + len(record)]) + b"".join(key(name) + found for _, name, found in pairs))


def array(count: int, item: bytes) -> bytes:
    """An array of equal things."""
    return b"\x9a" + struct.pack(">I", count) + item * count


def keyed(count: int) -> bytes:
    """A map of so many keys of three letters or digits."""
    keys = (key(f"{number:05x}") for number in range(count))
    return b"\xba" + struct.pack(">I", count) + b"".join(each + b"\xf6" for each in keys)


def _roots(cases: Iterable[tuple[str, Callable[[], bytes], str]]) -> list[Case]:
    """Cases in which the root's block is the fault."""
    return [Case(name, lambda make=make: rooted(make()), says) for name, make, says in cases]  # type: ignore[misc]


def _fields(cases: Iterable[tuple[str, str, bytes, str]]) -> list[Case]:
    """Cases in which one field of an archival entry is the fault."""
    return [
        Case(name, lambda field=field, value=value: note_with(field, value), says)  # type: ignore[misc]
        for name, field, value, says in cases
    ]


_OURS = b"\x00" + cid_of(b"\xf6")
_LONG_TIME = "2026-01-02T03:04:05." + "1" * 900_000 + "Z"
_SHA2 = b"\xd8\x2a\x58\x25\x00\x01\x71\x12\x20" + bytes(32)

CBOR = [
    *_roots(
        [
            ("nested-arrays-100-thousand", lambda: b"\x81" * 100_000 + b"\x00", r"more than 400 levels"),
            ("nested-arrays-4-million", lambda: b"\x81" * 4_000_000 + b"\x00", r"more than 400 levels"),
            ("nested-maps-100-thousand", lambda: b"\xa1\x60" * 100_000 + b"\x00", r"more than 400 levels"),
            ("nested-tags-100-thousand", lambda: b"\xd8\x2a" * 100_000 + b"\x40", r"expected .*byte string|tag"),
            ("nested-arrays-never-ending", lambda: b"\x81" * 300, r"array of 1 but 0 bytes left"),
            ("empty-arrays-4-million", lambda: array(4_000_000, b"\x80"), r"more than 250000 arrays and maps"),
            ("empty-maps-999-thousand", lambda: array(999_000, b"\xa0"), r"more than 250000 arrays and maps"),
            ("containers-250-thousand", lambda: array(250_000, b"\x80"), r"more than 250000 arrays and maps"),
            ("integers-4-million", lambda: array(4_000_000, b"\x00"), r"more than 500000 values"),
            ("floats-450-thousand", lambda: array(450_000, b"\xfb" + bytes(8)), r"root is no manifest"),
            ("integers-999-thousand", lambda: array(999_000, b"\x00"), r"root is no manifest"),
            ("texts-499-thousand", lambda: array(499_000, b"\x61a"), r"root is no manifest"),
            ("byte-strings-499-thousand", lambda: array(499_000, b"\x41a"), r"root is no manifest"),
            ("map-of-140-thousand-keys", lambda: keyed(140_000), r"root is no manifest"),
            ("map-of-550-thousand-keys", lambda: keyed(550_000), r"more than 500000 values"),
            ("array-of-2-to-the-32", lambda: b"\x9a\xff\xff\xff\xff", r"4294967295"),
            ("array-of-2-to-the-64", lambda: b"\x9b" + b"\xff" * 8 + b"\x00", r"18446744073709551615"),
            ("map-of-2-to-the-63", lambda: b"\xbb\x7f" + b"\xff" * 7 + b"\x60\x00", r"9223372036854775807"),
            ("text-of-2-to-the-63", lambda: b"\x7b\x7f" + b"\xff" * 7 + b"abc", r"9223372036854775807"),
            ("byte-string-of-2-to-the-32", lambda: b"\x5a\xff\xff\xff\xff" + bytes(100), r"4294967295"),
            ("byte-string-of-2-to-the-64", lambda: b"\x5b" + b"\xff" * 8 + bytes(10), r"18446744073709551615"),
            ("nested-declared-lengths", lambda: b"\x9a\x7f\xff\xff\xff" * 300, r"2147483647|ends"),
            ("duplicate-keys", lambda: b"\xa2\x61a\x00\x61a\x01", r"expected .*key|twice"),
            ("unsorted-keys", lambda: b"\xa2\x61b\x00\x61a\x01", r"key 'a' after 'b'|expected .*order"),
            ("unsorted-keys-by-length", lambda: b"\xa2\x62aa\x00\x61b\x01", r"order|after"),
            ("integer-key", lambda: b"\xa1\x00\x00", r"expected .*text"),
            ("array-key", lambda: b"\xa1\x80\x00", r"expected .*text"),
            ("map-cut-after-a-key", lambda: b"\xa1\x61a", r"end of block"),
            ("indefinite-array", lambda: b"\x9f\x00\xff", r"indefinite|definite"),
            ("indefinite-map", lambda: b"\xbf\x61a\x00\xff", r"indefinite|definite"),
            ("indefinite-text", lambda: b"\x7f\x61a\xff", r"indefinite|definite"),
            ("indefinite-bytes", lambda: b"\x5f\x41a\xff", r"indefinite|definite"),
            ("break-alone", lambda: b"\xff", r"expected"),
            ("reserved-head", lambda: b"\x1c", r"expected"),
            ("nothing-in-the-block", lambda: b"", r"end of block"),
            ("bytes-behind-the-value", lambda: b"\x00\x00", r"1 bytes after the value"),
            ("longer-head-than-needed", lambda: b"\x18\x01", r"shortest|form"),
            ("bignum-tag", lambda: b"\xc2\x49\x01" + bytes(8), r"tag 2"),
            ("bigfloat-tag-that-takes-for-ever", lambda: b"\xc5\x82\x1b\x7f" + b"\xff" * 7 + b"\x03", r"tag 5"),
            ("rational-tag", lambda: b"\xd8\x1e\x82\x01\x00", r"tag 30"),
            ("shared-reference-to-itself", lambda: b"\xd8\x1c\x81\xd8\x1d\x00", r"tag 28"),
            ("date-tag", lambda: b"\xc0\x60", r"tag 0"),
            ("regular-expression-tag", lambda: b"\xd8\x23\x64(a*)", r"tag 35"),
            ("self-described-tag", lambda: b"\xd9\xd9\xf7\x00", r"tag 55799"),
            ("tag-of-2-to-the-64", lambda: b"\xdb" + b"\xff" * 8 + b"\x00", r"tag 18446744073709551615"),
            ("tag-42-in-a-longer-head", lambda: b"\xd9\x00\x2a\x58\x25" + _OURS, r"shortest|form"),
            ("tag-42-on-an-integer", lambda: b"\xd8\x2a\x00", r"byte string"),
            ("tag-42-on-text", lambda: b"\xd8\x2a\x61a", r"byte string"),
            ("tag-42-on-tag-42", lambda: b"\xd8\x2a\xd8\x2a\x58\x25" + _OURS, r"byte string"),
            ("tag-42-on-nothing", lambda: b"\xd8\x2a\x40", r"link|CID"),
            ("tag-42-without-identity-prefix", lambda: b"\xd8\x2a\x58\x24" + _OURS[1:], r"link|CID"),
            ("tag-42-on-half-a-cid", lambda: b"\xd8\x2a\x50" + _OURS[:16], r"CID"),
            ("tag-42-with-bytes-behind-the-cid", lambda: b"\xd8\x2a\x58\x26" + _OURS + b"\x00", r"CID"),
        ]
    ),
    Case("tag-42-with-sha2", lambda: rooted(_SHA2), r"sha2-256", UNSUPPORTED),
    *_fields(
        [
            ("half-float", "metadata", b"\xf9\x3c\x00", r"16 bit|half|float"),
            ("single-float", "metadata", b"\xfa\x3f\x80\x00\x00", r"32 bit|single|float"),
            ("not-a-number", "metadata", b"\xfb\x7f\xf8" + bytes(6), r"nan|NaN"),
            ("infinity", "metadata", b"\xfb\x7f\xf0" + bytes(6), r"inf"),
            ("undefined", "metadata", b"\xf7", r"undefined"),
            ("unknown-simple-value", "metadata", b"\xf8\xff", r"simple value"),
            ("text-cut-inside-a-letter", "content", b"\x61\xc3", r"UTF-8"),
            ("text-with-a-surrogate", "content", b"\x63\xed\xa0\x80", r"UTF-8"),
            ("text-with-an-overlong-slash", "content", b"\x62\xc0\xaf", r"UTF-8"),
            ("text-beyond-unicode", "content", b"\x64\xf4\x90\x80\x80", r"UTF-8"),
            ("text-in-latin-1", "content", b"\x64\xe4\xf6\xfc\xdf", r"UTF-8"),
            ("text-where-a-number-must-be", "chunk_index", encode("x"), r"chunk_index"),
            ("number-beyond-64-bits", "chunk_index", b"\x3b" + b"\xff" * 8, r"chunk_index"),
            ("map-where-text-must-be", "content", b"\xa0", r"content"),
            ("null-where-text-must-be", "content", b"\xf6", r"content"),
            ("time-that-is-none", "created_at", encode("2026-13-45T99:99:99Z"), r"created_at"),
            ("time-of-no-month", "created_at", encode("2026-00-00T00:00:00Z"), r"created_at"),
        ]
    ),
    Case("json-nested-200-deep", lambda: note_with("metadata", b"\x81" * 200 + b"\x00"), r"^", SOUND),
    Case("json-nested-500-deep", lambda: note_with("metadata", b"\x81" * 500 + b"\x00"), r"more than 400 levels"),
    Case("time-of-a-million-digits", lambda: note_with("created_at", encode(_LONG_TIME)), r"^", SOUND),
]
"""Cases of DAG-CBOR. Source: docs/format.md#dag-cbor."""
