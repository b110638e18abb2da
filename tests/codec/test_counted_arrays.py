"""A block that is mostly an array is counted by its head and its tail, or left to who decodes it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.codec.counted_arrays import count_array
from pattern_stream.codec.dagcbor import decode, encode_node
from pattern_stream.codec.heads import array_head, map_head, text
from tests.codec.test_dagcbor import plain

KEYS = ("messages", "chunk_index", "end_position")


def block_of(messages: Any, **changes: Any) -> dict[str, Any]:
    """A chunk with the keys that are looked for."""
    return {"messages": messages, "chunk_index": 7, "end_position": "9"} | changes


@settings(max_examples=60, deadline=None)
@given(st.lists(plain, max_size=300))
def test_counted_as_decoded(contents: list[Any]) -> None:
    """Whatever the elements are, the count and the keys behind them are those that decoding finds."""
    data = encode_node(block_of(contents))
    found = count_array(data, KEYS)

    assert found is not None
    value = decode(data)
    assert (len(value.pop("messages")), value, []) == found


@settings(max_examples=60, deadline=None)
@given(st.lists(plain, min_size=1, max_size=40))
def test_the_ends_are_those_that_decoding_finds(contents: list[Any]) -> None:
    """The first and the last map, or none at all where another map in them begins as they do."""
    data = encode_node(block_of([{"id": f"msg_{number}", "content": one} for number, one in enumerate(contents)]))
    found = count_array(data, KEYS, ends=True)

    messages = decode(data)["messages"]
    assert found is None or messages[:: max(1, len(messages) - 1)] == found.ends


@pytest.mark.parametrize("length", [0, 1, 2, 23, 24, 255, 256, 65_535, 65_536])
def test_every_width_of_a_head(length: int) -> None:
    """Lengths around those where the head gets wider."""
    found = count_array(encode_node(block_of([0] * length)), KEYS)

    assert found is not None
    assert length == found.length


def test_a_map_that_begins_as_its_neighbours_inside_one() -> None:
    """Then nobody knows where the last one starts: the block is decoded."""
    inner = {"id": "msg_x", "content": None}
    data = encode_node(block_of([{"id": "msg_1", "content": inner}, {"id": "msg_2", "content": inner}]))

    assert count_array(data, KEYS, ends=True) is None


TAIL = text("chunk_index") + b"\x07" + text("end_position") + text("9")
START = map_head(3) + text("messages")
ELEMENTS = b"\x01\x02\x03"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        START,
        START + b"\x83",
        START + b"\x83" + ELEMENTS,
        START + b"\x98\x03" + ELEMENTS + TAIL,  # a longer head
        START + b"\x99\x00\x03" + ELEMENTS + TAIL,
        START + b"\x9b" + bytes(7) + b"\x03" + ELEMENTS + TAIL,
        START + b"\x9f" + ELEMENTS + b"\xff" + TAIL,  # no length
        START + b"\x9c" + ELEMENTS + TAIL,
        START + b"\xa3" + ELEMENTS + TAIL,  # no array
        START + b"\x84" + ELEMENTS + TAIL,  # more elements than bytes
        START + b"\x9a\xff\xff\xff\xff" + ELEMENTS + TAIL,
        START + b"\x80" + ELEMENTS + TAIL,  # elements of an empty array
        map_head(4) + text("messages") + b"\x83" + ELEMENTS + TAIL,
        START + b"\x83" + ELEMENTS + TAIL + b"\x00",
        START + b"\x83" + ELEMENTS + TAIL[:-1],
        START + b"\x83" + ELEMENTS + text("chunk_index") + b"\x18\x07" + text("end_position") + text("9"),
        START + b"\x83" + ELEMENTS + text("chunk_index") + b"\x07" + text("end_positiox") + text("9"),
        START + b"\x83" + ELEMENTS + text("end_position") + text("9") + text("chunk_index") + b"\x07",
        START + b"\x83" + ELEMENTS + text("chunk_index") + b"\x07" + text("chunk_index") + b"\x07",
    ],
)
def test_anything_else_is_left_to_who_decodes_it(data: bytes) -> None:
    """Heads that are not the shortest, other keys, another order, bytes too few or too many: no count."""
    assert count_array(data, KEYS) is None


def test_the_keys_once_more_inside_the_last_value() -> None:
    """A text that looks like the tail is no tail: the rest must be exactly the keys."""
    data = encode_node(block_of([1, 2], end_position=f"9{TAIL.decode('latin-1')}"))
    found = count_array(data, KEYS)

    assert found is None or (2, 7) == (found.length, found.fields["chunk_index"])


def test_ends_that_are_no_maps() -> None:
    """Their bounds are not known, so they are left to who decodes them; without them there is a count."""
    data = START + array_head(3) + ELEMENTS + TAIL

    assert count_array(data, KEYS, ends=True) is None
    assert count_array(data, KEYS) is not None
