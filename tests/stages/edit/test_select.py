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


async def test_a_part_has_the_history_of_its_blocks_and_no_other_tables() -> None:
    """Rows beyond version 3 are the whole constellation's; memory history goes with its block."""
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
