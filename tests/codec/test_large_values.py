"""A block that is mostly one byte string or array decodes as any other, only sooner, and takes no more memory."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.codec import large_values
from pattern_stream.codec.dagcbor import Link, NotProved, decode, encode_node
from pattern_stream.codec.large_values import decode_array, decode_large
from pattern_stream.errors import ArchiveError, MalformedBlock
from pattern_stream.format import MAX_BLOCK_CONTAINERS, MAX_DEPTH
from tests.codec.test_dagcbor import plain

CID = bytes.fromhex("01711e20") + bytes(32)
LINK = Link(CID)


def outcome(decoder: Any, data: bytes) -> Any:
    """The value, or the error with its words."""
    try:
        return decoder(data)
    except ArchiveError as error:
        return type(error), error.message


def record(number: int, content: Any = None, text: str = "hello") -> dict[str, Any]:
    """A map whose keys come in canonical order."""
    return {"id": f"msg_{number}", "text": text, "content": content}


def block_of(records: list[dict[str, Any]]) -> bytes:
    """A block like a message chunk: the array is its first value, and more than 4096 bytes."""
    return encode_node({"messages": records, "chunk_index": 0, "end_position": "x" * 4096})


def read(data: bytes) -> dict[str, Any] | None:
    """The value of a block whose array is read a few elements at a time, None where it is for `decode`."""
    elements: list[Any] = []
    try:
        value = decode_array(data, elements.extend)
    except (ArchiveError, NotProved):
        return None
    assert [] == next(iter(value.values()))
    value[next(iter(value))] = elements
    return value


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes the decoder of whole blocks got, each time."""
    sizes: list[int] = []

    def watch(data: bytes) -> Any:
        sizes.append(len(data))
        return decode(data)

    monkeypatch.setattr(large_values, "decode", watch)
    return sizes


# --- byte strings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 4000, 4096, 65_535, 65_536, 900_000])
@pytest.mark.parametrize("following", [None, LINK])
def test_pieces_decode_as_they_are(size: int, following: Link | None) -> None:
    """Whatever the length of the bytes, the value is the one that was encoded."""
    value = {"data": b"\xa3" * size, "index": 7, "next_cid": following}
    data = encode_node(value)

    assert value == decode_large(data)
    assert decode(data) == decode_large(data)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.integers(0, 255), st.booleans())
def test_a_damaged_piece_is_judged_alike(place: int, byte: int, at_the_end: bool) -> None:
    """Whichever byte of the frame is changed, both agree on the value, or refuse the block in the same words."""
    data = bytearray(encode_node({"data": bytes(5000), "index": 7, "next_cid": LINK}))
    data[-1 - place if at_the_end else place] = byte

    assert outcome(decode, bytes(data)) == outcome(decode_large, bytes(data))


@pytest.mark.parametrize("size", [256, 4999, 65_535, 65_536, 900_000])
@pytest.mark.parametrize("key", ["", "d", "data", "é", "x" * 23])
@pytest.mark.parametrize("count", [1, 2, 23])
def test_large_bytes_are_not_decoded(size: int, key: str, count: int, decoded: list[int]) -> None:
    """Whatever the length of the bytes, of the key and of the map, in front of others or alone."""
    rest = {f"{'y' * 24}{number:02}": "z" * 5000 for number in range(count - 1)}
    value = {key: bytes(size)} | rest
    data = encode_node(value)

    if len(data) > 4096:
        assert value == decode_large(data)
        assert [len(encode_node({key: b""} | rest))] == decoded


UNTIDY = {
    "255 in two": (1, "5900ff", 255),
    "65535 in four": (1, "5a0000ffff", 65_535),
    "65536 in eight": (1, "5b0000000000010000", 65_536),
    "one byte more than there is": (0, "591389", 5000),
    "one byte more than there is, in four": (0, "5a00010001", 65_536),
    "far more than there is": (0, "5a7fffffff", 5000),
    "one byte less than there is": (0, "591387", 5000),
}


@pytest.mark.parametrize(("more", "head", "count"), UNTIDY.values(), ids=UNTIDY)
def test_heads_that_are_not_theirs_are_refused(more: int, head: str, count: int) -> None:
    """A longer head than needed, or another length than that of the bytes, is refused as everywhere."""
    rest = b"\x61e" + encode_node(bytes(5000)) if more else b""
    before = bytes((0xA1 + more,)) + b"\x61d"
    good = before + encode_node(bytes(count)) + rest
    bad = before + bytes.fromhex(head) + bytes(count) + rest

    assert decode(good) == decode_large(good)
    assert outcome(decode, bad) == outcome(decode_large, bad)
    with pytest.raises(MalformedBlock):
        decode_large(bad)


# --- arrays ------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(plain, min_size=1, max_size=90))
def test_elements_read_as_they_are(contents: list[Any]) -> None:
    """Whatever is in them, the block's value is the one that `decode` finds; what has neither links nor bytes is
    read a few elements at a time."""
    data = block_of([record(number, content) for number, content in enumerate(contents)])

    assert decode(data) == decode_large(data)
    assert read(data) in (None, decode(data))


SCRIPTS = {
    "curly": "don’t — “so” …",
    "accents": "Señora Ibáñez, žluťoučký kůň",
    "emoji": "😀 👩‍🚀 🏳️‍🌈",
    "cyrillic": "ёжик в тумане",
    "arabic": "السلام عليكم",
    "chinese": "一个简单的句子",
    "japanese": "ひらがなとカタカナ",
    "thai": "น้ำทะเลบ",
    "heads": "\x98\x99\x9a\x9b\xb8\xb9\xba\xbb\xd8*",
    "153 bytes": "x" * 153,
}


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("count", [1, 23, 24, 31, 32, 33, 255, 256, 1000])
def test_all_text_is_read_the_same_way(text: str, count: int, decoded: list[int]) -> None:
    """No character of any script sends a block down another way, however many elements there are."""
    records = [record(number, {"Text": text, "score": number / 7}, text) for number in range(count)]
    data = block_of(records)

    assert records == decode_large(data)["messages"]
    assert [len(block_of([]))] == decoded


@pytest.mark.parametrize("odd", [LINK, b"bytes", CID])
def test_links_and_bytes_are_what_they_are(odd: Any) -> None:
    """An element with one has the same value as ever."""
    records = [record(number, odd if number % 7 == 3 else number) for number in range(40)]

    assert records == decode_large(block_of(records))["messages"]


def test_few_elements_are_there_at_a_time() -> None:
    """Whoever takes them gets so few that they stay in the cache, in order."""
    sizes, numbers = list[int](), list[str]()

    def take(values: list[Any]) -> None:
        sizes.append(len(values))
        numbers.extend(value["id"] for value in values)

    value = decode_array(block_of([record(number) for number in range(100)]), take)

    assert [32, 32, 32, 4] == sizes
    assert [f"msg_{number}" for number in range(100)] == numbers
    assert {"messages": [], "chunk_index": 0, "end_position": "x" * 4096} == value


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_array_is_judged_alike(data: st.DataObject) -> None:
    """Whichever byte is changed: the same value, or the same refusal in the same words."""
    raw = bytearray(block_of([record(number, {"a": [number, -1.5, None, "é"]}) for number in range(40)]))
    raw[data.draw(st.integers(0, len(raw) - 4001))] = data.draw(st.integers(0, 255))

    assert outcome(decode, bytes(raw)) == outcome(decode_large, bytes(raw))
    assert read(bytes(raw)) in (None, outcome(decode, bytes(raw)))


FAULTS = {
    "undefined": "f7", "simple value": "e0", "simple value of a byte": "f8ff", "half float": "f93c00",
    "single float": "fa3f800000", "NaN": "fb7ff8000000000000", "infinity": "fb7ff0000000000000", "long integer": "1805",
    "long text": "780161", "long array": "980100", "long map": "b801616100", "same key": "a2616101616102",
    "key order": "a2616201616101", "key that is no text": "a10000", "no UTF-8": "62c328", "surrogate": "63eda080",
    "indefinite array": "9fff", "indefinite text": "7fff", "break": "ff", "reserved head": "1c", "date": "c16161",
    "bignum": "c24100", "shared value": "d81c80", "reference": "d81d00", "link of another kind": "d82a450001551220",
    "link without its prefix": "d82a4101",
}  # fmt: skip


@pytest.mark.parametrize("content", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_as_ever(content: str) -> None:
    """What is wrong with one element, and at which byte of the block."""
    good = block_of([record(number, "CONTENT") for number in range(40)])
    at = good.index(encode_node("CONTENT"), 1000)
    bad = good[:at] + bytes.fromhex(content) + good[at + len(encode_node("CONTENT")) :]

    assert outcome(decode, bad) == outcome(decode_large, bad)
    assert read(bad) is None
    with pytest.raises(ArchiveError, match="at byte"):
        decode_large(bad)


@pytest.mark.parametrize("value", [-0.0, 0.0, 2**64 - 1, -(2**64), 1e308, 5e-324, True, [], {}])
def test_values_at_the_border_are_plain(value: Any) -> None:
    """They are read with the others, and keep sign and type."""
    found = (read(block_of([record(number, value) for number in range(40)])) or {})["messages"][7]["content"]

    assert (repr(value), type(value)) == (repr(found), type(found))


@pytest.mark.parametrize("depth", [10, MAX_DEPTH - 4, MAX_DEPTH - 3, MAX_DEPTH - 2, 900])
def test_depth_is_counted_from_the_block(depth: int) -> None:
    """What is nested too deep for `decode` is not read here either."""
    data = block_of([record(number) for number in range(40)])
    data = data.replace(b"\xf6", b"\x81" * depth + b"\xf6", 1)

    assert outcome(decode, data) == outcome(decode_large, data)
    assert (depth <= MAX_DEPTH - 3) == (read(data) is not None)


def test_crowded_blocks_are_refused_alike() -> None:
    """Many small arrays in many maps take far more memory than their bytes, though each has few of them."""
    data = block_of([record(number, [[]] * 900) for number in range(300)])

    assert read(data) is None
    assert outcome(decode, data) == outcome(decode_large, data)
    assert f"more than {MAX_BLOCK_CONTAINERS} arrays and maps" in outcome(decode_large, data)[1]


# --- which blocks ------------------------------------------------------------------------------------------------


def filled(size: int, first: Any) -> bytes:
    """A block of so many bytes with that first value."""
    more = size
    while (data := encode_node({"data": first, "end_position": "x" * more})) and len(data) > size:
        more -= len(data) - size
    return data


@pytest.mark.parametrize(("size", "is_whole"), [(4096, True), (4097, False), (1_000_000, False)])
@pytest.mark.parametrize("first", [bytes(300), [record(number) for number in range(40)]], ids=["bytes", "array"])
def test_only_large_blocks_are_decoded_in_parts(size: int, is_whole: bool, first: Any, decoded: list[int]) -> None:
    """In a small one there is nothing to gain."""
    data = filled(size, first)

    assert size == len(data)
    assert decode(data) == decode_large(data)
    assert is_whole == (decoded == [size])


def test_oversize_blocks_are_decoded_whole(decoded: list[int]) -> None:
    """One beyond the limit may have few values, which the diagnostic decoder counts."""
    data = filled(1_000_001, [record(number) for number in range(40)])

    assert decode(data) == decode_large(data)
    assert [1_000_001] == decoded


@pytest.mark.parametrize("key", ["messages", "MESSAGES", "m", "é", "x" * 23])
@pytest.mark.parametrize("count", [1, 23])
@pytest.mark.parametrize("elements", [1, 23, 24, 255, 256])
def test_short_heads_are_read(key: str, count: int, elements: int) -> None:
    """Maps of 1 to 23 keys, the first of at most 23 bytes; elements of any kind."""
    names = [key, *(f"{key}{at:03}" for at in range(1, count))]
    value = {key: ["y" * 4200, 5, None, [1.5], {"a": True}] * elements} | dict.fromkeys(names[1:], "x" * 300)
    value[key] = value[key][:elements]
    data = encode_node(value)

    assert value == read(data) == decode(data)


OTHERS: dict[str, Any] = {
    "an array": ["data", bytes(5000), ["x"] * 5000],
    "text": {"data": "x" * 5000},
    "a map": {"data": {"x": [bytes(5000)]}},
    "no bytes": {"data": b"", "more": bytes(5000)},
    "no elements": {"data": [], "more": ["x"] * 5000},
    "long key": {"x" * 23 + "Y": ["x"] * 30_000},
    "bytes behind a long key": {"x" * 23 + "Y": bytes(30_000)},
    "hundred keys": {f"aaa{chr(number)}": bytes(300) for number in range(40, 140)},
    "empty": {},
    "bytes alone": bytes(5000),
    "text alone": "x" * 5000,
}


@pytest.mark.parametrize("value", OTHERS.values(), ids=OTHERS)
def test_other_blocks_decode_as_they_are(value: Any, decoded: list[int]) -> None:
    """What only looks like such a block, or not even that, is decoded whole."""
    data = encode_node(value)

    assert value == decode_large(data)
    assert [len(data)] == decoded


@pytest.mark.parametrize("key", [b"\x68messag\xff\xff", b"\x48messages"])
def test_a_key_that_is_no_text_is_refused(key: bytes) -> None:
    """Bytes in the place of a key, or text that is no UTF-8, end nothing but the quick way."""
    data = block_of([record(number) for number in range(40)]).replace(b"\x68messages", key)

    assert read(data) is None
    assert outcome(decode, data) == outcome(decode_large, data)


# --- memory ------------------------------------------------------------------------------------------------------

HEADS = {
    "arrays of 2^62": "9b4000000000000000", "arrays of 2^32": "9affffffff", "arrays of 2^24": "9a01000000",
    "arrays of 65535": "99ffff", "maps of 2^32": "baffffffff6161", "a text of 2^62": "7b4000000000000000",
    "bytes of 2^40": "5b0000010000000000", "hidden behind a number": "9a00ffffff18c3",
}  # fmt: skip

_MEASURE = """
import json, resource, sys
unit = 2**20 if sys.platform == "darwin" else 2**10
from pattern_stream.codec.dagcbor import NotProved, encode_node
from pattern_stream.codec.large_values import decode_array
grown = {}
for name, head in json.load(sys.stdin).items():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    records = [{"id": "x" * 200, "content": "CONTENT"} for _ in range(200)]
    data = encode_node({"messages": records, "end": 1}).replace(encode_node("CONTENT"), bytes.fromhex(head) * 380)
    try:
        decode_array(data, lambda values: None)
        grown[name] = "read"
    except NotProved:
        grown[name] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit
print(json.dumps(grown))
"""


def test_nothing_is_allocated_for_what_heads_declare() -> None:
    """Heads in one another that declare far more than there is, in each of many messages."""
    command = [sys.executable, "-c", _MEASURE]
    done = subprocess.run(command, input=json.dumps(HEADS), capture_output=True, check=True, text=True, timeout=120)
    grown = json.loads(done.stdout)

    assert HEADS.keys() == grown.keys()
    assert max(grown.values()) < 16
