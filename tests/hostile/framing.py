"""Faults of the container: header, lengths, CIDs, what stands behind the end."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from blake3 import blake3

from tests.acceptance.car import Link, cid_of, encode
from tests.archives import framed
from tests.hostile.case import SOUND, UNSUPPORTED, Case, header, rooted, section, sound, sound_bytes

CARV2 = bytes.fromhex("0aa16776657273696f6e02") + bytes(16) + (51).to_bytes(8, "little") + bytes(16)
TINY = 1_000_000


def behind(tail: bytes) -> bytes:
    """A sound archive with something behind it."""
    return sound_bytes() + tail


def of_kind(cid: bytes, data: bytes = b"\xf6") -> bytes:
    """A sound archive with one more section, whose CID is of another kind."""
    return behind(framed(cid + data))


def tiny_sections(count: int, *, first: bool) -> Iterator[bytes]:
    """A sound archive with many small blocks that nothing links to, all different, behind the tree or before it."""
    raw = sound_bytes()
    yield raw[:59] if first else raw
    for start in range(0, count, 10_000):
        numbers = range(start, min(start + 10_000, count))
        blocks = [b"\x1a" + (0x10000 + number).to_bytes(4, "big") for number in numbers]
        yield b"".join([b"\x29\x01\x71\x1e\x20" + blake3(block).digest() + block for block in blocks])
    if first:
        yield raw[59:]


def repeated_section(count: int) -> Iterator[bytes]:
    """A sound archive, then its own last section over and over."""
    archive = sound()
    yield archive.to_bytes()
    again = framed(b"".join(archive.blocks[-1])) * 1000
    for _ in range(count // 1000):
        yield again


def large_sections(count: int) -> Iterator[bytes]:
    """A sound archive, then one block of 4 MB over and over."""
    yield sound_bytes()
    again = section(b"\x5a\x00\x3d\x09\x00" + bytes(4_000_000))
    for _ in range(count):
        yield again


def flipped() -> bytes:
    """A sound archive but for one byte of a block."""
    raw = bytearray(sound_bytes())
    raw[-5] ^= 1
    return bytes(raw)


def shortened() -> bytes:
    """A sound archive without its last byte."""
    return sound_bytes()[:-1]


def without_last_section() -> bytes:
    """A sound archive cut exactly between two sections, which its framing cannot tell."""
    archive = sound()
    return archive.to_bytes(archive.blocks[:-1])


_CID = cid_of(b"\xf6")

FRAMING = [
    Case("length-of-4-gib", lambda: behind(b"\x80\x80\x80\x80\x10"), r"section is 4294967296 bytes, limit is 4194304"),
    Case("length-of-2-to-the-62", lambda: behind(b"\x80" * 8 + b"\x40"), r"section is 4611686018427387904 bytes"),
    Case("length-just-beyond-limit", lambda: behind(b"\x81\x80\x80\x02"), r"section is 4194305 bytes, limit"),
    Case("length-beyond-the-file", lambda: behind(b"\x80\x80\x80\x02" + _CID), r"archive ends 40 bytes into a section"),
    Case("length-of-ten-bytes", lambda: behind(b"\x80" * 9 + b"\x01"), r"varint is longer than 9 bytes"),
    Case("length-of-a-million-bytes", lambda: behind(b"\x80" * 1_000_000), r"varint is longer than 9 bytes"),
    Case("length-not-in-shortest-form", lambda: behind(b"\xa5\x00" + _CID + b"\xf6"), r"varint .* shortest form"),
    Case("length-of-zero", lambda: behind(b"\x00"), r"section is 0 bytes"),
    Case("length-cut", lambda: behind(b"\x80"), r"archive ends 1 bytes into a section"),
    Case("zeros-behind-the-end", lambda: behind(bytes(100_000)), r"section is 0 bytes"),
    Case("text-behind-the-end", lambda: behind(b"hello, world"), r"archive ends 12 bytes into a section"),
    Case("two-archives-in-one", lambda: sound_bytes() * 2, r"CID starts with \d+, expected its version"),
    Case("section-smaller-than-a-cid", lambda: behind(b"\x05\x01\x71\x1e\x20\x00"), r"ends inside a CID"),
    Case("section-of-half-a-cid-version", lambda: behind(b"\x01\x81"), r"ends inside a CID"),
    Case("cid-with-sha2", lambda: of_kind(b"\x01\x71\x12\x20" + sha256(b"\xf6").digest()), r"sha2-256", UNSUPPORTED),
    Case("cid-of-raw-bytes", lambda: of_kind(b"\x01\x55\x1e\x20" + _CID[4:]), r"codec raw", UNSUPPORTED),
    Case("cid-of-version-0", lambda: of_kind(b"\x12\x20" + sha256(b"\xf6").digest()), r"v0, codec dag-pb", UNSUPPORTED),
    Case("cid-of-version-2", lambda: of_kind(b"\x02\x71\x1e\x20" + _CID[4:]), r"CID has version 2", UNSUPPORTED),
    Case("cid-of-unknown-hash", lambda: of_kind(b"\x01\x71\xff\x7f\x00"), r"unknown \(0x3fff\)", UNSUPPORTED),
    Case("cid-with-identity-hash", lambda: of_kind(b"\x01\x71\x00\x01\xf6"), r"hash identity", UNSUPPORTED),
    Case("cid-with-short-digest", lambda: of_kind(b"\x01\x71\x1e\x10" + _CID[4:20]), r"of 16 bytes", UNSUPPORTED),
    Case("cid-with-digest-of-2-to-the-60", lambda: of_kind(b"\x01\x71\x1e" + b"\x80" * 8 + b"\x10"), r"inside a CID"),
    Case("digest-of-other-bytes", flipped, r"hashes to \w+, expected its CID"),
    Case("cut-inside-a-section", shortened, r"archive ends \d+ bytes into a section"),
    Case("cut-between-sections", without_last_section, r"block is not in the archive"),
    Case("nothing", lambda: b"", r"archive ends after 0 bytes, inside its header"),
    Case("zeros", lambda: bytes(10_000_000), r"header is 0 bytes"),
    Case("header-alone", lambda: sound_bytes()[:59], r"block is not in the archive, but header links to it"),
    Case("header-cut", lambda: sound_bytes()[:30], r"archive ends after 30 bytes, inside its header"),
    Case("header-of-5000-bytes", lambda: framed(bytes(5000)), r"header is 5000 bytes, limit is 4096"),
    Case("header-of-2-to-the-62", lambda: b"\x80" * 8 + b"\x40", r"header is 4611686018427387904 bytes"),
    Case("header-without-roots", lambda: header(), r"header has 0 roots, expected exactly 1"),
    Case("header-with-two-roots", lambda: header(_CID, cid_of(b"\xf5")), r"header has 2 roots, expected exactly 1"),
    Case("header-with-ninety-roots", lambda: header(*[_CID] * 90), r"header has 90 roots"),
    Case("header-of-version-0", lambda: header(_CID, version=0), r"CAR version 0", UNSUPPORTED),
    Case("header-of-version-3", lambda: header(_CID, version=3), r"CAR version 3", UNSUPPORTED),
    Case("header-of-version-1.0", lambda: framed(encode({"roots": [_CID], "version": 1.0})), r"version in the header"),
    Case("header-with-more-keys", lambda: framed(encode({"a": 1, "roots": [_CID], "version": 1})), r"a map of 3 keys"),
    Case("header-that-is-a-list", lambda: framed(encode([_CID, 1])), r"header is an array of 2 values"),
    Case("header-with-text-as-root", lambda: framed(encode({"roots": ["x"], "version": 1})), r"an array of links"),
    Case("header-with-nested-roots", lambda: framed(b"\x81" * 4000 + b"\x00"), r"header is no DAG-CBOR.*more than 400"),
    Case(
        "header-with-root-of-sha2",
        lambda: header(Link(b"\x01\x71\x12\x20" + bytes(32))),
        r"header|sha2-256",
        UNSUPPORTED,
    ),
    Case("carv2", lambda: CARV2 + sound_bytes(), r"CAR version 2, expected version 1", UNSUPPORTED),
    Case("carv2-with-offset-of-2-to-the-64", lambda: CARV2[:27] + b"\xff" * 24, r"CAR version 2", UNSUPPORTED),
    Case("sqlite-file", lambda: b"SQLite format 3\x00" + bytes(4080), r"an SQLite database", UNSUPPORTED),
    Case("zstd-file", lambda: b"\x28\xb5\x2f\xfd" + bytes(100), r"zstd data is damaged|zstd data ends"),
    Case("root-that-is-no-manifest", lambda: rooted(encode({"roots": []})), r"root is no manifest"),
    Case("tiny-sections", lambda: tiny_sections(50_000, first=False), r"50000 blocks are linked from nowhere", SOUND),
    Case("tiny-sections-first", lambda: tiny_sections(50_000, first=True), r"50000 blocks are linked", SOUND),
    Case("million-tiny-sections", lambda: tiny_sections(TINY, first=False), r"1000000 blocks", SOUND, large=True),
    Case("million-tiny-sections-first", lambda: tiny_sections(TINY, first=True), r"1000000 blocks", SOUND, large=True),
    Case("repeated-section", lambda: repeated_section(50_000), r"manifest and content disagree", SOUND),
    Case("million-times-repeated", lambda: repeated_section(TINY), r"manifest and content disagree", SOUND, large=True),
    Case("large-sections", lambda: large_sections(40), r"1 blocks are linked from nowhere", SOUND),
]
"""Cases of the framing. Source: docs/format.md#container."""
