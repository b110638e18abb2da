"""Large chunks of messages, which are read a few messages at a time, are judged as small ones are."""

from __future__ import annotations

from typing import Any

import pytest

from pattern_stream.codec.cid import cid_of
from pattern_stream.codec.dagcbor import encode_node
from pattern_stream.errors import MalformedBlock, MalformedNode, ignore_findings
from pattern_stream.items import Node, Section
from pattern_stream.schema.model.nodes import MessageChunk
from pattern_stream.stages.walk.block_decoder import BlockDecoder
from pattern_stream.stages.walk.pending_links import Links
from tests.archives import message_chunk, message_record

COUNT = 300


def recognized(data: bytes) -> Node:
    """The node of a block that is a chunk of messages."""
    section = Section(0, cid_of(data), data)
    links = Links(MessageChunk, "message_chunk_cids", [section.cid], "AgentExport")
    return BlockDecoder(ignore_findings, drop_unknown=False).read(links, section)


def records(**changed: Any) -> list[dict[str, Any]]:
    """Many messages, of which one near the end is another."""
    found = [message_record(number) for number in range(COUNT)]
    found[250] = message_record(250, **changed)
    return found


@pytest.mark.parametrize(
    ("changed", "stored"),
    [
        ({"created_at": "2026-01-02T03:04:05+00:00"}, {"created_at": "2026-01-02T03:04:05Z"}),
        ({"unheard": 1}, {}),
    ],
)
def test_one_message_that_is_written_otherwise(changed: dict[str, Any], stored: dict[str, Any]) -> None:
    """A reader of the format takes it, in its usual form."""
    found = recognized(encode_node(message_chunk(0, records(**changed)))).value["messages"]

    assert records(**stored) == list(found)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"role": "nobody"}, "messages[250].role"),
        ({"content_json": {"blob": b"bytes"}}, "messages[250].content_json"),
        ({"sequence_in_batch": 2**63}, "messages[250].sequence_in_batch"),
    ],
)
def test_one_message_that_is_wrong_is_named(changed: dict[str, Any], field: str) -> None:
    """The field at fault has its place among all messages."""
    with pytest.raises(MalformedNode) as caught:
        recognized(encode_node(message_chunk(0, records(**changed))))

    assert field == caught.value.where.field


def test_a_fault_of_the_encoding_has_its_byte() -> None:
    """Counted from the start of the block."""
    data = encode_node(message_chunk(0, records(sequence_in_batch=7)))
    at = data.index(b"\x71sequence_in_batch\x07") + 18
    with pytest.raises(MalformedBlock, match=f"at byte {at} of the block"):
        recognized(data[:at] + b"\x18\x07" + data[at + 1 :])
