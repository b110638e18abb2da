"""Gzip comes in as gzip itself would take it; anything else passes; a bomb comes out in small steps."""

from __future__ import annotations

import gzip
import os
import zlib
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.errors import ArchiveError, CorruptStream, TrailingBytes, TruncatedArchive
from pattern_stream.format import COPY_BYTES
from pattern_stream.transport.gzip import Gunzip
from pattern_stream.transport.wrapping import unwrap
from tests.contracts import check_stage
from tests.drive import collect, dribble, feed

pytestmark = pytest.mark.anyio

CONTENT = b"archive" * 30_000
PACKED = gzip.compress(CONTENT, mtime=0)


async def unwrapped(data: bytes, count: int = 1 << 20) -> bytes:
    """The content of a whole input that comes in pieces."""
    return b"".join(await collect(unwrap(dribble(data, count))))


@pytest.mark.parametrize("data", [PACKED, CONTENT, b"\x1f", b"\x3a\x1f\x8b"], ids=["gzip", "plain", "half", "other"])
async def test_contract(data: bytes) -> None:
    """Early stop, nothing, errors from above: as every transport."""
    await check_stage(unwrap, [data])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (PACKED, CONTENT),
        (PACKED + PACKED, CONTENT * 2),
        (PACKED + gzip.compress(b"") + PACKED, CONTENT * 2),
        (PACKED + bytes(1000), CONTENT),
        (gzip.compress(b""), b""),
        (b"\x3anot gzip", b"\x3anot gzip"),
        (b"\x1f", b"\x1f"),
        (b"\x1fx", b"\x1fx"),
        (b"", b""),
    ],
    ids=["one", "two", "three", "padded", "empty", "plain", "half", "nearly", "nothing"],
)
@pytest.mark.parametrize("count", [1, 7, 1 << 20])
async def test_good_input(data: bytes, expected: bytes, count: int) -> None:
    """Members follow each other, zeros may follow the last, and what is no gzip passes, in pieces of any size."""
    assert expected == await unwrapped(data, count)


async def test_named_gzip_with_all_fields() -> None:
    """A head with extra field, name, comment and checksum is skipped."""
    head = b"\x1f\x8b\x08\x1e" + bytes(6) + b"\x04\0abcd" + b"name\0" + b"comment\0"
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")

    assert CONTENT == await unwrapped(head + PACKED[10:], 3)


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (PACKED[:-8] + bytes(4) + PACKED[-4:], CorruptStream, "incorrect data check"),
        (PACKED[:-4] + bytes(4), CorruptStream, "incorrect length check"),
        (b"\x1f\x8b\x07" + PACKED[3:], CorruptStream, "unknown compression method"),
        (PACKED[:60] + b"\xff" * 20 + PACKED[80:], CorruptStream, "damaged"),
        (PACKED + b"\x1f\x8c" + bytes(20), CorruptStream, "incorrect header check"),
        (PACKED + b"garbage", TrailingBytes, f"expected its end or zeros, after {len(PACKED)} bytes of input"),
        (PACKED + bytes(10) + b"garbage", TrailingBytes, "bytes follow the last gzip member"),
        (PACKED[:-1], TruncatedArchive, f"ends inside a member, after {len(PACKED) - 1} bytes"),
        (PACKED[:2], TruncatedArchive, "ends inside a member"),
        (PACKED + b"\x1f", TruncatedArchive, "ends inside a member"),
    ],
)
@pytest.mark.parametrize("count", [1, 1 << 20])
async def test_bad_input(data: bytes, kind: type[ArchiveError], reason: str, count: int) -> None:
    """Each fault has its error, exit 4 and the place in the input."""
    with pytest.raises(kind, match=reason) as caught:
        await unwrapped(data, count)

    assert 4 == caught.value.exit_code
    assert "unwrap" == caught.value.where.stage


async def test_any_cut_is_refused() -> None:
    """No cut of a gzip file passes for a whole one."""
    packed = gzip.compress(os.urandom(200))
    for end in range(2, len(packed)):
        with pytest.raises(TruncatedArchive):
            await unwrapped(packed[:end])


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.integers(1, 50))
async def test_as_gzip_reads_it(contents: list[bytes], count: int) -> None:
    """The same as the standard library's own reader, for any members in any pieces."""
    data = b"".join(map(gzip.compress, contents))

    assert gzip.decompress(data) == await unwrapped(data, count)


async def test_bomb_comes_in_steps() -> None:
    """64 MB out of 64 kB come in pieces of at most 1 MiB, made one at a time."""
    bomb = gzip.compress(bytes(64_000_000))
    sizes = []
    async with aclosing(unwrap(feed([bomb]))) as stream:
        async for piece in stream:
            sizes.append(len(piece))

    assert 64_000_000 == sum(sizes)
    assert max(sizes) <= COPY_BYTES


def test_output_held_back_is_drained() -> None:
    """Output that zlib holds back after the last input byte is not lost."""
    gunzip = Gunzip()
    packed = gzip.compress(bytes(10 * COPY_BYTES))
    out = b"".join(gunzip.feed(packed))
    gunzip.finish()

    assert bytes(10 * COPY_BYTES) == out
    assert len(packed) == gunzip.bytes_read
