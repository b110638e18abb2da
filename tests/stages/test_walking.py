"""The walk gives one tree, whatever the order of the sections; what is not whole is refused, with its place."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.archive.shelf import Shelf
from pattern_stream.codec.cid import cid_text
from pattern_stream.errors import (
    ArchiveError,
    Finding,
    HostileShape,
    MalformedNode,
    MissingBlock,
    StatsMismatch,
    UnsupportedVersion,
)
from pattern_stream.items import Close, Node, Ref, Section, WalkEvent
from pattern_stream.schema.nodes import AgentExport, ExportManifest, MemoryBlockExport, SnapshotChunk
from pattern_stream.stages.waiting import WalkLimits
from pattern_stream.stages.walking import Walker, walk
from tests.acceptance.car import Link
from tests.archives import (
    ARCHIVES,
    Archive,
    Blocks,
    agent_archive,
    agent_record,
    attachment_record,
    constellation_archive,
    entry_record,
    memory_record,
    message_record,
)
from tests.drive import collect, feed

pytestmark = pytest.mark.anyio


def sections_of(blocks: Iterable[tuple[bytes, bytes]]) -> list[Section]:
    """Blocks as sections; their offsets only have to differ."""
    return [Section(1000 + place, cid, data) for place, (cid, data) in enumerate(blocks)]


def walked(archive: Archive, blocks: Blocks | None = None, *, memory_bytes: int = 10**6, **options: Any) -> list[Any]:
    """The events of a walk, without offsets, which depend on the order of the sections."""
    with Shelf(memory_bytes=memory_bytes) as shelf:
        walker = Walker(archive.root, shelf, **options)
        events: list[WalkEvent] = []
        for section in sections_of(archive.blocks if blocks is None else blocks):
            events += walker.add(section)
        return [without_offset(event) for event in (*events, *walker.finish())]


def without_offset(event: WalkEvent) -> Any:
    return (event.node, event.value, event.cid, event.size_bytes) if isinstance(event, Node) else event


def shape(events: Iterable[WalkEvent]) -> list[str]:
    """Events in a word each."""
    return [
        ")" if isinstance(e, Close) else f"@{e.field}:{e.key}" if isinstance(e, Ref) else e.node.__name__
        for e in events
    ]


async def test_the_tree_comes_depth_first() -> None:
    """Nodes, links to what was met and ends come in the order of the bytes."""
    archive = constellation_archive()

    with Shelf() as shelf:
        events = await collect(walk(feed(sections_of(archive.blocks)), archive.root, shelf))

    memory = ["MemoryBlockExport", "SnapshotChunk", ")"]
    first = ["AgentExport", *memory, "MemoryBlockExport", "SnapshotChunk", "SnapshotChunk", ")", "MessageChunk"]
    agents = [*first, *["ArchivalEntryExport"] * 3, ")", "AgentExport", *memory, ")"]
    agents += ["AgentExport", "ArchiveSummaryExport", ")"]
    links = ["@agent_cids:a1", "@agent_cids:a2"]
    groups = ["GroupExportThin", *links, *memory, "@shared_memory_cids:b1", ")"]
    groups += ["GroupExportThin", *links, "@shared_memory_cids:b8", "@shared_memory_cids:b1", ")"]
    rest = ["@all_memory_block_cids:b8", "MemoryBlockExport", ")", "@standalone_agent_cids:a3", ")", ")"]
    assert ["ExportManifest", "ConstellationExport", *agents, *groups, *rest] == shape(events)


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("memory_bytes", [1, 10**6])
def test_any_order_gives_the_same_events(name: str, memory_bytes: int) -> None:
    """Reversed, shuffled, duplicated and interleaved sections give the same events, from memory and from disk."""
    archive = ARCHIVES[name]()
    expected = walked(archive)
    chance = random.Random(7)

    for blocks in (
        archive.blocks[::-1],
        archive.blocks * 2,
        archive.blocks[::-1] + archive.blocks,
        [block for pair in zip(archive.blocks, archive.blocks[::-1], strict=True) for block in pair],
        *(chance.sample(archive.blocks * 2, 2 * len(archive.blocks)) for _ in range(5)),
    ):
        findings: list[Finding] = []

        assert expected == walked(archive, blocks, memory_bytes=memory_bytes, report=findings.append)
        assert {"stats-mismatch"} >= {finding.code for finding in findings}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_permutation_gives_the_same_events(data: st.DataObject) -> None:
    """So does whatever order hypothesis thinks of, with some sections repeated."""
    archive = constellation_archive()
    repeated = data.draw(st.lists(st.sampled_from(archive.blocks), max_size=8))
    blocks = data.draw(st.permutations(archive.blocks + repeated))

    assert walked(archive) == walked(archive, blocks, memory_bytes=data.draw(st.sampled_from([1, 2000, 10**6])))


@pytest.mark.parametrize("name", ARCHIVES)
def test_every_missing_block_is_refused(name: str) -> None:
    """Whichever section is lost, the walk ends in MissingBlock naming its CID and who links to it."""
    archive = ARCHIVES[name]()

    for lost, (cid, _) in enumerate(archive.blocks):
        with pytest.raises(MissingBlock, match=r"is not in the archive, but .* links to it") as caught:
            walked(archive, archive.blocks[:lost] + archive.blocks[lost + 1 :])

        assert cid_text(cid) == caught.value.where.cid
        assert caught.value.where.field is not None


def test_all_missing_blocks_are_listed() -> None:
    """With damage tolerated every missing block is a finding, and the rest of the tree comes."""
    archive = agent_archive()
    lost = {cid for cid, data in archive.blocks if b"note" in data or b"second piece" in data}
    kept = [block for block in archive.blocks if block[0] not in lost]
    damage: list[Finding] = []

    events = walked(archive, kept, damage=damage.append)

    assert {cid_text(cid) for cid in lost} == {finding.where.cid for finding in damage}
    assert {"missing-block"} == {finding.code for finding in damage}
    assert len(walked(archive)) - len(lost) == len(events)


def test_the_place_of_a_missing_block_names_its_parent() -> None:
    """The message says which agent the entry belongs to."""
    archive = agent_archive()
    kept = [block for block in archive.blocks if b"note 1" not in block[1]]

    with pytest.raises(MissingBlock, match="agent 'a1' links to it") as caught:
        walked(archive, kept)

    assert "archival_entry_cids" == caught.value.where.field


def test_unreferenced_blocks_are_counted_and_ignored() -> None:
    """A block that nothing links to is one warning, told from repeated ones."""
    archive = agent_archive()
    stranger = Archive()
    stranger.add(entry_record(77))
    findings: list[Finding] = []

    events = walked(archive, stranger.blocks + archive.blocks + archive.blocks[3:5], report=findings.append)

    assert walked(archive) == events
    assert "1 blocks are linked from nowhere" in findings[0].message
    assert findings[0].where.offset == 1000


@pytest.mark.parametrize("memory_bytes", [1, 10**6])
def test_sections_are_counted(memory_bytes: int) -> None:
    """Distinct blocks, repeated ones and unreferenced ones are told apart, early and late."""
    archive, stranger = agent_archive(), Archive()
    stranger.add(entry_record(77))
    with Shelf(memory_bytes=memory_bytes) as shelf:
        walker = Walker(archive.root, shelf)
        blocks = [*archive.blocks[2:4], *stranger.blocks, *archive.blocks, *archive.blocks[:3], *stranger.blocks]
        for section in sections_of(blocks):
            list(walker.add(section))
        list(walker.finish())

    tally, count = walker.tally, len(archive.blocks)
    assert (count + 7, count + 1, 6, 1) == (
        tally.sections,
        tally.distinct_blocks,
        tally.duplicates,
        tally.unreferenced,
    )


@pytest.mark.parametrize(("reorder", "expected"), [(False, True), (True, False)])
def test_depth_first_order_is_known(reorder: bool, expected: bool) -> None:
    """An archive is depth first where no block came before it was wanted; repeated sections change nothing."""
    archive = constellation_archive()
    blocks = archive.blocks[:1] + archive.blocks[:0:-1] if reorder else archive.blocks + archive.blocks[4:]
    with Shelf() as shelf:
        walker = Walker(archive.root, shelf)
        for section in sections_of(blocks):
            list(walker.add(section))
        list(walker.finish())

        assert expected is walker.depth_first


# --- the root ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ({"version": 2, "data_cid": 1, "stats": {}}, "archive is version 2, expected version 3"),
        ({"version": 1, "data_cid": 1}, "archive is version 1, expected version 3"),
        ({"version": 5, "data_cid": 1}, "version 5, newer than supported: expected version 3 or 4"),
        ({"base_instructions": ""}, "version 1 .*agent without a manifest"),
        ({"group": {}, "member_agent_cids": []}, "version 1 .*group without a manifest"),
        ({"constellation": {}, "agent_export_cids": []}, "version 1 .*constellation without a manifest"),
    ],
)
def test_other_versions_are_named(root: dict[str, Any], message: str) -> None:
    """Archives of other versions are refused with exit 5 before anything else is looked at."""
    archive = Archive()
    archive.root = bytes(archive.add(root))

    with pytest.raises(UnsupportedVersion, match=message) as caught:
        walked(archive)

    assert 5 == caught.value.exit_code
    assert cid_text(archive.root) == caught.value.where.cid


@pytest.mark.parametrize("root", [{}, {"hello": 1}, {"version": "3", "data_cid": 1}])
def test_a_root_of_something_else_is_refused(root: dict[str, Any]) -> None:
    """A root that is no manifest of any version is a malformed node."""
    archive = Archive()
    archive.root = bytes(archive.add(root))

    with pytest.raises(MalformedNode):
        walked(archive)


def test_unknown_keys_of_the_top_are_named() -> None:
    """Unknown keys of manifest and data node are warnings; this program's own keys of the manifest are not."""
    findings: list[Finding] = []
    archive = Archive()
    node = archive.agent()
    archive.blocks.clear()
    link = archive.add(agent_archive_node() | {"tables": {}})
    archive.finish("Agent", link, created_by="someone", later=1, stats={"agent_count": 1})

    walked(archive, report=findings.append)

    assert node is not None
    assert ["later", "tables"] == [finding.where.field for finding in findings]
    assert {"unknown-key"} == {finding.code for finding in findings}


def agent_archive_node() -> dict[str, Any]:
    """An agent with nothing."""
    lists = ("memory_block_cids", "message_chunk_cids", "archival_entry_cids", "archive_summary_cids")
    return {"agent": agent_record(), **{name: [] for name in lists}}


# --- hostile shapes ----------------------------------------------------------------------------------------------


def test_a_chunk_linked_twice_is_refused() -> None:
    """Only memory blocks, agents and pieces of documents may be shared: the message says so."""
    archive = Archive()
    chunk = archive.add({**message_chunk_of_one(), "chunk_index": 0})
    link = archive.put_before(0, agent_archive_node() | {"message_chunk_cids": [chunk, chunk]})
    archive.finish("Agent", link)

    with pytest.raises(HostileShape, match="linked again by agent 'a1'"):
        walked(archive)


def message_chunk_of_one() -> dict[str, Any]:
    """A chunk with one message."""
    record = message_record(1)
    ends = {"start_position": record["position"], "end_position": record["position"]}
    return {"messages": [record], "message_count": 1, **ends}


def test_too_many_links_to_one_block_are_refused() -> None:
    """A memory block linked over and over is cheap, and refused beyond the limit."""
    archive = Archive()
    block = archive.memory(memory_record())
    link = archive.put_before(0, agent_archive_node() | {"memory_block_cids": [block] * 12})
    archive.finish("Agent", link)

    assert 11 == sum(isinstance(event, Ref) for event in walked(archive))
    with pytest.raises(HostileShape, match="more than 10 links"):
        walked(archive, limits=WalkLimits(repeated_links=10))


def test_a_document_that_repeats_itself_is_refused() -> None:
    """One small archive cannot stand for gigabytes of documents."""
    archive = Archive()
    block = archive.memory(memory_record(), [b"z" * 10_000])
    piece = archive.blocks[-1][0]
    archive.blocks.pop(0)
    node = memory_record() | {"snapshot_chunk_cids": [Link(piece)] * 500, "total_snapshot_bytes": 0}
    memory = archive.put_before(0, node)
    link = archive.put_before(0, agent_archive_node() | {"memory_block_cids": [memory]})
    archive.finish("Agent", link)

    assert block != memory
    with pytest.raises(HostileShape, match="memory documents repeat"):
        walked(archive, limits=WalkLimits(repeated_bytes=1_000_000))


# --- statistics --------------------------------------------------------------------------------------------------


def test_exact_statistics_pass() -> None:
    """An archive that counts right gives no finding."""
    for make in ARCHIVES.values():
        findings: list[Finding] = []

        walked(make(created_by="pattern-stream 0.1", section_count=len(make().blocks)), report=findings.append)

        assert [] == findings


def test_wrong_statistics_are_an_error_in_our_archives_only() -> None:
    """The original counts some blocks twice, so its archives only get a warning; ours must agree."""
    findings: list[Finding] = []
    theirs, ours = agent_archive(), agent_archive(created_by="pattern-stream 0.1")

    for archive in (theirs, ours):
        archive.add(entry_record(5))
    walked(theirs, report=findings.append)

    assert ["unreferenced-blocks", "stats-mismatch"] == [finding.code for finding in findings]
    assert "total_blocks is 10, found 11" in findings[1].message
    with pytest.raises(StatsMismatch, match="total_blocks is 10, found 11"):
        walked(ours)


def test_damaged_nodes_name_their_place() -> None:
    """A block of the wrong shape is refused with field, CID and offset; tolerated, the walk goes round it."""
    archive = Archive()
    link = archive.agent(entries=[entry_record(1, chunk_index="one"), entry_record(2)])
    archive.finish("Agent", link)
    damage: list[Finding] = []

    with pytest.raises(MalformedNode, match="found text 'one', expected an integer") as caught:
        walked(archive)
    events = walked(archive, damage=damage.append)

    assert ("chunk_index", 1002) == (caught.value.where.field, caught.value.where.offset)
    assert cid_text(archive.blocks[2][0]) == caught.value.where.cid
    assert ["malformed-node"] == [finding.code for finding in damage]
    assert 5 == len(events)


async def test_stopping_early_closes_the_upstream() -> None:
    """Who stops in the middle leaves nothing open."""
    archive = constellation_archive()
    upstream = feed(sections_of(archive.blocks))
    with Shelf() as shelf:
        events = walk(upstream, archive.root, shelf)
        await anext(events)
        await events.aclose()

    assert await anext(upstream, None) is None


def test_attachments_and_members_stay_with_their_node() -> None:
    """Records inside a node are part of its value, checked."""
    values = [event[1] for event in walked(constellation_archive()) if isinstance(event, tuple)]

    assert [attachment_record("b8", "a2"), attachment_record("b1", "a2")] == values[1]["shared_attachments"]


def test_node_types_are_those_of_the_links() -> None:
    """What a block is follows from who links to it."""
    types = [event[0] for event in walked(agent_archive()) if isinstance(event, tuple)]

    assert [ExportManifest, AgentExport, MemoryBlockExport, SnapshotChunk, SnapshotChunk] == types[:5]


def test_errors_are_archive_errors() -> None:
    """Whatever is cut out of any block, only errors of ours come."""
    archive = constellation_archive()

    for place, (cid, data) in enumerate(archive.blocks):
        broken = [*archive.blocks]
        broken[place] = (cid, data[: len(data) // 2])
        with pytest.raises(ArchiveError):
            walked(archive, broken)
