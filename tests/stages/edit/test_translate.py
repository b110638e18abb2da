"""New ids on the way: every event that holds an id, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from pattern_stream.errors import Finding
from pattern_stream.items import (
    CELLS_TABLE,
    Cells,
    MemoryHistory,
    Open,
    OpenGroupConfig,
    OpenMemoryBlock,
    OpenTable,
    Piece,
    RecordEvent,
    Records,
    Ref,
)
from pattern_stream.schema.ids.new_ids import Identity
from pattern_stream.schema.model.cells import Large
from pattern_stream.schema.model.nodes import AgentExport, MemoryBlockExport
from pattern_stream.schema.model.records import Message
from pattern_stream.stages.edit.translate import translate, watch_batch_ids
from tests.contracts import check_stage
from tests.db.importing import agent, attachments, block, messages, single_cells, table
from tests.drive import collect, feed

pytestmark = pytest.mark.anyio

IDENTITY = Identity(bytes(32))


async def test_contract() -> None:
    """Both stages close their upstream and let its errors pass."""
    tree = agent("a", block("x", "a"), messages("a", ["m"]))
    await check_stage(lambda events: translate(events, IDENTITY), tree)


async def test_keys_and_references_agree() -> None:
    """A node's key, its record's id, and every reference to it are translated alike."""
    tree = [
        *agent("a", block("x", "a")),
        Ref(MemoryBlockExport, "f", "x"),
        Ref(AgentExport, "f", "a"),
        attachments(("x", "a")),
    ]
    opened, inner, _, _, to_block, to_agent, attached = await collect(translate(feed(tree), IDENTITY))

    assert isinstance(opened, Open)
    assert isinstance(inner, OpenMemoryBlock)
    assert isinstance(to_block, Ref)
    assert isinstance(to_agent, Ref)
    assert isinstance(attached, Records)
    assert {opened.key, to_agent.key, inner.record["agent_id"], attached.records[0]["agent_id"]} == {
        opened.record["id"]
    }
    assert {inner.key, to_block.key, attached.records[0]["block_id"]} == {inner.record["id"]}
    assert inner.record["id"].startswith("mem_")
    assert (b"", None) == (inner.document, inner.history)


async def test_a_thin_groups_members_come_as_pairs() -> None:
    """They are outside the archive, so the old id is as good as the new one."""
    record: dict[str, Any] = {
        "id": "g",
        "name": "g",
        "description": None,
        "pattern_type": "dynamic",
        "pattern_config": {},
    }
    (event,) = await collect(translate(feed([OpenGroupConfig(record, member_agent_ids=["a"])]), IDENTITY))

    assert isinstance(event, OpenGroupConfig)
    assert [(IDENTITY.mint("a", "agent"), "a")] == event.member_candidates


async def test_rows_beyond_version_3_are_translated_alike() -> None:
    """Tables by the columns that their Open names, history by its block's, single cells by key and column; pieces
    pass."""
    columns = {"memory_block_updates": ("seq", "block_id"), "memory_block_checkpoints": ()}
    edits = Cells("memory_block_updates", [(1, "x")])
    tree: list[RecordEvent] = [
        *agent("a", block("x", "a", "l", edits, history=MemoryHistory(None, None, columns))),
        *table("tasks", ("title", "agent_id", "id"), ("a", "a", "x")),
        *table("queued_messages", ("batch_id", "source_agent_id"), ("letta-1", None), ("31358194177998848", "a")),
        *table("coordination_state", ("key", "updated_by"), ("a", "system"), ("x", "a")),
        *table("notable_events", ("id", "agents_involved"), ("n", '["a","b"]')),
        *single_cells(
            ("agents", "a", "description", Large(2, True)), Piece("value", b"ab"),
            ("messages", "m", "agent_id", "a"), ("group_members", '["g","a"]', "role", None), ("tasks", "a", "id", "a"),
        ),
    ]  # fmt: skip
    found = [event for event in await collect(translate(feed(tree), IDENTITY)) if isinstance(event, (Cells, Piece))]
    a, g = IDENTITY.mint("a", "agent"), IDENTITY.mint("g", "group")
    batch = IDENTITY.mint("letta-1", "batch")

    assert [
        Cells("memory_block_updates", [(1, IDENTITY.mint("x", "memory_block"))]),
        Cells("tasks", [("a", a, IDENTITY.mint("x", "row"))]),
        Cells("queued_messages", [(batch, None), ("31358194177998848", a)]),
        Cells("coordination_state", [("a", "system"), ("x", a)]),
        Cells("notable_events", [(IDENTITY.mint("n", "row"), f'["{a}","{IDENTITY.mint("b", "agent")}"]')]),
        Cells(CELLS_TABLE, [("agents", a, "description", Large(2, True))]),
        Piece("value", b"ab"),
        Cells(CELLS_TABLE, [
            ("messages", IDENTITY.mint("m", "message"), "agent_id", a),
            ("group_members", f'["{g}","{a}"]', "role", None),
            ("tasks", "a", "id", "a"),
        ]),
    ] == found  # fmt: skip


async def test_tables_that_nobody_knows_are_marked() -> None:
    """Whoever writes them must not put old ids beside new ones; known tables and cells are not marked."""
    tree = [*table("strange", ("agent_id",), ("a",)), *table("tasks", ("id",)), *single_cells()]
    opened = [event for event in await collect(translate(feed(tree), IDENTITY)) if isinstance(event, OpenTable)]

    assert [True, False, False] == [event.untranslated for event in opened]


async def test_metadata_too_large_to_look_into_is_said() -> None:
    """It passes as it is, with a warning that names the message."""
    found: list[Finding] = []
    event = messages("a", ["m"])
    event.records[0]["source_metadata"] = Large(5_000_000, True)
    (passed,) = await collect(translate(feed([event]), IDENTITY, found.append))

    assert isinstance(passed, Records)
    assert Large(5_000_000, True) == passed.records[0]["source_metadata"]
    assert [("id-kept", "messages", "source_metadata")] == [
        (one.code, one.where.table, one.where.field) for one in found
    ]


@pytest.mark.parametrize(("minted", "words"), [(True, "replaced by a snowflake"), (False, "kept, but the original")])
async def test_odd_batch_ids_are_said_once_a_batch_of_rows(minted: bool, words: str) -> None:
    """With the first message that has it."""
    found: list[Finding] = []
    events = [messages("a", ["m1", "m2"], batch="letta-1"), messages("a", ["m3"], batch="31358194177998848")]
    passed = [watch_batch_ids(event, found.append, minted=minted) for event in events]

    assert events == passed
    assert [("odd-batch-id", "m1")] == [(finding.code, finding.where.row_id) for finding in found]
    assert words in found[0].message


async def test_batches_that_are_no_snowflakes_become_some() -> None:
    """The same for all messages of the batch, whichever agent's."""
    events = [messages("a", ["m1"], batch="letta-1"), messages("b", ["m2"], batch="letta-1")]
    first, second = await collect(translate(feed(events), IDENTITY))

    assert isinstance(first, Records)
    assert isinstance(second, Records)
    assert Message is first.record
    assert first.records[0]["batch_id"] == second.records[0]["batch_id"]
    assert first.records[0]["batch_id"].isdecimal()
