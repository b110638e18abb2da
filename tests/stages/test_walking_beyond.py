"""What only newer archives have, read with suspicion: counts, indexes, widths, lengths and names keep their word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pattern_stream.archive.shelf import Shelf
from pattern_stream.codec.cid import cid_text
from pattern_stream.errors import (
    ArchiveError,
    Finding,
    HostileShape,
    MalformedNode,
    MissingBlock,
    UnknownLink,
    Where,
)
from pattern_stream.items import (
    Cells,
    MemoryHistory,
    Node,
    Open,
    OpenMemoryBlock,
    OpenTable,
    RecordEvent,
    Records,
    Section,
)
from pattern_stream.schema.model.nodes import CELL_COLUMNS, GroupExportThin
from pattern_stream.schema.model.records import ArchivalEntry, Message
from pattern_stream.stages.walk.shelf_protocol import WalkLimits
from pattern_stream.stages.walk.walker import Walker
from tests.acceptance.car import Link
from tests.archives import (
    AT,
    NEVER_WRITTEN,
    Archive,
    agent_record,
    attachment_record,
    entry_record,
    group_record,
    member_record,
    memory_record,
    message_chunk,
    message_record,
)
from tests.stages.wire import imported

PIECE = 900_000


def agent_node(archive: Archive, **changes: Any) -> dict[str, Any]:
    """An agent with nothing, but for the changes."""
    names = ("memory_block_cids", "message_chunk_cids", "archival_entry_cids", "archive_summary_cids")
    return {"agent": agent_record(), **{name: [] for name in names}} | changes


def constellation_node(**changes: Any) -> dict[str, Any]:
    """A constellation with nothing, but for the changes."""
    return {
        "version": 4,
        "owner_id": "me",
        "exported_at": AT,
        "agent_exports": {},
        "group_exports": [],
        "shared_attachments": [],
        "all_memory_block_cids": [],
        "standalone_agent_cids": [],
    } | changes


def finished(archive: Archive, node: dict[str, Any], version: int = 4, **manifest: Any) -> Archive:
    """The archive of a data node."""
    kind = "Constellation" if "owner_id" in node else "Agent" if "agent" in node else "Group"
    return archive.finish(kind, archive.put_before(0, node), version=version, **manifest)


def pages_of(archive: Archive, *contents: list[Any], key: str = "cids", first: int = 0) -> list[Link]:
    """Pages with these elements."""
    return [archive.add({key: content, "index": index}) for index, content in enumerate(contents, first)]


def entries_of(archive: Archive, count: int) -> list[Link]:
    """Blocks of entries."""
    return [archive.add(entry_record(number)) for number in range(count)]


def refusal(build: Callable[[Archive], dict[str, Any]], *, version: int = 4) -> MalformedNode:
    """Why an archive with this data node is refused."""
    archive = Archive()
    node = build(archive)
    with pytest.raises(MalformedNode) as caught:
        imported(finished(archive, node, version))
    return caught.value


# --- pages -----------------------------------------------------------------------------------------------------------


def paged(archive: Archive, count: int, *sizes: int, first: int = 0) -> dict[str, Any]:
    """An agent whose entries are in pages of these sizes, said to be `count`."""
    links = iter(entries_of(archive, sum(sizes)))
    pages = pages_of(archive, *[[next(links) for _ in range(size)] for size in sizes], first=first)
    return agent_node(archive, archival_entry_cids={"count": count, "pages": pages})


def test_pages_made_by_another_hand() -> None:
    """Pages of any size are read as one collection, inline as well: nothing depends on where ours would cut."""
    archive = Archive()
    found = imported(finished(archive, paged(archive, 5, 2, 0, 3)))

    assert [Records(ArchivalEntry, [entry_record(number) for number in range(5)])] == [
        event for event in found if isinstance(event, Records)
    ]


@pytest.mark.parametrize(
    ("build", "message", "field"),
    [
        (lambda a: paged(a, 4, 2, 3), "pages hold 5 or more, expected 4", "count"),
        (lambda a: paged(a, 6, 2, 3), "pages hold 5, expected 6", "count"),
        (lambda a: paged(a, 5, 2, 3, first=1), "found index 1, expected 0", "index"),
        (lambda a: agent_node(a, archival_entry_cids={"pages": []}), "without count", "archival_entry_cids"),
        (lambda a: agent_node(a, archival_entry_cids={"count": 0}), "without pages", "archival_entry_cids"),
        (lambda a: agent_node(a, archival_entry_cids={"count": -1, "pages": []}), "from 0 to", "archival_entry_cids"),
        (
            lambda a: agent_node(
                a,
                archival_entry_cids={"count": 1, "pages": pages_of(a, {"count": 0, "pages": []})},  # type: ignore[arg-type]
            ),
            "found a map, expected an array",
            "cids",
        ),
    ],
)
def test_pages_keep_their_word(build: Callable[[Archive], dict[str, Any]], message: str, field: str) -> None:
    """Counts, indexes and the shape of a page are compared; a page of pages is refused."""
    error = refusal(build)

    assert message in error.message
    assert field == error.where.field
    assert error.where.cid is not None


def test_what_is_incomplete_is_told_by_the_node_that_links_it() -> None:
    """Pages that lack elements, and values that lack pieces: by block and offset of what promised them."""
    for build, place, field in (
        (lambda a: paged(a, 5, 2, 2), 1, "count"),
        (lambda a: outside(a, PIECE + 5, PIECE), 3, "external.content"),
    ):
        archive = Archive()
        finished(archive, build(archive))
        damage: list[Finding] = []
        with pytest.raises(MalformedNode) as caught:
            imported(archive)
        imported(archive, damage=damage.append)

        cid = cid_text(archive.blocks[place][0])
        assert Where(stage="walk", offset=1000 + place, cid=cid, field=field) == caught.value.where
        assert [caught.value.where] == [finding.where for finding in damage]


def test_what_was_told_of_a_page_is_not_told_again() -> None:
    """A damaged page is one finding: that its elements are missing follows."""
    archive = Archive()
    node = paged(archive, 4, 2, 2)
    pages = node["archival_entry_cids"]["pages"]
    pages[1] = archive.add({"cids": "none", "index": 1})
    finished(archive, node)
    damage: list[Finding] = []

    events = imported(archive, damage=damage.append)

    assert ["malformed-node"] == [finding.code for finding in damage]
    assert 2 == sum(len(event.records) for event in events if isinstance(event, Records))


def test_version_3_has_no_pages() -> None:
    """The same archive that says version 3 is refused: a map where an array belongs."""
    error = refusal(lambda a: paged(a, 5, 2, 3), version=3)

    assert "found a map, expected an array" in error.message
    assert "archival_entry_cids" == error.where.field


def test_pages_of_records_and_ids_are_checked() -> None:
    """Records in pages are held to their declaration, ids to be text."""

    def group(**changes: Any) -> dict[str, Any]:
        node = {"group": group_record(), "members": [], "agent_exports": [], "shared_memory_cids": []}
        return node | {"shared_attachment_exports": []} | changes

    wrong_member = refusal(
        lambda a: group(members={"count": 1, "pages": pages_of(a, [member_record() | {"agent_id": 3}], key="members")})
    )
    wrong_attachment = refusal(
        lambda a: group(
            shared_attachment_exports={"count": 2, "pages": pages_of(a, [attachment_record()], key="attachments")}
        )
    )
    wrong_id = refusal(
        lambda a: {
            "group": group_record(),
            "member_agent_ids": {"count": 1, "pages": pages_of(a, [7], key="ids")},
        }
    )

    assert ("members[0].agent_id", "count", "ids") == (
        wrong_member.where.field, wrong_attachment.where.field, wrong_id.where.field,
    )  # fmt: skip


def test_a_lost_page_is_a_missing_block() -> None:
    """The page is named, and who links it; going round damage, nothing is said of the count as well."""
    archive = Archive()
    finished(archive, paged(archive, 5, 2, 3))
    page = next(cid for cid, data in archive.blocks if b"cids" in data and b"agent" not in data)
    kept = [block for block in archive.blocks if block[0] != page]
    damage: list[Finding] = []

    with pytest.raises(MissingBlock, match="agent 'a1' links to it") as caught:
        imported(archive, kept)
    imported(archive, kept, damage=damage.append)

    assert (cid_text(page), "archival_entry_cids") == (caught.value.where.cid, caught.value.where.field)
    assert ["missing-block"] == [finding.code for finding in damage]


def test_agents_named_like_the_keys_of_pages() -> None:
    """A map of two agents whose ids are `count` and `pages` is a map of agents."""
    archive = Archive()
    agents = {name: archive.add(agent_node(archive, agent=agent_record(name))) for name in ("count", "pages")}
    found = imported(finished(archive, constellation_node(agent_exports=agents)))

    assert ["count", "pages"] == [event.key for event in found if isinstance(event, Open) and event.key]


def test_nodes_in_a_page_have_its_place() -> None:
    """Groups that stand in a page are told by the block of the page, and what a page links to by the node it is of."""
    archive = Archive()
    group = {
        "group": group_record("g1"), "members": [], "shared_memory_cids": [],
        "shared_attachment_exports": [], "agent_cids": [],
    }  # fmt: skip
    page = archive.add({"groups": [group], "index": 0})
    finished(archive, constellation_node(group_exports={"count": 1, "pages": [page]}))
    sections = [Section(1000 + place, *block) for place, block in enumerate(archive.blocks)]
    with Shelf() as shelf:
        walker = Walker(archive.root, shelf)
        events = [event for section in sections for event in walker.add(section)]

    (node,) = [event for event in events if isinstance(event, Node) and event.node is GroupExportThin]
    assert (bytes(page), 1002) == (node.cid, node.offset)


def test_a_block_missing_from_a_page_is_named_by_its_node() -> None:
    """Who reads the message knows the agent, and nothing of pages."""
    archive = Archive()
    finished(archive, paged(archive, 2, 2))

    with pytest.raises(MissingBlock, match="block is not in the archive, but agent 'a1' links to it"):
        imported(archive, [block for block in archive.blocks if b"note 1" not in block[1]])


def test_pages_do_not_multiply_links() -> None:
    """A page met again and again leads to what was met before, up to a limit that only pages of their own raise."""
    archive = Archive()
    agent = archive.add(agent_node(archive))
    pages = pages_of(archive, [agent] * 30, [agent] * 20)
    groups = [
        {
            "group": group_record(f"g{number}"), "members": [], "shared_memory_cids": [],
            "shared_attachment_exports": [], "agent_cids": {"count": 50, "pages": pages},
        }
        for number in range(5)
    ]  # fmt: skip
    finished(archive, constellation_node(agent_exports={"a1": agent}, group_exports=groups))

    limits = WalkLimits(repeated_links=200)  # and the 50 of the pages, once

    for blocks in (archive.blocks, archive.blocks[::-1]):
        events = imported(archive, blocks, limits=limits)
        assert 250 == sum(type(event).__name__ == "Ref" for event in events)
    with pytest.raises(HostileShape, match="more than 199 links"):
        imported(archive, limits=WalkLimits(repeated_links=199))


# --- values outside their record -------------------------------------------------------------------------------------


def pieces_of(archive: Archive, *sizes: int, first: int = 0) -> list[Link]:
    """Value chunks of these sizes."""
    return [archive.add({"data": b"x" * size, "index": index}) for index, size in enumerate(sizes, first)]


def outside(archive: Archive, size: int, *sizes: int, field: str = "content", first: int = 0, **changes: Any) -> Any:
    """An agent with an entry that has `content` outside: said to be `size` bytes, in pieces of these sizes."""
    external = {field: {"bytes": size, "chunks": pieces_of(archive, *sizes, first=first)}}
    entry = entry_record(1) | {field: None, "external": external} | changes
    return agent_node(archive, archival_entry_cids=[archive.add(entry)])


def test_a_value_outside_its_record() -> None:
    """Two pieces joined are the text."""
    archive = Archive()
    found = imported(finished(archive, outside(archive, PIECE + 5, PIECE, 5)))

    assert [Records(ArchivalEntry, [entry_record(1, content="x" * (PIECE + 5))])] == [
        event for event in found if isinstance(event, Records)
    ]


@pytest.mark.parametrize(
    ("build", "message", "field"),
    [
        (
            lambda a: outside(a, PIECE + 5, PIECE),
            "found 1 pieces of a value of 900005 bytes, expected 2",
            "external.content",
        ),
        (lambda a: outside(a, 5, 5, 5), "found 2 pieces of a value of 5 bytes, expected 1", "external.content"),
        (
            lambda a: outside(a, 2**60, PIECE),
            "found 1 pieces of a value of 1152921504606846976 bytes",
            "external.content",
        ),
        (lambda a: outside(a, 0), "found 0, expected an integer from 1", "external.content"),
        (lambda a: outside(a, 6, 5), "piece is 5 bytes, expected 6", "data"),
        (lambda a: outside(a, PIECE + 5, PIECE - 1, 6), "piece is 899999 bytes, expected 900000", "data"),
        (lambda a: outside(a, 5, 5, first=1), "found index 1, expected 0", "index"),
        (lambda a: outside(a, 5, 5, content="here"), "found text 'here' beside what was moved out", "external.content"),
        (
            lambda a: outside(a, 5, 5, field="agent_id"),
            "found 'agent_id' moved out, expected one of content, metadata",
            "external.agent_id",
        ),
        (lambda a: outside(a, 5, 5, external=[]), "found an array, expected a map", "external"),
        (lambda a: outside(a, 5, 5, external={"content": {"bytes": 1}}), "found no chunks", "external.content"),
        (
            lambda a: outside(a, 5, 5, external={"content": {"bytes": "1", "chunks": []}}),
            "expected an integer",
            "external.content",
        ),
    ],
)
def test_values_keep_their_word(build: Callable[[Archive], dict[str, Any]], message: str, field: str) -> None:
    """Lengths, numbers of pieces and what may be moved at all are compared, before anything is made of them."""
    error = refusal(build)

    assert message in error.message
    assert field == error.where.field


def test_version_3_has_no_values_outside() -> None:
    """There `external` is an unknown key, so a null where text belongs is what is wrong."""
    error = refusal(lambda a: outside(a, 5, 5), version=3)

    assert "content" == error.where.field


def test_a_text_must_be_utf_8() -> None:
    """Pieces that are no UTF-8 are refused, few bytes as many; in a table they are text that is none."""
    for data in (b"\xff" * 5, b"\xc3" * 4_500_001):
        archive = Archive()
        cuts = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
        chunks = [archive.add({"data": cut, "index": index}) for index, cut in enumerate(cuts)]
        entry = entry_record(1, content=None) | {"external": {"content": {"bytes": len(data), "chunks": chunks}}}
        node = agent_node(archive, archival_entry_cids=[archive.add(entry)])

        with pytest.raises(MalformedNode, match="no UTF-8") as caught:
            imported(finished(archive, node))

        assert ("archival_entries", "a1-e1", "content") == (
            caught.value.where.table, caught.value.where.row_id, caught.value.where.field,
        )  # fmt: skip


def test_a_message_with_values_outside_is_alone() -> None:
    """Beside others its pieces would come too late for them."""

    def build(archive: Archive) -> dict[str, Any]:
        external = {"content_json": {"bytes": 2, "chunks": pieces_of(archive, 2)}}
        messages = [message_record(2), message_record(1, content_json=None) | {"external": external}]
        return agent_node(archive, message_chunk_cids=[archive.add(message_chunk(0, messages))])

    assert "found 2 records in a chunk that has values outside it, expected one" in refusal(build).message


def test_a_lost_piece_is_a_missing_block_and_its_record_stays_out() -> None:
    """Going round damage, the record is left out, and only the missing piece is told."""
    archive = Archive()
    finished(archive, outside(archive, PIECE + 5, PIECE, 5))
    kept = [(cid, data) for cid, data in archive.blocks if b"xxxxx" not in data or len(data) > 100]
    damage: list[Finding] = []

    with pytest.raises(MissingBlock, match="archival entry 'a1-e1' links to it"):
        imported(archive, kept)
    events = imported(archive, kept, damage=damage.append)

    assert ["missing-block"] == [finding.code for finding in damage]
    assert ["Open", "Close"] == [type(event).__name__ for event in events]


def test_values_that_repeat_are_refused() -> None:
    """A piece that several values share is counted each time but the first."""
    archive = Archive()
    piece = pieces_of(archive, PIECE)[0]
    external = {"content": {"bytes": PIECE, "chunks": [piece]}}
    entries = [archive.add(entry_record(number, content=None) | {"external": external}) for number in range(3)]
    finished(archive, agent_node(archive, archival_entry_cids=entries))
    data = sum(len(data) for _, data in archive.blocks)
    size = len(dict(archive.blocks)[bytes(piece)])

    assert 3 == sum(len(event.records) for event in imported(archive) if isinstance(event, Records))
    with pytest.raises(HostileShape, match=f"values repeat {2 * size} bytes of an archive of {data}"):
        imported(archive, limits=WalkLimits(repeated_bytes=2 * size - 16 * data - 1))


def test_pages_that_repeat_are_refused() -> None:
    """So is a page that several collections link to."""
    archive = Archive()
    agent = archive.add(agent_node(archive))
    page = pages_of(archive, [agent] * 50)[0]
    groups = [
        {
            "group": group_record(f"g{number}"), "members": [], "shared_memory_cids": [],
            "shared_attachment_exports": [], "agent_cids": {"count": 50, "pages": [page]},
        }
        for number in range(2)
    ]  # fmt: skip
    finished(archive, constellation_node(agent_exports={"a1": agent}, group_exports=groups))
    data = sum(len(data) for _, data in archive.blocks)
    size = len(dict(archive.blocks)[bytes(page)])

    with pytest.raises(HostileShape, match=f"pages repeat {size} bytes of an archive of {data}"):
        imported(archive, limits=WalkLimits(repeated_bytes=size - 16 * data - 1))


# --- history ---------------------------------------------------------------------------------------------------------

ROW = [1, "b1", 1, b"x", 1, None, AT, None, 1]


def remembered(archive: Archive, history: Any) -> dict[str, Any]:
    """An agent with a memory block that has this history."""
    return agent_node(archive, memory_block_cids=[archive.memory(memory_record(), [NEVER_WRITTEN], history=history)])


def history_of(**changes: Any) -> dict[str, Any]:
    """A history with nothing in it, but for the changes."""
    return {"base": None, "frontier": None, "updates": [], "checkpoints": []} | changes


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("indexes", [(0, 1), (0, 0), (7, 3)])
def test_history_by_another_hand(version: int, indexes: tuple[int, int]) -> None:
    """History is no matter of the version, and its chunks may have any index."""
    archive = Archive()
    updates = [archive.add({"rows": rows, "index": at}) for rows, at in zip(([ROW], []), indexes, strict=True)]
    found = imported(finished(archive, remembered(archive, history_of(updates=updates)), version))

    (opened,) = [event for event in found if isinstance(event, OpenMemoryBlock)]
    assert MemoryHistory(None, None) == opened.history
    assert [Cells("memory_block_updates", [tuple(ROW)])] == [event for event in found if isinstance(event, Cells)]


@pytest.mark.parametrize(
    ("build", "message", "field"),
    [
        (lambda a: remembered(a, []), "found an array, expected a map", "history"),
        (lambda a: remembered(a, None), "found null, expected a map", "history"),
        (lambda a: remembered(a, {"base": None}), "found no updates", "history.updates"),
        (
            lambda a: remembered(a, history_of(frontier=[1])),
            "found an array, expected a byte string",
            "history.frontier",
        ),
        (
            lambda a: remembered(a, history_of(updates=[a.add({"rows": [[1, 2]], "index": 0})])),
            "rows of 2 cells, expected 9",
            "rows",
        ),
        (
            lambda a: remembered(a, history_of(updates=[a.add({"rows": [ROW, ROW[:3]], "index": 0})])),
            "3 cells, expected an array of 9",
            "rows[1]",
        ),
        (
            lambda a: remembered(a, history_of(columns={"messages": ["id"]})),
            "found columns of 'messages'",
            "history.columns",
        ),
        (
            lambda a: remembered(a, history_of(columns={"memory_block_updates": ["id"]})),
            "found no column block_id, seq, update_blob",
            "history.columns",
        ),
        (
            lambda a: remembered(a, history_of(columns={"memory_block_updates": []})),
            "found no columns",
            "history.columns",
        ),
    ],
)
def test_history_keeps_its_word(build: Callable[[Archive], dict[str, Any]], message: str, field: str) -> None:
    """Shape, width and columns of a history are compared."""
    error = refusal(build)

    assert message in error.message
    assert field == error.where.field


# --- tables ----------------------------------------------------------------------------------------------------------


def with_table(archive: Archive, *chunks: dict[str, Any], name: str = "tasks", **changes: Any) -> dict[str, Any]:
    """A constellation with a table of these chunks: two columns, two rows, but for the changes."""
    table = {
        "count": 2,
        "chunks": [archive.add(chunk) for chunk in chunks],
        "columns": [{"name": "id", "type": "TEXT"}, {"name": "note", "type": ""}],
    } | changes
    return constellation_node(tables_beyond_version_3={name: table})


ROWS = [["t1", None], ["t2", 1.5]]


def chunk_of(rows: Any = ROWS, index: int = 0, table: str = "tasks") -> dict[str, Any]:
    """A chunk of a table."""
    return {"rows": rows, "index": index, "table": table}


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("indexes", [(0, 1), (0, 0), (7, 3)])
def test_a_table_by_another_hand(version: int, indexes: tuple[int, int]) -> None:
    """Tables are no matter of the version, and their chunks may have any index."""
    archive = Archive()
    chunks = [chunk_of([row], index) for row, index in zip(ROWS, indexes, strict=True)]
    node = with_table(archive, *chunks) | {"version": version}

    assert [Cells("tasks", [("t1", None), ("t2", 1.5)])] == [
        event for event in imported(finished(archive, node, version)) if isinstance(event, Cells)
    ]


def external_cell(archive: Archive, size: int, *sizes: int, **changes: Any) -> dict[str, Any]:
    """A cell that was moved out."""
    return {"external": {"bytes": size, "text": True, "chunks": pieces_of(archive, *sizes)} | changes}


@pytest.mark.parametrize(
    ("build", "message", "field"),
    [
        (lambda a: with_table(a, chunk_of(), count=3), "chunks hold 2 rows, expected 3", "count"),
        (lambda a: with_table(a, chunk_of(), count=1), "chunks hold 2 rows, expected 1", "count"),
        (lambda a: with_table(a, chunk_of(table="events")), "found rows of 'events', expected 'tasks'", "table"),
        (lambda a: with_table(a, chunk_of([["t1"], ["t2"]])), "found rows of 1 cells, expected 2", "rows"),
        (lambda a: with_table(a, chunk_of([["t1", 1], "t2"])), "found text 't2', expected an array of 2", "rows[1]"),
        (
            lambda a: with_table(a, chunk_of([["t1", True], ["t2", 1]])),
            "found a bool (True), expected null",
            "rows[0][1]",
        ),
        (lambda a: with_table(a, chunk_of([["t1", 2**63], ["t2", 1]])), "expected an integer of 64 bits", "rows[0][1]"),
        (lambda a: with_table(a, chunk_of([["t1", []], ["t2", 1]])), "found an array", "rows[0][1]"),
        (lambda a: with_table(a, chunk_of([["t1", {"real": "nan"}], ["t2", 1]])), "found a map", "rows[0][1]"),
        (lambda a: with_table(a, chunk_of([["t1", {}], ["t2", 1]])), "found a map", "rows[0][1]"),
        (
            lambda a: with_table(a, chunk_of([["t1", Link(b"\x01\x71\x1e\x20" + bytes(32))], ["t2", 1]])),
            "found a link",
            "rows[0][1]",
        ),
        (lambda a: with_table(a, columns=[], count=0), "found no columns", "tables_beyond_version_3.tasks.columns"),
        (
            lambda a: with_table(a, columns=[{"name": "id", "type": "TEXT"}] * 2),
            "found column 'id' twice",
            "tables_beyond_version_3.tasks.columns",
        ),
        (
            lambda a: with_table(a, columns=[{"name": "id"}]),
            "found null, expected text",
            "tables_beyond_version_3.tasks.columns",
        ),
        (
            lambda a: constellation_node(
                cells_beyond_version_3={"count": 0, "chunks": [], "columns": [{"name": "a", "type": ""}]}
            ),
            "found columns a, expected table, key, column, value",
            "cells_beyond_version_3",
        ),
        (
            lambda a: with_table(a, chunk_of([["t1", external_cell(a, 5, 4)]]), count=1),
            "piece is 4 bytes, expected 5",
            "data",
        ),
        (lambda a: with_table(a, chunk_of([["t1", external_cell(a, 5, 5)], ["t2", 1]])), "found a map", "rows[0][1]"),
        (
            lambda a: with_table(a, chunk_of([["t1", {"external": {"bytes": 1, "chunks": []}}]]), count=1),
            "found no text",
            "rows[0][1]",
        ),
        (lambda a: with_table(a, chunk_of([["t1", external_cell(a, 2**62)]]), count=1), "found 0 pieces", "rows[0][1]"),
    ],
)
def test_tables_keep_their_word(build: Callable[[Archive], dict[str, Any]], message: str, field: str) -> None:
    """Counts, names, widths, columns and cells are compared."""
    error = refusal(build)

    assert message in error.message
    assert field == error.where.field


def test_cells_outside_need_no_other_version() -> None:
    """Readers of version 3 never see rows of other tables, so a cell of them may have been moved out there too."""
    archive = Archive()
    cell = external_cell(archive, 5, 5)
    finished(archive, with_table(archive, chunk_of([["t1", cell]]), count=1) | {"version": 3}, version=3)

    (cells,) = [event for event in imported(archive) if isinstance(event, Cells)]

    assert [("t1", "xxxxx")] == cells.rows


def test_damaged_tables_are_gone_round() -> None:
    """With a chunk lost, the other chunks come, and neither the count nor the index is told on top."""
    archive = Archive()
    finished(archive, with_table(archive, chunk_of(ROWS[:1]), chunk_of(ROWS[1:], 1)))
    kept = [(cid, data) for cid, data in archive.blocks if b"bt1" not in data]
    damage: list[Finding] = []

    events = imported(archive, kept, damage=damage.append)

    assert ["missing-block"] == [finding.code for finding in damage]
    assert [Cells("tasks", [("t2", 1.5)])] == [event for event in events if isinstance(event, Cells)]


# --- versions and unknown keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("manifest", "data"), [(3, 4), (4, 3), (4, 5)])
def test_versions_must_agree(manifest: int, data: int) -> None:
    """The manifest and the data node of a constellation say the same."""
    error = refusal(lambda a: constellation_node(version=data), version=manifest)

    assert f"data node is version {data}, but the manifest says {manifest}" in error.message
    assert "version" == error.where.field


def unknown(place: str) -> Callable[[Archive], dict[str, Any]]:
    """A data node with a key that holds a link, somewhere."""

    def build(archive: Archive) -> dict[str, Any]:
        future = {"deep": [archive.add({"of": place})]}
        if place == "future":
            return agent_node(archive, future=future)
        if place == "agent.future":
            return agent_node(archive, agent=agent_record() | {"future": future})
        if place == "messages[0].future":
            chunk = message_chunk(0, [message_record(1) | {"future": future}])
            return agent_node(archive, message_chunk_cids=[archive.add(chunk)])
        if place == "external.content.future":
            node = {"content": {"bytes": 2, "chunks": pieces_of(archive, 2), "future": future}}
            entry = entry_record(1, content=None) | {"external": node}
            return agent_node(archive, archival_entry_cids=[archive.add(entry)])
        if place == "history.future":
            return remembered(archive, history_of(future=future))
        table = with_table(archive, chunk_of())
        table["tables_beyond_version_3"]["tasks"]["future"] = future
        return table

    return build


UNKNOWN = ["future", "agent.future", "messages[0].future", "external.content.future", "history.future",
           "tables_beyond_version_3.tasks.future"]  # fmt: skip


@pytest.mark.parametrize("place", UNKNOWN)
def test_an_unknown_key_with_links_is_refused_or_dropped(place: str) -> None:
    """At any depth, in any node: exit 5 and the key's name, or a warning where it is to be dropped."""
    archive = Archive()
    finished(archive, unknown(place)(archive))
    findings: list[Finding] = []

    with pytest.raises(UnknownLink, match="leads to further blocks") as caught:
        imported(archive)
    events = imported(archive, drop_unknown=True, report=findings.append)

    assert (5, place) == (caught.value.exit_code, caught.value.where.field)
    assert ("unknown-key", place) in [(finding.code, finding.where.field) for finding in findings]
    assert events


@pytest.mark.parametrize("place", [place for place in UNKNOWN if not place.startswith("external")])
def test_version_3_skips_unknown_keys(place: str) -> None:
    """There it is what readers do; only those of the top are named."""
    archive = Archive()
    node = unknown(place)(archive)
    finished(archive, node | ({"version": 3} if "version" in node else {}), 3)
    findings: list[Finding] = []

    imported(archive, report=findings.append)

    assert (["unknown-key"] if place == "future" else []) == [f.code for f in findings if f.code == "unknown-key"]


def test_unknown_keys_without_links_are_skipped() -> None:
    """Nothing is lost below them, so a later minor key is no reason to refuse."""
    archive = Archive()
    finished(archive, agent_node(archive, agent=agent_record() | {"mood": {"deep": [1]}}))

    assert imported(archive)


def test_an_unknown_link_of_the_manifest_is_refused() -> None:
    """The root may not hide blocks either."""
    archive = Archive()
    finished(archive, agent_node(archive), future=Link(b"\x01\x71\x1e\x20" + bytes(32)))

    with pytest.raises(UnknownLink):
        imported(archive)


def test_a_value_chunk_is_no_message() -> None:
    """A link to a block of another kind is refused by its shape."""
    archive = Archive()
    node = agent_node(archive, message_chunk_cids=pieces_of(archive, 5))

    with pytest.raises(ArchiveError, match="found no messages"):
        imported(finished(archive, node))


def test_a_message_by_another_hand_with_json_outside() -> None:
    """The text of a JSON field is handed on as it is."""
    archive = Archive()
    chunks = [archive.add({"data": b'{"Text": "hi" }', "index": 0})]
    message = message_record(1, content_json=None) | {"external": {"content_json": {"bytes": 15, "chunks": chunks}}}
    node = agent_node(archive, message_chunk_cids=[archive.add(message_chunk(0, [message]))])
    found: list[RecordEvent] = imported(finished(archive, node))

    assert [Records(Message, [message_record(1, content_json='{"Text": "hi" }')])] == [
        event for event in found if isinstance(event, Records)
    ]


def test_cells_have_their_columns() -> None:
    """The part of cells is read with no table's name."""
    archive = Archive()
    rows = [["agents", "a1", "embedding_model", "x"]]
    part = {
        "count": 1,
        "chunks": [archive.add(chunk_of(rows, table=""))],
        "columns": [{"name": name, "type": "TEXT"} for name in CELL_COLUMNS],
    }
    found = imported(finished(archive, constellation_node(cells_beyond_version_3=part)))

    assert [None] == [event.table for event in found if isinstance(event, OpenTable)]
