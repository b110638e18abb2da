"""Nodes become the records that export started from: the same events, whole documents, bounded batches."""

from __future__ import annotations

from typing import Any

import pytest

from pattern_stream.archive.shelf import Shelf
from pattern_stream.errors import Finding, LimitExceeded
from pattern_stream.format import BATCH_BYTES, BATCH_ROWS
from pattern_stream.items import (
    Block,
    Close,
    Node,
    Open,
    OpenConstellation,
    OpenGroupConfig,
    OpenMemoryBlock,
    RecordEvent,
    Records,
    Ref,
    Section,
)
from pattern_stream.schema.model.nodes import (
    AgentExport,
    ArchivalEntryExport,
    ExportManifest,
    GroupExport,
    GroupExportThin,
    MemoryBlockExport,
    MessageChunk,
)
from pattern_stream.schema.model.records import ArchivalEntry, ArchiveSummary, Member, Message, SharedAttachment
from pattern_stream.stages.chunking import chunk
from pattern_stream.stages.encode.encoder import encode
from pattern_stream.stages.rebuild.records import RecordBuilder, unchunk
from pattern_stream.stages.walk.walker import Walker, walk
from tests.archives import (
    ARCHIVES,
    AT,
    NEVER_WRITTEN,
    Archive,
    agent_archive,
    agent_record,
    attachment_record,
    constellation_archive,
    entry_record,
    group_archive,
    group_record,
    member_record,
    memory_record,
    message_chunk,
    message_record,
    summary_record,
    thin_archive,
)
from tests.drive import collect, feed

pytestmark = pytest.mark.anyio


async def records_of(archive: Archive, **options: Any) -> list[RecordEvent]:
    """An archive's events after walk and unchunk."""
    with Shelf() as shelf:
        sections = feed([Section(place, *block) for place, block in enumerate(archive.blocks)])
        return await collect(unchunk(walk(sections, Walker(archive.root, shelf), shelf), **options))


def memory(record: dict[str, Any], document: bytes) -> list[RecordEvent]:
    """A memory block's events."""
    return [OpenMemoryBlock(record, record["id"], document=document), Close()]


async def test_an_agent() -> None:
    """Documents are whole, messages of several chunks are one batch, everything in the archive's order."""
    expected: list[RecordEvent] = [
        Open(AgentExport, agent_record(), "a1"),
        *memory(memory_record("b1"), b"first piece, second piece"),
        *memory(memory_record("b2"), NEVER_WRITTEN),
        Records(Message, [message_record(4), message_record(3), message_record(2)]),
        Records(ArchivalEntry, [entry_record(1), entry_record(2, parent_entry_id="a1-e1")]),
        Records(ArchiveSummary, [summary_record(1)]),
        Close(),
    ]

    assert expected == await records_of(agent_archive())


async def test_a_group() -> None:
    """Members first, agents inside, attachments behind the blocks that they name."""
    expected: list[RecordEvent] = [
        Open(GroupExport, group_record()),
        Records(Member, [member_record("a1"), member_record("a2", role=None)]),
        Open(AgentExport, agent_record("a1"), "a1"),
        *memory(memory_record("b1"), NEVER_WRITTEN),
        Close(),
        Open(AgentExport, agent_record("a2"), "a2"),
        Records(Message, [message_record(1, "a2")]),
        Close(),
        *memory(memory_record("b9", "a9"), NEVER_WRITTEN),
        Records(SharedAttachment, [attachment_record("b9", "a2")]),
        Close(),
    ]

    assert expected == await records_of(group_archive())


async def test_a_thin_group() -> None:
    """The ids of the members travel beside the record."""
    expected = [OpenGroupConfig(group_record(), member_agent_ids=["a1", "a2"]), Close()]

    assert expected == await records_of(thin_archive())


async def test_a_constellation() -> None:
    """Groups come after agents, attachments after all blocks; what was there before is a Ref."""
    events = await records_of(constellation_archive())

    assert OpenConstellation(version=3, owner_id="cli-user", exported_at=AT) == events[0]
    assert [("a1", AgentExport), ("a2", AgentExport), ("a3", AgentExport), (None, GroupExportThin)] == [
        (event.key, event.node)
        for event in events
        if isinstance(event, Open) and event.node in (AgentExport, GroupExportThin)
    ][:4]
    group = events.index(Open(GroupExportThin, group_record("g2")))
    assert [
        Records(Member, [member_record("a1", "g2"), member_record("a2", "g2")]),
        Ref(AgentExport, "agent_cids", "a1"),
        Ref(AgentExport, "agent_cids", "a2"),
        Ref(MemoryBlockExport, "shared_memory_cids", "b8"),
        Ref(MemoryBlockExport, "shared_memory_cids", "b1"),
        Records(SharedAttachment, [attachment_record("b8", "a2")]),
        Close(),
        Ref(MemoryBlockExport, "all_memory_block_cids", "b8"),
        *memory(memory_record("b7", "gone"), b""),
        Records(SharedAttachment, [attachment_record("b8", "a2"), attachment_record("b1", "a2")]),
        Ref(AgentExport, "standalone_agent_cids", "a3"),
        Close(),
    ] == events[group + 1 :]


async def test_batches_are_bounded_in_rows() -> None:
    """A chunk larger than a batch is handed on in several."""
    archive = Archive()
    count = 2 * BATCH_ROWS + 5
    archive.finish("Agent", archive.agent(chunks=[[message_record(number) for number in range(count)]]))

    batches = [event for event in await records_of(archive) if isinstance(event, Records)]

    assert 2 < len(batches)
    assert all(0 < len(batch.records) <= BATCH_ROWS for batch in batches)
    assert count == sum(len(batch.records) for batch in batches)
    assert list(range(count)) == [record["sequence_in_batch"] for batch in batches for record in batch.records]


@pytest.mark.parametrize("count", [3, 2 * BATCH_ROWS])
async def test_records_that_nobody_reads_stay_behind(count: int) -> None:
    """Of types that are named as unread nothing comes out; all else is as ever, whatever stands between."""
    archive = Archive()
    chunks = [[message_record(number) for number in range(start, start + count)] for start in (0, count)]
    archive.finish("Agent", archive.agent(chunks=chunks, entries=[entry_record(1)]))
    everything = await records_of(archive)
    kept = [event for event in everything if not (isinstance(event, Records) and event.record is Message)]

    assert kept == await records_of(archive, unread=frozenset({Message}))
    assert kept != everything


def test_batches_are_bounded_in_bytes() -> None:
    """Records that together would pass the limit of a batch are handed on one by one."""
    builder = RecordBuilder()

    found = [
        event
        for node in (Node(ArchivalEntryExport, entry_record(1), b"", 0, BATCH_BYTES // 2 + 1) for _ in range(3))
        for event in builder.add(node)
    ]

    assert [1, 1] == [len(event.records) for event in found if isinstance(event, Records)]


def test_messages_of_a_large_chunk_come_with_it() -> None:
    """Those of small ones wait for each other."""
    builder = RecordBuilder()
    chunk = message_chunk(0, [message_record(1), message_record(2)])

    found = [
        [
            len(event.records)
            for event in builder.add(Node(MessageChunk, chunk, b"", 0, size))
            if isinstance(event, Records)
        ]
        for size in (4096, 4096, 4097, 4097)
    ]

    assert [[], [], [6], [2]] == found


async def test_documents_are_limited() -> None:
    """A document beyond the limit is refused with its block; tolerated, it is left out."""
    damage: list[Finding] = []
    archive = agent_archive()

    with pytest.raises(LimitExceeded, match="at least 25 bytes, limit is 20") as caught:
        await records_of(archive, max_document_bytes=20)
    events = await records_of(archive, max_document_bytes=20, damage=damage.append)

    assert ("memory_blocks", "b1") == (caught.value.where.table, caught.value.where.row_id)
    assert ["limit-exceeded"] == [finding.code for finding in damage]
    assert [None, NEVER_WRITTEN] == [event.document for event in events if isinstance(event, OpenMemoryBlock)]


def test_the_manifest_is_left_out() -> None:
    """The root's own node opens nothing."""
    builder = RecordBuilder()

    assert [] == [*builder.add(Node(ExportManifest, {}, b"")), *builder.add(Close())]


@pytest.mark.parametrize("name", ARCHIVES)
async def test_what_came_out_goes_in_again(name: str) -> None:
    """Chunk and encode, then walk and unchunk, in whatever order the blocks came: the same events."""
    events = await records_of(ARCHIVES[name]())
    made = await collect(encode(chunk(feed(events)), exported_at=AT))
    blocks = [(event.cid, event.data) for event in made if isinstance(event, Block)]

    again = await records_of(Archive(blocks, blocks[-1][0]))

    assert events == again
