"""Collections that outgrow their node go to pages, and come back as if they had not."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from pattern_stream.errors import LimitExceeded
from pattern_stream.format import LINK_BYTES, MAX_BLOCK_BYTES, MAX_PAGE_BYTES, MAX_PAGE_LINKS
from pattern_stream.items import Begin, Block, Cells, Close, Open, OpenGroupConfig, OpenTable, RecordEvent, Records, Ref
from pattern_stream.schema.model.nodes import (
    AgentExport,
    GroupExport,
    GroupExportThin,
)
from pattern_stream.schema.model.records import ArchivalEntry, ArchiveSummary, Member, SharedAttachment
from pattern_stream.schema.model.scopes import Limits
from pattern_stream.stages.chunking import ChunkBuilder
from pattern_stream.stages.encode import open_nodes as frames
from pattern_stream.stages.encode import pages as paging
from pattern_stream.stages.encode.encoder import Encoder
from tests.archives import (
    AT,
    agent_record,
    attachment_record,
    entry_record,
    group_record,
    member_record,
    summary_record,
)
from tests.stages.test_encoding_beyond import agent_events, constellation_events, table_events
from tests.stages.wire import Reading, exported, imported, made, nodes_of, sizes_of, version_of

SCALE = 100


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Caps of a hundredth, so that a collection of hundreds outgrows its node."""
    for module in (paging, frames):
        monkeypatch.setattr(module, "MAX_BLOCK_BYTES", MAX_BLOCK_BYTES // SCALE)
    monkeypatch.setattr(paging, "MAX_PAGE_LINKS", MAX_PAGE_LINKS // SCALE)
    monkeypatch.setattr(paging, "MAX_PAGE_BYTES", MAX_PAGE_BYTES // SCALE)


def records(kind: Any, make: Any, count: int, *, batch: int = 512) -> list[RecordEvent]:
    """Records of a kind in batches, as import has them."""
    found = [make(number) for number in range(count)]
    return [Records(kind, found[at : at + batch]) for at in range(0, count, batch)]


def entries(count: int) -> list[RecordEvent]:
    """Archival entries."""
    return records(ArchivalEntry, entry_record, count)


def links_that_fit() -> int:
    """How many entries an agent's node holds inline."""
    (agent,) = [data for _, data in exported(agent_events(*entries(300))).blocks if b"archival_entry_cids" in data]
    return 300 + (MAX_BLOCK_BYTES - len(agent)) // LINK_BYTES


@pytest.mark.parametrize("excess", [0, 1])
def test_the_border_is_the_block(excess: int) -> None:
    """As many links as fit stay inline, in version 3; one more, and all of them go to pages."""
    expected = agent_events(*entries(links_that_fit() + excess))
    archive = exported(expected)
    reading = Reading(archive)
    (agent,) = [node for node in nodes_of(archive) if "agent" in node]

    assert expected == reading.events
    assert reading.walker.depth_first
    assert {0: list, 1: dict}[excess] is type(agent["archival_entry_cids"])
    assert 3 + excess == nodes_of(archive)[0]["version"]


def test_45_000_links() -> None:
    """Pages of 20,000, 20,000 and the rest, each before what it leads to; read in any order, nothing changes."""
    expected = agent_events(*entries(45_000))
    blocks = made(expected)
    archive = exported(expected)
    reading = Reading(archive)
    pages = [(place, node) for place, node in enumerate(nodes_of(archive)) if "cids" in node]

    assert expected == reading.events
    assert reading.walker.depth_first
    assert [20_000, 20_000, 5_000] == [len(page["cids"]) for _, page in pages]
    assert [2, 2 + 20_001, 2 + 40_002] == [place for place, _ in pages]
    assert [0, 1, 2] == [page["index"] for _, page in pages]
    assert max(sizes_of(blocks)) <= MAX_BLOCK_BYTES
    assert expected == imported(archive, archive.blocks[::-1])


@pytest.mark.usefixtures("small")
def test_full_pages_are_given_away_at_once() -> None:
    """An agent of 1,000 entries never holds more than some 450 links."""
    encoder = Encoder(AT)
    held = []
    for event in [*agent_events(*records(ArchivalEntry, entry_record, 1_000, batch=1))][:-1]:
        list(encoder.add(event))  # type: ignore[arg-type]  # no messages
        held.append(max((found.size for found in encoder.open_nodes[0].collections.values()), default=0))

    assert MAX_BLOCK_BYTES // SCALE - LINK_BYTES < max(held) <= 2 * MAX_PAGE_LINKS * LINK_BYTES // SCALE


@pytest.mark.usefixtures("small")
def test_the_longest_collection_goes_first() -> None:
    """Of three collections that outgrow the node together only the longest goes, where that is enough."""
    ids = [f"a{number}" for number in range(90)]
    agents: list[RecordEvent] = [e for i in ids for e in (Open(AgentExport, agent_record(i), i), Close())]
    groups: list[RecordEvent] = [
        Open(GroupExportThin, group_record()),
        *[Ref(AgentExport, "agent_cids", i) for i in ids],
        Close(),
    ]
    standalone: list[RecordEvent] = [Ref(AgentExport, "standalone_agent_cids", i) for i in ids]
    expected = constellation_events(*agents, *groups, *standalone, version=4)
    archive = exported(expected)
    reading = Reading(archive)
    (node,) = [node for node in nodes_of(archive) if "owner_id" in node]

    assert {"count": 90} == {key: node["agent_exports"][key] for key in ("count",)}
    assert [90, 90] == [len(node["group_exports"][0]["agent_cids"]), len(node["standalone_agent_cids"])]
    assert expected == reading.events
    assert reading.walker.depth_first


@pytest.mark.usefixtures("small")
def test_of_equal_collections_the_first_goes() -> None:
    """Ties fall in key order."""
    both = [*entries(125), *records(ArchiveSummary, summary_record, 125)]
    expected = agent_events(*both)
    (agent,) = [node for node in nodes_of(exported(expected)) if "agent" in node]

    assert (dict, list) == (type(agent["archival_entry_cids"]), type(agent["archive_summary_cids"]))
    assert expected == imported(exported(expected))


@pytest.mark.usefixtures("small")
def test_a_map_of_agents_in_pages_stays_in_order() -> None:
    """250 agents: pages of entries, each sorted as map keys are, agents in the order of their ids."""
    ids = sorted((f"agent-{number}" for number in range(250)), key=lambda i: (len(i), i))
    expected = constellation_events(
        *[e for i in ids for e in (Open(AgentExport, agent_record(i), i), Close())], version=4
    )
    archive = exported(expected)
    reading = Reading(archive)
    pages = [node["entries"] for node in nodes_of(archive) if "entries" in node]

    assert [i for page in pages for i in page] == ids
    assert 2 <= len(pages)
    assert expected == reading.events
    assert reading.walker.depth_first


def test_agents_inside_a_group_go_to_pages() -> None:
    """Inline nodes in pages by bytes; what is inside them comes right behind their page."""
    agents: list[RecordEvent] = []
    for number in range(30):
        record = agent_record(f"a{number}", system_prompt="p" * 80_000)
        agents += [Open(AgentExport, record, f"a{number}"), Records(ArchivalEntry, [entry_record(number)]), Close()]
    expected: list[RecordEvent] = [Open(GroupExport, group_record()), *agents, Close()]
    archive = exported(expected)
    reading = Reading(archive)

    assert [11, 11, 8] == [len(node["agents"]) for node in nodes_of(archive) if "agents" in node]
    assert expected == reading.events
    assert reading.walker.depth_first


@pytest.mark.usefixtures("small")
def test_an_inline_agent_has_pages_of_its_own() -> None:
    """An agent inside a group that alone outgrows a block, beside one that does not."""
    inside = [
        Open(AgentExport, agent_record("a1"), "a1"), *entries(300), Close(),
        Open(AgentExport, agent_record("a2"), "a2"), Records(ArchivalEntry, [entry_record(1, "a2")]), Close(),
    ]  # fmt: skip
    expected: list[RecordEvent] = [Open(GroupExport, group_record()), *inside, Close()]
    archive = exported(expected)
    reading = Reading(archive)

    assert [200, 100] == [len(node["cids"]) for node in nodes_of(archive) if "cids" in node]
    assert expected == reading.events
    assert reading.walker.depth_first


def test_groups_of_a_constellation_go_to_pages() -> None:
    """Groups are inline: pages of them, by bytes."""
    events: list[RecordEvent] = []
    for number in range(30):
        events += [Open(GroupExportThin, group_record(f"g{number}", description="d" * 80_000)), Close()]
    expected = constellation_events(*events, version=4)
    archive = exported(expected)
    reading = Reading(archive)

    assert [11, 11, 8] == [len(node["groups"]) for node in nodes_of(archive) if "groups" in node]
    assert expected == reading.events
    assert reading.walker.depth_first


@pytest.mark.usefixtures("small")
def test_members_and_attachments_go_to_pages() -> None:
    """Records that have no block of their own: all of them come back, in order."""
    members = [member_record(f"a{number}") for number in range(900)]
    attachments = [attachment_record(f"b{number}") for number in range(1_200)]
    expected: list[RecordEvent] = [
        Open(GroupExport, group_record()), Records(Member, members), Records(SharedAttachment, attachments), Close(),
    ]  # fmt: skip
    archive = exported(expected)
    reading = Reading(archive)
    found = reading.events

    assert members == [r for e in found if isinstance(e, Records) and e.record is Member for r in e.records]
    assert attachments == [
        r for e in found if isinstance(e, Records) and e.record is SharedAttachment for r in e.records
    ]
    assert max(len(event.records) for event in found if isinstance(event, Records)) <= 512
    assert {"members", "attachments"} <= {key for node in nodes_of(archive) for key in node if "index" in node}
    assert reading.walker.depth_first


@pytest.mark.usefixtures("small")
def test_the_ids_of_a_thin_group_go_to_pages() -> None:
    """600 ids come back in the Open, also where the group's own record moved out as well."""
    ids = [f"agent-{number:030}" for number in range(600)]
    for record in (group_record(), group_record(description="d" * 1_200_000)):
        expected: list[RecordEvent] = [OpenGroupConfig(record, member_agent_ids=ids), Close()]
        archive = exported(expected)
        reading = Reading(archive)

        assert expected == reading.events
        assert reading.walker.depth_first
        assert 600 == nodes_of(archive)[0]["stats"]["agent_count"]


@pytest.mark.usefixtures("small")
def test_chunks_of_a_table_go_to_pages() -> None:
    """A part's own collections count as its node's: the chunks of a table, its rows checked across pages."""
    rows: list[Any] = [(number,) for number in range(250)]
    expected = constellation_events(*table_events("t", ("id",), rows), version=4)
    archive = exported(expected, Limits(max_chunk_bytes=1))
    reading = Reading(archive)

    assert rows == [row for event in reading.events if isinstance(event, Cells) for row in event.rows]
    assert reading.walker.depth_first
    (opened,) = [event for event in reading.events if isinstance(event, OpenTable)]
    assert 250 == opened.count


@pytest.mark.usefixtures("small")
def test_equal_pages_are_one_section() -> None:
    """Two groups of the same 250 agents have the same pages, which stand in the archive once."""
    ids = sorted((f"a{number}" for number in range(250)), key=lambda i: (len(i), i))
    agents: list[RecordEvent] = [e for i in ids for e in (Open(AgentExport, agent_record(i), i), Close())]
    groups: list[RecordEvent] = []
    for group in ("g1", "g2"):
        refs = [Ref(AgentExport, "agent_cids", i) for i in ids]
        groups += [Open(GroupExportThin, group_record(group)), *refs, Close()]
    expected = constellation_events(*agents, *groups, version=4)
    archive = exported(expected)

    assert 2 == sum("cids" in node for node in nodes_of(archive))
    assert expected == imported(archive)
    assert expected == imported(archive, archive.blocks[::-1])


def test_version_3_refuses_instead() -> None:
    """Where only version 3 is allowed no place is kept, and the node is named at the element that is too many."""
    with pytest.raises(LimitExceeded, match=r"24391 elements in archival_entry_cids.* limit is 1000000") as caught:
        made(agent_events(*entries(25_000)), newest_version=3)
    blocks = made(agent_events(*entries(3)), newest_version=3)

    assert ("agents", "a1") == (caught.value.where.table, caught.value.where.row_id)
    assert not any(isinstance(block, Begin) and block.page for block in blocks)


def test_a_place_is_for_nothing_where_all_fits() -> None:
    """The same blocks with and without places, and the same archive of version 3."""
    events = agent_events(*entries(300))

    assert exported(events).blocks == exported(events, newest_version=3).blocks
    assert 3 == version_of(made(events))


def test_a_prompt_larger_than_the_links_goes_first() -> None:
    """The largest goes, collection or value: 100 links stay where they are beside a prompt of 1.2 MB."""
    expected = [Open(AgentExport, agent_record(system_prompt="p" * 1_200_000), "a1"), *entries(100), Close()]
    (agent,) = [node for node in nodes_of(exported(expected)) if "agent" in node]

    assert 100 == len(agent["archival_entry_cids"])
    assert ["system_prompt"] == list(agent["agent"]["external"])
    assert expected == imported(exported(expected))


def test_pages_close_by_bytes_too() -> None:
    """Elements that are not links fill a page by their bytes."""
    ids = ["i" * 30_000 + str(number) for number in range(100)]
    expected: list[RecordEvent] = [OpenGroupConfig(group_record(), member_agent_ids=ids), Close()]
    archive = exported(expected)

    sizes = [len(data) for (_, data), node in zip(archive.blocks, nodes_of(archive), strict=True) if "ids" in node]
    assert [29, 29, 29, 13] == [len(node["ids"]) for node in nodes_of(archive) if "ids" in node]
    assert max(sizes) <= MAX_PAGE_BYTES + 64
    assert expected == imported(archive)


@pytest.mark.usefixtures("small")
def test_any_number_of_entries_in_constant_memory() -> None:
    """The line holds no more for 10,000 entries, in 50 pages, than for 1,000: pages go, links go, batches go."""
    assert _peak(1_000) + 20_000 > _peak(10_000)


def _peak(count: int) -> int:
    """The most bytes that Python objects of the line took while an agent of so many entries passed."""

    def events() -> Iterator[RecordEvent]:
        yield Open(AgentExport, agent_record(), "a1")
        for number in range(0, count, 500):
            yield Records(ArchivalEntry, [entry_record(n) for n in range(number, number + 500)])
        yield Close()

    chunks, encoder = ChunkBuilder(), Encoder(AT)
    tracemalloc.start()
    try:
        for event in events():
            for draft in chunks.add(event):
                for _ in encoder.add(draft):
                    pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_blocks_of_pages_name_their_place() -> None:
    """A page's number is that of a Begin that was kept for pages, counted among all."""
    blocks = made(agent_events(*entries(45_000)))
    begins = [block.page for block in blocks if isinstance(block, Begin)]
    places = [block.place for block in blocks if isinstance(block, Block) and block.place is not None]

    assert [2, 3, 4] == places
    assert [False, False, True, True, True] == begins
