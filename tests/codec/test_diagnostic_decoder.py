"""Diagnoses of blocks that are no DAG-CBOR, and the limits of the decoder that makes them."""

from __future__ import annotations

import pytest

from pattern_stream.codec import diagnostic_decoder
from pattern_stream.codec.diagnostic_decoder import decode_with_diagnosis
from pattern_stream.errors import MalformedBlock, UnsupportedCid
from pattern_stream.format import MAX_DEPTH
from tests.codec.oracle import oracle_head

RAW = bytes.fromhex("01551220") + bytes(32)
LINK_TO_RAW = bytes.fromhex("d82a582500") + RAW
LEVELS = b"\x81" * MAX_DEPTH

FAULTS = {
    "nothing": ("", "end of block after 0 bytes, expected value of 1 bytes, at byte 0 of the block"),
    "bytes after": ("000000", "2 bytes after the value, expected the end of the block, at byte 1 of the block"),
    "cut head": ("8119ff", "end of block after 1 bytes, expected head of 2 bytes, at byte 2 of the block"),
    "cut bytes": ("814401", "end of block after 1 bytes, expected byte string of 4 bytes, at byte 2 of the block"),
    "cut text": ("816461", "end of block after 1 bytes, expected text of 4 bytes, at byte 2 of the block"),
    "cut link": ("d82a5825", "end of block after 0 bytes, expected link of 37 bytes, at byte 4 of the block"),
    "cut array": ("818200", "array of 2 but 1 bytes left, expected at least 2 bytes, at byte 1 of the block"),
    "cut map": ("81a100", "map of 1 but 1 bytes left, expected at least 2 bytes, at byte 1 of the block"),
    "indefinite": ("819fff", "array of indefinite length, expected a value of definite length, at byte 1 of the block"),
    "break": ("81ff", "a break, expected a value of definite length, at byte 1 of the block"),
    "reserved head": ("811c", "reserved head 0x1c, expected a value, at byte 1 of the block"),
    "integer head": ("811817", "integer head of 2 bytes for 23, expected its shortest form, at byte 1 of the block"),
    "wide head": ("81190080", "integer head of 3 bytes for 128, expected its shortest form, at byte 1 of the block"),
    "no UTF-8": (
        "81636161ff",
        "text that is no UTF-8 (invalid start byte), expected UTF-8, at byte 4 of the block",
    ),
    "key no text": ("81a10000", "integer as a map key, expected text, at byte 2 of the block"),
    "float key": ("81a1f900000000", "simple value or float as a map key, expected text, at byte 2 of the block"),
    "key twice": ("81a2616100616100", "map key 'a' twice, expected each once, at byte 5 of the block"),
    "empty key twice": ("81a260006000", "map key '' twice, expected each once, at byte 4 of the block"),
    "key order": (
        "81a2616200616100",
        "map key 'a' after 'b', expected shorter keys first, then bytewise order, at byte 5 of the block",
    ),
    "tag": ("81c100", "tag 1, expected no tag but 42 (a link), at byte 1 of the block"),
    "text in a link": ("81d82a6100", "text in a link, expected byte string, at byte 1 of the block"),
    "multibase": ("81d82a4101", "link starting with 01, expected 00 (identity multibase), at byte 1 of the block"),
    "empty link": ("81d82a40", "link starting with nothing, expected 00 (identity multibase), at byte 1 of the block"),
    "link without CID": (
        "81d82a420030",
        "link without a CID at byte 1 of the block: CID starts with 48, expected its version, 1",
    ),
    "undefined": ("81f7", "undefined, expected false, true, null or a float, at byte 1 of the block"),
    "simple value": ("81f820", "simple value 32, expected false, true, null or a float, at byte 1 of the block"),
    "half float": ("81f90000", "float of 16 bits, expected 64 bits, at byte 1 of the block"),
    "single float": ("81fa00000000", "float of 32 bits, expected 64 bits, at byte 1 of the block"),
    "NaN": ("81fb7ff8000000000000", "float nan, expected a finite number, at byte 1 of the block"),
}


@pytest.mark.parametrize(("data", "message"), FAULTS.values(), ids=FAULTS)
def test_what_a_fault_is_called(data: str, message: str) -> None:
    """What was found, what was expected and where, word for word."""
    with pytest.raises(MalformedBlock) as caught:
        decode_with_diagnosis(bytes.fromhex(data))

    assert message == caught.value.message


def test_links_of_other_kinds_unless_any() -> None:
    """Without being told otherwise a link has to be one of ours."""
    with pytest.raises(UnsupportedCid) as caught:
        decode_with_diagnosis(b"\x81" + LINK_TO_RAW)

    assert caught.value.message.startswith("link to bafkrei")
    assert " at byte 1 of the block: CID has v1, codec raw (0x55), " in caught.value.message
    assert RAW == decode_with_diagnosis(LINK_TO_RAW, any_cid=True).cid


@pytest.mark.parametrize("inside", [b"\x81\x00", LINK_TO_RAW])
def test_what_is_said_of_depth(inside: bytes) -> None:
    """The level that is one too deep is named, whether it is an array or a link."""
    with pytest.raises(
        MalformedBlock, match=f"^nesting of more than {MAX_DEPTH} levels, expected at most {MAX_DEPTH}, "
    ):
        decode_with_diagnosis(LEVELS + inside)


def test_the_order_of_keys_is_not_strict_where_it_need_not_be() -> None:
    """Equal keys are a fault in any order, others only where order is asked for."""
    assert {"b": 0, "a": 0} == decode_with_diagnosis(bytes.fromhex("a2616200616100"), strict=False)
    with pytest.raises(MalformedBlock, match="map key 'b' twice, expected each once"):
        decode_with_diagnosis(bytes.fromhex("a3616200616100616200"), strict=False)


# --- limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [b"\x80", b"\xa0"])
def test_the_most_arrays_and_maps(empty: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a block may have are read, the one around them included; the next is refused where it stands."""
    monkeypatch.setattr(diagnostic_decoder, "MAX_BLOCK_CONTAINERS", 1000)
    count = 999
    value = decode_with_diagnosis(oracle_head(4, count) + empty * count)
    with pytest.raises(MalformedBlock) as caught:
        decode_with_diagnosis(oracle_head(4, count + 1) + empty * (count + 1))

    assert count == len(value)
    assert ("more than 1000 arrays and maps, expected at most 1000, at byte 1002 of the block") == caught.value.message


def padded(count: int, size: int) -> bytes:
    """A block of so many bytes with so many values: an array of integers, and a text."""
    data = oracle_head(4, count - 1) + b"\x00" * (count - 2)
    rest = size - len(data)
    return data + oracle_head(3, rest - len(oracle_head(3, rest))) + b"x" * (rest - len(oracle_head(3, rest)))


@pytest.mark.parametrize(
    ("count", "size", "is_read"),
    [
        (500, 1001, True),
        (501, 1001, False),
        (501, 1000, True),
    ],
)
def test_the_most_values_of_an_oversize_block(
    count: int, size: int, is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values are counted only in blocks that are larger than a writer makes them; then there may be half as many."""
    monkeypatch.setattr(diagnostic_decoder, "MAX_BLOCK_VALUES", 500)
    monkeypatch.setattr(diagnostic_decoder, "MAX_BLOCK_BYTES", 1000)
    data = padded(count, size)

    assert size == len(data)
    if is_read:
        assert count - 1 == len(decode_with_diagnosis(data))
        return
    with pytest.raises(MalformedBlock) as caught:
        decode_with_diagnosis(data)
    assert "more than 500 values in 1001 bytes, expected at most 500, at byte 502 of the block" == caught.value.message
