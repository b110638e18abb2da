"""Parts of an archive, and the survey that says what a name means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pattern_stream.errors import NotInArchive, UsageError
from pattern_stream.items import (
    CELLS_TABLE,
    Cells,
    Close,
    Open,
    OpenConstellation,
    OpenMemoryBlock,
    OpenTable,
    Piece,
    RecordEvent,
    Records,
    Ref,
)
from pattern_stream.schema.model.cells import Large
from pattern_stream.schema.model.nodes import AgentExport, MemoryBlockExport
from pattern_stream.schema.model.records import ArchivalEntry, Message
from pattern_stream.stages.edit.select import Filter, select, without
from pattern_stream.stages.edit.table_of_contents import TableOfContents, Wanted, choose
from tests.contracts import check_stage
from tests.db.importing import agent, attachments, block, entries, group, messages
from tests.drive import collect, feed

pytestmark = pytest.mark.anyio


def constellation() -> list[RecordEvent]:
    """Two agents, a group of one of them into which a block of the other is shared, and a block of nobody's."""
    return [
        OpenConstellation(owner_id="me"),
        *agent("a", block("xa", "a"), messages("a", ["m1"]), entries("a", ("e1", None)), name="Anchor"),
        *agent("b", block("xb", "b"), block("xb2", "b"), messages("b", ["m2"]), name="Bell"),
        *group("g", ["a"], [Ref(AgentExport, "agent_cids", "a"), Ref(MemoryBlockExport, "shared_memory_cids", "xb")]),
        *block("xn", "_constellation_"),
        attachments(("xb", "a"), ("xn", "b"), ("xa", "b")),
        Ref(AgentExport, "standalone_agent_cids", "b"),
        Close(),
    ]


def surveyed(tree: list[RecordEvent]) -> TableOfContents:
    """The survey of a tree."""
    survey = TableOfContents()
    for event in tree:
        survey.add(event)
    return survey


def ids(events: list[RecordEvent]) -> list[str]:
    """Ids of opened nodes."""
    return [event.record["id"] for event in events if isinstance(event, Open) and event.record]


async def test_contract() -> None:
    """The stage closes its upstream and lets its errors pass."""
    await check_stage(lambda events: select(events, Filter()), constellation())


async def test_survey() -> None:
    """Agents, groups, their members and what is shared into them."""
    survey = surveyed(constellation())

    assert [("a", "Anchor"), ("b", "Bell")] == survey.agents
    assert [("g", {"a"}, {"xb"})] == [(found.id, found.members, found.blocks) for found in survey.groups]
    assert {"a", "b", "g"} == survey.owners


@pytest.mark.parametrize(
    ("only", "wanted"),
    [
        (["agent:Anchor"], Wanted(frozenset("a"), frozenset(), frozenset())),
        (["agent:b"], Wanted(frozenset("b"), frozenset(), frozenset())),
        (["group:g"], Wanted(frozenset("a"), frozenset("g"), frozenset({"xb"}))),
        (["group:g", "agent:b"], Wanted(frozenset("ab"), frozenset("g"), frozenset({"xb"}))),
    ],
)
async def test_choose(only: list[str], wanted: Wanted) -> None:
    """By name or id; a group brings its members and what is shared into it."""
    assert wanted == choose(surveyed(constellation()), only)


async def test_an_exact_id_wins() -> None:
    """Over a name that is the same text."""
    survey = surveyed([*agent("a", name="b"), *agent("b", name="a")])

    assert frozenset("a") == choose(survey, ["agent:a"]).agents


@pytest.mark.parametrize("only", ["Anchor", "agent:", "block:x"])
async def test_choose_refuses_what_it_cannot_read(only: str) -> None:
    """Neither agent nor group."""
    with pytest.raises(UsageError, match="expected agent:NAME or group:NAME"):
        choose(TableOfContents(), [only])


async def test_choose_names_the_nearest() -> None:
    """Exit 6 with a hint."""
    with pytest.raises(NotInArchive) as caught:
        choose(surveyed(constellation()), ["agent:Ancor"])

    assert "Anchor" in str(caught.value.hint)


async def test_a_name_outside_its_record_is_no_near_one() -> None:
    """A name over 4 MiB is there by its length only."""
    opened, *rest = agent("a")
    assert isinstance(opened, Open)
    large = replace(opened, record=opened.record | {"name": Large(5_000_000, text=True)})
    with pytest.raises(NotInArchive, match="nosuch"):
        choose(surveyed([large, *rest]), ["agent:nosuch"])


async def test_an_agent_alone() -> None:
    """With its blocks and rows; no group, and attachments only between what is there."""
    found = await collect(
        select(feed(constellation()), Filter(wanted=Wanted(frozenset("b"), frozenset(), frozenset())))
    )

    assert ["b", "xb", "xb2"] == ids(found)
    assert [Message] == [event.record for event in found if isinstance(event, Records)]
    assert sum(isinstance(event, Open) for event in found) == sum(isinstance(event, Close) for event in found)


async def test_a_group_with_what_is_shared_into_it() -> None:
    """A block of an agent that stays out comes without that agent."""
    wanted = choose(surveyed(constellation()), ["group:g"])
    found = await collect(select(feed(constellation()), Filter(wanted=wanted)))

    assert ["a", "xa", "xb", "g"] == ids(found)
    attached = [event.records for event in found if isinstance(event, Records)][-1]
    assert [("xb", "a")] == [(record["block_id"], record["agent_id"]) for record in attached]


async def test_without() -> None:
    """Record types by option."""
    assert frozenset() == without()
    assert {Message, ArchivalEntry} == without(messages=False, archival=False)
    found = await collect(
        select(feed(agent("a", messages("a", ["m"]), entries("a", ("e", None)))), Filter(without(messages=False)))
    )

    assert [ArchivalEntry] == [event.record for event in found if isinstance(event, Records)]


# --- beyond version 3 ----------------------------------------------------------------------------------------------


def table(name: str | None, *rows: tuple[object, ...]) -> list[RecordEvent]:
    """Rows beyond version 3, of a table or (None) single cells; the last one is large."""
    cells = Cells(CELLS_TABLE if name is None else name, list(rows))
    return [OpenTable(table=name, columns=[]), cells, Piece("value", b"x"), Close()]


async def test_rows_of_a_table_that_is_left_out_stay_behind() -> None:
    """Of messages neither deleted ones nor single cells go on; other tables do, and Pieces go with their rows."""
    tree: list[RecordEvent] = [
        OpenConstellation(owner_id="me"),
        *table(None, ("messages", "m", "c", 1), ("agents", "a", "c", 1)),
        *table("messages", ("m",)),
        *table("tasks", ("t",)),
        Close(),
    ]

    kept = await collect(select(feed(tree), Filter(without(messages=False))))

    assert [Cells(CELLS_TABLE, [("agents", "a", "c", 1)]), Cells("tasks", [("t",)])] == [
        event for event in kept if isinstance(event, Cells)
    ]
    assert 2 == sum(isinstance(event, Piece) for event in kept)
    assert sum(isinstance(event, Open) for event in kept) == sum(isinstance(event, Close) for event in kept)


def owned(name: str, columns: str, *rows: tuple[object, ...]) -> list[RecordEvent]:
    """Rows beyond version 3 with these columns."""
    return [
        OpenTable(table=name, columns=[{"name": column} for column in columns.split()]),
        Cells(name, list(rows)),
        Close(),
    ]


async def part(
    *tables: list[RecordEvent], with_messages: bool = False
) -> tuple[dict[str, list[object]], dict[str, int]]:
    """First cells by table that come with agent `a` and its block `xa`, and counts of what stays behind."""
    tree = [
        OpenConstellation(owner_id="me"), *agent("a", block("xa", "a"), name="Anchor"), *agent("b", block("xb", "b")),
        *(event for rows in tables for event in rows), Close(),
    ]  # fmt: skip
    chosen = Filter(without(messages=with_messages), choose(surveyed(tree), ["agent:Anchor"]))
    kept = await collect(select(feed(tree), chosen))
    assert sum(isinstance(event, Open) for event in kept) == sum(isinstance(event, Close) for event in kept)
    rows = {event.table: [row[0] for row in event.rows] for event in kept if isinstance(event, Cells)}
    return rows, {table: count for table, count in chosen.not_carried.items() if count}


async def test_a_part_has_the_rows_of_its_agents_in_other_tables() -> None:
    """All naming columns count. A row that names another agent too, or a row that stays out, is counted."""
    kept, left = await part(
        owned("event_occurrences", "id event_id", ("o1", "e1"), ("o2", "e2")),
        owned("events", "id agent_id", ("e1", "a"), ("e2", "b"), ("e3", None)),
        owned("tasks", "id agent_id parent_task_id", ("t1", "a", "t2"), ("t2", "a", None),
            ("t3", "a", "t4"), ("t4", "b", None)),
        owned("handoff_notes", "id from_agent to_agent", ("h1", "a", None), ("h2", "b", "a"), ("h3", "b", None)),
        owned("coordination_tasks", "id assigned_to", ("c1", "a"), ("c2", "b")),
        owned("coordination_state", "key updated_by", ("k1", "a"), ("k2", "_constellation_")),
        owned("notable_events", "id agents_involved",
            ("n1", '["a"]'), ("n2", '["b","a"]'), ("n3", '["b"]'), ("n4", "[")),
        owned("agent_data_sources", "agent_id source_id", ("a", "s1"), ("b", "s1")),
        owned("data_sources", "id name", ("s1", "x")),
        owned("messages", "id agent_id", ("m1", "a"), ("m2", "b")),
    )  # fmt: skip

    assert {
        "event_occurrences": ["o1"], "events": ["e1"], "tasks": ["t1", "t2"], "handoff_notes": ["h1"],
        "coordination_tasks": ["c1"], "coordination_state": ["k1"], "notable_events": ["n1"],
    } == kept  # fmt: skip
    assert {"tasks": 1, "handoff_notes": 1, "notable_events": 1, "agent_data_sources": 1, "messages": 1} == left


async def test_a_part_has_memory_blocks_beyond_version_3_with_their_history_and_access() -> None:
    """Inactive blocks of the agent are its own too; deleted messages come unless messages are left out."""
    kept, left = await part(
        owned("memory_blocks", "id agent_id", ("ia", "a"), ("ib", "b")),
        owned("shared_block_agents", "block_id agent_id", ("ia", "a"), ("ib", "a"), ("ia", "b"), ("xa", "a")),
        owned("memory_block_updates", "id block_id", (1, "ia"), (2, "ib")),
        owned("messages", "id agent_id", ("m1", "a"), ("m2", "b")),
        owned("plugin_notes", "id agent_id", ("p1", "a"), ("p2", "b")),
        with_messages=True,
    )

    assert {
        "memory_blocks": ["ia"], "shared_block_agents": ["ia", "xa"], "memory_block_updates": [1], "messages": ["m1"],
    } == kept  # fmt: skip
    assert {"shared_block_agents": 1, "plugin_notes": 1} == left


async def test_members_of_groups_and_summaries_are_counted() -> None:
    """Of a group that stays out, the membership of the agent; of messages that stay out, their number."""
    tree = constellation()
    chosen = Filter(without(messages=False), choose(surveyed(tree), ["agent:Anchor"]))
    await collect(select(feed(tree), chosen))

    assert {"group_members": 1, "messages": 1, "shared_block_agents": 1} == {
        k: n for k, n in chosen.not_carried.items() if n
    }


async def test_a_part_has_the_history_of_its_blocks_and_no_other_tables() -> None:
    """Memory history goes with its block; rows that name nobody stay."""
    opened, end = block("xa", "a")
    edits = Cells("memory_block_updates", [(1,)])
    other: list[RecordEvent] = [
        OpenMemoryBlock({"id": "xb", "agent_id": "b"}, "xb"),
        edits,
        Piece("update_blob", b"x"),
        Close(),
    ]
    tree: list[RecordEvent] = [
        OpenConstellation(owner_id="me"), *agent("a", [opened, edits, end]), *agent("b", other),
        *table("tasks", ("t",)), Close(),
    ]  # fmt: skip

    kept = await collect(select(feed(tree), Filter(wanted=Wanted(frozenset("a"), frozenset(), frozenset()))))

    assert ["a", "xa"] == ids(kept)
    assert [edits] == [event for event in kept if isinstance(event, Cells)]
    assert not any(isinstance(event, Piece) for event in kept)
