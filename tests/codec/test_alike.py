"""A block that is mostly an array of maps alike reads as any other, but sooner, and libipld gets nothing harmful."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.codec import alike, dagcbor
from pattern_stream.codec.alike import AlikeMaps, AlikeReader, NotAlike
from pattern_stream.codec.dagcbor import Link, decode, encode_node
from pattern_stream.errors import ArchiveError
from pattern_stream.format import MAX_BLOCK_CONTAINERS, MAX_DEPTH
from tests.codec.test_dagcbor import plain

LINK = Link(bytes.fromhex("01711e20") + bytes(32))
HARMFUL = (*alike._WIDE_HEADS, alike._TAG_HEAD)


def record(number: int, content: Any = None, text: str = "hello") -> dict[str, Any]:
    """A map whose keys come in canonical order."""
    return {"id": f"msg_{number}", "text": text, "content": content}


def block_of(records: list[dict[str, Any]]) -> bytes:
    """A block like a message chunk: the array is its first value, and more than 4096 bytes."""
    return encode_node({"messages": records, "chunk_index": 0, "end_position": "x" * 4096})


def read(data: bytes, reader: AlikeReader | None = None) -> dict[str, Any] | None:
    """The block's value with all maps proved, None where it is for the other decoder."""

    def prove(value: dict[str, Any]) -> dict[str, Any]:
        (maps,) = (content for content in value.values() if isinstance(content, AlikeMaps))
        assert len(maps) == sum(map(len, maps.groups(prove=True)))
        return value

    return (reader or AlikeReader()).read(data, prove)


def decoded(data: bytes) -> Any:
    """What the other decoder reads, None where it refuses."""
    try:
        return decode(data)
    except ArchiveError:
        return None


@settings(max_examples=60, deadline=None)
@given(st.lists(plain, min_size=1, max_size=90))
def test_maps_read_as_they_are(contents: list[Any]) -> None:
    """Whatever is in them, the block's value is the one that the other decoder finds, or it is left to that one."""
    data = block_of([record(number, content) for number, content in enumerate(contents)])
    value = read(data)

    assert value is None or value == decode(data)


@pytest.mark.parametrize("count", [1, 2, 23, 24, 31, 32, 33, 255, 256, 1000])
@pytest.mark.parametrize("odd", [None, "’’", "x" * 0x99, LINK, b"\x01\x71bytes"])
def test_some_maps_are_decoded_apart(count: int, odd: Any) -> None:
    """Maps that libipld must not get stand in their places among the others."""
    records = [record(number, odd if number % 7 == 3 else number) for number in range(count)]
    data = block_of(records)
    value = read(data)

    if value is not None:
        assert records == list(value["messages"])
        assert decode(data) == value
    assert value is not None or odd == b"\x01\x71bytes"


def test_an_array_of_maps_is_a_sequence() -> None:
    """Single maps, slices, maps from the end, and comparison work as on a list."""
    records = [record(number, "’" if number % 5 == 0 else number) for number in range(100)]
    value = read(block_of(records))

    assert value is not None
    found = value["messages"]
    assert (records[0], records[5], records[-1]) == (found[0], found[5], found[-1])
    assert records[3:9] == found[3:9]
    assert records[::-7] == found[::-7]
    assert records == found
    assert found != records[:-1]
    with pytest.raises(IndexError):
        found[100]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_block_is_left_to_the_other_decoder(data: st.DataObject) -> None:
    """Whichever byte is changed: what is read is what the other decoder reads, which is nothing where it refuses."""
    raw = bytearray(block_of([record(number, {"a": [number, -1.5, None]}) for number in range(40)])[:-4000])
    raw += b"x" * 4000
    raw[data.draw(st.integers(0, len(raw) - 4001))] = data.draw(st.integers(0, 255))

    value = read(bytes(raw))

    assert value is None or value == decoded(bytes(raw))


@pytest.mark.parametrize(
    "content",
    [
        b"\x9b\x40\x00\x00\x00\x00\x00\x00\x00\x00",  # an array of 2^62 values ends the process in libipld
        b"\x9a\xff\xff\xff\xff\x00",
        b"\x99\xff\xff" * 300 + b"\x00",
        b"\xbb\x40\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\xd8\x2a\x58\x25\x00" + LINK.cid,
        b"\xd9\x00\x2a\x58\x25\x00" + LINK.cid,
    ],
)
def test_nothing_harmful_reaches_libipld(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Declared lengths that would be believed, and tags, are in no map that libipld gets."""
    seen: list[bytes] = []
    kept = dagcbor.decode_harmless

    def watch(blocks: list[bytes], *, prove: bool) -> list[Any] | None:
        seen.extend(blocks)
        return kept(blocks, prove=prove)

    monkeypatch.setattr(alike, "decode_harmless", watch)
    good = block_of([record(number, "CONTENT") for number in range(40)])
    bad = good.replace(encode_node("CONTENT"), content, 3)
    value = read(bad)

    assert not any(byte in HARMFUL for one in seen for byte in one)
    assert value is None or value == decode(bad)


@pytest.mark.parametrize("depth", [10, MAX_DEPTH - 20, MAX_DEPTH - 4, MAX_DEPTH - 3, MAX_DEPTH - 2, 900])
def test_depth_is_counted_from_the_block(depth: int) -> None:
    """What is nested too deep for the other decoder is not read here either."""
    data = block_of([record(number) for number in range(40)])
    data = data.replace(b"\xf6", b"\x81" * depth + b"\xf6", 1)

    assert decoded(data) == read(data)
    assert (depth <= MAX_DEPTH - 3) == (decoded(data) is not None)


def test_crowded_blocks_are_left_to_the_other_decoder() -> None:
    """Many small arrays in many maps take far more memory than their bytes."""
    assert read(block_of([record(number, [[]] * 900) for number in range(300)])) is None
    assert 300 * 900 > MAX_BLOCK_CONTAINERS


def test_a_mark_inside_text_is_no_map() -> None:
    """Text that looks like the start of a map makes the block one for the other decoder."""
    records = [record(number) for number in range(40)]
    records[7]["text"] = encode_node(records[8]).decode("latin-1")
    data = block_of(records)

    assert read(data) is None or read(data) == decode(data)


def test_after_some_failures_nothing_more_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """libipld loses memory where it fails, so it only fails so often; honest blocks are then read the other way."""
    reader = AlikeReader()
    good = block_of([record(number) for number in range(40)])
    bad = good.replace(b"\xf6", b"\xf7")
    assert read(good, reader) is not None

    assert [None] * 20 == [read(bad, reader) for _ in range(20)]
    monkeypatch.setattr(alike, "decode_harmless", lambda *_, **__: pytest.fail("asked again"))
    assert read(good, reader) is None


def test_maps_that_are_not_proved_are_refused() -> None:
    """An integer with a longer head is a fault, though libipld reads it."""
    data = block_of([record(number, 5) for number in range(40)])
    value = alike._opened(untidy := data.replace(b"\x05", b"\x18\x05", 1), found_in(untidy))

    assert value is not None
    with pytest.raises(NotAlike):
        list(value["messages"].groups(prove=True))


def found_in(data: bytes) -> alike._Found:
    """Where the array of a block is."""
    found = alike._first_maps(data)
    assert found is not None
    return found
