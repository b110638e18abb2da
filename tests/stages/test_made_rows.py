"""Rows that another process made of a chunk: taken where their node was wanted, and handed on; not on the way out."""

from __future__ import annotations

from typing import Any

import pytest

from pattern_stream.archive.shelf import Shelf
from pattern_stream.errors import ProtocolError
from pattern_stream.items import MadeRows, Node, Open, RecordEvent, Records, Rows, Section
from pattern_stream.schema.model.nodes import AgentExport, MessageChunk
from pattern_stream.schema.model.records import Message
from pattern_stream.schema.model.scopes import Limits
from pattern_stream.stages.chunking import ChunkBuilder
from pattern_stream.stages.rebuild.records import RecordBuilder
from pattern_stream.stages.walk.walker import Walker, walk
from tests.archives import agent_archive, agent_record, message_chunk, message_record
from tests.drive import collect, feed

BATCHES: list[list[Any]] = [[("m3", "text"), ("m4", "text")], [message_record(2)], [("m5", "text")]]
MADE = MadeRows({"chunk_index": 1}, 4, lambda: iter(BATCHES))
AGENT = Node(AgentExport, {"agent": agent_record()}, b"", 0, 100)
PLAIN = Node(MessageChunk, message_chunk(0, [message_record(1)]), b"", 100, 100)
CHUNK = Node(MessageChunk, {"messages": MADE}, b"", 200, 100)


def unchunked(*nodes: Node, unread: frozenset[type[Message]] = frozenset()) -> list[RecordEvent]:
    """What becomes of nodes."""
    builder = RecordBuilder(unread=unread)
    return [event for node in nodes for event in builder.add(node)]


def test_made_rows_come_as_they_are_behind_what_was_waiting() -> None:
    """Records of the chunk before are one batch, which ends here; each batch is one event."""
    odd = Records(Message, [message_record(2)])
    expected = [Records(Message, [message_record(1)]), Rows(Message, BATCHES[0]), odd, Rows(Message, BATCHES[2])]

    opened, *found = unchunked(AGENT, PLAIN, CHUNK)

    assert isinstance(opened, Open)
    assert expected == found


def test_made_rows_that_nobody_reads_are_not_asked_for() -> None:
    """Neither are records; and records that somebody reads are there, where made rows are none of theirs."""
    assert 1 == len(unchunked(AGENT, PLAIN, CHUNK, unread=frozenset({Message})))
    assert 1 == len(unchunked(AGENT, CHUNK, unread=frozenset({Message})))


@pytest.mark.anyio
async def test_a_walk_takes_what_is_made_of_a_chunk() -> None:
    """It stands in the chunk's node, beside the fields that say what is in it; nothing of it is left behind."""
    archive = agent_archive()
    chunks = [cid for cid, data in archive.blocks if b"chunk_index" in data]
    fields = {"chunk_index": 0, "message_count": 2, "start_position": "4", "end_position": "3"}
    made = {chunks[0]: MadeRows(fields, 2, lambda: iter(BATCHES))}

    with Shelf() as shelf:
        sections = feed([Section(place, *block) for place, block in enumerate(archive.blocks)])
        events = await collect(walk(sections, Walker(archive.root, shelf, made=made), shelf))

    found = [event.value for event in events if isinstance(event, Node) and event.node is MessageChunk]
    assert [fields, MadeRows] == [
        {key: value for key, value in found[0].items() if key != "messages"}, type(found[0]["messages"])
    ]  # fmt: skip
    assert [message_record(2)] == list(found[1]["messages"])
    assert {} == made


def test_rows_are_no_records_to_be_chunked() -> None:
    """A filter that hands on what it should not is told where."""
    with pytest.raises(ProtocolError) as caught:
        list(ChunkBuilder(Limits()).add(Rows(Message, [("m1",)])))

    assert "rows came where records are chunked" == caught.value.message
    assert "chunk" == caught.value.where.stage
