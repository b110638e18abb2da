"""Messages to chunks.
Source: docs/format.md#where-chunks-close."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from pattern_stream.codec.chunk_borders import chunk_borders
from pattern_stream.codec.dagcbor import encode_record
from pattern_stream.items import Close, Draft, DraftEvent, Encoded, Open, RecordEvent, Records
from pattern_stream.schema.model.cells import Large
from pattern_stream.schema.model.nodes import AgentExport, MessageChunk
from pattern_stream.schema.model.records import ArchiveSummary, Message
from pattern_stream.schema.model.scopes import Limits
from pattern_stream.stages.chunking import ChunkBuilder, chunk
from pattern_stream.stages.encode.splice import encode_chunk
from tests.contracts import check_early_stop, check_empty, check_errors_pass


def message(identity: int, encoded_bytes: int) -> dict[str, Any]:
    """A message record whose DAG-CBOR is exactly so long."""
    record = {"id": f"m{identity}", "position": f"{identity:08}", "content_json": ""}
    record["content_json"] = "x" * (encoded_bytes - len(encode_record(record)))
    while (excess := len(encode_record(record)) - encoded_bytes) > 0:
        record["content_json"] = record["content_json"][:-excess]
    return record


def drafts(events: list[RecordEvent], limits: Limits) -> list[DraftEvent]:
    """Everything that the builder makes of events."""
    builder = ChunkBuilder(limits)
    return [draft for event in events for draft in builder.add(event)]


BORDERS = (173, 429, 642, 702, 967)
"""The numbers n below 1000 of which blake3 of `m<n>` is 0 modulo 256."""


def is_border(identity: str) -> bool:
    """The rule of docs/format.md in its own words."""
    return int.from_bytes(blake3(identity.encode()).digest()[:8], "little") % 256 == 0


def chunked(messages: list[dict[str, Any]], limits: Limits) -> list[list[int]]:
    """The whole rule in its plainest form: indexes of messages by chunk."""
    chunks: list[list[int]] = []
    total = 0
    for index, record in enumerate(messages):
        size = len(encode_record(record))
        full = chunks and (total + size > limits.max_chunk_bytes or len(chunks[-1]) >= limits.max_messages)
        if not chunks or full or is_border(record["id"]):
            chunks.append([])
            total = 0
        chunks[-1].append(index)
        total += size
    return chunks


def test_borders_of_ids() -> None:
    """They are a constant of the format: archives of other days, machines and releases have the same."""
    ids = [f"m{number}" for number in range(1000)]

    assert list(BORDERS) == chunk_borders(identity.encode() for identity in ids)
    assert list(BORDERS) == [number for number, identity in enumerate(ids) if is_border(identity)]


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Messages of small sizes, one in a few of which starts a chunk by its id."""
    sizes = draw(st.lists(st.integers(60, 400), max_size=40))
    places = draw(st.lists(st.integers(0, 40), max_size=len(BORDERS), unique=True))
    numbers = dict(zip(places, BORDERS, strict=False))
    return [message(numbers.get(place, place), size) for place, size in enumerate(sizes)]


@given(conversations(), st.integers(1, 1200), st.integers(1, 8), st.integers(1, 7))
def test_chunks_close_where_the_rule_says(
    messages: list[dict[str, Any]], most_bytes: int, most: int, batch: int
) -> None:
    """However messages are batched, chunks close where the rule says, every index is 0, positions are the ends."""
    limits = Limits(most_bytes, most)
    batches = [messages[at : at + batch] for at in range(0, len(messages), batch)]
    events: list[RecordEvent] = [Records(Message, records) for records in batches]
    expected = chunked(messages, limits)

    found = [draft for draft in drafts([*events, Close()], limits) if isinstance(draft, Draft)]

    assert [tuple(encode_record(messages[i]) for i in indexes) for indexes in expected] == [d.parts for d in found]
    assert {0} >= {draft.fields["chunk_index"] for draft in found}
    assert [len(indexes) for indexes in expected] == [draft.fields["message_count"] for draft in found]
    assert [(messages[i[0]]["position"], messages[i[-1]]["position"]) for i in expected] == [
        (draft.fields["start_position"], draft.fields["end_position"]) for draft in found
    ]


@given(conversations(), st.integers(1, 1200), st.integers(1, 8), st.integers(1, 7))
def test_messages_encoded_elsewhere_come_to_the_same_chunks(
    messages: list[dict[str, Any]], most_bytes: int, most: int, batch: int
) -> None:
    """Whether messages come as records or encoded, or both in turn: the blocks are the same."""
    batches = [messages[at : at + batch] for at in range(0, len(messages), batch)]
    records: list[RecordEvent] = [Records(Message, found) for found in batches]
    mixed = [encoded_of(found) if at % 3 else Records(Message, found) for at, found in enumerate(batches)]

    expected, found = (
        [
            encode_chunk(draft, draft.parts)
            for draft in drafts([*events, Close()], Limits(most_bytes, most))
            if isinstance(draft, Draft)
        ]
        for events in (records, mixed)
    )

    assert expected == found


def encoded_of(messages: list[dict[str, Any]]) -> Encoded:
    """The messages as a process that reads ahead sends them."""
    parts = [encode_record(record) for record in messages]
    return Encoded(
        [record["id"] for record in messages],
        [record["position"] for record in messages],
        list(map(len, parts)),
        [1] * len(parts),
        chunk_borders(record["id"].encode() for record in messages),
        b"".join(parts),
    )


@given(conversations(), st.integers(1, 40), st.integers(300, 1200), st.integers(1, 8))
def test_newer_messages_change_no_chunk_behind_the_first_border(
    older: list[dict[str, Any]], newer: int, most_bytes: int, most: int
) -> None:
    """Messages travel newest first: from the first border on, all chunks of yesterday's archive are in today's."""
    first = next((at for at, record in enumerate(older) if is_border(record["id"])), len(older))
    today = [message(1000 + number, 100) for number in range(newer)] + older

    kept, found = (
        [encode_chunk(draft, draft.parts) for draft in drafts(events, Limits(most_bytes, most))[:-1]]  # type: ignore[arg-type, union-attr]
        for events in ([Records(Message, older[first:]), Close()], [Records(Message, today), Close()])
    )

    assert kept == found[len(found) - len(kept) :]


def test_encoded_messages_that_could_not_be_read_back_together_go_apart() -> None:
    """Each is a chunk of its own where all of them have more arrays than a decoder takes."""
    crowded = [message(number, 100) | {"content_json": [[]] * 100_000} for number in range(3)]
    sent = replace(encoded_of(crowded), most_containers=[100_002] * 3)

    found = [draft for draft in drafts([sent, Close()], Limits()) if isinstance(draft, Draft)]

    assert [encode_record(record) for record in crowded] == [part for draft in found for part in draft.parts]
    assert [1, 1, 1] == [draft.fields["message_count"] for draft in found]


def test_chunks_come_before_what_follows() -> None:
    """An agent's open chunk goes out before its summaries, and before the next agent."""
    one = Records(Message, [message(1, 100)])
    summaries = Records(ArchiveSummary, [])
    events: list[RecordEvent] = [
        Open(AgentExport, {}), one, one, summaries, Close(), Open(AgentExport, {}), one, Close(),
    ]  # fmt: skip

    found = drafts(events, Limits(max_messages=1))

    assert ["Open", "Draft", "Draft", "Records", "Close", "Open", "Draft", "Close"] == [
        type(event).__name__ for event in found
    ]


def test_a_message_larger_than_a_block_is_alone_and_not_encoded() -> None:
    """One that fits its block exactly is encoded here; one byte more, and what moves out of it is the encoder's to see.

    The chunks before and after it keep their order.
    """
    around = len(encode_chunk(Draft(MessageChunk, fields_of(message(1, 100))), [b""]))
    fitting, larger = message(1, 1_000_000 - around), message(2, 1_000_001 - around)

    found = drafts([Records(Message, [fitting, larger, message(3, 100)]), Close()], Limits())

    assert [
        Draft(MessageChunk, fields_of(fitting), (encode_record(fitting),), "m1"),
        Draft(MessageChunk, fields_of(larger), (), "m2", larger, 1),
        Draft(MessageChunk, fields_of(message(3, 100)), (encode_record(message(3, 100)),), "m3"),
        Close(),
    ] == found


def test_messages_that_could_not_be_read_back_together_go_apart() -> None:
    """Two messages of so many arrays that a decoder refuses their chunk are a chunk each; one alone is not encoded.

    Source: MAX_BLOCK_CONTAINERS.
    """
    crowded = [message(i, 100) | {"content_json": [[]] * 150_000} for i in (1, 2)]
    hopeless = message(3, 100) | {"content_json": [[]] * 300_000}

    found = drafts([Records(Message, [*crowded, hopeless]), Close()], Limits())

    assert [(1, None), (1, None), (0, hopeless)] == summary(found)


def test_what_cannot_be_read_back_begins_no_chunk() -> None:
    """A message that is hopeless by itself, where a chunk starts, goes out alone; those after it stay together."""
    small = [message(number, 100) for number in range(4)]
    hopeless = message(9, 100) | {"content_json": [[]] * 300_000}

    found = drafts([Records(Message, [*small[:2], hopeless, *small[2:]]), Close()], Limits(max_messages=2))

    assert [(2, None), (0, hopeless), (2, None)] == summary(found)


def test_what_cannot_be_read_back_takes_none_with_it() -> None:
    """Where the middle of an open chunk turns out hopeless, those before and after it are chunks of their own."""
    small = [message(number, 100) for number in range(4)]
    hopeless = message(9, 100) | {"content_json": [[]] * 300_000}

    found = drafts([Records(Message, [*small[:2], hopeless, *small[2:]]), Close()], Limits())

    assert [(1, None), (1, None), (0, hopeless), (1, None), (1, None)] == summary(found)
    assert ["m0", "m1", "m9", "m2", "m3"] == [draft.row_id for draft in found if isinstance(draft, Draft)]


def summary(found: list[DraftEvent]) -> list[tuple[int, Any]]:
    """Of each draft how many parts it has, and the record that is not encoded."""
    return [(len(draft.parts), draft.wide) for draft in found if isinstance(draft, Draft)]


@pytest.mark.parametrize(("arrays", "is_wide"), [(249_996, False), (249_997, True)])
def test_the_most_arrays_of_one_message(arrays: int, is_wide: bool) -> None:
    """Beside its own arrays a chunk has its map, the list, the message and the array in it: all of them count."""
    record = message(1, 100) | {"content_json": [[]] * arrays}

    (draft,) = drafts([Records(Message, [record]), Close()], Limits())[:-1]

    assert isinstance(draft, Draft)
    assert is_wide == (draft.wide is record)
    assert is_wide == (draft.parts == ())


@pytest.mark.parametrize(("more", "counts"), [(0, [2]), (1, [1, 1])])
def test_the_most_arrays_of_a_chunk_as_they_were_counted(more: int, counts: list[int]) -> None:
    """Encoded messages say how many arrays they have at most: with the chunk's own two, exactly the limit passes."""
    crowded = [message(number, 100) | {"content_json": [[]] * 124_997} for number in (1, 2)]
    crowded[1]["content_json"] = [[]] * (124_997 + more)
    sent = replace(encoded_of(crowded), most_containers=[124_999, 124_999 + more])

    found = drafts([sent, Close()], Limits())

    assert counts == [draft.fields["message_count"] for draft in found if isinstance(draft, Draft)]


@pytest.mark.parametrize(("limit", "counts"), [(300, [3, 2]), (299, [2, 2, 1]), (100, [1] * 5), (99, [1] * 5)])
def test_a_sum_that_is_just_the_limit(limit: int, counts: list[int]) -> None:
    """A chunk may reach the limit, and the first message of one counts like any other."""
    found = drafts([Records(Message, [message(i, 100) for i in range(5)]), Close()], Limits(limit))

    assert counts == [draft.fields["message_count"] for draft in found if isinstance(draft, Draft)]


@pytest.mark.parametrize(("last", "counts"), [(499_784, [2]), (499_785, [1, 1])])
def test_the_room_in_a_block_is_used_to_the_byte(last: int, counts: list[int]) -> None:
    """Beyond a block's size a caller's limit is that size less 200 bytes and two positions, so equal data is equal."""
    messages = [message(1, 500_000), message(2, last)]

    for event in (Records(Message, messages), encoded_of(messages)):
        found = drafts([event, Close()], Limits(10**9))
        assert counts == [draft.fields["message_count"] for draft in found if isinstance(draft, Draft)]


def test_a_last_position_that_is_long() -> None:
    """The room of a chunk is that beside its first position; one that is longer may take it over a block's size."""
    first, last = message(1, 500_000), message(2, 100)
    last = last | {"position": "7" * 300, "content_json": "x" * 498_000}
    last["content_json"] += "x" * (999_784 - 500_000 - len(encode_record(last)))

    found = drafts([encoded_of([first, last]), Close()], Limits(10**9))

    assert 999_784 == len(encode_record(first)) + len(encode_record(last))
    assert [1, 1] == [draft.fields["message_count"] for draft in found if isinstance(draft, Draft)]


def test_a_message_with_a_large_cell_comes_after_those_before_it() -> None:
    """One that is not encoded here closes the open chunk, and is a chunk of its own."""
    large = message(2, 100) | {"content_json": Large(2_000_000, text=True)}
    batches = [[message(0, 100), message(1, 100)], [large], [message(3, 100)]]

    found = drafts([*(Records(Message, records) for records in batches), Close()], Limits())

    assert [(2, None), (0, large), (1, None)] == summary(found)


def fields_of(record: dict[str, Any]) -> dict[str, Any]:
    """The fields of a chunk that holds one message."""
    position = record["position"]
    return {"chunk_index": 0, "end_position": position, "message_count": 1, "start_position": position}


def test_a_callers_limit_leaves_room_for_the_map_around() -> None:
    """With the largest limit a caller can give, every chunk of small messages still fits a block."""
    events: list[RecordEvent] = [Records(Message, [message(i, 50_000) for i in range(60)]), Close()]

    found = [draft for draft in drafts(events, Limits(10**9, 10**9)) if isinstance(draft, Draft)]

    assert [19, 19, 19, 3] == [len(draft.parts) for draft in found]
    assert max(sum(map(len, draft.parts)) for draft in found) <= 999_900


@pytest.mark.anyio
async def test_contract() -> None:
    """The stage closes its upstream, takes no input for none, and hides no error."""
    events: list[RecordEvent] = [Open(AgentExport, {}), Records(Message, [message(1, 100)]), Close()]
    await check_early_stop(chunk, events)
    await check_empty(chunk)
    await check_errors_pass(chunk, events)
