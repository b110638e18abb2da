"""Rows to records, as a stage."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pattern_stream.errors import Finding, InvalidCell
from pattern_stream.items import Cells, Close, MemoryHistory, Open, OpenMemoryBlock, Piece, Records, RowEvent, Rows
from pattern_stream.schema.mapping.lossy_types import LossyTypes
from pattern_stream.schema.model.cells import Large
from pattern_stream.schema.model.nodes import AgentExport
from pattern_stream.schema.model.records import Agent, ArchivalEntry, ArchiveSummary, MemoryBlock
from pattern_stream.stages.mapping import map_rows, unmap_records
from tests.contracts import check_early_stop, check_empty, check_errors_pass
from tests.drive import collect, feed

pytestmark = pytest.mark.anyio

AT = "2026-01-02 03:04:05"
AGENT = {
    "id": "a", "name": "n", "description": None, "model_provider": "p", "model_name": "m", "system_prompt": "",
    "config": "{}", "enabled_tools": '["x"]', "tool_rules": None, "status": "active", "created_at": AT,
    "updated_at": AT,
}  # fmt: skip
BLOCK = {
    "id": "b", "label": "l", "pinned": 1, "agent_id": "a", "frontier": b"\x00", "last_seq": 3, "metadata": None,
    "is_active": 1, "block_type": "core", "char_limit": 5000, "created_at": AT, "permission": "admin",
    "updated_at": AT, "description": "", "content_preview": None, "loro_snapshot": b"doc",
}  # fmt: skip
AGENT_ROW = tuple(AGENT[column] for column in Agent.columns)
BLOCK_ROW = tuple(BLOCK[column] for column in MemoryBlock.columns)
SUMMARY_ROW = tuple(
    {"depth": 0, "message_count": 2, "created_at": AT, "previous_summary_id": None}.get(column, column)
    for column in ArchiveSummary.columns
)
EVENTS: list[RowEvent] = [
    Open(AgentExport, AGENT_ROW, "a"),
    OpenMemoryBlock(BLOCK_ROW),
    Close(),
    Rows(ArchiveSummary, [SUMMARY_ROW]),
    Close(),
]


async def test_the_tree_keeps_its_shape() -> None:
    """Each row becomes its record where it stood; keys stay, and a document travels beside its record."""
    opened, block, closed, summaries, end = await collect(map_rows(feed(EVENTS)))

    assert isinstance(opened, Open)
    assert isinstance(block, OpenMemoryBlock)
    assert isinstance(summaries, Records)
    assert ("a", ["x"], "2026-01-02T03:04:05Z") == (
        opened.key,
        opened.record["enabled_tools"],
        opened.record["created_at"],
    )
    assert ([0], True, b"doc") == (block.record["frontier"], block.record["pinned"], block.document)
    assert ["id"] == [record["id"] for record in summaries.records]
    assert [Close(), Close()] == [closed, end]


async def test_contract() -> None:
    """The stage closes its upstream, takes no input for none, and hides no error."""
    await check_early_stop(map_rows, EVENTS)
    await check_empty(map_rows)
    await check_errors_pass(map_rows, EVENTS)


# --- what version 3 cannot hold ------------------------------------------------------------------------------------


def entry_row(**cells: object) -> tuple[object, ...]:
    """An archival entry."""
    known = {"id": "e", "agent_id": "a", "content": "c", "metadata": None, "chunk_index": 0, "parent_entry_id": None,
             "created_at": AT} | cells  # fmt: skip
    return tuple(known[column] for column in ArchivalEntry.columns)


async def test_without_oddities_an_odd_row_is_refused() -> None:
    """A portable archive has no other place for it."""
    with pytest.raises(InvalidCell):
        await collect(map_rows(feed([Rows(ArchivalEntry, [entry_row(content=b"blob")])])))


async def test_an_odd_row_is_noted_and_left_out() -> None:
    """With its Pieces; its neighbours go on; a batch of nothing else is none."""
    oddities, said = LossyTypes(), list[Finding]()
    large = entry_row(id=b"odd", content=Large(5_000_000, text=True))
    events: list[RowEvent] = [
        Rows(ArchivalEntry, [entry_row(), entry_row(id="f", content=b"blob"), entry_row(id="g")]),
        Rows(ArchivalEntry, [large]), Piece("content", b"x" * 100), Piece("content", b"y"),
        Rows(ArchivalEntry, [entry_row(content=Large(5_000_000, text=True))]), Piece("content", b"kept"),
    ]  # fmt: skip

    out = await collect(map_rows(feed(events), said.append, oddities))

    first, second, piece = out
    assert isinstance(first, Records)
    assert isinstance(second, Records)
    assert (["e", "g"], Piece("content", b"kept")) == ([record["id"] for record in first.records], piece)
    assert Large(5_000_000, text=True) == second.records[0]["content"]
    assert ({ArchivalEntry}, set()) == (oddities.rows, oddities.cells)
    assert [("beyond-version-3", "f"), ("beyond-version-3", None)] == [(f.code, f.where.row_id) for f in said]


async def test_cells_that_would_be_lost_are_noted() -> None:
    """The row goes out all the same."""
    oddities = LossyTypes()

    out = await collect(map_rows(feed([Rows(ArchivalEntry, [entry_row(metadata="null")])]), oddities=oddities))

    assert 1 == len(out)
    assert (set(), {ArchivalEntry}) == (oddities.rows, oddities.cells)


async def test_an_odd_agent_goes_out_with_a_neutral_cell() -> None:
    """And is noted, with a warning that names the cell."""
    oddities, said = LossyTypes(), list[Finding]()
    row = tuple((AGENT | {"config": b"blob"})[column] for column in Agent.columns)

    opened, _ = await collect(map_rows(feed([Open(AgentExport, row, "a"), Close()]), said.append, oddities))

    assert isinstance(opened, Open)
    assert {} == opened.record["config"]
    assert {Agent} == oddities.cells
    assert [("agents", "a", "config")] == [(f.where.table, f.where.row_id, f.where.field) for f in said]


async def test_rows_of_other_tables_pass() -> None:
    """Cells are what they are."""
    cells = Cells("tasks", [("t", 1)])

    assert [cells] == await collect(map_rows(feed([cells]), oddities=LossyTypes()))
    assert [cells] == await collect(unmap_records(feed([cells])))


async def test_a_block_with_a_history_comes_back_as_it_was_stored() -> None:
    """Stored document and version, not those that went out; without a base the document is the stored one."""
    opened, *_ = await collect(map_rows(feed(EVENTS[1:3])))
    assert isinstance(opened, OpenMemoryBlock)

    rows = [
        event.record
        for history in (MemoryHistory(b"base", b"version"), MemoryHistory(None, None))
        async for event in unmap_records(feed([replace(opened, document=b"folded", history=history)]))
        if isinstance(event, Open)
    ]

    places = MemoryBlock.index("loro_snapshot"), MemoryBlock.index("frontier")
    assert [(b"base", b"version"), (b"folded", None)] == [tuple(row[place] for place in places) for row in rows]
