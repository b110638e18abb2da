"""Memory documents made where a source has only text: the way in for data that never was in a document."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from blake3 import blake3

from pattern_stream.errors import PatternStreamError, Where
from pattern_stream.items import Folded, OpenMemoryBlock, Row, RowEvent
from pattern_stream.schema.model.records import MemoryBlock
from pattern_stream.streams import Events, closing

Edit = tuple[str, str, Any]
"""The kind ("text", "map", "list", "counter") and name of a root container, and all that is to be in it."""

Write = Callable[[Sequence[Edit], str | None, int], Awaitable[Folded]]
"""write(edits, metadata JSON text, peer) -> Folded: a new document."""

_ID: Final = MemoryBlock.index("id")
_SNAPSHOT: Final = MemoryBlock.index("loro_snapshot")
_FRONTIER: Final = MemoryBlock.index("frontier")
_PREVIEW: Final = MemoryBlock.index("content_preview")
_METADATA: Final = MemoryBlock.index("metadata")
_PEER_BYTES: Final = 7
"""Of the digest that names a peer: Loro's peers have 64 bits, of which the largest number is taken."""


async def write_documents(events: Events[RowEvent], write: Write) -> AsyncGenerator[RowEvent]:
    """Give each memory block without a document one that shows its preview; pass everything else through.

    In:      Open, Rows ... as a source yields them; `loro_snapshot` is empty where there is no document yet.
    Out:     the same with `loro_snapshot` and `frontier` filled in. Equal blocks get equal bytes.
    Memory:  one document.
    Raises:  what `write` raises, with the memory block's place.
    """
    async with closing(events):
        async for event in events:
            if isinstance(event, OpenMemoryBlock) and not event.record[_SNAPSHOT]:
                yield replace(event, record=await _written(event.record, write))
            else:
                yield event


async def _written(row: Row, write: Write) -> Row:
    cells = list(row)
    text = cells[_PREVIEW] or ""
    try:
        made = await write([("text", "content", text)], cells[_METADATA], peer_of(cells[_ID], text))
    except PatternStreamError as error:
        raise error.at(Where("convert", table=MemoryBlock.table, row_id=cells[_ID], field="content_preview")) from None
    cells[_SNAPSHOT], cells[_FRONTIER] = made.snapshot, made.frontier
    return tuple(cells)


def peer_of(block_id: str, text: str) -> int:
    """The Loro peer that writes a text into a memory block: a hash of both."""
    return int.from_bytes(blake3(f"{block_id}\0{text}".encode()).digest(_PEER_BYTES), "big")
