"""DAG-CBOR: examples and faults from our own vectors, and what must hold for any value and any bytes."""

from __future__ import annotations

import json
import math
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pattern_stream.codec import dagcbor, diagnostic_decoder
from pattern_stream.codec.cid import cid_of
from pattern_stream.codec.dagcbor import Link
from pattern_stream.codec.diagnostic_decoder import decode_with_diagnosis
from pattern_stream.errors import MalformedBlock, UnencodableValue, UnsupportedCid
from pattern_stream.format import MAX_BLOCK_BYTES, MAX_BLOCK_CONTAINERS, MAX_BLOCK_VALUES, MAX_DEPTH, MAX_SECTION_BYTES
from tests.codec.oracle import oracle_encode, oracle_head, same

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/dagcbor.json").read_text())


def value_of(written: Any) -> Any:
    """A value of the vector file: `{"link": hex}` and `{"bytes": hex}` stand for what JSON has not."""
    match written:
        case {"link": str(text)}:
            return Link(bytes.fromhex(text))
        case {"bytes": str(text)}:
            return bytes.fromhex(text)
        case dict():
            return {key: value_of(content) for key, content in written.items()}
        case list():
            return [value_of(element) for element in written]
    return written


GOOD = [pytest.param(bytes.fromhex(data), value_of(value), id=name) for name, data, value in VECTORS["good"]]
BAD = [pytest.param(bytes.fromhex(data), text, at, id=name) for name, data, text, at in VECTORS["bad"]]
UNTIDY = [pytest.param(bytes.fromhex(data), value_of(value), id=name) for name, data, value in VECTORS["untidy"]]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
integers = st.integers(-(2**64), 2**64 - 1) | st.integers(-300, 300)
floats = st.floats(allow_nan=False, allow_infinity=False)
links = st.binary(max_size=8).map(lambda data: Link(cid_of(data)))
blobs = st.binary(max_size=30) | links.map(lambda link: link.cid) | links.map(lambda link: b"\x00" + link.cid)


def nested(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values of these scalars in arrays and maps."""
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5), max_leaves=20
    )


plain = nested(st.none() | st.booleans() | integers | floats | texts)
values = nested(st.none() | st.booleans() | integers | floats | texts | links | blobs)


# --- examples ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "value"), GOOD)
def test_good_vectors_both_ways(data: bytes, value: Any) -> None:
    """Each value has these bytes and no others, by every way in and out."""
    assert data == dagcbor.encode_node(value) == oracle_encode(value)
    assert same(value, dagcbor.decode(data))
    assert same(value, dagcbor.decode(memoryview(data)))
    assert same(value, dagcbor.decode(data, strict=False))
    assert same(value, decode_with_diagnosis(data))


@pytest.mark.parametrize(("data", "value"), GOOD)
def test_good_vectors_cut_or_with_bytes_after(data: bytes, value: Any) -> None:
    """No proper prefix is a block, and neither is the block with anything after it."""
    for damaged in [data[:end] for end in range(len(data))] + [data + b"\x00", data + data]:
        for strict in (True, False):
            with pytest.raises((MalformedBlock, UnsupportedCid)):
                dagcbor.decode(damaged, strict=strict)


@pytest.mark.parametrize(("data", "text", "at"), BAD)
def test_bad_vectors_name_fault_and_byte(data: bytes, text: str, at: int | None) -> None:
    """Each fault is refused saying what was found, what was expected, and at which byte."""
    with pytest.raises(MalformedBlock) as caught:
        dagcbor.decode(data)

    assert text in caught.value.message
    assert at is None or caught.value.message.endswith(f"at byte {at} of the block")


@pytest.mark.parametrize(("data", "text", "at"), BAD)
def test_bad_vectors_are_bad_inside_a_block_too(data: bytes, text: str, at: int | None) -> None:
    """A fault deep in a good block is refused as well, whatever stands beside it."""
    around = oracle_head(4, 3) + oracle_encode({"a": Link(cid_of(b""))})

    for block in (around + data + oracle_encode([1]), around + oracle_encode("x") + data):
        with pytest.raises((MalformedBlock, UnsupportedCid)):
            dagcbor.decode(block)


@pytest.mark.parametrize(("data", "value"), UNTIDY)
def test_untidy_vectors_pass_only_when_asked(data: bytes, value: Any) -> None:
    """Longer heads, any key order and single floats are read as the original does, and refused by default."""
    with pytest.raises(MalformedBlock):
        dagcbor.decode(data)

    assert same(value, dagcbor.decode(data, strict=False))


def test_what_stays_refused_when_not_strict() -> None:
    """Of the bad vectors only untidy heads, key order and single floats pass, and no tag head."""
    passed = set()
    for name, data, _, _ in VECTORS["bad"]:
        try:
            dagcbor.decode(bytes.fromhex(data), strict=False)
            passed.add(name)
        except MalformedBlock:
            pass

    assert passed == {
        "integer head too long",
        "negative head too long",
        "text head too long",
        "bytes head too long",
        "array head too long",
        "map head too long",
        "single float",
        "keys out of order",
        "longer key before shorter",
        "keys out of order beside a link",
    }


def test_links_of_other_kinds() -> None:
    """A link to a raw sha2-256 block is refused by name, and is a link where any CID will do."""
    cid = bytes.fromhex("01551220") + bytes(32)
    data = oracle_encode({"a": Link(cid)})

    with pytest.raises(UnsupportedCid, match=r"codec raw \(0x55\), hash sha2-256 \(0x12\)") as caught:
        dagcbor.decode(data)

    assert "at byte 3 of the block" in caught.value.message
    assert {"a": Link(cid)} == dagcbor.decode(data, any_cid=True)
    assert data == dagcbor.encode_node({"a": Link(cid)})


# --- links -------------------------------------------------------------------------------------------------------


def test_a_link_is_never_its_bytes() -> None:
    """Links are equal and hashed by their CID, and differ from the bare bytes."""
    cid = cid_of(b"x")

    assert Link(cid) == Link(bytes(cid))
    assert 1 == len({Link(cid), Link(cid)})
    assert Link(cid) != cid
    assert 2 == len({Link(cid), cid})
    assert f"Link({cid.hex()})" == repr(Link(cid))
    assert 100 == len({hash(Link(cid_of(bytes([number])))) for number in range(100)})


def test_trap_bytes_for_encode_record() -> None:
    """Why `encode_record` never gets bytes: those of a CID would come out as a link."""
    cid = cid_of(b"x")

    assert dagcbor.encode_node(Link(cid)) == dagcbor.encode_record(cid)
    assert oracle_encode(cid) == dagcbor.encode_node(cid)


# --- what cannot be encoded --------------------------------------------------------------------------------------

UNFIT = {
    "NaN": ({"a": [1, math.nan]}, "float nan at a.1"),
    "NaN after what fits": ({"a": ["text", {"": b"x"}, -1, 1.5, True, None, math.nan]}, "float nan at a.6"),
    "infinity": (-math.inf, "float -inf"),
    "too great": ({"a": {"b": 2**64}}, "integer of 65 bits at a.b"),
    "too small": (-(2**64) - 1, "integer of 65 bits"),
    "lone surrogate": (["\ud800"], "text with a lone surrogate at 0"),
    "lone surrogate in a key": ({"x": {"\udfff": 1}}, "map key '\\udfff' at x"),
    "integer key": ({1: 2}, "map key 1"),
    "bytes key": ({b"a": 2}, "map key b'a'"),
    "mixed keys": ({"a": 1, None: 2}, "map key None"),
    "tuple": ({"a": (1, 2)}, "value of type tuple at a"),
    "set": ({1, 2}, "value of type set"),
    "bytearray": (bytearray(b"x"), "value of type bytearray"),
    "object": (object(), "value of type object"),
}


@pytest.mark.parametrize(("value", "text"), UNFIT.values(), ids=UNFIT)
def test_unfit_values_are_named(value: Any, text: str) -> None:
    """What DAG-CBOR cannot hold is refused by both encoders, with its path."""
    for encode in (dagcbor.encode_record, dagcbor.encode_node):
        with pytest.raises(UnencodableValue) as caught:
            encode(value)
        assert f"{text}, expected what DAG-CBOR can hold" == caught.value.message
    with pytest.raises(UnencodableValue):
        dagcbor.encode_records(["good", value])


def test_a_value_inside_itself() -> None:
    """A cycle is refused as too deep."""
    cycle: list[Any] = []
    cycle.append(cycle)

    with pytest.raises(UnencodableValue, match=f"more than {MAX_DEPTH} levels"):
        dagcbor.encode_node(cycle)


def test_an_encoder_that_gives_up_has_a_reason_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is wrong with a value, as when Python's stack is full, the refusal says no more than that."""

    def give_up(value: Any, depth: int) -> Any:
        raise RecursionError

    monkeypatch.setattr(dagcbor, "_ordered", give_up)
    with pytest.raises(UnencodableValue) as caught:
        dagcbor.encode_node({"a": [1, "x"]})

    assert "value that cannot be encoded, expected what DAG-CBOR can hold" == caught.value.message


# --- ready bytes -------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**64 - 1))
@example(23)
@example(24)
@example(255)
@example(256)
@example(65535)
@example(65536)
@example(2**32 - 1)
@example(2**32)
def test_heads(count: int) -> None:
    """Heads are the shortest there are."""
    heads = [dagcbor.map_head(count), dagcbor.array_head(count), dagcbor.bytes_head(count), dagcbor.integer(count)]

    assert [oracle_head(major, count) for major in (5, 4, 2, 0)] == heads
    assert oracle_head(1, count) == dagcbor.integer(-1 - count)


@given(texts, st.binary(max_size=50))
def test_ready_values(text: str, cid: bytes) -> None:
    """Text and links, of any CID, are what the encoders write."""
    assert oracle_encode(text) == dagcbor.text(text)
    assert oracle_encode(Link(cid)) == dagcbor.link(cid)


def test_ready_values_that_cannot_be() -> None:
    """Beyond 64 bits and a lone surrogate."""
    for value in (2**64, -(2**64) - 1):
        with pytest.raises(UnencodableValue, match="65 bits, expected at most 64"):
            dagcbor.integer(value)
    with pytest.raises(UnencodableValue) as caught:
        dagcbor.text("a\ud800")

    assert "text with a lone surrogate, expected what UTF-8 can hold" == caught.value.message


@given(st.dictionaries(texts, values, max_size=4))
def test_spliced_blocks(value: dict[str, Any]) -> None:
    """Heads around ready bytes give the same block as encoding the whole."""
    keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
    parts = [dagcbor.text(key) + dagcbor.encode_node(value[key]) for key in keys]

    assert dagcbor.encode_node(value) == dagcbor.map_head(len(value)) + b"".join(parts)


# --- what holds for any value ------------------------------------------------------------------------------------


@given(values)
def test_round_trip(value: Any) -> None:
    """decode(encode(value)) is the value, types and signs of zero included."""
    data = dagcbor.encode_node(value)

    assert data == oracle_encode(value)
    assert same(value, dagcbor.decode(data))
    assert same(value, decode_with_diagnosis(data))


@given(plain)
def test_encoders_agree(value: Any) -> None:
    """libipld, cbor2 and the oracle write the same bytes of anything without links and bytes."""
    expected = oracle_encode(value)

    assert expected == dagcbor.encode_record(value)
    assert expected == dagcbor.encode_node(value)
    assert [expected, expected] == dagcbor.encode_records([value, value])


@given(values, st.data())
def test_order_of_members_does_not_matter(value: Any, data: st.DataObject) -> None:
    """A map with its members in any order has the same bytes."""
    entries = [("b", value), ("", 1), ("aa", None), ("\u00e9", 2)]
    shuffled = data.draw(st.permutations(entries))

    assert dagcbor.encode_node(dict(entries)) == dagcbor.encode_node(dict(shuffled))


# --- what holds for any bytes ------------------------------------------------------------------------------------


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good block with a few bytes changed, removed or put in."""
    data = bytearray(oracle_encode(draw(values)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(data)


heads = st.sampled_from(
    [
        b"\xd8\x2a",
        b"\xd8\x1c",
        b"\xd8\x1d",
        b"\xc4",
        b"\xc5",
        b"\x81",
        b"\x82",
        b"\xa1",
        b"\xa2",
        b"\x9f",
        b"\xff",
        b"\xd8",
    ]
)
noise = mutated() | st.binary(max_size=40) | st.lists(heads | st.binary(max_size=3), max_size=20).map(b"".join)


@settings(max_examples=400)
@given(noise)
def test_any_bytes(data: bytes) -> None:
    """Any bytes are refused with one of two errors, or are exactly what encoding their value gives."""
    try:
        value = dagcbor.decode(data)
    except (MalformedBlock, UnsupportedCid) as error:
        with pytest.raises(type(error)):
            decode_with_diagnosis(data)
        return

    assert data == oracle_encode(value)
    assert same(value, decode_with_diagnosis(data))


@settings(max_examples=400)
@given(noise)
def test_any_bytes_when_not_strict(data: bytes) -> None:
    """Not strict reads more, any CID too, and what it reads is a value that can be encoded."""
    try:
        value = dagcbor.decode(data, any_cid=True, strict=False)
    except (MalformedBlock, UnsupportedCid):
        return

    assert oracle_encode(value) == dagcbor.encode_node(value)


# --- hostile shapes ----------------------------------------------------------------------------------------------


def levels(count: int, innermost: bytes) -> bytes:
    """Arrays and maps in turn around one value."""
    return b"".join(b"\x81" if index % 2 else b"\xa1\x60" for index in range(count)) + innermost


@pytest.mark.parametrize("innermost", ["00", "80", "a0", "d82a58250001711e20" + "00" * 32])
def test_deepest_nesting(innermost: str) -> None:
    """The limit is the same for both decoders and the encoder; a link is a level of its own."""
    inside = bytes.fromhex(innermost)
    most = MAX_DEPTH - (len(inside) > 1)
    data = levels(most, inside)
    value = decode_with_diagnosis(data)

    assert same(value, dagcbor.decode(data))
    assert data == dagcbor.encode_node(value)
    for too_deep in (levels(most + 1, inside), levels(100_000, inside), b"\x81" * 1_000_000, b"\xd8\x2a" * 1_000_000):
        with pytest.raises(MalformedBlock):
            dagcbor.decode(too_deep)
    with pytest.raises(MalformedBlock, match=f"more than {MAX_DEPTH} levels"):
        dagcbor.decode(levels(most + 1, inside))
    with pytest.raises(UnencodableValue, match=f"more than {MAX_DEPTH} levels"):
        dagcbor.encode_node([value] if most % 2 else {"": value})


CROWDS = {
    "empty arrays": b"\x80",
    "empty maps": b"\xa0",
    "maps of one": b"\xa1\x60\x00",
    "nested pairs": b"\x81\x80",
    "hidden behind a lead of UTF-8": b"\xf4\x80\x80\x80",
}


def crowd(unit: bytes) -> bytes:
    """A section full of one shape, as an array."""
    elements = 4 if unit[0] == 0xF4 else 1
    count = (MAX_SECTION_BYTES - 64) // len(unit)
    return oracle_head(4, count * elements) + unit * count


@pytest.mark.parametrize("unit", CROWDS.values(), ids=CROWDS)
def test_crowded_blocks_are_refused(unit: bytes) -> None:
    """More arrays and maps than any honest block has are refused, however they are hidden."""
    with pytest.raises(MalformedBlock, match=f"at most {MAX_BLOCK_CONTAINERS}"):
        dagcbor.decode(crowd(unit))


def test_crowded_blocks_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made before a crowd is noticed is its allowed part: at most 256 bytes for each array or map."""
    for module in (dagcbor, diagnostic_decoder):
        monkeypatch.setattr(module, "MAX_BLOCK_CONTAINERS", 10_000)
    data = crowd(CROWDS["maps of one"])
    tracemalloc.start()
    try:
        with pytest.raises(MalformedBlock, match="at most 10000"):
            dagcbor.decode(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 10_000 * 256 + 5 * len(data)


@pytest.mark.parametrize(
    "value", [{"a": [1, 1.5, None, "é", b"x"]}, {"link": [Link(cid_of(b"x")), 1.5], "bytes": b"y", "n": -1}]
)
def test_honest_blocks_are_read_the_quick_way(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The diagnostic decoder gets no sound block, or every block would take four times as long, unseen."""
    monkeypatch.setattr(dagcbor, "decode_with_diagnosis", lambda *_, **__: pytest.fail("read carefully"))

    assert same(value, dagcbor.decode(dagcbor.encode_node(value)))


def test_links_of_any_kind_are_read_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where any CID will do, links of other kinds beside ours need no diagnostic decoder either."""
    monkeypatch.setattr(dagcbor, "decode_with_diagnosis", lambda *_, **__: pytest.fail("read carefully"))
    value = [Link(bytes.fromhex("01551220") + bytes(32)), Link(cid_of(b"x")), Link(b"\x12\x20" + bytes(32))]

    assert same(value, dagcbor.decode(dagcbor.encode_node(value), any_cid=True))


def test_every_tag_that_cbor2_knows_is_switched_off() -> None:
    """What cbor2 gives a meaning by itself, without asking the hook, is in our list, so that it never does."""
    asked = set[int]()
    known = set[int]()
    for tag in range(70_000):
        with suppress(cbor2.CBORError, ValueError, TypeError):
            cbor2.loads(oracle_head(6, tag) + b"\x00", tag_hook=lambda found, _: asked.add(found.tag))
        if tag not in asked:
            known.add(tag)

    assert {2, 3, 4, 5, 28, 29, 30} <= known
    assert set() == known - set(dagcbor._CBOR2_TAGS)


def test_records_are_proved_by_the_quick_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without links and bytes nothing is sorted and nothing written by cbor2, which takes three times as long."""
    monkeypatch.setattr(dagcbor, "_is_tidy", lambda _: pytest.fail("looked at key by key"))

    assert {"a": [1, None, "é"]} == dagcbor.decode(dagcbor.encode_node({"a": [1, None, "é"]}))


@pytest.mark.parametrize(
    ("value", "is_readable"),
    [([], True), ([[]] * 249_999, True), ([[]] * 250_000, False), (b"\x80" * 300_000, True), ("é" * 300_000, True)],
    ids=["little", "most", "one more", "bytes that look like arrays", "text that looks like arrays"],
)
def test_what_can_be_read_back(value: Any, is_readable: bool) -> None:
    """As many arrays and maps as a decoder takes, the one around them included; what only looks like them is none."""
    assert is_readable is dagcbor.is_readable(dagcbor.encode_node(value))


CROWDED = {
    "a full block": (b"\x00" * 1_000_000, False),
    "one byte more": (b"\x00" * 1_000_001, True),
    "as many heads as may be": (b"\x80" * 250_000, False),
    "one head more": (b"\x80" * 250_001, True),
    "one head more, the last there is": (b"\xbb" * 250_001, True),
    "what is next to heads": (b"\x7f\xbc" * 250_001, False),
    "one more that is part of a character": (b"\x80" * 250_000 + "é".encode(), False),
    "behind what is null and a lead": (b"\xf6\x80\x80\x80" * 83_334, True),
    "behind what is false and a lead": (b"\xf4\x80\x80\x80" * 83_334, True),
    "behind a lead that CBOR does not use": (b"\xf3\x80\x80\x80" * 83_334, False),
    "nulls beside characters": ("é".encode() * 260_000 + b"\xf6" * 260_000, False),
    "characters of four bytes": ("\U0001f600".encode() * 240_000, False),
}


@pytest.mark.parametrize(("data", "is_crowded"), CROWDED.values(), ids=CROWDED)
def test_what_may_be_crowded(data: bytes, is_crowded: bool) -> None:
    """Bytes that may be heads of arrays and maps are counted, but for those that are surely inside a character."""
    assert is_crowded is not dagcbor.is_readable(data)


@pytest.mark.parametrize("before", [0, 1, 65_519, 65_520, 65_521, 65_522, 131_041, 200_000])
@pytest.mark.parametrize("head", [b"\x80", b"\x00\x80\x00"])
def test_heads_are_counted(before: int, head: bytes) -> None:
    """Wherever they begin, with other bytes between them or without."""
    assert dagcbor.is_readable(b"\x00" * before + head * 250_000)
    assert not dagcbor.is_readable(b"\x00" * before + head * 250_001)


def test_what_is_surely_readable_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block that is written is asked, so that must cost little."""
    monkeypatch.setattr(dagcbor, "decode", lambda *_, **__: pytest.fail("decoded"))

    assert dagcbor.is_readable(dagcbor.encode_record([[]] * 1000))


HIDDEN_CROWD = oracle_head(4, 1) + oracle_head(4, 600_000) + b"\x41\xc3\x80" * 300_000
"""Empty arrays that look like the second byte of a character."""


def test_what_hides_in_an_honest_size_is_bounded() -> None:
    """The most containers that the quick look can miss take 64 MB."""
    tracemalloc.start()
    try:
        value = dagcbor.decode(HIDDEN_CROWD)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 600_000 == len(value[0])
    assert peak < 64_000_000


@pytest.mark.parametrize("unit", [b"\x62aa", b"\x00", b"\x41\xc3\x80", b"\x19\x7f\xff"])
def test_oversize_blocks_have_few_values(unit: bytes) -> None:
    """A section of tiny values beyond the size of any block is refused after the first of them."""
    count = (MAX_SECTION_BYTES - 64) // len(unit)
    data = oracle_head(4, count * (2 if unit[0] == 0x41 else 1)) + unit * count
    with pytest.raises(MalformedBlock, match=f"at most {MAX_BLOCK_VALUES}|at most {MAX_BLOCK_CONTAINERS}"):
        dagcbor.decode(data)


def test_oversize_blocks_of_large_values_are_read() -> None:
    """One byte more than a writer may make, or a whole section, is no reason to refuse a block."""
    for size in (MAX_BLOCK_BYTES + 1, MAX_SECTION_BYTES - 50):
        data = dagcbor.encode_node({"data": bytes(size)})
        assert {"data": bytes(size)} == dagcbor.decode(data)


def test_text_full_of_continuation_bytes_is_no_crowd() -> None:
    """A full block of three-byte or four-byte characters is read as any other."""
    for text in ("\u65e5\u672c" * 166_000, "\U0001f600" * 249_000):
        assert text == dagcbor.decode(dagcbor.encode_record(text))


def test_declared_lengths_allocate_nothing() -> None:
    """Lengths beyond the data are refused without memory for them."""
    tracemalloc.start()
    try:
        for head in (2, 3, 4, 5):
            for count in (2**24, 2**32, 2**40, 2**63 - 1, 2**64 - 1):
                for data in (oracle_head(head, count), b"\x82" + oracle_head(head, count) + b"\x00" * 100):
                    with pytest.raises(MalformedBlock):
                        dagcbor.decode(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1_000_000


@pytest.mark.parametrize("tag", [0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 41, 43, 100, 256, 258, 260, 261, 1004])
def test_no_tag_but_links(tag: int) -> None:
    """Tags that libraries know are refused whatever they hold, without being acted on."""
    for content in ("80", "00", "6130", "4101", "821b7fffffffffffffff03", "a0", "8200820000", "820300"):
        with pytest.raises(MalformedBlock, match=f"tag {tag}, expected no tag but 42"):
            dagcbor.decode(oracle_head(6, tag) + bytes.fromhex(content))
