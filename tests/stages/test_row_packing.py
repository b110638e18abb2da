"""Row events put aside as bytes: whatever an event has comes back, of the same types."""

from __future__ import annotations

import pytest

from pattern_stream.items import (
    Cells,
    Close,
    MemoryHistory,
    Open,
    OpenConstellation,
    OpenGroupConfig,
    OpenMemoryBlock,
    OpenTable,
    Piece,
    Ref,
    RowEvent,
    Rows,
)
from pattern_stream.schema.model.cells import Large, NotUtf8, StoredText
from pattern_stream.schema.model.nodes import AgentExport, MemoryBlockExport
from pattern_stream.schema.model.records import Message
from pattern_stream.stages.row_packing import pack_row, unpack_rows
from tests.contracts import check_stage
from tests.drive import collect, dribble

pytestmark = pytest.mark.anyio

EVENTS: list[RowEvent] = [
    OpenConstellation(owner_id="o", version=4, exported_at="2026-01-02T03:04:05Z"),
    Open(AgentExport, ("a", None, 7, 0.5, b"\0"), key="a", archive_id="z"),
    OpenMemoryBlock(record=("m",), document=b"d", history=MemoryHistory(b"base", None)),
    Ref(MemoryBlockExport, "blocks", "m"),
    Rows(Message, [("m1", StoredText("[1]"), Large(10**9, text=True)), ("’", None)]),
    Piece("content_json", b"x" * 100_000),
    OpenGroupConfig(member_agent_ids=["a"], member_candidates=[("a", "b")]),
    OpenTable(table=None, columns=[{"name": "k", "rowid": True}], count=1, untranslated=True),
    Cells("t", [(NotUtf8(b"\xff"), float("-inf"))]),
    Close(),
]


def typed(value: object) -> object:
    """A value with the type of each part, which equality alone does not see."""
    if isinstance(value, (list, tuple)):
        return type(value), [typed(part) for part in value]
    return type(value), value


@pytest.mark.parametrize("piece_bytes", [1, 7, 4096, 10**6])
async def test_events_come_back(piece_bytes: int) -> None:
    """In pieces of any size."""
    packed = b"".join(map(pack_row, EVENTS))
    found = await collect(unpack_rows(dribble(packed, piece_bytes)))

    assert EVENTS == found
    rows = [typed(event.rows) for event in EVENTS if isinstance(event, (Rows, Cells))]
    assert rows == [typed(event.rows) for event in found if isinstance(event, (Rows, Cells))]


async def test_unpacking_is_a_stage() -> None:
    """An early stop closes upstream, nothing gives nothing, errors pass."""
    await check_stage(unpack_rows, list(map(pack_row, EVENTS)))
