"""The walk gives one tree, whatever the order of the sections; what is not whole is refused, with its place."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pattern_stream.archive.shelf import Shelf
from pattern_stream.budget import Budget
from pattern_stream.codec.cid import cid_of, cid_text
from pattern_stream.errors import (
    ArchiveError,
    Finding,
    HostileShape,
    MalformedBlock,
    MalformedNode,
    MissingBlock,
    StatsMismatch,
    UnsupportedVersion,
    Where,
)
from pattern_stream.items import Close, Node, Ref, Section, WalkEvent
from pattern_stream.schema.model.nodes import AgentExport, ExportManifest, MemoryBlockExport, SnapshotChunk
from pattern_stream.stages.walk.block_decoder import BlockDecoder
from pattern_stream.stages.walk.pending_links import Links
from pattern_stream.stages.walk.shelf_protocol import WalkLimits
from pattern_stream.stages.walk.walker import Walker, walk
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
    with Shelf(budget=Budget(shelf_memory_bytes=memory_bytes)) as shelf:
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
        assert (lost == 0) == (caught.value.where.field == "roots")
        assert (lost == 1) == (caught.value.where.field == "data_cid")


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


def test_what_damage_brings_with_it_is_not_told() -> None:
    """Once something is missing, of course blocks are left over and counts differ: nobody is told that."""
    archive = agent_archive(created_by="pattern-stream 0.1")
    findings: list[Finding] = []
    damage: list[Finding] = []

    walked(archive, archive.blocks[:2] + archive.blocks[3:], damage=damage.append, report=findings.append)

    assert b"label" in archive.blocks[2][1]
    assert ["missing-block"] == [finding.code for finding in damage]
    assert [] == findings


class Watched(Shelf):
    """A shelf that knows which blocks it was to keep."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[bytes, bool]] = []

    def put(self, section: Section, *, kept: bool = False, data: bool = True) -> None:
        """As ever."""
        self.kept.append((section.data, data))
        super().put(section, kept=kept, data=data)


def test_what_comes_after_the_tree_is_not_kept() -> None:
    """Nothing can want a block any more when the tree is whole, so only its place is noted."""
    archive = agent_archive()
    with Watched() as shelf:
        walker = Walker(archive.root, shelf)
        for section in sections_of([archive.blocks[-1], *archive.blocks, (cid_of(b"late"), b"late")]):
            list(walker.add(section))
        list(walker.finish())

    assert (archive.blocks[-1][1], True) == shelf.kept[0]
    assert (b"late", False) == shelf.kept[-1]


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
    message = "1 blocks are linked from nowhere and were ignored; the first is at the offset"
    assert Finding("warning", "unreferenced-blocks", message, Where(stage="walk", offset=1000)) == findings[0]


@pytest.mark.parametrize("memory_bytes", [1, 10**6])
def test_sections_are_counted(memory_bytes: int) -> None:
    """Distinct blocks, repeated ones and unreferenced ones are told apart, early and late."""
    archive, stranger = agent_archive(), Archive()
    stranger.add(entry_record(77))
    with Shelf(budget=Budget(shelf_memory_bytes=memory_bytes)) as shelf:
        walker = Walker(archive.root, shelf)
        blocks = [*archive.blocks[2:4], *stranger.blocks, *archive.blocks, *archive.blocks[:3], *stranger.blocks]
        for section in sections_of(blocks):
            list(walker.add(section))
        list(walker.finish())

    statistics, count = walker.statistics, len(archive.blocks)
    assert (count + 7, count + 1, 6, 1) == (
        statistics.sections,
        statistics.distinct_blocks,
        statistics.duplicates,
        statistics.unreferenced,
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


def test_a_root_that_is_not_there_is_missing() -> None:
    """The header's link is one like any other, and until it was followed there is no manifest."""
    archive = agent_archive()
    with Shelf() as shelf:
        walker = Walker(archive.root, shelf)
        assert walker.manifest is None
        with pytest.raises(MissingBlock) as caught:
            list(walker.finish())

    assert "block is not in the archive, but header links to it" == caught.value.message
    assert ("walk", cid_text(archive.root), "roots") == (
        caught.value.where.stage,
        caught.value.where.cid,
        caught.value.where.field,
    )


def test_nodes_inside_a_block_have_its_place() -> None:
    """A group inside the constellation, with no block of its own, is told by the block it stands in."""
    archive = constellation_archive()
    with Shelf() as shelf:
        walker = Walker(archive.root, shelf)
        events = [event for section in sections_of(archive.blocks) for event in walker.add(section)]
    nodes = [event for event in events if isinstance(event, Node)]
    places = {cid: 1000 + place for place, (cid, _) in enumerate(archive.blocks)}

    assert [places[node.cid] for node in nodes] == [node.offset for node in nodes]
    assert {"ConstellationExport", "GroupExportThin"} == {
        node.node.__name__ for node in nodes if node.cid == nodes[1].cid
    }


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

    with pytest.raises(HostileShape, match="linked again by agent 'a1'") as caught:
        walked(archive)

    assert Where(stage="walk", cid=cid_text(bytes(chunk)), field="message_chunk_cids") == caught.value.where


def message_chunk_of_one() -> dict[str, Any]:
    """A chunk with one message."""
    record = message_record(1)
    ends = {"start_position": record["position"], "end_position": record["position"]}
    return {"messages": [record], "message_count": 1, **ends}


def test_a_piece_linked_as_something_else_is_refused() -> None:
    """A piece of a document that was just met is no entry: only links that may repeat lead to it again."""
    archive = Archive()
    memory = archive.memory(memory_record(), [b"piece"])
    piece = Link(archive.blocks[-1][0])
    node = agent_archive_node() | {"memory_block_cids": [memory], "archival_entry_cids": [piece]}
    archive.finish("Agent", archive.put_before(0, node))

    with pytest.raises(HostileShape, match="linked again by agent 'a1'") as caught:
        walked(archive)

    assert (cid_text(bytes(piece)), "archival_entry_cids") == (caught.value.where.cid, caught.value.where.field)


def test_too_many_links_to_one_block_are_refused() -> None:
    """A memory block linked over and over is cheap, and refused beyond the limit."""
    archive = Archive()
    block = archive.memory(memory_record())
    link = archive.put_before(0, agent_archive_node() | {"memory_block_cids": [block] * 12})
    archive.finish("Agent", link)

    assert 11 == sum(isinstance(event, Ref) for event in walked(archive, limits=WalkLimits(repeated_links=11)))
    with pytest.raises(HostileShape) as caught:
        walked(archive, limits=WalkLimits(repeated_links=10))

    assert "more than 10 links lead to blocks already met" == caught.value.message
    where = caught.value.where
    assert ("walk", cid_text(bytes(block)), "memory_block_cids") == (where.stage, where.cid, where.field)


def test_of_many_missing_blocks_some_are_looked_up() -> None:
    """Whether a missing block was there before takes reading the log of all, so it is asked twenty times."""
    archive = Archive()
    chunk = archive.add({**message_chunk_of_one(), "chunk_index": 0})
    archive.finish("Agent", archive.put_before(0, agent_archive_node() | {"message_chunk_cids": [chunk] * 25}))
    damage: list[Finding] = []

    walked(archive, damage=damage.append)

    assert ["hostile-shape"] * 20 + ["missing-block"] * 4 == [finding.code for finding in damage]


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


@pytest.mark.parametrize("size", [10, 4096 - 50, 4096, 10_000])
def test_what_repeats_is_counted_exactly(size: int) -> None:
    """All bytes of a piece count each time but the first, against the limit and sixteen times what was read."""
    archive = Archive()
    archive.memory(memory_record(), [b"z" * size])
    piece, data = archive.blocks[-1]
    archive.blocks.pop(0)
    node = memory_record() | {"snapshot_chunk_cids": [Link(piece)] * 5000, "total_snapshot_bytes": 0}
    memory = archive.put_before(0, node)
    archive.finish("Agent", archive.put_before(0, agent_archive_node() | {"memory_block_cids": [memory]}))
    repeated, read = 4999 * len(data), sum(len(data) for _, data in archive.blocks)
    limit = repeated - 16 * read

    assert 5000 + 3 + 3 == len(walked(archive, limits=WalkLimits(repeated_bytes=limit)))
    with pytest.raises(HostileShape) as caught:
        walked(archive, limits=WalkLimits(repeated_bytes=limit - 1))
    assert f"memory documents repeat {repeated} bytes of an archive of {read}" == caught.value.message
    assert "walk" == caught.value.where.stage


@pytest.mark.parametrize(("size", "reads"), [(4096, 4), (4097, 12)])
def test_a_small_piece_is_decoded_once(size: int, reads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Untouched memory blocks share one empty document, which is kept as it was read; a large one is read again."""
    archive = Archive()
    archive.memory(memory_record(), [b"z" * (size - 26)])
    piece, data = archive.blocks[-1]
    node = memory_record() | {"snapshot_chunk_cids": [Link(piece)] * 9, "total_snapshot_bytes": 0}
    archive.blocks.pop(0)
    memory = archive.put_before(0, node)
    archive.finish("Agent", archive.put_before(0, agent_archive_node() | {"memory_block_cids": [memory]}))
    read: list[Section] = []
    reading = BlockDecoder.read

    def watch(recognizer: BlockDecoder, links: Links, section: Section) -> Node:
        read.append(section)
        return reading(recognizer, links, section)

    monkeypatch.setattr(BlockDecoder, "read", watch)
    events = walked(archive)

    assert size == len(data)
    assert 9 == shape_of(events).count(SnapshotChunk)
    assert reads == len(read)


def shape_of(events: list[Any]) -> list[Any]:
    """The types of the nodes."""
    return [event[0] for event in events if isinstance(event, tuple)]


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
    wrong = {"stats": {"total_blocks": 7}}
    walked(agent_archive(**wrong), report=findings.append)

    assert ["stats-mismatch"] == [finding.code for finding in findings]
    with pytest.raises(StatsMismatch, match="total_blocks is 7, found"):
        walked(agent_archive(created_by="pattern-stream 0.1", **wrong))


def test_sections_that_others_added_are_no_loss() -> None:
    """Statistics count what the root leads to: repeated and foreign sections are warnings with counts."""
    archive = agent_archive(created_by="pattern-stream 0.1", section_count=len(agent_archive().blocks))
    whole = walked(archive)
    archive.blocks += archive.blocks[1:4]
    archive.add(entry_record(5))
    findings: list[Finding] = []

    assert whole == walked(archive, report=findings.append)
    assert ["unreferenced-blocks", "repeated-sections"] == [finding.code for finding in findings]
    assert ["1 blocks", "3 sections"] == [" ".join(finding.message.split()[:2]) for finding in findings]


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


def test_a_block_that_is_no_node_at_all_is_told_by_its_link() -> None:
    """Where a block cannot even be decoded, the field is the key of the link that led there."""
    archive = Archive()
    link = archive.agent(entries=[entry_record(1), entry_record(2)])
    bad = b"\xff"
    data = archive.blocks[0][1].replace(archive.blocks[1][0], cid_of(bad))
    archive.blocks[:2] = [(cid_of(data), data), (cid_of(bad), bad)]
    archive.finish("Agent", Link(cid_of(data)))

    with pytest.raises(MalformedBlock) as caught:
        walked(archive)

    assert link is not None
    assert (
        Where(stage="walk", offset=1002, cid=cid_text(cid_of(bad)), field="archival_entry_cids") == caught.value.where
    )


def test_links_to_what_was_met_are_counted() -> None:
    """By the type of what they lead to."""
    archive = constellation_archive()
    with Shelf() as shelf:
        walker = Walker(archive.root, shelf)
        events = [event for section in sections_of(archive.blocks) for event in walker.add(section)]

    refs = Counter(event.node for event in events if isinstance(event, Ref))
    assert {AgentExport: 5, MemoryBlockExport: 4} == refs == walker.statistics.again


def test_wrong_statistics_may_be_damage_to_go_round() -> None:
    """They are no reason to stop where damage is tolerated."""
    archive = agent_archive(created_by="pattern-stream 0.1", stats={"total_bytes": 7})
    damage: list[Finding] = []

    events = walked(archive, damage=damage.append)

    assert walked(agent_archive())[1:] == events[1:]
    assert ["stats-mismatch"] == [finding.code for finding in damage]


async def test_the_stage_tells_what_the_walker_does() -> None:
    """Findings go where the caller says, and what comes at the very end comes out as well."""
    archive, stranger = agent_archive(), Archive()
    stranger.add(entry_record(77))
    findings: list[Finding] = []
    damage: list[Finding] = []
    with Shelf() as shelf:
        sections = feed(sections_of([*archive.blocks, *stranger.blocks]))
        await collect(walk(sections, archive.root, shelf, report=findings.append))
    with Shelf() as shelf:
        walker = Walker(archive.root, shelf, damage=damage.append)
        events = await collect(walk(feed(sections_of(archive.blocks[:-1])), walker, shelf))

    assert ["unreferenced-blocks", "stats-mismatch"] == [finding.code for finding in findings]
    assert ["missing-block"] == [finding.code for finding in damage]
    assert ["ArchivalEntryExport", ")", ")"] == shape(events)[-3:]


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
