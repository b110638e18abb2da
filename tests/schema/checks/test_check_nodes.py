"""Decoded values are believed only after they were checked; the quick look and the careful one agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.codec.dagcbor import Link
from pattern_stream.errors import MalformedNode, ignore_findings
from pattern_stream.schema.checks.check_nodes import check_node
from pattern_stream.schema.checks.check_records import record_checker
from pattern_stream.schema.checks.unknown_keys import unknown_keys
from pattern_stream.schema.mapping.kinds import check_record
from pattern_stream.schema.mapping.row_to_record import row_mapper
from pattern_stream.schema.model.nodes import (
    AgentExport,
    ArchivalEntryExport,
    ConstellationExport,
    ExportManifest,
    GroupExport,
    MemoryBlockExport,
    MessageChunk,
    SnapshotChunk,
)
from pattern_stream.schema.model.records import Agent, ArchivalEntry, Group, Member, MemoryBlock, Message, Record
from tests.archives import (
    STATS,
    agent_record,
    attachment_record,
    entry_record,
    group_record,
    member_record,
    memory_record,
    message_chunk,
    message_record,
)
from tests.strategies import rows

RECORDS: dict[type[Record], Callable[..., dict[str, Any]]] = {
    Agent: agent_record,
    Group: group_record,
    Member: member_record,
    MemoryBlock: memory_record,
    Message: lambda **changes: message_record(1, **changes),
    ArchivalEntry: lambda **changes: entry_record(1, **changes),
}
CID = bytes.fromhex("01711e20") + bytes(32)
BAD: list[tuple[type[Record], str, Any, str]] = [
    (Message, "id", None, "found null, expected text"),
    (Message, "id", b"x", "found a byte string, expected text"),
    (Message, "position", 5, "found a number \\(5\\), expected text"),
    (Message, "role", "robot", "found text 'robot', expected one of assistant, system, tool, user"),
    (Message, "role", "User", "expected one of"),
    (Message, "is_deleted", 1, "found a number \\(1\\), expected a bool"),
    (Message, "is_archived", None, "found null, expected a bool"),
    (Message, "sequence_in_batch", 2**63, "expected an integer from"),
    (Message, "sequence_in_batch", 1.0, "found a number \\(1.0\\), expected an integer"),
    (Message, "sequence_in_batch", True, "found a bool \\(True\\), expected an integer"),
    (Message, "content_json", {"a": [b"x"]}, "found a map that is no JSON"),
    (Message, "content_json", Link(CID), "found a link that is no JSON"),
    (Message, "created_at", "2026-02-30T00:00:00Z", "expected a day of the calendar"),
    (Message, "created_at", "2026-02-03T00:00:00", "expected a date and time"),
    (Message, "created_at", None, "found null, expected text"),
    (Message, "source_metadata", {"x": Link(CID)}, "that is no JSON"),
    (MemoryBlock, "frontier", b"\x00", "found a byte string, expected an array"),
    (MemoryBlock, "frontier", [256], "found 256, expected an integer from 0 to 255"),
    (MemoryBlock, "frontier", [True], "found a bool"),
    (MemoryBlock, "last_seq", -(2**63) - 1, "expected an integer from"),
    (MemoryBlock, "block_type", "Core", "expected one of archival, core, log, working"),
    (Agent, "enabled_tools", ["a", None], "found null, expected text"),
    (Agent, "enabled_tools", None, "found null, expected an array"),
    (Member, "role", {"type": "boss"}, "expected a role object"),
    (Member, "role", {"type": "specialist"}, 'expected a "domain"'),
    (Member, "role", "regular", "expected a role object"),
    (Member, "capabilities", None, "found null, expected an array"),
    (ArchivalEntry, "chunk_index", None, "found null, expected an integer"),
    (Group, "pattern_type", "chaos", "expected one of"),
]


@pytest.mark.parametrize("record", RECORDS)
def test_good_records_pass_as_they_are(record: type[Record]) -> None:
    """A record in its usual form comes out equal, by the quick look and by the careful one."""
    good = RECORDS[record]()
    checker = record_checker(record)

    assert [good, good] == checker.check([good, good], "records")
    assert good == check_record(record, good)


@pytest.mark.parametrize(("record", "name", "value", "message"), BAD)
def test_bad_values_are_named(record: type[Record], name: str, value: Any, message: str) -> None:
    """What is wrong, and where, is said; good records around it do not hide it."""
    good = RECORDS[record]()

    with pytest.raises(MalformedNode, match=message) as caught:
        record_checker(record).check([good, good | {name: value}], "items")

    assert f"items[1].{name}" == caught.value.where.field


@pytest.mark.parametrize("record", RECORDS)
def test_missing_keys(record: type[Record]) -> None:
    """A nullable field may be missing and is null; any other missing field refuses the record."""
    checker = record_checker(record)
    for field in record.wire_fields():
        without = {key: value for key, value in RECORDS[record]().items() if key != field.name}
        if field.nullable and field.wire_nullable:
            assert checker.check([without], "x")[0][field.name] is None
        else:
            with pytest.raises(MalformedNode, match=f"found no {field.name}, which must be there"):
                checker.check([without], "x")


def test_unknown_keys_are_skipped() -> None:
    """Keys that the type does not have do not come out."""
    good = message_record(1)

    assert [good, good] == record_checker(Message).check([good | {"later": 1}, good], "x")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("2026-01-02 03:04:05.1Z", "2026-01-02T03:04:05.100Z"),
        ("2026-01-02T03:04:05+01:30", "2026-01-02T01:34:05Z"),
        ("2026-01-02t03:04:05.123000000z", "2026-01-02T03:04:05.123Z"),
        ("2026-01-02T03:04:05.000000001Z", "2026-01-02T03:04:05.000000001Z"),
    ],
)
def test_instants_take_their_usual_form(found: str, expected: str) -> None:
    """Whatever spelling the original reads becomes the one it writes."""
    assert expected == record_checker(Message).check([message_record(1, created_at=found)], "x")[0]["created_at"]


def test_role_keeps_only_its_own_members() -> None:
    """Further members of the role object are dropped, as the original drops them."""
    record = member_record(role={"type": "regular", "domain": "x", "more": 1})

    assert {"type": "regular"} == record_checker(Member).check([record], "x")[0]["role"]


def test_json_null_is_a_value() -> None:
    """A required JSON field may hold null, but must be there."""
    assert record_checker(Message).check([message_record(1, content_json=None)], "x")[0]["content_json"] is None


@pytest.mark.parametrize("record", RECORDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_export_makes_is_taken(record: type[Record], data: st.DataObject) -> None:
    """Every record that mapping makes of a row passes, and both looks agree."""
    made = row_mapper(record).map([data.draw(rows(record)) for _ in range(2)], ignore_findings)
    checker = record_checker(record)

    assert made == checker.check(made, "x")
    assert made == [check_record(record, each) for each in made]


# --- nodes -------------------------------------------------------------------------------------------------------


def test_links_become_cids() -> None:
    """Lists of links and maps of them hold raw CIDs."""
    lists = ("memory_block_cids", "message_chunk_cids", "archival_entry_cids", "archive_summary_cids")
    node = {"agent": agent_record(), **{name: [Link(CID)] * 2 for name in lists}}

    checked = check_node(AgentExport, node)

    assert {name: [CID, CID] for name in lists} == {name: checked[name] for name in lists}


def test_flat_nodes_hold_record_and_links() -> None:
    """A memory block is its own map, with the links to its document beside the record."""
    node = memory_record() | {"snapshot_chunk_cids": [Link(CID)], "total_snapshot_bytes": 9, "future": {}}

    checked = check_node(MemoryBlockExport, node)

    assert memory_record() | {"snapshot_chunk_cids": [CID], "total_snapshot_bytes": 9, "history": None} == checked
    assert ["future"] == unknown_keys(MemoryBlockExport, node)


NODES: list[tuple[Any, dict[str, Any], str, str]] = [
    (MessageChunk, message_chunk(0, [message_record(1)]) | {"chunk_index": -1}, "chunk_index", "from 0 to 4294967295"),
    (MessageChunk, message_chunk(0, [message_record(1)]) | {"messages": {}}, "messages", "expected an array"),
    (SnapshotChunk, {"data": [1, 2], "index": 0, "next_cid": None}, "data", "found an array, expected a byte string"),
    (SnapshotChunk, {"data": b"", "index": 2**32, "next_cid": None}, "index", "expected an integer"),
    (SnapshotChunk, {"data": b"", "index": 0, "next_cid": CID}, "next_cid", "expected a link"),
    (ArchivalEntryExport, entry_record(1) | {"content": None}, "content", "expected text"),
    (AgentExport, {"agent": agent_record()}, "memory_block_cids", "found no memory_block_cids"),
    (ConstellationExport, {"version": 3, "owner_id": 5}, "owner_id", "expected text"),
]


@pytest.mark.parametrize(("node", "value", "field", "message"), NODES)
def test_bad_nodes_are_named(node: Any, value: dict[str, Any], field: str, message: str) -> None:
    """A node of the wrong shape is refused with the path of the field."""
    with pytest.raises(MalformedNode, match=message) as caught:
        check_node(node, value)

    assert field == caught.value.where.field


def test_paths_lead_into_inline_nodes() -> None:
    """The field of an agent inside a group has the whole path."""
    lists = ("memory_block_cids", "message_chunk_cids", "archival_entry_cids", "archive_summary_cids")
    agent = {"agent": agent_record(status="asleep"), **{name: [] for name in lists}}
    value = {
        "group": group_record(),
        "members": [member_record()],
        "agent_exports": [agent],
        "shared_memory_cids": [],
        "shared_attachment_exports": [attachment_record()],
    }

    with pytest.raises(MalformedNode, match="asleep") as caught:
        check_node(GroupExport, value)

    assert "agent_exports[0].agent.status" == caught.value.where.field


@pytest.mark.parametrize("value", [None, [], 5, "text", b"bytes", Link(CID)])
def test_what_is_no_map_is_no_node(value: Any) -> None:
    """A block that holds anything but a map is refused."""
    with pytest.raises(MalformedNode, match="expected a map"):
        check_node(MessageChunk, value)


def test_the_manifest_keeps_its_lineage() -> None:
    """This program's further keys come out where they are plain, and are not unknown."""
    manifest = {
        "stats": dict.fromkeys(STATS, 0),
        "version": 3,
        "data_cid": Link(CID),
        "export_type": "Agent",
        "exported_at": "2026-01-02T03:04:05Z",
        "created_by": "pattern-stream 1",
        "section_count": [],
        "other": 1,
    }

    checked = check_node(ExportManifest, manifest)

    assert ("pattern-stream 1", False) == (checked["created_by"], "section_count" in checked)
    assert ["other"] == unknown_keys(ExportManifest, manifest)


@pytest.mark.parametrize("stats", [{}, dict.fromkeys(STATS, -1), dict.fromkeys(STATS, 2**64), 5])
def test_statistics_are_nine_counts(stats: Any) -> None:
    """Statistics that lack a key or hold no counts are refused."""
    value = {"stats": stats, "version": 3, "data_cid": Link(CID), "export_type": "Agent", "exported_at": "x"}

    with pytest.raises(MalformedNode):
        check_node(ExportManifest, value)
