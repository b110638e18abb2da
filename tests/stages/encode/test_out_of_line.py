"""Values too large for their record or row go out beside it and come back; then, and only then, it is version 4."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.codec.dagcbor import encode_record
from pattern_stream.errors import LimitExceeded
from pattern_stream.format import BATCH_BYTES, MAX_BLOCK_BYTES, VALUE_PIECE_BYTES
from pattern_stream.items import (
    Block,
    Cells,
    Close,
    MemoryHistory,
    Open,
    OpenConstellation,
    OpenGroupConfig,
    OpenMemoryBlock,
    Piece,
    RecordEvent,
    Records,
)
from pattern_stream.schema.model.cells import Large, NotUtf8, StoredText
from pattern_stream.schema.model.nodes import (
    AgentExport,
    GroupConfigExport,
    GroupExport,
    GroupExportThin,
)
from pattern_stream.schema.model.records import ArchivalEntry, ArchiveSummary, Message
from pattern_stream.stages.encode.encoder import Encoder
from tests.archives import (
    NEVER_WRITTEN,
    agent_record,
    entry_record,
    group_record,
    memory_record,
    message_record,
    summary_record,
)
from tests.stages.test_encoding_beyond import (
    UPDATES,
    agent_events,
    block_events,
    constellation_events,
    table_events,
    update,
)
from tests.stages.wire import Reading, as_exported, exported, imported, made, nodes_of, sizes_of, version_of

LONG = "long " * 250_000
"""1.25 MB of text."""


def large(column: str, data: bytes, *, text: bool = True) -> tuple[Large, list[RecordEvent]]:
    """A cell of these bytes, and its pieces."""
    cuts = range(0, len(data), VALUE_PIECE_BYTES)
    return Large(len(data), text), [Piece(column, data[at : at + VALUE_PIECE_BYTES]) for at in cuts]


def value_blocks(archive: Any) -> list[bytes]:
    """The data of the value chunks, in order."""
    return [node["data"] for node in nodes_of(archive) if set(node) == {"data", "index"}]


RECORDS = [
    (Message, message_record(1, content_preview=LONG)),
    (ArchivalEntry, entry_record(1, content=LONG)),
    (ArchiveSummary, summary_record(1, summary=LONG)),
]


@pytest.mark.parametrize(("record", "value"), RECORDS)
def test_text_of_a_record_moves_out_and_comes_back(record: Any, value: dict[str, Any]) -> None:
    """The largest field goes, the rest stays; the archive is version 4, whole, depth first."""
    expected = agent_events(Records(record, [value]))
    blocks = made(expected)
    archive = exported(expected)
    reading = Reading(archive)

    assert expected == reading.events
    assert 4 == version_of(blocks)
    assert reading.walker.depth_first
    assert [VALUE_PIECE_BYTES, len(LONG) - VALUE_PIECE_BYTES] == [len(data) for data in value_blocks(archive)]
    assert max(sizes_of(blocks)) <= MAX_BLOCK_BYTES
    for seed in range(3):
        assert expected == imported(archive, random.Random(seed).sample(archive.blocks, len(archive.blocks)))


@pytest.mark.parametrize(("record", "value"), RECORDS)
def test_version_3_refuses_instead(record: Any, value: dict[str, Any]) -> None:
    """Where only version 3 is allowed the row is named, with its size and the limit."""
    with pytest.raises(LimitExceeded, match=rf"is 1250\d+ bytes.*limit is {MAX_BLOCK_BYTES}") as caught:
        made(agent_events(Records(record, [value])), newest_version=3)

    assert (record.table, value["id"]) == (caught.value.where.table, caught.value.where.row_id)


@pytest.mark.parametrize("excess", [0, 1])
def test_the_border_is_the_block(excess: int) -> None:
    """A record that fits a block exactly stays whole and version 3; one byte more moves out."""
    entry = entry_record(1, content="")
    entry["content"] = "x" * (MAX_BLOCK_BYTES - len(encode_record(entry)) - 4 + excess)
    blocks = made(agent_events(Records(ArchivalEntry, [entry])))

    assert MAX_BLOCK_BYTES + excess == len(encode_record(entry))
    assert 3 + excess == version_of(blocks)
    assert agent_events(Records(ArchivalEntry, [entry])) == imported(
        exported(agent_events(Records(ArchivalEntry, [entry])))
    )


@pytest.mark.parametrize("excess", [0, 1])
def test_the_border_of_a_message_is_its_chunk(excess: int) -> None:
    """A message alone in its chunk counts with the map around it."""
    message = message_record(1, content_preview="")
    before = next(
        len(data) for _, data in exported(agent_events(Records(Message, [message]))).blocks if b"messages" in data
    )
    message["content_preview"] = "x" * (MAX_BLOCK_BYTES - before - 4 + excess)
    blocks = made(agent_events(Records(Message, [message])))

    assert 3 + excess == version_of(blocks)
    assert excess or max(sizes_of(blocks)) == MAX_BLOCK_BYTES


def test_json_moves_out_as_text() -> None:
    """A JSON field comes back as its text, not parsed; it is then for the sink to store."""
    message = message_record(1, content_json={"Text": LONG})
    (found,) = [
        event for event in imported(exported(agent_events(Records(Message, [message])))) if isinstance(event, Records)
    ]

    assert StoredText('{"Text":"' + LONG + '"}') == found.records[0]["content_json"]
    assert StoredText is type(found.records[0]["content_json"])
    again = imported(exported(agent_events(found)))
    assert agent_events(found) == again


def test_the_largest_field_goes_first() -> None:
    """Of two large fields only the larger moves, where that is enough."""
    message = message_record(1, content_json="a" * 600_000, content_preview="b" * 700_000)
    archive = exported(agent_events(Records(Message, [message])))
    (chunk,) = [node for node in nodes_of(archive) if "messages" in node]

    assert ["content_preview"] == list(chunk["messages"][0]["external"])
    assert b"b" * 700_000 == b"".join(value_blocks(archive))


def test_arrays_beyond_what_can_be_read_back_move_out() -> None:
    """JSON of more arrays than a decoder takes fits a block, and still goes out as text, so that it is not lost."""
    entry = entry_record(1, metadata=[[]] * 300_000)
    (found,) = [e for e in imported(exported(agent_events(Records(ArchivalEntry, [entry])))) if isinstance(e, Records)]

    assert "[" + ",".join(["[]"] * 300_000) + "]" == found.records[0]["metadata"]


def test_a_record_that_never_fits_is_refused() -> None:
    """An id cannot move: the nodes above name it."""
    with pytest.raises(LimitExceeded, match=r"archival entry is 1\d+ bytes") as caught:
        made(agent_events(Records(ArchivalEntry, [entry_record(1, id="i" * 1_100_000)])))

    assert "archival_entries" == caught.value.where.table


def test_a_large_cell_passes_in_pieces() -> None:
    """9 MB of a message go out as their pieces come, and come back as Large with pieces."""
    data = random.Random(1).randbytes(4_500_000).hex().encode()
    cell, pieces = large("content_json", data)
    expected = agent_events(Records(Message, [message_record(1, content_json=cell)]), *pieces)
    archive = exported(expected)
    reading = Reading(archive)

    assert expected == reading.events
    assert reading.walker.depth_first
    assert 10 == len(value_blocks(archive))


def test_pieces_go_out_as_they_come() -> None:
    """Nothing of a large value is held: each piece is a block at once."""
    cell, pieces = large("content", bytes(9_000_000))
    encoder = Encoder("2026-01-01T00:00:00Z")
    for event in agent_events(Records(ArchivalEntry, [entry_record(1, content=cell)]))[:-1]:
        list(encoder.add(event))  # type: ignore[arg-type]

    counts = [sum(isinstance(block, Block) for block in encoder.add(piece)) for piece in pieces]  # type: ignore[arg-type]

    assert [1] * 9 + [2] == counts


def test_small_values_are_put_back_and_large_ones_are_not() -> None:
    """Up to BATCH_BYTES together a record comes back whole, beyond in pieces."""
    whole = entry_record(1, content="x" * BATCH_BYTES)
    beyond = entry_record(2, content="x" * (BATCH_BYTES + 1))

    found = imported(exported(agent_events(Records(ArchivalEntry, [whole]), Records(ArchivalEntry, [beyond]))))

    cell, pieces = large("content", beyond["content"].encode())
    expected = [Records(ArchivalEntry, [whole]), Records(ArchivalEntry, [beyond | {"content": cell}]), *pieces]
    assert agent_events(*expected) == found


def test_two_equal_values_are_one_section_each_piece() -> None:
    """Two messages with the same 2 MB: their pieces stand in the archive once, in whatever order it is read."""
    messages = [Records(Message, [message_record(number, content_preview="y" * 2_000_000)]) for number in (2, 1)]
    expected = agent_events(*messages)
    archive = exported(expected)

    assert 3 == len(value_blocks(archive))
    assert expected == imported(archive)
    for seed in range(5):
        assert expected == imported(archive, random.Random(seed).sample(archive.blocks, len(archive.blocks)))


# --- nodes that hold records -----------------------------------------------------------------------------------------


def test_an_agents_prompt_moves_out() -> None:
    """The record of an agent, with all that is its own behind it; its values come right after its block."""
    expected = [
        Open(AgentExport, agent_record(system_prompt=LONG), "a1"),
        *block_events(None),
        Records(ArchivalEntry, [entry_record(1)]),
        Close(),
    ]
    archive = exported(expected)
    reading = Reading(archive)

    assert expected == reading.events
    assert reading.walker.depth_first


@pytest.mark.parametrize("kind", [GroupExport, GroupExportThin, GroupConfigExport])
def test_a_groups_description_moves_out(kind: Any) -> None:
    """Groups of every kind: with agents inside, inside a constellation, alone."""
    record = group_record(description=LONG)
    opened = OpenGroupConfig(record, member_agent_ids=["a1"]) if kind is GroupConfigExport else Open(kind, record)
    inside = agent_events(*block_events(None)) if kind is GroupExport else []
    expected = [opened, *inside, Close()]
    if kind is GroupExportThin:
        expected = constellation_events(*expected, version=4)
    reading = Reading(exported(expected))

    assert expected == reading.events
    assert reading.walker.depth_first


@pytest.mark.parametrize("node", [AgentExport, GroupExport, GroupExportThin, GroupConfigExport])
def test_a_large_cell_of_a_node_passes_in_pieces(node: Any) -> None:
    """An agent's or group's own record, Large: the pieces follow the Open, then comes what is inside."""
    cell, pieces = large("description", b"d" * 5_000_000)
    record = agent_record(description=cell) if node is AgentExport else group_record(description=cell)
    opened = Open(node, record, "a1" if node is AgentExport else None)
    if node is GroupConfigExport:
        opened = OpenGroupConfig(record, member_agent_ids=["a1"])
    inside = agent_events() if node is GroupExport else block_events(None) if node is AgentExport else []
    expected = [opened, *pieces, *inside, Close()]
    if node is GroupExportThin:
        expected = constellation_events(*expected, version=4)
    reading = Reading(exported(expected))

    assert expected == reading.events
    assert reading.walker.depth_first


@pytest.mark.parametrize("history", [None, MemoryHistory(None, b"\x01"), MemoryHistory(b"stored", None)])
@pytest.mark.parametrize("size", [1_300_000, 5_000_000])
def test_a_memory_blocks_description_moves_out(history: MemoryHistory | None, size: int) -> None:
    """With and without history, whole and in pieces; the Open has all documents in it before the first piece."""
    text = "m" * size
    cell, pieces = large("description", text.encode()) if size > BATCH_BYTES else (text, [])
    cells = [Cells(UPDATES, [update(1)])] if history is not None else []
    record = memory_record("b1", description=cell)
    opened = OpenMemoryBlock(record, "b1", document=NEVER_WRITTEN, history=history)
    expected = agent_events(opened, *pieces, *cells, Close())
    reading = Reading(exported(as_exported(expected)))

    assert expected == reading.events
    assert reading.walker.depth_first


# --- rows of tables --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [LONG, b"\x00" * 1_200_000, NotUtf8(b"\xff" * 1_200_000)])
def test_a_cell_of_a_table_moves_out(cell: Any) -> None:
    """Text, BLOB and text that is no UTF-8 keep their storage class; rows before and after keep their order."""
    rows: list[Any] = [[(1, "a", None)], [(2, cell, b"\x01")], [(3, "c", None)]]
    expected = constellation_events(*table_events("files", ("id", "content", "more"), *rows))
    archive = exported(expected)
    found = imported(archive)

    assert expected == found
    assert type(cell) is type(next(e.rows[0][1] for e in found if isinstance(e, Cells) and e.rows[0][0] == 2))
    assert Reading(archive).walker.depth_first


@pytest.mark.parametrize("text", [True, False])
def test_large_cells_of_a_table_pass_in_pieces(text: bool) -> None:
    """Two large cells in a row, one after the other, in the order of the columns."""
    one, first = large("content", b"\xff" * 4_500_000, text=text)
    two, second = large("more", b"\x00" * 5_400_000, text=not text)
    rows: list[Any] = [(1, one, two)]
    expected = constellation_events(*table_events("files", ("id", "content", "more"), rows))
    expected[3:3] = [*first, *second]

    assert expected == imported(exported(expected))


def test_a_large_update_passes_in_pieces() -> None:
    """A row of memory history with a blob of 5 MB."""
    cell, pieces = large("update_blob", bytes(5_000_000), text=False)
    cells = [Cells(UPDATES, [update(1)]), Cells(UPDATES, [update(2, cell)]), *pieces, Cells(UPDATES, [update(3)])]
    expected = agent_events(*block_events(MemoryHistory(None, None), *cells))
    reading = Reading(exported(as_exported(expected)))

    assert expected == reading.events
    assert reading.walker.depth_first


def test_a_large_cell_takes_a_merely_long_one_along() -> None:
    """Beside a Large cell, one of 2 MB moves out as well; both come back in the order of the columns."""
    cell, pieces = large("more", bytes(5_000_000), text=False)
    rows: list[Any] = [("x" * 2_000_000, cell)]
    expected = constellation_events(*table_events("files", ("content", "more"), rows))
    expected[3:3] = pieces

    found = imported(exported(expected))

    text, first = large("content", b"x" * 2_000_000)
    want = constellation_events(*table_events("files", ("content", "more"), [(text, cell)]))
    want[3:3] = [*first, *pieces]
    assert want == found


def test_a_row_that_never_fits_is_refused() -> None:
    """A row of a great many short cells has nothing that is worth moving."""
    row = ("x" * 900,) * 1200

    with pytest.raises(LimitExceeded, match=r"row is 108\d+ bytes") as caught:
        made(constellation_events(*table_events("wide", tuple(f"c{i}" for i in range(1200)), [row])))

    assert "wide" == caught.value.where.table


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["", "x" * 10, "é" * 250_000, b"\x00" * 400_000, None, 7]), min_size=1, max_size=8))
def test_any_row_comes_back(cells: list[Any]) -> None:
    """Whatever mixture of short and long cells: the same row, each block within its cap."""
    columns = tuple(f"c{index}" for index in range(len(cells)))
    events = constellation_events(*table_events("t", columns, [tuple(cells)]))
    blocks = made(events)

    assert max(sizes_of(blocks)) <= MAX_BLOCK_BYTES
    assert 3 == version_of(blocks)  # readers of that version never see it
    assert [tuple(cells)] == list(_joined(imported(exported(events))))


def _joined(events: list[RecordEvent]) -> Iterator[tuple[Any, ...]]:
    """Rows with their pieces in them."""
    for index, event in enumerate(events):
        if isinstance(event, Cells):
            pieces = [piece for piece in events[index:] if isinstance(piece, Piece)]
            yield tuple(_whole(cell, f"c{column}", pieces) for column, cell in enumerate(event.rows[0]))


def _whole(cell: Any, column: str, pieces: list[Piece]) -> Any:
    if not isinstance(cell, Large):
        return cell
    data = b"".join(piece.data for piece in pieces if piece.column == column)
    return data.decode() if cell.text else data


def test_a_constellation_says_its_version_too() -> None:
    """Manifest and data node agree; without anything that is too large both say 3."""
    for entry, version in ((entry_record(1), 3), (entry_record(1, content=LONG), 4)):
        events = [
            OpenConstellation(owner_id="me"),
            *agent_events(Records(ArchivalEntry, [entry])),
            Close(),
        ]
        nodes = nodes_of(exported(events))

        assert [version, version] == [node["version"] for node in nodes if "version" in node]
