"""A block that is mostly an array of similar maps reads as any other, but sooner, and libipld gets nothing harmful."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.codec import dagcbor, message_arrays
from pattern_stream.codec.dagcbor import Link, decode, encode_node
from pattern_stream.codec.message_arrays import MessageArray, MessageArrayReader, NotMessageArray
from pattern_stream.errors import ArchiveError
from pattern_stream.format import MAX_BLOCK_CONTAINERS, MAX_DEPTH
from tests.codec.test_dagcbor import plain

LINK = Link(bytes.fromhex("01711e20") + bytes(32))
HARMFUL = (0x99, 0x9A, 0x9B, 0xB9, 0xBA, 0xBB, 0xD8)
"""Arrays and maps that declare more than 255 values, and tags."""


def record(number: int, content: Any = None, text: str = "hello") -> dict[str, Any]:
    """A map whose keys come in canonical order."""
    return {"id": f"msg_{number}", "text": text, "content": content}


def block_of(records: list[dict[str, Any]]) -> bytes:
    """A block like a message chunk: the array is its first value, and more than 4096 bytes."""
    return encode_node({"messages": records, "chunk_index": 0, "end_position": "x" * 4096})


def read(data: bytes, reader: MessageArrayReader | None = None) -> dict[str, Any] | None:
    """The block's value with all maps proved, None where it is for the other decoder."""

    def prove(value: dict[str, Any]) -> dict[str, Any]:
        (maps,) = (content for content in value.values() if isinstance(content, MessageArray))
        assert len(maps) == sum(map(len, maps.groups(prove=True)))
        return value

    return (reader or MessageArrayReader()).read(data, prove)


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
    assert found != 100
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
        b"\xba\xff\xff\xff\xff\x00",
        b"\xb9\xff\xff" * 300 + b"\x00",
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

    monkeypatch.setattr(message_arrays, "decode_harmless", watch)
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
    reader = MessageArrayReader()
    good = block_of([record(number) for number in range(40)])
    bad = good.replace(b"\xf6", b"\xf7")
    assert read(good, reader) is not None

    assert [None] * 20 == [read(bad, reader) for _ in range(20)]
    monkeypatch.setattr(message_arrays, "decode_harmless", lambda *_, **__: pytest.fail("asked again"))
    assert read(good, reader) is None


def test_maps_that_are_not_proved_are_refused() -> None:
    """An integer with a longer head is a fault, though libipld reads it."""
    data = block_of([record(number, 5) for number in range(40)])
    untidy = data.replace(b"\x05", b"\x18\x05", 1)
    value = MessageArrayReader().read(untidy, lambda unproved: unproved)

    assert value is not None
    assert records_of(untidy) == value["messages"]
    assert records_of(untidy)[:39] == [value["messages"][place] for place in range(39)]
    with pytest.raises(NotMessageArray):
        list(value["messages"].groups(prove=True))


def found_in(data: bytes) -> message_arrays._ArrayPlace:
    """Where the array of a block is."""
    found = message_arrays._find_array(data)
    assert found is not None
    return found


def records_of(data: bytes) -> list[dict[str, Any]]:
    """The maps of a block, however untidy it is."""
    records: list[dict[str, Any]] = decode(data, strict=False)["messages"]
    return records


# --- what is read here -------------------------------------------------------------------------------------------


def filled(size: int) -> bytes:
    """A block of so many bytes."""
    records = [record(number) for number in range(40)]
    more = size
    while (data := encode_node({"messages": records, "end_position": "x" * more})) and len(data) > size:
        more -= len(data) - size
    return data


@pytest.mark.parametrize(("size", "is_read"), [(4096, False), (4097, True), (1_000_000, True), (1_000_001, False)])
def test_neither_small_blocks_nor_oversize_ones(size: int, is_read: bool) -> None:
    """A small block gains nothing; one beyond the limit may have few values, which the other decoder counts."""
    data = filled(size)

    assert size == len(data)
    assert is_read == (read(data) is not None)


@pytest.mark.parametrize("key", ["messages", "MESSAGES", "m", "é", "x" * 23])
@pytest.mark.parametrize("count", [1, 23])
def test_short_heads_are_read(key: str, count: int) -> None:
    """Maps of 1 to 23 keys, the first of at most 23 bytes, in the block and in its array."""
    names = [key, *(f"{key}{at:03}" for at in range(1, count))]
    records = [dict.fromkeys(names, number) for number in range(4000 // (count + 1))]
    value = {key: records} | dict.fromkeys(names[1:], "x" * 300)

    assert value == read(encode_node(value))


def test_no_other_shapes_are_read() -> None:
    """An array where the map should be, no array in it, arrays in it, or a key that is no text: for the other."""
    records = [record(number) for number in range(300)]
    shapes = [
        ["messages", records],
        {"messages": encode_node(records), "index": 0},
        {"messages": [["id", f"msg_{number}"] for number in range(900)]},
        {"messages": {"id": records}},
    ]

    assert [None] * len(shapes) == [read(encode_node(shape)) for shape in shapes]
    assert all(len(encode_node(shape)) > 4096 for shape in shapes)


@pytest.mark.parametrize("key", [b"\x68messag\xff\xff", b"\x48messages"])
def test_a_key_that_is_no_text_is_refused(key: bytes) -> None:
    """Bytes in the place of a key, or text that is no UTF-8, end nothing but the quick way."""
    data = block_of([record(number) for number in range(40)]).replace(b"\x68messages", key)

    assert read(data) is None
    assert decoded(data) is None


@pytest.mark.parametrize(("apart", "is_read"), [(10, True), (11, False)])
def test_a_quarter_may_be_decoded_apart(apart: int, is_read: bool) -> None:
    """Where more maps than one in four are not for libipld, there is nothing to gain."""
    records = [record(number, "’’" if number < apart else None) for number in range(40)]

    assert is_read == (read(block_of(records)) is not None)


@pytest.mark.parametrize("failures", [7, 8])
def test_the_eighth_failure_is_the_last(failures: int) -> None:
    """Up to seven blocks may be bad, and the next good one is read; after eight none is."""
    reader = MessageArrayReader()
    good = block_of([record(number) for number in range(40)])
    for _ in range(failures):
        assert read(good.replace(b"\xf6", b"\xf7"), reader) is None

    assert (failures < 8) == (read(good, reader) is not None)


# --- how far it goes ---------------------------------------------------------------------------------------------


def crowd(containers: int) -> bytes:
    """A block in which so many bytes, before the last map, could be the heads of arrays and maps."""
    count = 38 * 32 + 1  # so the last map but one is alone in its group
    records = [record(number, [[]] * 200) for number in range(count)]  # each a map, an array, and the arrays in that
    rest = containers - count * 202
    for one in records:
        size = min(rest, 101)
        one["text"] = [[]] * (size - 1) if size else None
        rest -= size
    return block_of([*records, record(count)])


def containers_of(data: bytes) -> int:
    """How many there are before the last map, as they are counted."""
    return sum(0x80 <= byte <= 0xBB for byte in data[found_in(data).starts[0] : found_in(data).starts[-1]])


@pytest.mark.parametrize("more", [0, 1])
def test_the_most_containers_are_counted_exactly(more: int) -> None:
    """As many arrays and maps as one block may have are read, whatever group of maps they are in; one more is not."""
    data = crowd(MAX_BLOCK_CONTAINERS + more)

    assert MAX_BLOCK_CONTAINERS + more == containers_of(data)
    assert 2 == len(found_in(data).starts) % 32
    assert (more == 0) == (read(data) is not None)


@pytest.mark.parametrize(("large", "is_read"), [(1, True), (2, False)])
def test_what_is_decoded_apart_is_counted_by_its_bytes(large: int, is_read: bool) -> None:
    """Maps that libipld must not see count with every byte, all of them together."""
    records = [record(number, "’" * 43_000 if number in range(30, 30 + large) else None) for number in range(90)]

    assert is_read == (read(block_of(records)) is not None)


def test_crowded_maps_are_decoded_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """libipld has no limit on depth, so no map that it gets has as many arrays as could be nested too deep."""
    seen: list[bytes] = []
    kept = dagcbor.decode_harmless

    def watch(blocks: list[bytes], *, prove: bool) -> list[Any] | None:
        seen.extend(blocks)
        return kept(blocks, prove=prove)

    monkeypatch.setattr(message_arrays, "decode_harmless", watch)
    records = [record(number, [[[]] * 200] * 2 if number in (3, 50, 75) else None) for number in range(100)]

    assert records == (read(block_of(records)) or {}).get("messages")
    assert 96 == len(set(seen))
    assert all(sum(0x80 <= byte <= 0xBB for byte in one) < MAX_DEPTH for one in seen)


@pytest.mark.parametrize(
    ("first", "second", "size"),
    [
        ("msg_1", "msg_2", 9),  # a map of three, the key `id`, a text of five, `msg_`
        ("ms_11", "ms_22", 8),
        ("abcde", "fghij", 5),
        ("msg_12345", "msg_12346", 9),
        ("a", "bb", 4),
    ],
)
def test_a_mark_is_what_two_maps_begin_with(first: str, second: str, size: int) -> None:
    """As far as the first two maps agree, within nine bytes: what is longer occurs less often in between."""
    records = [{"id": name, "text": None, "content": number} for number, name in enumerate((first, second, "z"))]
    data = encode_node(records)

    assert size == message_arrays._mark_bytes(data, 1, 4)
