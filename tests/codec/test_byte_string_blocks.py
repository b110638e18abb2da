"""A block that is mostly one byte string decodes as any other, only sooner."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.codec import byte_string_blocks as pieces
from pattern_stream.codec.byte_string_blocks import decode_piece
from pattern_stream.codec.dagcbor import Link, decode, encode_node
from pattern_stream.errors import ArchiveError, MalformedBlock

CID = bytes.fromhex("01711e20") + bytes(32)


@pytest.mark.parametrize("size", [0, 4000, 4096, 65_535, 65_536, 900_000])
@pytest.mark.parametrize("following", [None, Link(CID)])
def test_pieces_decode_as_they_are(size: int, following: Link | None) -> None:
    """Whatever the length of the bytes, the value is the one that was encoded."""
    value = {"data": b"\xa3" * size, "index": 7, "next_cid": following}
    data = encode_node(value)

    assert value == decode_piece(data)
    assert decode(data) == decode_piece(data)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.integers(0, 255), st.booleans())
def test_a_damaged_piece_is_refused_alike(place: int, byte: int, at_the_end: bool) -> None:
    """Whichever byte of the frame is changed, both decoders refuse it or agree on its value."""
    data = bytearray(encode_node({"data": bytes(5000), "index": 7, "next_cid": Link(CID)}))
    data[-1 - place if at_the_end else place] = byte

    try:
        expected = decode(bytes(data))
    except ArchiveError as error:
        with pytest.raises(type(error)):
            decode_piece(bytes(data))
    else:
        assert expected == decode_piece(bytes(data))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes the decoder got, each time."""
    sizes: list[int] = []

    def watch(data: bytes) -> Any:
        sizes.append(len(data))
        return decode(data)

    monkeypatch.setattr(pieces, "decode", watch)
    return sizes


def filled(size: int) -> bytes:
    """A block of so many bytes, up to 65,000, that begins with a byte string."""
    return encode_node({"d": bytes(size - len(encode_node({"d": bytes(300), "e": 1})) + 300), "e": 1})


@pytest.mark.parametrize(("size", "is_whole"), [(4096, True), (4097, False)])
def test_only_large_blocks_are_decoded_around_their_bytes(size: int, is_whole: bool, decoded: list[int]) -> None:
    """In a small one there is nothing to gain."""
    data = filled(size)

    assert size == len(data)
    assert decode(data) == decode_piece(data)
    assert [size if is_whole else 7] == decoded


@pytest.mark.parametrize("size", [256, 4999, 65_535, 65_536, 900_000])
@pytest.mark.parametrize("key", ["", "d", "data", "x" * 23])
@pytest.mark.parametrize("count", [1, 2, 23])
def test_large_bytes_are_not_decoded(size: int, key: str, count: int, decoded: list[int]) -> None:
    """Whatever the length of the bytes, of the key and of the map, in front of others or alone."""
    rest = {f"{'y' * 24}{number:02}": "z" * 5000 for number in range(count - 1)}
    value = {key: bytes(size)} | rest
    data = encode_node(value)

    if len(data) > 4096:
        assert value == decode_piece(data)
        assert [len(encode_node({key: b""} | rest))] == decoded


@pytest.mark.parametrize(
    "value",
    [
        ["data", bytes(5000)],
        {"data": "x" * 5000},
        {"data": [bytes(5000)]},
        {"data": bytes(255), "more": bytes(5000)},
        {"x" * 23 + "Y": bytes(30_000)},
        {f"aaa{chr(number)}" if number > 89 else f"aa{chr(number)}Y": bytes(30_000) for number in range(40, 140)},
        {},
        bytes(5000),
    ],
    ids=["array", "text", "nested", "short bytes", "long key", "hundred keys", "empty", "bytes alone"],
)
def test_other_blocks_decode_as_they_are(value: Any, decoded: list[int]) -> None:
    """What only looks like such a block, or not even that, goes to the decoder whole."""
    data = encode_node(value)

    assert value == decode_piece(data)
    assert [len(data)] == decoded


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

    assert decode(good) == decode_piece(good)
    with pytest.raises(MalformedBlock):
        decode_piece(bad)
