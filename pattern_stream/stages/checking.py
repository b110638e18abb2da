"""Memory documents looked into, by somebody who can be trusted with them, before anything takes them in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

from pattern_stream.errors import DamagedDocument, LimitExceeded
from pattern_stream.items import Open, RecordEvent
from pattern_stream.schema.nodes import MemoryBlockExport
from pattern_stream.schema.values import write_json
from pattern_stream.stages.streams import Events, closing

Check = Callable[[bytes, str | None], Awaitable[object]]
"""check(document, metadata JSON text). Raises DamagedDocument or LimitExceeded."""


async def check_documents(events: Events[RecordEvent], check: Check) -> AsyncGenerator[RecordEvent]:
    """Have each memory document checked; everything passes.

    Memory:  one document.
    Raises:  DamagedDocument, LimitExceeded: naming the memory block.
    Source:  loro 5.
    """
    async with closing(events):
        async for event in events:
            if isinstance(event, Open) and event.node is MemoryBlockExport and event.extra["loro_snapshot"]:
                await _check_one(event, check)
            yield event


async def _check_one(event: Open, check: Check) -> None:
    metadata = event.record["metadata"]
    try:
        await check(event.extra["loro_snapshot"], None if metadata is None else write_json(metadata))
    except (DamagedDocument, LimitExceeded) as error:
        raise error.at(stage="documents", table="memory_blocks", row_id=event.record["id"]) from None
