"""CAR framing: the annotated archive of docs/format.md#example, archives made here, and every fault of the framing."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_stream.codec import dagcbor
from pattern_stream.codec.car import (
    Header,
    Section,
    SectionSplitter,
    encode_header,
    encode_section_head,
    verify_section,
)
from pattern_stream.codec.cid import cid_of, cid_text
from pattern_stream.codec.dagcbor import Link
from pattern_stream.codec.varint import encode_varint
from pattern_stream.errors import (
    ArchiveError,
    DigestMismatch,
    MalformedHeader,
    MalformedSection,
    TruncatedArchive,
    UnsupportedCid,
    UnsupportedContainer,
    Where,
)
from pattern_stream.format import CAR_HEADER_BYTES, MAX_HEADER_BYTES, MAX_SECTION_BYTES
from tests.codec.oracle import oracle_encode, split

THIN_GROUP = bytes.fromhex((Path(__file__).parents[1] / "vectors/thin-group.car.hex").read_text())
"""A whole archive of one thin group. Source: docs/format.md#example."""

ROOT = cid_of(b"root")
HEADER = encode_header(ROOT)


def archive(*blocks: bytes, root: bytes = ROOT) -> bytes:
    """An archive of these blocks."""
    return encode_header(root) + b"".join(section(data) for data in blocks)


def section(data: bytes) -> bytes:
    """One block, framed."""
    return encode_section_head(cid_of(data), len(data)) + data


def header(value: Any) -> bytes:
    """Any value in the place of a header."""
    body = oracle_encode(value)
    return encode_varint(len(body)) + body


# --- examples ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_bytes", [None, 1, 2, 7, 59, 60, 300, 604])
def test_annotated_example(piece_bytes: int | None) -> None:
    """The archive of docs/format.md#example has its two sections at their offsets, in pieces of any size."""
    found = split(THIN_GROUP, piece_bytes)

    assert 605 == len(THIN_GROUP)
    assert [59, 372] == [one.offset for one in found]
    assert [275, 195] == [len(one.data) for one in found]
    for one in found:
        verify_section(one)
        assert one.data == dagcbor.encode_node(dagcbor.decode(one.data))
    assert Link(found[1].cid) == dagcbor.decode(found[0].data)["data_cid"]


def test_annotated_example_is_written_the_same() -> None:
    """Header and section heads around the example's blocks give the example."""
    found = split(THIN_GROUP)
    rewritten = [encode_section_head(one.cid, len(one.data)) + one.data for one in found]

    assert THIN_GROUP == encode_header(found[0].cid) + b"".join(rewritten)


def test_header() -> None:
    """A header takes 59 bytes whatever the root, and is known as soon as they are there."""
    splitter = SectionSplitter()

    assert CAR_HEADER_BYTES == len(HEADER)
    assert HEADER == header({"roots": [Link(ROOT)], "version": 1})
    assert [] == list(splitter.feed(HEADER[:-1]))
    assert splitter.header is None
    assert [] == list(splitter.feed(HEADER[-1:]))
    assert Header(1, (ROOT,)) == splitter.header
    assert CAR_HEADER_BYTES == splitter.offset
    splitter.finish()


# --- what holds for any archive ----------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=300), max_size=6), st.lists(st.integers(1, 200)))
def test_pieces_do_not_matter(blocks: list[bytes], cuts: list[int]) -> None:
    """The same sections come out however the bytes are cut into pieces, read or not read at once."""
    data = archive(*blocks)
    expected: list[Section] = []
    for block in blocks:
        offset = expected[-1].offset + len(section(expected[-1].data)) if expected else CAR_HEADER_BYTES
        expected.append(Section(offset, cid_of(block), block))
    splitter = SectionSplitter()
    rest = data
    found: list[Section] = []
    for cut in [*cuts, len(data)]:
        pieces = splitter.feed(memoryview(rest)[:cut])
        rest = rest[cut:]
        if cut % 3:  # else this piece is read with the next
            found += pieces
    found += splitter.feed(b"")
    splitter.finish()

    assert expected == found
    assert len(data) == splitter.offset
    assert expected == split(data, 1)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=3), st.data())
def test_every_cut_is_noticed(blocks: list[bytes], data: st.DataObject) -> None:
    """An archive that ends inside header or section is truncated, with the offset of what was cut."""
    whole = archive(*blocks)
    borders = [0, CAR_HEADER_BYTES, *(one.offset for one in split(whole)), len(whole)]
    end = data.draw(st.integers(0, len(whole) - 1))
    if end in borders[1:]:
        assert [one for one in split(whole) if one.offset < end] == split(whole[:end])
        return
    with pytest.raises(TruncatedArchive) as caught:
        split(whole[:end])

    assert max(border for border in borders if border <= end) == caught.value.where.offset


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes(data: bytes, after_header: bool) -> None:
    """Bytes of any kind are sections or an archive error that knows its offset, whole or a byte at a time."""
    data = HEADER + data if after_header else data
    whole, dribbled = (attempt(data, piece_bytes) for piece_bytes in (None, 1))
    assert type(whole) is type(dribbled)
    if isinstance(whole, ArchiveError) and isinstance(dribbled, ArchiveError):
        assert whole.where == dribbled.where
        assert whole.where.offset is not None
    else:
        assert whole == dribbled


def attempt(data: bytes, piece_bytes: int | None) -> list[Section] | ArchiveError:
    """The sections, or what was wrong."""
    try:
        return split(data, piece_bytes, any_roots=True)
    except ArchiveError as error:
        return error


# --- faults ------------------------------------------------------------------------------------------------------

HEADER_FAULTS: dict[str, tuple[bytes, type[ArchiveError], str]] = {
    "length of zero": (b"\x00", MalformedHeader, "header is 0 bytes"),
    "length varint too long": (b"\xba\x00" + HEADER[1:], MalformedHeader, "varint of 58 takes 2 bytes"),
    "too long": (encode_varint(MAX_HEADER_BYTES + 1), MalformedHeader, "header is 4097 bytes, limit is 4096"),
    "200 GB": (encode_varint(200 * 10**9), MalformedHeader, "header is 200000000000 bytes, limit is 4096"),
    "no DAG-CBOR": (b"\x02\xff\xff", MalformedHeader, "header is no DAG-CBOR: a break"),
    "bytes after the value": (b"\x02\xa0\xa0", MalformedHeader, "1 bytes after the value"),
    "null": (header(None), MalformedHeader, "a value of type NoneType, expected a map of roots and version"),
    "array": (header([1, []]), MalformedHeader, "an array of 2 values, expected a map of roots and version"),
    "no version": (header({"roots": [Link(ROOT)]}), MalformedHeader, "a map of 1 keys"),
    "no roots": (header({"version": 1}), MalformedHeader, "a map of 1 keys"),
    "another key": (header({"blip": 1, "roots": [Link(ROOT)], "version": 1}), MalformedHeader, "a map of 3 keys"),
    "version as text": (header({"roots": [], "version": "1"}), MalformedHeader, "version in the header is a value of"),
    "version true": (
        header({"roots": [], "version": True}),
        MalformedHeader,
        "version in the header is a value of type bool, expected 1",
    ),
    "version an array": (
        header({"roots": [], "version": [1, 2]}),
        MalformedHeader,
        "version in the header is an array of 2 values, expected 1",
    ),
    "version 3": (header({"roots": [Link(ROOT)], "version": 3}), UnsupportedContainer, "CAR version 3"),
    "roots a map": (
        header({"roots": {}, "version": 1}),
        MalformedHeader,
        "roots in the header are a map of 0 keys, expected an array of links",
    ),
    "roots bare bytes": (header({"roots": [ROOT], "version": 1}), MalformedHeader, "expected an array of links"),
    "no root": (header({"roots": [], "version": 1}), MalformedHeader, "header has 0 roots, expected exactly 1"),
    "two roots": (header({"roots": [Link(ROOT)] * 2, "version": 1}), MalformedHeader, "header has 2 roots"),
    "root of another kind": (
        header({"roots": [Link(b"\x01\x55\x12\x20" + bytes(32))], "version": 1}),
        UnsupportedCid,
        "codec raw (0x55), hash sha2-256 (0x12)",
    ),
    "CAR v2": (
        bytes.fromhex("0aa16776657273696f6e02") + bytes(40),
        UnsupportedContainer,
        "CAR version 2, expected version 1",
    ),
}

AFTER = section(b"block")
SECTION_FAULTS: dict[str, tuple[bytes, type[ArchiveError], str]] = {
    "length of zero": (b"\x00", MalformedSection, "section is 0 bytes, expected a length (padding is not allowed)"),
    "length varint too long": (b"\xa9\x00" + AFTER[1:], MalformedSection, "varint of 41 takes 2 bytes"),
    "length varint never ends": (b"\xff" * 10, MalformedSection, "varint is longer than 9 bytes"),
    "too long": (encode_varint(9_000_000), MalformedSection, "section is 9000000 bytes, limit is 4194304"),
    "shorter than its CID": (b"\x20" + AFTER[1:], MalformedSection, "data ends inside a CID"),
    "no CID": (b"\x05" + bytes(5), MalformedSection, "CID starts with 0, expected its version, 1"),
    "a length that ends as a CID begins": (
        b"\x80" + AFTER[1:37] + bytes(200),  # 80 01 is 128; what comes then lacks the 01
        MalformedSection,
        "CID starts with 113, expected its version, 1",
    ),
    "later CID": (b"\x24\x02" + AFTER[2:38], UnsupportedCid, "CID has version 2"),
    "digest longer than the section": (b"\x08\x01\x71\x1e\x60" + bytes(4), MalformedSection, "data ends inside a CID"),
}


@pytest.mark.parametrize("piece_bytes", [None, 1])
@pytest.mark.parametrize(("data", "error", "text"), HEADER_FAULTS.values(), ids=HEADER_FAULTS)
def test_header_faults(data: bytes, error: type[ArchiveError], text: str, piece_bytes: int | None) -> None:
    """A bad header is refused at offset 0, saying what was found; bytes after it change nothing."""
    for fed in (data, data + AFTER * 3):
        with pytest.raises(error) as caught:
            split(fed, piece_bytes)

        assert text in caught.value.message
        assert 0 == caught.value.where.offset


@pytest.mark.parametrize("piece_bytes", [None, 1, 50])
@pytest.mark.parametrize(("data", "error", "text"), SECTION_FAULTS.values(), ids=SECTION_FAULTS)
def test_section_faults(data: bytes, error: type[ArchiveError], text: str, piece_bytes: int | None) -> None:
    """A bad section is refused at its own offset, after the good ones before it have come out, and ever after."""
    good = [Section(59, cid_of(b"one"), b"one"), Section(99, cid_of(b"two"), b"two")]
    before = archive(b"one", b"two")
    splitter = SectionSplitter()
    found: list[Section] = []
    with pytest.raises(error) as caught:
        drain(splitter, before + data + AFTER * 3, piece_bytes, found)
    with pytest.raises(error):
        list(splitter.feed(AFTER))
    with pytest.raises(error):
        splitter.finish()

    assert good == found
    assert text in caught.value.message
    assert len(before) == caught.value.where.offset


def drain(splitter: SectionSplitter, data: bytes, piece_bytes: int | None, found: list[Section]) -> None:
    """Feed everything; `found` has what came out before a fault as well."""
    size = piece_bytes or len(data)
    for at in range(0, len(data), size):
        found.extend(splitter.feed(data[at : at + size]))


@pytest.mark.parametrize("before", [b"", section(b"short"), section(bytes(200)), section(bytes(5000))])
def test_padding_is_refused_at_its_first_byte(before: bytes) -> None:
    """Nothing is waited for behind a header, a short or a long section: a lone zero is a fault as soon as it comes."""
    splitter = SectionSplitter()
    with pytest.raises(MalformedSection, match="section is 0 bytes"):
        list(splitter.feed(HEADER + before + b"\x00"))


def test_short_sections_are_split_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sections that need one byte for their length, none is judged by the slow way, as long as they are whole."""
    judged: list[Section | None] = []
    slow = SectionSplitter._split_section

    def watch(splitter: SectionSplitter) -> Section | None:
        judged.append(slow(splitter))
        return judged[-1]

    monkeypatch.setattr(SectionSplitter, "_split_section", watch)
    blocks = [bytes(size) for size in range(92)]  # 91 and the CID are 127
    splitter = SectionSplitter(max_section_bytes=128)
    data = archive(*blocks, bytes(92), *blocks)
    found = list(splitter.feed(data[:-1])) + list(splitter.feed(data[-1:]))

    assert [*blocks, bytes(92), *blocks] == [one.data for one in found]
    assert [92] == [len(one.data) for one in judged if one is not None]
    assert 3 == len(judged)


def test_only_one_root_unless_asked() -> None:
    """Without being told otherwise, a header has exactly one root, of our kind."""
    for roots in ([], [Link(ROOT)] * 2):
        with pytest.raises(MalformedHeader, match=f"header has {len(roots)} roots, expected exactly 1"):
            list(SectionSplitter().feed(header({"roots": roots, "version": 1})))


def test_a_limit_below_what_is_short_holds() -> None:
    """The quick way is not taken where the limit is so low that it could pass more."""
    splitter = SectionSplitter(max_section_bytes=100)
    assert [bytes(64)] == [one.data for one in splitter.feed(archive(bytes(64)))]

    with pytest.raises(MalformedSection, match="section is 101 bytes, limit is 100"):
        list(splitter.feed(section(bytes(65))))


def test_largest_section() -> None:
    """A section of exactly the limit passes, one more byte is refused before it is waited for."""
    data = bytes(MAX_SECTION_BYTES - 36)
    splitter = SectionSplitter()

    assert [data] == [one.data for one in split(archive(data), 65_536)]
    with pytest.raises(MalformedSection, match="section is 4194305 bytes, limit is 4194304"):
        list(splitter.feed(HEADER + encode_varint(MAX_SECTION_BYTES + 1)))


def test_messages_at_an_early_end() -> None:
    """What is missing is told: the header, or how much of a section."""
    for data, text in (
        (b"", "archive ends after 0 bytes, inside its header"),
        (HEADER[:20], "archive ends after 20 bytes, inside its header"),
        (archive(b"data")[:-2], "archive ends 39 bytes into a section, expected 41 or more"),
        (HEADER + b"\x80", "archive ends 1 bytes into a section, expected 2 or more"),
    ):
        with pytest.raises(TruncatedArchive) as caught:
            split(data)
        assert text == caught.value.message


def test_any_roots() -> None:
    """Archives of other people may have no root, several, or roots of other kinds."""
    raw = b"\x01\x55\x00\x01x"
    for roots in ((), (ROOT, ROOT), (raw,), (b"\x12\x20" + bytes(32), ROOT)):
        splitter = SectionSplitter(any_roots=True)
        list(splitter.feed(header({"roots": [Link(root) for root in roots], "version": 1})))
        assert Header(1, roots) == splitter.header


# --- ways out ----------------------------------------------------------------------------------------------------


def test_hints_name_the_way_out() -> None:
    """Each container is named with what to do about it; a CAR v2 with the exact place of the CAR v1 inside."""
    carv2 = bytes.fromhex("0aa16776657273696f6e02") + bytes(16)
    carv2 += (51).to_bytes(8, "little") + len(THIN_GROUP).to_bytes(8, "little") + bytes(8)
    hints = []
    whole = carv2 + THIN_GROUP
    for data in (carv2[:50], carv2[:51], whole):
        with pytest.raises(UnsupportedContainer) as caught:
            split(data, 1)
        hints.append(caught.value.hint)

    assert hints == [
        "unwrap the CAR v1 inside it first",
        "unwrap the CAR v1 inside it first: tail -c +52 FILE | head -c 605 > FILE.v1.car",
        "unwrap the CAR v1 inside it first: tail -c +52 FILE | head -c 605 > FILE.v1.car",
    ]


def test_a_carv2_is_refused_as_soon_as_its_header_is_whole() -> None:
    """With the byte that ends its 51, without waiting for more."""
    splitter = SectionSplitter()
    carv2 = bytes.fromhex("0aa16776657273696f6e02") + bytes(40)
    list(splitter.feed(carv2[:50]))

    with pytest.raises(UnsupportedContainer) as caught:
        splitter.feed(carv2[50:])

    assert "CAR version 2, expected version 1" == caught.value.message


# --- verifying ---------------------------------------------------------------------------------------------------


def test_verified_sections() -> None:
    """A block that hashes to its CID passes; a flipped bit and a foreign CID are refused with place and name."""
    good = Section(59, cid_of(b"data"), b"data")
    verify_section(good)
    with pytest.raises(DigestMismatch) as flipped:
        verify_section(good._replace(data=b"dat!"))
    with pytest.raises(UnsupportedCid) as foreign:
        verify_section(good._replace(cid=b"\x01\x55\x00\x04data"))

    assert Where(offset=59, cid=cid_text(good.cid)) == flipped.value.where
    assert "hash identity (0x00) of 4 bytes" in foreign.value.message
    assert 59 == foreign.value.where.offset


def verified(data: bytes) -> None:
    """Read an archive as far as framing goes, every block hashed, and the first block the root."""
    splitter = SectionSplitter()
    for count, one in enumerate(splitter.feed(data)):
        verify_section(one)
        if count == 0 and splitter.header is not None and splitter.header.roots != (one.cid,):
            raise MalformedHeader("root is another than the first block", where=Where(offset=0))
    splitter.finish()


def test_every_flipped_byte_of_the_example_is_refused() -> None:
    """No byte of the example can change: framing, digest or the root notices, and says where."""
    verified(THIN_GROUP)
    for at in range(len(THIN_GROUP)):
        for pattern in (0x01, 0x80):
            damaged = bytearray(THIN_GROUP)
            damaged[at] ^= pattern
            with pytest.raises(ArchiveError) as caught:
                verified(bytes(damaged))
            assert caught.value.where.offset is not None


# --- cost --------------------------------------------------------------------------------------------------------


def test_memory_is_one_section_and_one_piece() -> None:
    """However long the archive, what is held is the open section and the piece at hand."""
    piece = b"".join(section(bytes(index % 251 for index in range(size))) for size in range(0, 1000, 7))
    splitter = SectionSplitter()
    list(splitter.feed(HEADER))
    tracemalloc.start()
    try:
        for _ in range(40):
            for at in range(0, len(piece), 10_000):
                for _ in splitter.feed(piece[at : at + 10_000]):
                    pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    splitter.finish()

    assert peak < 4 * 10_000


def test_time_is_linear_in_a_section_fed_by_the_byte() -> None:
    """Twice the bytes of one section, a byte at a time, take about twice the time, not four times."""

    def seconds(size: int) -> float:
        splitter = SectionSplitter()
        data = archive(bytes(size))
        started = time.process_time()
        for at in range(len(data)):
            splitter.feed(data[at : at + 1])
        return time.process_time() - started

    seconds(1000)
    short = min(seconds(30_000) for _ in range(3))

    assert min(seconds(240_000) for _ in range(2)) < 8 * 3 * short
