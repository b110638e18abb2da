"""Varints: shortest form only, at most 63 bits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_stream.codec.varint import MAX_VARINT_BYTES, decode_varint, encode_varint
from pattern_stream.errors import MalformedSection

EXAMPLES = [
    (0, "00"),
    (1, "01"),
    (127, "7f"),
    (128, "8001"),
    (231, "e701"),  # section length of docs/format.md#example
    (311, "b702"),  # the same
    (16384, "808001"),
    (2**62, "808080808080808040"),
    (2**63 - 1, "ffffffffffffffff7f"),
]

BAD = {
    "overlong zero": "8000",
    "overlong 1": "8100",
    "overlong 127": "ff00",
    "overlong in the ninth byte": "ffffffffffffffff00",
    "ten bytes": "ffffffffffffffffff01",
    "never ends": "80" * 10,
    "does not end in the ninth byte": "ff" * 9,
}


@pytest.mark.parametrize(("value", "text"), EXAMPLES)
def test_examples_both_ways(value: int, text: str) -> None:
    """Each value has these bytes, alone and with bytes before and after."""
    data = bytes.fromhex(text)

    assert data == encode_varint(value)
    assert (value, len(data)) == decode_varint(data)
    assert (value, 2 + len(data)) == decode_varint(memoryview(b"\x80\x80" + data + b"\x80\xff"), 2)


@pytest.mark.parametrize(("value", "text"), EXAMPLES)
def test_a_byte_at_a_time(value: int, text: str) -> None:
    """Every proper prefix asks for more bytes."""
    data = bytes.fromhex(text)

    assert [None] * len(data) == [decode_varint(data[:end]) for end in range(len(data))]
    assert value == (decode_varint(data) or (None,))[0]


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_bad_varints_are_refused(text: str) -> None:
    """Overlong and endless varints are malformed, with and without bytes after."""
    for data in (bytes.fromhex(text), bytes.fromhex(text) + b"\x00\x01"):
        with pytest.raises(MalformedSection, match="expected"):
            decode_varint(data)


def test_the_message_names_value_and_length() -> None:
    """An overlong varint is refused with what it means and how long it is."""
    with pytest.raises(MalformedSection) as caught:
        decode_varint(b"\xff\x00")

    assert "varint of 127 takes 2 bytes, expected its shortest form" == caught.value.message


@pytest.mark.parametrize("value", [-1, 2**63, 2**64])
def test_values_that_no_varint_holds(value: int) -> None:
    """Negative values and more than 63 bits are not encoded."""
    with pytest.raises(ValueError, match="expected 0 to 2"):
        encode_varint(value)


@given(st.integers(0, 2**63 - 1), st.binary(max_size=4), st.binary(max_size=4))
def test_round_trip(value: int, before: bytes, after: bytes) -> None:
    """What is encoded decodes to itself wherever it stands, in at most nine bytes."""
    data = encode_varint(value)

    assert (value, len(before) + len(data)) == decode_varint(before + data + after, len(before))
    assert len(data) <= MAX_VARINT_BYTES


@given(st.binary(max_size=12))
def test_only_one_form_is_read(data: bytes) -> None:
    """Any bytes are refused, cut short, or exactly what the encoder writes."""
    try:
        found = decode_varint(data)
    except MalformedSection:
        return

    assert found is None or data[: found[1]] == encode_varint(found[0])


def test_public_vectors(shared: Path) -> None:
    """unsigned-varint's own lists: all accepted values both ways, all rejects refused."""
    cases = json.loads((shared / "vectors/unsigned-varint/cases.json").read_text())
    for case in cases["accept"]:
        data = bytes.fromhex(case["hex"])
        assert data == encode_varint(case["value"])
        assert (case["value"], len(data)) == decode_varint(data + b"\x7f")
    for case in cases["reject"]:
        with pytest.raises(MalformedSection):
            decode_varint(bytes.fromhex(case["hex"]))
