"""Edits of living memory blocks that stay although an archive replaces the block: it brings the same document."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import field

from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.write.living_document import LivingDocument
from pattern_stream.errors import DamagedMemory, LimitExceeded
from pattern_stream.items import OpenMemoryBlock, RecordEvent
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.stages.edit.check_documents import Show, metadata_text
from pattern_stream.streams import closing


@dataclass(frozen=True, slots=True)
class KeptEdits:
    """Looks for memory blocks that come without a history, and whose stored base and active updates lead to the same.

    `stored`: of each such block a digest of its stored document, which may have changed when the block is written.
    Memory:  the documents of one block; a digest for each block that was found.
    """

    connection: Connection
    show: Show
    _found: dict[str, bytes] = field(default_factory=dict)

    @property
    def stored(self) -> Mapping[str, bytes]:
        """Digests by the ids of the blocks."""
        return self._found

    async def watch(self, events: AsyncGenerator[RecordEvent]) -> AsyncGenerator[RecordEvent]:
        """Look at the events of an archive, and let them pass."""
        async with closing(events):
            async for event in events:
                await self._add(event)
                yield event

    async def _add(self, event: RecordEvent) -> None:
        if not isinstance(event, OpenMemoryBlock) or event.history is not None or event.document is None:
            return
        block_id, document, metadata = event.record["id"], event.document, metadata_text(event.record["metadata"])
        living = await self.connection.run(LivingDocument.read, block_id)
        if living is None:
            return
        try:
            same = (document == living.base and not living.updates) or (
                await self.show(document, (), metadata) == await self.show(living.base, living.updates, metadata)
            )
        except (DamagedMemory, LimitExceeded):  # nobody can tell
            return
        if same:
            self._found[block_id] = living.digest
