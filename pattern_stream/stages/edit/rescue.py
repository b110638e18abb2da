"""Memory documents rebuilt from their previews, in archives that the original emptied.

# Trap: the original exports documents as they were created, without the edits (docs/format.md#flaws-of-pattern).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pattern_stream.errors import DamagedMemory, Finding, Report, Where
from pattern_stream.format import EXTENSION_KEY
from pattern_stream.items import Folded, OpenMemoryBlock, RecordEvent
from pattern_stream.schema.mapping.json_values import write_json
from pattern_stream.schema.model.cells import in_short
from pattern_stream.stages.edit.check_documents import Check, check_one, metadata_text
from pattern_stream.stages.writing import Edit, Write, peer_of
from pattern_stream.streams import Events, closing


class Emptiness(Protocol):
    """What a check says of a document: whether nothing was ever written to it, and the text that it shows."""

    @property
    def empty(self) -> bool: ...

    @property
    def rendered(self) -> str | None: ...


Unrender = Callable[[str | None, str], list[Edit]]
"""unrender(metadata JSON text, text) -> the values that may show the text."""


@dataclass(frozen=True, slots=True)
class Rescuer:
    """What the rescue of a document needs: somebody who looks into it, one who writes another, and the way back."""

    check: Check[Emptiness]
    write: Write
    unrender: Unrender
    report: Report

    async def rescue(self, event: OpenMemoryBlock) -> OpenMemoryBlock:
        """The memory block with a document that shows its preview, where its own is empty and shows something else."""
        preview, metadata = event.record["content_preview"], event.record["metadata"]
        if (
            event.history is not None
            or type(preview) is not str
            or not preview
            or type(metadata) not in (dict, type(None))
        ):
            return event
        found = await check_one(event, self.check)
        if not found.empty or found.rendered == preview:
            return event
        block_id, how, made = event.record["id"], "by its schema", None
        if edits := self.unrender(metadata_text(metadata), preview):
            made = await self._written(edits, metadata_text(metadata), peer_of(block_id, preview))
        known: dict[str, Any] = {"rescued": "schema"}
        rest = dict(metadata or {})
        if made is None or made.rendered != preview:
            how = "as plain text, since no values of its schema would show it"
            known = {"rescued": "text"} | ({"schema": rest.pop("schema")} if "schema" in rest else {})
            plain: list[Edit] = [("text", "content", preview)]
            made = await self.write(plain, write_json(rest), peer_of(block_id, preview))
        rest[EXTENSION_KEY] = {**(own if isinstance(own := rest.get(EXTENSION_KEY), dict) else {}), **known}
        label = in_short(event.record["label"])
        message = f"memory block {label!r} had an empty document: it was rebuilt from its preview, {how}"
        self.report(
            Finding("warning", "rescued-document", message, Where("rescue", table="memory_blocks", row_id=block_id))
        )
        record = event.record | {"metadata": rest, "frontier": list(made.frontier)}
        return replace(event, record=record, document=made.snapshot)

    async def _written(self, edits: list[Edit], metadata: str | None, peer: int) -> Folded | None:
        try:
            return await self.write(edits, metadata, peer)
        except DamagedMemory:  # values that no document takes
            return None


async def rescue_documents(events: Events[RecordEvent], rescuer: Rescuer) -> AsyncGenerator[RecordEvent]:
    """Give memory blocks whose document is empty, but whose preview is not, a document that shows the preview.

    Out:     the same events; of such a block the document, its frontier, and in its metadata how it was rebuilt.
    Memory:  one document.
    Reports: rescued-document (warning), for each.
    Source:  docs/memory.md#rescue.
    """
    async with closing(events):
        async for event in events:
            yield await rescuer.rescue(event) if isinstance(event, OpenMemoryBlock) else event
