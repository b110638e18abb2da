"""What was moved out of records comes back into them, in its type; what waits for a document has a limit."""

from __future__ import annotations

from typing import Any

import pytest

from pattern_stream.errors import Finding, LimitExceeded, MalformedNode
from pattern_stream.items import (
    Close,
    Node,
    Open,
    OpenGroupConfig,
    OpenMemoryBlock,
    RecordEvent,
    Records,
    Ref,
    WalkEvent,
)
from pattern_stream.schema.model.cells import External, StoredText
from pattern_stream.schema.model.nodes import (
    AgentExport,
    ExportManifest,
    GroupConfigExport,
    History,
    MemoryBlockExport,
    MessageChunk,
    SnapshotChunk,
    UpdateChunk,
    ValueChunk,
)
from pattern_stream.schema.model.records import Message
from pattern_stream.stages.rebuild.memory_block import MAX_HELD_BYTES
from pattern_stream.stages.rebuild.records import RecordBuilder, unchunk
from tests.archives import agent_record, group_record, memory_record, message_chunk, message_record
from tests.contracts import check_early_stop, check_empty, check_errors_pass

CID = b"\x01\x71\x1e\x20" + bytes(32)
LISTS = ("memory_block_cids", "message_chunk_cids", "archival_entry_cids", "archive_summary_cids")


def agent_node(**changes: Any) -> Node:
    """An agent, its record changed; what it links to comes by hand."""
    return Node(AgentExport, {"agent": agent_record(**changes), **{name: [] for name in LISTS}}, CID, 7)


def memory_node() -> Node:
    """A memory block with a history."""
    return Node(MemoryBlockExport, memory_record() | {"history": {}, "snapshot_chunk_cids": []}, CID, 7)


def history_node() -> Node:
    """The history of the memory block."""
    return Node(History, {"block_id": "b1", "base": None, "frontier": None, "columns": None}, CID, 7)


def outside(data: bytes) -> External:
    """A text of so many bytes, in pieces."""
    return External(len(data), True, (CID,))


def piece(of: str, data: bytes) -> Node:
    """A piece of a value outside its record."""
    return Node(ValueChunk, {"of": of, "data": data, "index": 0}, CID, 99, len(data))


def built(*events: WalkEvent, damage: list[Finding] | None = None) -> list[RecordEvent]:
    """What comes of events."""
    builder = RecordBuilder(damage=None if damage is None else damage.append)
    return [made for event in events for made in builder.add(event)]


def test_json_comes_back_as_json() -> None:
    """A field of JSON is handed on as text that is JSON already, one of text as text."""
    config, prompt = b'{"a":[1.0]}', "né".encode()
    found = built(
        agent_node(config=outside(config), system_prompt=outside(prompt)),
        piece("config", config),
        piece("system_prompt", prompt),
        Close(),
    )

    record = agent_record(config=StoredText(config.decode()), system_prompt="né")
    assert [Open(AgentExport, record, "a1"), Close()] == found


@pytest.mark.parametrize("size", [5, 5_000_000])
def test_text_that_is_none_is_told_with_its_place(size: int) -> None:
    """By the block that holds the record, not the one that holds the piece; it may be damage to go round."""
    data = b"\xff" * size
    events: list[WalkEvent] = [agent_node(system_prompt=outside(data)), piece("system_prompt", data), Close()]
    damage: list[Finding] = []
    with pytest.raises(MalformedNode, match=r"^text outside its record is no UTF-8 \(invalid start byte\)") as caught:
        built(*events)
    found = built(*events, damage=damage)

    place = caught.value.where
    assert ("agents", "a1", "system_prompt", 7) == (place.table, place.row_id, place.field, place.offset)
    assert [place] == [finding.where for finding in damage]
    assert [Open, Close] == [type(event) for event in found if isinstance(event, (Open, Close))]


def test_a_group_whose_values_are_lost_opens_all_the_same() -> None:
    """Where no piece of a thin group's value came, going round damage, its Open still comes, before its Close."""
    group = group_record(description=outside(b"lost"))
    node = Node(GroupConfigExport, {"group": group, "member_agent_ids": ["a1"]}, CID, 7)

    found = built(Node(ExportManifest, {}, CID), node, Close(), damage=[])

    assert [OpenGroupConfig, Close] == [type(event) for event in found]
    assert isinstance(found[0], OpenGroupConfig)
    assert ("g1", ["a1"]) == (found[0].record["id"], found[0].member_agent_ids)


def test_what_waits_for_a_document_is_counted() -> None:
    """Rows of a memory block's history wait for its end, up to a limit; pieces of the document have their own."""
    rows = Node(UpdateChunk, {"rows": [[1]], "index": 0}, CID, 8, MAX_HELD_BYTES // 2)
    document = Node(SnapshotChunk, {"data": b"x"}, CID, 9, MAX_HELD_BYTES)
    opened = [agent_node(), memory_node(), history_node()]
    damage: list[Finding] = []

    whole = built(*opened, rows, rows, Close(), document, document, Close())
    with pytest.raises(LimitExceeded, match=f"history and values of the memory block are over {MAX_HELD_BYTES} bytes"):
        built(*opened, rows, rows, piece("label", b"x"))
    built(*opened, rows, rows, rows, rows, Close(), Close(), damage=damage)

    (block,) = [event for event in whole if isinstance(event, OpenMemoryBlock)]
    assert b"xx" == block.document
    assert ["limit-exceeded"] == [finding.code for finding in damage]


@pytest.mark.parametrize("following", [Ref(MemoryBlockExport, "memory_block_cids", "b1"), memory_node()])
def test_rows_come_before_what_follows_them(following: WalkEvent) -> None:
    """Rows that wait for their batch to fill go out before a node or a link that comes after them."""
    found = built(agent_node(), Node(MessageChunk, message_chunk(0, [message_record(1)]), CID, 8), following, Close())

    opened = OpenMemoryBlock if isinstance(following, Node) else Ref
    assert [Open, Records, opened] == [type(event) for event in found[:3]]
    assert Records(Message, [message_record(1)]) == found[1]


@pytest.mark.anyio
async def test_contract() -> None:
    """The stage closes its upstream, takes no input for none, and hides no error."""
    events: list[WalkEvent] = [agent_node(), Close()]
    await check_early_stop(unchunk, events)
    await check_empty(unchunk)
    await check_errors_pass(unchunk, events)
