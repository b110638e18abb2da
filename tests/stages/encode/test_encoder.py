"""Nodes to blocks: canonical bytes, links in their places, nothing twice, nothing too large."""

from __future__ import annotations

from typing import Any

import pytest

from pattern_stream.codec.cid import cid_of
from pattern_stream.codec.dagcbor import Link, decode, encode_record
from pattern_stream.errors import LimitExceeded
from pattern_stream.items import (
    Begin,
    Block,
    BlockEvent,
    Close,
    Draft,
    DraftEvent,
    Open,
    OpenConstellation,
    OpenGroupConfig,
    OpenMemoryBlock,
    Records,
    Ref,
    Root,
)
from pattern_stream.schema.model.nodes import (
    AgentExport,
    GroupExport,
    GroupExportThin,
    MemoryBlockExport,
    MessageChunk,
)
from pattern_stream.schema.model.records import ArchivalEntry, Member, SharedAttachment
from pattern_stream.stages.encode.encoder import Encoder, encode
from pattern_stream.stages.encode.splice import document_blocks
from tests.contracts import check_early_stop, check_errors_pass

AT = "2026-01-02T03:04:06.123456789Z"
GROUP = {
    "id": "g1",
    "name": "duo",
    "created_at": "2026-01-02T03:04:05Z",
    "updated_at": "2026-01-02T03:04:05.120Z",
    "description": None,
    "pattern_type": "round_robin",
    "pattern_config": {"bias": 0.5, "max_turns": 3},
}


def run(events: list[DraftEvent], *, newest_version: int = 4, **lineage: Any) -> list[BlockEvent]:
    """Everything that an encoder makes of a tree, but for places that are kept for pages."""
    encoder = Encoder(AT, lineage, newest_version=newest_version)
    found = [block for event in events for block in encoder.add(event)]
    return [event for event in found if not (isinstance(event, Begin) and event.page)]


def blocks_of(events: list[BlockEvent]) -> dict[bytes, Any]:
    """Decoded blocks by CID."""
    return {event.cid: decode(event.data) for event in events if isinstance(event, Block)}


def memory_block(identity: str, document: bytes, key: str | None = None) -> list[DraftEvent]:
    """The events of a memory block."""
    return [OpenMemoryBlock({"id": identity}, key, document=document), Close()]


@pytest.mark.parametrize(
    ("size", "expected"), [(0, []), (1, [1]), (900_000, [900_000]), (900_001, [900_000, 1]), (1_800_000, [900_000] * 2)]
)
def test_documents_are_cut_every_900000_bytes(size: int, expected: list[int]) -> None:
    """Pieces joined are the document; an empty one has none."""
    document = (bytes(range(251)) * (size // 251 + 1))[:size]

    pieces = [decode(block.data) for block in document_blocks(document)]

    assert expected == [len(piece["data"]) for piece in pieces]
    assert list(range(len(expected))) == [piece["index"] for piece in pieces]
    assert document == b"".join(piece["data"] for piece in pieces)


def test_the_documented_example() -> None:
    """A thin group gives the very block of the example, and its CID. Source: docs/format.md#example."""
    found = run([OpenGroupConfig(GROUP, member_agent_ids=["a1", "a2"]), Close()])

    data = next(event for event in found if isinstance(event, Block))
    assert "01711e207a04b8d519f87ee2496e8bacd080612a8f5ca5d779846070587d124aaa6ece3a" == data.cid.hex()
    assert 195 == len(data.data)
    assert [Begin, Begin, Block, Block, Root] == [type(event) for event in found]


def test_a_snapshot_chunk_of_the_documented_bytes() -> None:
    """A one-piece document gives the block and CID of the example. Source: docs/format.md#example."""
    found = run([Open(AgentExport, {"id": "a"}), *memory_block("b", b"abc"), Close()])

    assert "01711e20fe0146aa55267f6f618aa4a662993183e57fb55e56e86f6b756dc8fdf01112e8" in {
        event.cid.hex() for event in found if isinstance(event, Block)
    }


def test_an_agent_links_all_that_is_its_own() -> None:
    """Blocks, chunks and entries stand in their lists in order; a document's pieces link to the next."""
    message = {"id": "m", "position": "1"}
    chunk = Draft(
        MessageChunk,
        {"chunk_index": 0, "end_position": "1", "message_count": 1, "start_position": "1"},
        (encode_record(message),),
        "m",
    )
    entries = Records(ArchivalEntry, [{"id": "e1"}, {"id": "e2"}])
    found = run([Open(AgentExport, {"id": "a"}), *memory_block("b", bytes(900_000) + b"two"), chunk, entries, Close()])
    blocks = blocks_of(found)
    root = found[-1]

    assert isinstance(root, Root)
    agent = blocks[blocks[root.cid]["data_cid"].cid]
    block = blocks[agent["memory_block_cids"][0].cid]
    first, second = (blocks[link.cid] for link in block["snapshot_chunk_cids"])
    assert ({"id": "a"}, "b", 900_003) == (agent["agent"], block["id"], block["total_snapshot_bytes"])
    assert (bytes(900_000), 0, block["snapshot_chunk_cids"][1]) == (first["data"], first["index"], first["next_cid"])
    assert (b"two", 1, None) == (second["data"], second["index"], second["next_cid"])
    assert [message] == blocks[agent["message_chunk_cids"][0].cid]["messages"]
    assert ["e1", "e2"] == [blocks[link.cid]["id"] for link in agent["archival_entry_cids"]]
    assert [] == agent["archive_summary_cids"]


def test_every_block_is_named_by_its_bytes_and_parents_announce_themselves() -> None:
    """CIDs are digests; a node's Begin comes before everything below it, and its block after."""
    found = run([Open(AgentExport, {"id": "a"}), *memory_block("b", b"x"), Close()])

    assert all(event.cid == cid_of(event.data) for event in found if isinstance(event, Block))
    kinds = [(type(event).__name__, getattr(event, "closes", None)) for event in found]
    assert [
        ("Begin", None), ("Begin", None), ("Block", False), ("Block", False), ("Block", True), ("Block", True),
        ("Root", None),
    ] == kinds  # fmt: skip


def test_an_equal_document_goes_out_once() -> None:
    """Two memory blocks that share an empty document link the same piece, which is one section and counts once."""
    found = run([Open(AgentExport, {"id": "a"}), *memory_block("b1", b"empty"), *memory_block("b2", b"empty"), Close()])
    cids = [event.cid for event in found if isinstance(event, Block)]

    assert len(set(cids)) == len(cids) == 5
    assert isinstance(found[-1], Root)
    assert (3, 2) == (found[-1].stats["total_blocks"], found[-1].stats["memory_block_count"])


def test_a_constellation_refers_to_what_stands_elsewhere() -> None:
    """Agents are linked by id, sorted as map keys; groups hold links; a Ref gives the CID of the block it names."""
    events: list[DraftEvent] = [
        OpenConstellation(owner_id="me"),
        Open(AgentExport, {"id": "b"}, "b"), Close(),
        Open(AgentExport, {"id": "aa"}, "aa"), *memory_block("m1", b"doc", key="m1"), Close(),
        Open(GroupExportThin, {"id": "g"}),
        Records(Member, [{"agent_id": "b"}]),
        Ref(AgentExport, "agent_cids", "b"), Ref(MemoryBlockExport, "shared_memory_cids", "m1"),
        Records(SharedAttachment, [{"block_id": "m1"}]),
        Close(),
        Ref(AgentExport, "standalone_agent_cids", "aa"),
        Close(),
    ]  # fmt: skip
    found = run(events, created_by="test")
    blocks = blocks_of(found)
    assert isinstance(found[-1], Root)
    manifest = blocks[found[-1].cid]
    node = blocks[manifest["data_cid"].cid]
    (group,) = node["group_exports"]

    assert ("test", "Constellation", AT, 3) == (
        manifest["created_by"], manifest["export_type"], manifest["exported_at"], manifest["version"],
    )  # fmt: skip
    assert (AT, "me", 3) == (node["exported_at"], node["owner_id"], node["version"])
    assert ["b", "aa"] == list(node["agent_exports"])
    assert [node["agent_exports"]["b"]] == group["agent_cids"]
    assert blocks[node["agent_exports"]["aa"].cid]["memory_block_cids"] == group["shared_memory_cids"]
    assert [node["agent_exports"]["aa"]] == node["standalone_agent_cids"]
    assert ([{"agent_id": "b"}], [{"block_id": "m1"}]) == (group["members"], group["shared_attachment_exports"])
    assert (2, 1, 1) == tuple(
        found[-1].stats[key] for key in ("agent_count", "group_count", "memory_block_count")
    )  # fmt: skip
    assert manifest["section_count"] == len(blocks)


def test_a_group_holds_its_agents_inline() -> None:
    """An agent of a full group is a record in it, no block of its own."""
    found = run([Open(GroupExport, GROUP), Open(AgentExport, {"id": "a"}), Close(), Close()])
    blocks = blocks_of(found)
    assert isinstance(found[-1], Root)

    node = blocks[blocks[found[-1].cid]["data_cid"].cid]
    assert {"id": "a"} == node["agent_exports"][0]["agent"]
    assert 2 == len(blocks)
    assert (1, 0) == (found[-1].stats["agent_count"], found[-1].stats["total_blocks"])


def test_a_node_with_too_many_links_is_refused_as_soon_as_it_is() -> None:
    """An agent with 24,391 entries does not fit version 3: refused with table, row, size and limit, at that entry."""
    encoder = Encoder(AT, newest_version=3)
    list(encoder.add(Open(AgentExport, {"id": "a"})))
    entries = Records(ArchivalEntry, [{"id": f"e{i}"} for i in range(25_000)])

    with pytest.raises(LimitExceeded, match=r"24391 elements in archival_entry_cids.* limit is 1000000") as caught:
        list(encoder.add(entries))

    assert ("agents", "a") == (caught.value.where.table, caught.value.where.row_id)


def test_a_record_too_large_is_refused_by_name() -> None:
    """A memory block whose preview does not fit a block of version 3: table, row, sizes."""
    large = {"id": "b", "content_preview": "x" * 10**6}
    with pytest.raises(LimitExceeded, match=r"memory block .*1000000") as caught:
        run([Open(AgentExport, {"id": "a"}), OpenMemoryBlock(large), Close()], newest_version=3)

    assert ("memory_blocks", "b") == (caught.value.where.table, caught.value.where.row_id)


@pytest.mark.anyio
async def test_contract() -> None:
    """The stage closes its upstream and hides no error."""
    events: list[DraftEvent] = [Open(AgentExport, {"id": "a"}), Close()]

    def stage(upstream: Any) -> Any:
        return encode(upstream, exported_at=AT)

    await check_early_stop(stage, events)
    await check_errors_pass(stage, events)


def test_links_are_links() -> None:
    """What decodes as a link is one: no byte string that looks like a CID."""
    found = run([Open(AgentExport, {"id": "a"}), *memory_block("b", b"x"), Close()])
    manifest = next(reversed(blocks_of(found).values()))

    assert isinstance(manifest["data_cid"], Link)


def test_a_plan_hears_of_everything_that_does_not_fit() -> None:
    """With a place for refusals, the walk goes on: each thing too large is told once."""
    refusals: list[LimitExceeded] = []
    encoder = Encoder(AT, too_large=refusals.append, newest_version=3)
    large = {"id": "b", "content_preview": "x" * 10**6}
    entries = Records(ArchivalEntry, [{"id": f"e{i}"} for i in range(25_000)])
    events: list[DraftEvent] = [
        Open(AgentExport, {"id": "a"}), OpenMemoryBlock(large), Close(), entries, entries, Close(),
    ]  # fmt: skip

    found = [block for event in events for block in encoder.add(event)]

    assert ["b", "a"] == [refusal.where.row_id for refusal in refusals]
    assert isinstance(found[-1], Root)


def test_what_could_not_be_read_back_is_refused() -> None:
    """A row within a block's size, but of more arrays than the decoder takes, is refused by name and not written."""
    entry = {"id": "e", "metadata": [[]] * 300_000}

    with pytest.raises(LimitExceeded, match="arrays and maps") as caught:
        run([Open(AgentExport, {"id": "a"}), Records(ArchivalEntry, [entry]), Close()], newest_version=3)

    assert ("archival_entries", "e") == (caught.value.where.table, caught.value.where.row_id)
