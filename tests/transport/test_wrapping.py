"""What every wrapping must hold, each of them alone and one inside the other: the contracts of a transport."""

from __future__ import annotations

import asyncio
import gzip
import os
import threading
import tracemalloc
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

from pattern_stream.budget import BUDGET
from pattern_stream.errors import HostileShape, KeyMissing, PatternStreamError, StorageFull, WrongKey
from pattern_stream.transport import age, wrapping
from pattern_stream.transport.wrapping import Compression, Encryption, Unwrapping, Wrapping, unwrap, wrap
from tests.contracts import check_stage
from tests.drive import collect, dribble, feed

pytestmark = pytest.mark.anyio

KEY = pyrage.x25519.Identity.generate()
PASSPHRASE = "correct horse"
CONTENT = b"\x3a" + bytes(range(256)) * 900 + os.urandom(70_000)
GZIP, ZSTD = Compression("gzip"), Compression("zstd")
TO_KEY, WITH_PASSPHRASE = Encryption([KEY.to_public()]), Encryption((), PASSPHRASE)
WRAPPINGS = {
    "gzip": Wrapping(GZIP),
    "gzip-9": Wrapping(Compression("gzip", 9)),
    "zstd": Wrapping(ZSTD),
    "zstd-threads": Wrapping(Compression("zstd", 1, 3)),
    "age": Wrapping(None, TO_KEY),
    "passphrase": Wrapping(None, WITH_PASSPHRASE),
    "zstd-age": Wrapping(ZSTD, TO_KEY),
    "gzip-passphrase": Wrapping(GZIP, WITH_PASSPHRASE),
}
every_wrapping = pytest.mark.parametrize("name", WRAPPINGS)


@dataclass
class Kept:
    """An output that keeps what is written to it, and breaks after `most` bytes."""

    data: bytes = b""
    most: int | None = None

    async def write(self, data: bytes, /) -> None:
        """Keep it."""
        self.data += data
        if self.most is not None and len(self.data) > self.most:
            raise StorageFull("no room in this test")


@pytest.fixture(autouse=True)
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """scrypt with little memory: the real factor takes a second. No thread of a filter outlives its test."""
    monkeypatch.setattr(age.PassphrasePacker.__init__, "__defaults__", (4,))
    yield
    assert [] == [thread for thread in threading.enumerate() if thread.name == "pattern-stream filter"]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """The identity that opens what is encrypted to KEY."""
    path = tmp_path / "key"
    path.write_text(f"# a comment\n{KEY}\n")
    return path


@pytest.fixture
def opened(key_file: Path) -> Unwrapping:
    """All keys."""
    return Unwrapping([key_file], given)


async def given() -> str:
    """The passphrase, as a person would give it."""
    return PASSPHRASE


async def wrapped(content: bytes, how: Wrapping, count: int = 1 << 20) -> bytes:
    """The whole wrapped form of a content that is written in pieces."""
    out = Kept()
    await written(out, how, content, count)
    return out.data


async def written(out: Kept, how: Wrapping, content: bytes, count: int) -> None:
    """Write a content in pieces through a wrapping."""
    async with wrap(out, how) as target:
        for at in range(0, len(content), count):
            await target.write(content[at : at + count])


async def unwrapped(data: bytes, how: Unwrapping, count: int = 1 << 20) -> bytes:
    """The whole content of an input that comes in pieces."""
    return b"".join(await collect(unwrap(dribble(data, count), how)))


@every_wrapping
@pytest.mark.parametrize("count", [999, 65_536, 1 << 20])
async def test_any_pieces_give_the_same(name: str, count: int, opened: Unwrapping) -> None:
    """The pieces in which bytes come, in and out, make no difference to the content."""
    data = await wrapped(CONTENT, WRAPPINGS[name], count)

    assert data != CONTENT
    assert CONTENT == await unwrapped(data, opened, count)


@every_wrapping
@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 131_072, 1 << 20, (1 << 20) + 1])
async def test_any_size(name: str, size: int, opened: Unwrapping) -> None:
    """Nothing, and what ends on a border of a chunk or frame or beside it."""
    content = (CONTENT * 5)[:size]

    assert content == await unwrapped(await wrapped(content, WRAPPINGS[name]), opened)


@every_wrapping
async def test_contract_of_a_stage(name: str, opened: Unwrapping) -> None:
    """An early stop closes the upstream, an error from above comes out as it is."""
    data = await wrapped(CONTENT, WRAPPINGS[name])
    await check_stage(lambda source: unwrap(source, opened), [data])


@every_wrapping
async def test_an_error_of_the_sink_comes_out(name: str) -> None:
    """The output's own error, and no thread waits for more."""
    with pytest.raises(StorageFull, match="no room in this test"):
        await written(Kept(most=1000), WRAPPINGS[name], os.urandom(4_000_000), 100_000)


@every_wrapping
async def test_an_error_of_the_writer_comes_out(name: str) -> None:
    """Who leaves by an error gets it, and the packed form stays cut."""
    out = Kept()

    async def breaking() -> None:
        async with wrap(out, WRAPPINGS[name]) as target:
            await target.write(CONTENT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await breaking()
    with pytest.raises(PatternStreamError):
        await unwrapped(out.data or b"\x1f\x8b", Unwrapping(passphrase=given))


@every_wrapping
async def test_cancelled_while_reading(name: str, opened: Unwrapping) -> None:
    """A cancelled reader ends, though its input never does."""
    data, met = await wrapped(CONTENT, WRAPPINGS[name]), asyncio.Event()

    async def endless() -> AsyncGenerator[bytes]:
        yield data[: len(data) // 2]
        met.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(collect(unwrap(endless(), opened)))
    await met.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@every_wrapping
async def test_every_cut_is_refused(name: str, opened: Unwrapping) -> None:
    """No cut passes for the whole, but one that takes only the table behind the last frame."""
    data = await wrapped(b"\x3aarchive" * 5, WRAPPINGS[name])
    codes = set()
    for end in range(len(data)):
        try:
            content = await unwrapped(data[:end], opened)
        except PatternStreamError as error:
            codes.add(int(error.exit_code))
        else:  # too short to be recognised, or all of the content
            assert content == b"\x3aarchive" * 5 or (end < 35 and content == data[:end])
    assert codes <= {4, 8}


@every_wrapping
async def test_every_flipped_byte_is_refused(name: str, opened: Unwrapping) -> None:
    """A flipped byte is found, or stands where nothing of the content depends on it."""
    content = b"\x3aarchive" * 5
    data = await wrapped(content, WRAPPINGS[name])
    codes = set()
    for at in range(len(data)):
        flipped = data[:at] + bytes((data[at] ^ 0x20,)) + data[at + 1 :]
        try:
            found = await unwrapped(flipped, opened)
        except PatternStreamError as error:
            codes.add(int(error.exit_code))
        else:
            assert found in (content, flipped)
    assert codes <= {4, 8}


@pytest.mark.parametrize("name", ["age", "zstd-age", "passphrase"])
async def test_without_a_key(name: str, tmp_path: Path) -> None:
    """No key and another one's are exit code 8, and the message says what it is encrypted to."""
    data = await wrapped(CONTENT, WRAPPINGS[name])
    other = tmp_path / "other"
    other.write_text(str(pyrage.x25519.Identity.generate()))

    async def wrong() -> str:
        return "wrong"

    with pytest.raises(KeyMissing, match="passphrase" if name == "passphrase" else "X25519") as missing:
        await unwrapped(data, Unwrapping())
    with pytest.raises(WrongKey) as refused:
        await unwrapped(data, Unwrapping([other], wrong))

    assert 8 == missing.value.exit_code == refused.value.exit_code


async def test_threads_change_no_byte() -> None:
    """The bytes do not tell how many threads made them."""
    content = CONTENT * 12

    assert await wrapped(content, Wrapping(ZSTD)) == await wrapped(content, Wrapping(Compression("zstd", None, 3)))


@pytest.mark.parametrize("name", ["gzip", "zstd"])
async def test_equal_content_gives_equal_bytes(name: str) -> None:
    """A compressed archive has no time and no name in it."""
    assert await wrapped(CONTENT, WRAPPINGS[name]) == await wrapped(CONTENT, WRAPPINGS[name], 7000)


async def test_each_kind_once(opened: Unwrapping) -> None:
    """Gzip inside gzip comes out as gzip: each kind of wrapping lies round an archive once."""
    inner = gzip.compress(CONTENT)

    assert inner == await unwrapped(gzip.compress(inner), opened)
    assert CONTENT == await unwrapped(gzip.compress(await wrapped(CONTENT, WRAPPINGS["age"])), opened)


@pytest.mark.parametrize("how", [GZIP, ZSTD], ids=["gzip", "zstd"])
async def test_a_bomb_is_refused(how: Compression, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content of thousands to one is refused when it is beyond what is free for all; more may be allowed."""
    monkeypatch.setattr(wrapping, "BUDGET", BUDGET.__class__(unpacked_free_bytes=1_000_000))
    bomb = await wrapped(bytes(8_000_000), Wrapping(how))

    with pytest.raises(HostileShape, match="expected at most 200 times as many"):
        await unwrapped(bomb, Unwrapping())
    assert 8_000_000 == len(await unwrapped(bomb, Unwrapping(most_ratio=20_000)))
    with pytest.raises(StorageFull, match="more than 3000000 bytes"):
        await unwrapped(bomb, Unwrapping(most_ratio=20_000, room=3_000_000))


@every_wrapping
async def test_memory_is_flat(name: str, opened: Unwrapping) -> None:
    """48 MB come through in 16 MB, out and in."""
    tracemalloc.start()
    try:
        async with aclosing(_line(name, 48, opened)) as pieces:
            assert 48 == sum([len(piece) async for piece in pieces]) >> 20
        assert tracemalloc.get_traced_memory()[1] < 16_000_000
    finally:
        tracemalloc.stop()


async def _line(name: str, megabytes: int, how: Unwrapping) -> AsyncGenerator[bytes]:
    """Packed and unpacked in one go, piece by piece."""
    pieces: asyncio.Queue[bytes] = asyncio.Queue(1)

    class Passed:
        async def write(self, data: bytes, /) -> None:
            await pieces.put(data)

    async def write() -> None:
        async with wrap(Passed(), WRAPPINGS[name]) as target:
            for _ in range(megabytes):
                await target.write(CONTENT[:65536] * 16)
        await pieces.put(b"")

    async def packed() -> AsyncGenerator[bytes]:
        while piece := await pieces.get():
            yield piece

    task = asyncio.create_task(write())
    async with aclosing(unwrap(packed(), how)) as content:
        async for piece in content:
            yield piece
    await task


async def test_plain_bytes_pass() -> None:
    """What is wrapped in nothing comes through as it is, in its own pieces behind the head."""
    pieces = [b"\x3a" + bytes(50), b"b", b"c"]

    assert pieces == await collect(unwrap(feed(pieces)))
