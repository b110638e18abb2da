"""Bytes become sections that hash to their CIDs; every flipped byte and every cut is refused, with its place."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from pattern_stream.archive.reader import ArchiveReader, read_sections, starts_plain
from pattern_stream.archive.shelf import Shelf
from pattern_stream.codec.cid import cid_text
from pattern_stream.errors import (
    ArchiveError,
    DigestMismatch,
    Finding,
    MalformedSection,
    TransportError,
    TruncatedArchive,
    UnsupportedCid,
)
from pattern_stream.stages.walk.walker import walk
from tests.archives import ARCHIVES, Archive, agent_archive, framed, thin_archive
from tests.drive import collect, dribble

pytestmark = pytest.mark.anyio


async def read_whole(raw: bytes, piece: int = 1 << 20) -> int:
    """Read and walk; how many events came."""
    reader = ArchiveReader(dribble(raw, piece))
    root = await reader.open()
    with Shelf() as shelf:
        return len(await collect(walk(reader.sections(), root, shelf)))


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("piece", [1, 7, 100, 1 << 20])
async def test_sections_come_as_they_stand(name: str, piece: int) -> None:
    """CIDs, data and offsets are those of the file, in whatever pieces it comes."""
    archive = ARCHIVES[name]()
    raw = archive.to_bytes()

    sections = await collect(read_sections(dribble(raw, piece)))

    assert archive.blocks == [(section.cid, section.data) for section in sections]
    for section in sections:
        framed_section = framed(section.cid + section.data)
        assert framed_section == raw[section.offset : section.offset + len(framed_section)]


async def test_the_root_is_known_before_the_sections() -> None:
    """`open` reads no further than the header, also of a large first piece."""
    archive = agent_archive()
    reader = ArchiveReader(dribble(archive.to_bytes() + b"damage"))

    assert archive.root == await reader.open()
    assert reader.header is not None
    assert 0 == reader.section_count


@pytest.mark.parametrize("pattern", [0x01, 0x80])
async def test_every_flipped_bit_is_refused(pattern: int) -> None:
    """Whatever byte is changed, reading and walking end in an error."""
    raw = agent_archive().to_bytes()

    for place in range(len(raw)):
        flipped = raw[:place] + bytes([raw[place] ^ pattern]) + raw[place + 1 :]
        with pytest.raises(ArchiveError) as caught:
            await read_whole(flipped)
        assert caught.value.where.as_dict(), f"byte {place} is refused without a place"


async def test_every_cut_is_refused() -> None:
    """Wherever the archive is cut, reading and walking end in an error; also exactly between two sections."""
    raw = thin_archive().to_bytes()

    for length in range(len(raw)):
        with pytest.raises(ArchiveError):
            await read_whole(raw[:length])
    assert await read_whole(raw)


async def test_a_cut_names_its_place() -> None:
    """The offset is that of the section that is not whole."""
    archive = agent_archive()
    raw = archive.to_bytes()
    last = (await collect(read_sections(dribble(raw, 4096))))[-1]

    with pytest.raises(TruncatedArchive) as caught:
        await read_whole(raw[:-1])

    assert ("read", last.offset) == (caught.value.where.stage, caught.value.where.offset)


async def test_a_digest_that_differs_names_its_place() -> None:
    """DigestMismatch carries the section's offset and CID."""
    archive = agent_archive()
    raw = archive.to_bytes()
    third = (await collect(read_sections(dribble(raw, 4096))))[2]

    with pytest.raises(DigestMismatch) as caught:
        await read_whole(raw[: third.offset + 50] + b"?" + raw[third.offset + 51 :])

    assert (third.offset, cid_text(third.cid)) == (caught.value.where.offset, caught.value.where.cid)


async def test_reading_goes_on_behind_a_damaged_block() -> None:
    """With damage tolerated, damaged blocks are findings and all others come."""
    archive = agent_archive()
    raw = bytearray(archive.to_bytes())
    sections = await collect(read_sections(dribble(bytes(raw), 4096)))
    damage: list[Finding] = []
    for section in (sections[2], sections[5]):
        raw[section.offset + 45] ^= 1

    reader = ArchiveReader(dribble(bytes(raw), 100), damage=damage.append)
    found = await collect(reader.sections())

    assert [cid_text(sections[2].cid), cid_text(sections[5].cid)] == [finding.where.cid for finding in damage]
    assert len(sections) - 2 == len(found)
    assert len(sections) == reader.section_count
    assert not reader.failed


async def test_reading_ends_where_the_framing_is_wrong() -> None:
    """Behind a section of an impossible length nothing can be trusted."""
    archive = agent_archive()
    damage: list[Finding] = []

    reader = ArchiveReader(dribble(archive.to_bytes() + b"\x00rest", 64), damage=damage.append)
    found = await collect(reader.sections())

    assert len(archive.blocks) == len(found)
    assert 1 == len(damage)
    assert reader.failed


async def test_a_length_beyond_the_limit_is_refused_before_it_is_read() -> None:
    """A section that says it is 2 GiB long is refused at its first bytes."""
    with pytest.raises(MalformedSection):
        await read_whole(agent_archive().to_bytes() + bytes([0xFF, 0xFF, 0xFF, 0xFF, 0x07]) + b"x" * 50)


async def test_other_cids_are_named() -> None:
    """A block under a sha2-256 CID is refused with exit 5, by name."""
    archive = agent_archive()
    other = bytes.fromhex("01711220") + bytes(32)

    with pytest.raises(UnsupportedCid, match=r"sha2-256|0x12") as caught:
        await read_whole(archive.to_bytes([*archive.blocks, (other, b"\xa0")]))

    assert 5 == caught.value.exit_code


@pytest.mark.parametrize("raw", [b"", b"\x3a", b"not an archive at all", b"\x00" * 100])
async def test_what_is_no_archive_is_refused(raw: bytes) -> None:
    """Nothing, a piece of a header, text and zeros are each refused."""
    with pytest.raises(ArchiveError):
        await read_whole(raw)


async def test_stopping_early_closes_the_source() -> None:
    """Who stops in the middle leaves nothing open."""
    source = dribble(agent_archive().to_bytes(), 10)
    sections = read_sections(source)
    await anext(sections)
    await sections.aclose()

    assert await anext(source, None) is None


async def test_errors_of_the_source_pass() -> None:
    """What goes wrong with the bytes themselves is not the archive's fault."""

    async def broken() -> AsyncGenerator[bytes]:
        yield agent_archive().to_bytes()[:500]
        raise TransportError("the wire broke")

    damage: list[Finding] = []
    with pytest.raises(TransportError, match="the wire broke"):
        await collect(read_sections(broken(), damage=damage.append))


def test_a_plain_archive_is_known_by_its_first_bytes() -> None:
    """Archives of this format start alike; gzip, zstd and CARv2 do not."""
    assert starts_plain(Archive(root=agent_archive().root).to_bytes())
    assert not any(map(starts_plain, (b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", bytes.fromhex("0aa16776"), b"")))
