"""Faults of the wrapping: gzip that grows without end, or is none."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

from tests.archives import framed
from tests.hostile.case import SOUND, Case, sound_bytes
from tests.hostile.framing import large_sections


def bomb(start: bytes, count: int, piece: bytes = bytes(1_000_000)) -> Iterator[bytes]:
    """One gzip member: some bytes, then a megabyte over and over."""
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    yield packer.compress(start)
    for _ in range(count):
        yield packer.compress(piece)
    yield packer.flush()


def packed_large_sections(count: int) -> Iterator[bytes]:
    """A gigabyte that is framed and hashes as it should, in four megabytes of gzip."""
    packer = zlib.compressobj(1, wbits=16 + zlib.MAX_WBITS)
    for piece in large_sections(count):
        yield packer.compress(piece)
    yield packer.flush()


def empty_members(count: int) -> bytes:
    """A sound archive behind very many members that hold nothing."""
    return gzip.compress(b"", mtime=0) * count + gzip.compress(sound_bytes(), mtime=0)


def long_name(count: int) -> Iterator[bytes]:
    """A member whose file name never ends."""
    yield b"\x1f\x8b\x08\x08" + bytes(6)
    for _ in range(count):
        yield b"a" * 1_000_000


def bad_checksum() -> bytes:
    """A member whose checksum is another's."""
    raw = bytearray(gzip.compress(sound_bytes(), mtime=0))
    raw[-8] ^= 1
    return bytes(raw)


PACKED = [
    Case("gigabyte-of-zeros-in-gzip", lambda: bomb(b"", 1000), r"header is 0 bytes"),
    Case("gigabyte-of-zeros-behind-an-archive", lambda: bomb(sound_bytes(), 1000), r"section is 0 bytes"),
    Case(
        "gigabyte-in-gzip-that-is-one-length",
        lambda: bomb(sound_bytes(), 1000, b"\x80" * 1_000_000),
        r"varint is longer than 9 bytes",
    ),
    Case(
        "gigabyte-of-sections-in-gzip",
        lambda: packed_large_sections(250),
        r"1 blocks are linked from nowhere",
        SOUND,
        large=True,
    ),
    Case("gzip-in-gzip", lambda: gzip.compress(gzip.compress(sound_bytes())), r"a gzip file", 5),
    Case("gzip-of-empty-members", lambda: empty_members(20_000), r"^", SOUND),
    Case("gzip-with-a-name-of-100-mb", lambda: long_name(100), r"gzip data ends inside a member"),
    Case("gzip-with-a-wrong-checksum", bad_checksum, r"gzip data is damaged"),
    Case("gzip-cut", lambda: gzip.compress(sound_bytes())[:-1], r"gzip data ends inside a member"),
    Case("gzip-head-alone", lambda: b"\x1f\x8b", r"gzip data ends inside a member"),
    Case("gzip-of-another-method", lambda: b"\x1f\x8b\x07" + bytes(100), r"gzip data is damaged"),
    Case("bytes-behind-gzip", lambda: gzip.compress(sound_bytes()) + b"more", r"bytes follow the last gzip member"),
    Case("gzip-of-a-cut-archive", lambda: gzip.compress(framed(b"x")), r"header"),
]
"""Cases of the wrapping. Source: RFC 1952."""
