"""An archive as Pattern's own export makes them: documents as they were created, previews full."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

from pattern_stream.archive.writer import write_car
from pattern_stream.items import Close, Open, OpenMemoryBlock, RowEvent
from pattern_stream.schema.model.nodes import AgentExport
from pattern_stream.schema.model.records import Agent, MemoryBlock
from pattern_stream.stages.chunking import chunk
from pattern_stream.stages.encode.encoder import encode
from pattern_stream.stages.mapping import map_rows
from tests.legacy.test_frame import row
from tests.legacy.test_truth import Kept

FIELD = {"description": "", "required": False, "default": None, "read_only": False}
SCHEMAS: dict[str, tuple[dict[str, Any] | None, str]] = {
    "plain": (None, "Tea at four.\n1. not a list"),
    "fields": (
        {"Map": {"fields": [
            FIELD | {"name": "mood", "field_type": "Text"},
            FIELD | {"name": "energy", "field_type": "Number", "read_only": True},
            FIELD | {"name": "likes", "field_type": "List"},
            FIELD | {"name": "visits", "field_type": "Counter"},
            FIELD | {"name": "awake", "field_type": "Boolean"},
        ]}},
        "mood: calm\nand: still\nenergy [read-only]: 2.5\nlikes:\n- tea\n- rain\nvisits: 3\nawake: true",
    ),
    "tasks": ({"List": {"item_schema": None, "max_items": None}}, "1. Call.\nTwice.\n2. {a: 1}\n3. 35"),
    "log": (
        {"Log": {"display_limit": 9, "entry_schema": {"timestamp": True, "agent_id": True, "fields": [
            FIELD | {"name": "what", "field_type": "Text"}, FIELD | {"name": "more", "field_type": "Text"},
        ]}}},
        "[2026-01-02T00:00:00Z] (a) it rained all day\n[2026-01-01T00:00:00Z] (b) sun",
    ),
}  # fmt: skip
"""Schemas and previews, all of which values of the schema can show."""

UNSHOWN: dict[str, tuple[dict[str, Any] | None, str]] = {
    "done": ({"List": {"item_schema": None, "max_items": None}}, "[x] {done: true, text: Call.}"),
    "window": ({"Text": {"viewport": {"start_line": 1, "display_lines": 1}}}, "[Showing lines 1-1 of 2]\na"),
    "board": ({"Composite": {"sections": []}}, "something"),
}
"""Previews that no values would show, as far as anybody here can tell."""


async def emptied() -> bytes:
    """One agent with a memory block for each of SCHEMAS and UNSHOWN, all documents empty."""
    out = Kept()
    await write_car(encode(chunk(map_rows(_rows())), exported_at="2026-01-05T00:00:00Z"), out)
    return out.data


async def _rows() -> AsyncGenerator[RowEvent]:
    yield Open(AgentExport, row(Agent, id="a", name="Anchor", model_provider="p", model_name="m", status="active"))
    for label, (schema, preview) in sorted({**SCHEMAS, **UNSHOWN}.items()):
        cells = {"id": f"mem_{label}", "agent_id": "a", "label": label, "block_type": "core", "permission": "append"}
        metadata = None if schema is None else json.dumps({"schema": schema, "kept": 1})
        yield OpenMemoryBlock(row(MemoryBlock, **cells, content_preview=preview, metadata=metadata))
        yield Close()
    yield Close()
