"""Zstandard comes in as the zstd program writes it, and the library's silences are no silence of ours."""

from __future__ import annotations

import os
import struct
import sys

import pytest

from pattern_stream.errors import ArchiveError, CorruptStream, HostileShape, TrailingBytes, TruncatedArchive
from pattern_stream.transport.wrapping import unwrap
from pattern_stream.transport.zstd import FRAME_BYTES, ZstdPacker
from tests.drive import collect, dribble

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.anyio

CONTENT = b"\x3aarchive" * 30_000
FRAME = zstd.compress(CONTENT, options={zstd.CompressionParameter.checksum_flag: 1})
SKIPPABLE = b"\x5a\x2a\x4d\x18" + struct.pack("<I", 40) + bytes(40)


async def unwrapped(data: bytes, count: int = 1 << 20) -> bytes:
    """The content of a whole input that comes in pieces."""
    return b"".join(await collect(unwrap(dribble(data, count))))


@pytest.mark.parametrize(
    "data",
    [
        FRAME,
        SKIPPABLE + FRAME,
        FRAME + SKIPPABLE,
        zstd.compress(CONTENT[:100_000])
        + SKIPPABLE
        + SKIPPABLE
        + zstd.compress(b"")
        + zstd.compress(CONTENT[100_000:]),
        zstd.compress(CONTENT, 22),
    ],
    ids=["one", "skipped-first", "skipped-last", "many", "ultra"],
)
@pytest.mark.parametrize("count", [1, 7, 1 << 20])
async def test_good_input(data: bytes, count: int) -> None:
    """Frames follow each other, skippable ones between them, in pieces of any size."""
    assert CONTENT == await unwrapped(data, count)


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (FRAME[:-1], TruncatedArchive, f"ends inside a frame, after {len(FRAME) - 1} bytes"),
        (FRAME[:40], TruncatedArchive, "ends inside a frame"),
        (FRAME + SKIPPABLE[:-1], TruncatedArchive, "ends inside a frame"),
        (FRAME + FRAME[:3], TruncatedArchive, "ends inside a frame"),
        (FRAME + b"garbage", TrailingBytes, f"bytes follow the last zstd frame.*, after {len(FRAME)} bytes"),
        (FRAME[:-4] + bytes(4), CorruptStream, "damaged: .*checksum"),
        (FRAME[:20] + bytes(20) + FRAME[40:], CorruptStream, "damaged"),
        (b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(40), HostileShape, "more than 128 MiB"),
    ],
)
@pytest.mark.parametrize("count", [1, 1 << 20])
async def test_bad_input(data: bytes, kind: type[ArchiveError], reason: str, count: int) -> None:
    """Each fault has its error and its place; exit 4."""
    with pytest.raises(kind, match=reason) as caught:
        await unwrapped(data, count)

    assert 4 == caught.value.exit_code


def test_frames_are_found_by_the_table() -> None:
    """The table at the end leads to each frame, which unpacks alone. Source: the seekable format."""
    content = os.urandom(100) * 30_000
    packer = ZstdPacker()
    data = packer.pack(content) + packer.finish()

    count, flags, magic = struct.unpack("<IBI", data[-9:])
    table = data[-9 - 8 * count : -9]
    assert (3, 0, 0x8F92EAB1) == (count, flags, magic)
    assert struct.pack("<II", 0x184D2A5E, 8 * count + 9) == data[-17 - 8 * count : -9 - 8 * count]
    at = 0
    for number, (packed, size) in enumerate(struct.iter_unpack("<II", table)):
        assert content[number * FRAME_BYTES :][:size] == zstd.decompress(data[at : at + packed])
        at += packed
    assert at == len(data) - 17 - 8 * count
