"""A block that is mostly one byte string decodes as any other, only sooner."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.codec.dagcbor import Link, decode, encode_node
from pattern_stream.codec.pieces import decode_piece
from pattern_stream.errors import ArchiveError

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
