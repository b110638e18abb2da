"""An archive written anew by `convert`: other things round it, another order, other chunks, the same data."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pattern_stream import dump_archive, export_archive, make_demo, verify_archive
from pattern_stream.codec.car import SectionSplitter, encode_header, encode_section_head
from pattern_stream.codec.cid import cid_of
from pattern_stream.errors import DigestMismatch, LimitExceeded, MissingBlock, UsageError
from pattern_stream.pipelines.converting import ConvertOptions, convert_archive
from pattern_stream.pipelines.exporting import ExportOptions
from pattern_stream.pipelines.reframing import ReframeResult
from pattern_stream.schema.model.scopes import Limits
from pattern_stream.transport.wrapping import Compression, Wrapping
from tests.drive import dribble
from tests.pipelines.test_signatures import Key

ARCHIVES = Path(__file__).parents[1] / "vectors/archives"

pytestmark = pytest.mark.anyio


@pytest.fixture
async def plain(tmp_path: Path) -> Path:
    """An archive of a whole constellation, with history and tables."""
    await make_demo(tmp_path / "demo.db", messages=400)
    await export_archive(tmp_path / "demo.db", tmp_path / "plain.car")
    return tmp_path / "plain.car"


async def converted(source: Path | bytes, out: Path, options: ConvertOptions = ConvertOptions()) -> ReframeResult:  # noqa: B008
    """What came of writing it anew."""
    given = dribble(source, 1 << 18) if isinstance(source, bytes) else source
    result = await convert_archive(given, out, options=options)
    assert isinstance(result, ReframeResult)
    return result


def shuffled(data: bytes) -> bytes:
    """The same sections in another order, one of them twice, and one that nothing links to."""
    splitter = SectionSplitter()
    sections = [(section.cid, bytes(section.data)) for section in splitter.feed(data)]
    assert splitter.header is not None
    stray = b"\xa1\x61a\x01"
    sections += [sections[5], (cid_of(stray), stray)]
    random.Random(1).shuffle(sections)
    framed = (encode_section_head(cid, len(block)) + block for cid, block in sections)
    return encode_header(splitter.header.roots[0]) + b"".join(framed)


async def test_order_is_mended(plain: Path, tmp_path: Path) -> None:
    """Any order, repetition and strays in: depth first, each once, the strays named; the bytes of the export."""
    result = await converted(shuffled(plain.read_bytes()), tmp_path / "new.car")

    assert plain.read_bytes() == (tmp_path / "new.car").read_bytes()
    assert {"unreferenced-blocks", "repeated-sections"} == {finding.code for finding in result.findings}


async def test_other_things_round_it(plain: Path, tmp_path: Path) -> None:
    """Compressed and back: the same blocks, the same root."""
    packed, back = tmp_path / "new.car.zst", tmp_path / "back.car"
    result = await converted(plain, packed, ConvertOptions(wrapping=Wrapping(Compression("zstd"))))
    await converted(packed, back)

    assert result.root == result.source_root
    assert packed.stat().st_size < plain.stat().st_size / 3
    assert plain.read_bytes() == back.read_bytes()


async def test_chunks_cut_anew(plain: Path, tmp_path: Path) -> None:
    """Other borders, the same records in the same order; cutting anew twice changes nothing more."""
    small = ConvertOptions(rechunk=Limits(20_000, 50))
    result = await converted(plain, tmp_path / "small.car", small)
    again = await converted(tmp_path / "small.car", tmp_path / "again.car", small)
    records = [
        [record async for record in dump_archive(path) if record["kind"] != "manifest"]
        for path in (plain, tmp_path / "small.car")
    ]

    assert result.root != result.source_root
    assert again.root == result.root
    assert result.sections > len(cids(plain))
    assert records[0] == records[1]
    found = await verify_archive(tmp_path / "small.car", against=tmp_path / "demo.db")
    assert (0, []) == (found.exit_code, found.findings)


def cids(path: Path) -> list[bytes]:
    """The CIDs of an archive, in order."""
    return [section.cid for section in SectionSplitter().feed(path.read_bytes())]


async def test_a_portable_archive_cut_anew_is_a_new_export(tmp_path: Path) -> None:
    """Chunks close where an export closes them, so small chunks become those of an export, byte for byte."""
    await make_demo(tmp_path / "demo.db", messages=400)
    usual = ExportOptions(portable=True, exported_at="2026-11-28T00:00:00Z")
    small = ExportOptions(portable=True, exported_at="2026-11-28T00:00:00Z", limits=Limits(20_000, 50))
    await export_archive(tmp_path / "demo.db", tmp_path / "usual.car", options=usual)
    await export_archive(tmp_path / "demo.db", tmp_path / "small.car", options=small)
    await converted(tmp_path / "small.car", tmp_path / "new.car", ConvertOptions(rechunk=Limits()))

    assert (tmp_path / "usual.car").read_bytes() == (tmp_path / "new.car").read_bytes()


async def test_signatures_stay_while_the_root_stays(tmp_path: Path) -> None:
    """Carried along with the blocks; left behind, and said, where chunks are cut anew."""
    key = Key(tmp_path / "key")
    await make_demo(tmp_path / "demo.db", messages=100)
    await export_archive(tmp_path / "demo.db", tmp_path / "signed.car", options=ExportOptions(sign=key.make))
    kept = await converted(tmp_path / "signed.car", tmp_path / "kept.car")
    gone = await converted(tmp_path / "signed.car", tmp_path / "gone.car", ConvertOptions(rechunk=Limits(9000, 20)))

    assert (tmp_path / "signed.car").read_bytes() == (tmp_path / "kept.car").read_bytes()
    assert [(1, 0), (0, 1)] == [(one.signatures, one.signatures_gone) for one in (kept, gone)]
    assert [True] == [one.good for one in (await verify_archive(tmp_path / "kept.car")).signatures]
    assert [] == (await verify_archive(tmp_path / "gone.car")).signatures


async def test_nothing_is_written_of_a_bad_archive(plain: Path, tmp_path: Path) -> None:
    """Damaged, cut, or the output itself: an error, and no file."""
    data = bytearray(plain.read_bytes())
    data[len(data) // 2] ^= 1
    with pytest.raises(DigestMismatch):
        await converted(bytes(data), tmp_path / "new.car")
    splitter = SectionSplitter()
    last = list(splitter.feed(plain.read_bytes()))[-1]
    with pytest.raises(MissingBlock):
        await converted(plain.read_bytes()[: last.offset], tmp_path / "new.car")
    with pytest.raises(UsageError, match="expected another file"):
        await converted(plain, plain, ConvertOptions(force=True))

    assert not (tmp_path / "new.car").exists()
    assert len(data) == plain.stat().st_size


@pytest.mark.parametrize("rechunk", [None, Limits()])
async def test_a_newer_version_is_refused_where_it_must_not_be(rechunk: Limits | None, tmp_path: Path) -> None:
    """--format 3 does not take an archive of version 4, whether its blocks are kept or made anew."""
    wide = ARCHIVES / "v4-whole.car.gz"
    options = ConvertOptions(newest_version=3, rechunk=rechunk)
    with pytest.raises((UsageError, LimitExceeded)):
        await converted(wide, tmp_path / "new.car", options)
    await converted(wide, tmp_path / "new.car", ConvertOptions(rechunk=rechunk))

    assert 4 == (await verify_archive(tmp_path / "new.car")).version
