"""Rows to records, as a stage."""

from __future__ import annotations

import pytest

from pattern_stream.items import Close, Open, Records, RowEvent, Rows
from pattern_stream.schema.nodes import AgentExport, MemoryBlockExport
from pattern_stream.schema.records import Agent, ArchiveSummary, MemoryBlock
from pattern_stream.stages.mapping import map_rows
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
    Open(MemoryBlockExport, BLOCK_ROW),
    Close(),
    Rows(ArchiveSummary, [SUMMARY_ROW]),
    Close(),
]


async def test_the_tree_keeps_its_shape() -> None:
    """Each row becomes its record where it stood; keys stay, and a document travels beside its record."""
    opened, block, closed, summaries, end = await collect(map_rows(feed(EVENTS)))

    assert isinstance(opened, Open)
    assert isinstance(block, Open)
    assert isinstance(summaries, Records)
    assert ("a", ["x"], "2026-01-02T03:04:05Z") == (
        opened.key,
        opened.record["enabled_tools"],
        opened.record["created_at"],
    )
    assert ([0], True, b"doc") == (block.record["frontier"], block.record["pinned"], block.extra["loro_snapshot"])
    assert ["id"] == [record["id"] for record in summaries.records]
    assert [Close(), Close()] == [closed, end]


async def test_contract() -> None:
    """The stage closes its upstream, takes no input for none, and hides no error."""
    await check_early_stop(map_rows, EVENTS)
    await check_empty(map_rows)
    await check_errors_pass(map_rows, EVENTS)
