"""Memory documents looked into, by somebody who can be trusted with them, before anything takes them in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import field
from typing import Any, Final, TypeVar

from pattern_stream.errors import (
    DamagedDocument,
    DamagedMemory,
    DocumentTooLarge,
    Finding,
    LimitExceeded,
    Report,
    Where,
    ignore_findings,
)
from pattern_stream.format import MAX_DOCUMENT_BYTES
from pattern_stream.items import Cells, Close, MemoryHistory, OpenMemoryBlock, Piece, RecordEvent, Row
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.json_values import write_json
from pattern_stream.schema.model.cells import Large, StoredText
from pattern_stream.schema.model.nodes import HISTORY_TABLES, CheckpointChunk, UpdateChunk
from pattern_stream.streams import Events, closing

Found = TypeVar("Found")
Check = Callable[[bytes, str | None], Awaitable[Found]]
"""check(document, metadata JSON text). Raises DamagedDocument or LimitExceeded."""

Show = Callable[[bytes, Sequence[tuple[int, bytes]], str | None], Awaitable[object]]
"""show(document, [(seq, update), ...], metadata text): what may be compared. Raises DamagedMemory, LimitExceeded."""

MAX_REPLAYED_BYTES: Final = 4 * MAX_DOCUMENT_BYTES
"""Most bytes of one block's active updates that are applied again to see what they lead to. Ours, as on export."""


async def check_documents(
    events: Events[RecordEvent], check: Check[object], show: Show | None = None, report: Report = ignore_findings
) -> AsyncGenerator[RecordEvent]:
    """Have each memory document checked; everything passes.

    With `show`, a document that has a history must be what its stored form and its active updates lead to.

    Memory:  one document, and the active updates of its block up to MAX_REPLAYED_BYTES; more are a warning.
    Raises:  DamagedDocument, DocumentTooLarge: naming the memory block. One in a whole backup is a warning.
    Source:  docs/memory.md#hostile-documents, docs/format.md#memory-history.
    """
    replay: Replayed | None = None
    async with closing(events):
        async for event in events:
            if isinstance(event, OpenMemoryBlock):
                replay = Replayed.of(event) if show is not None else None
                try:
                    if event.document:
                        await check_one(event, check)
                except DocumentTooLarge as error:
                    report(unchecked(event, error))
                    replay = None
            elif replay is not None and show is not None and await replay.add(event, show, report):
                replay = None
            yield event


async def check_one(event: OpenMemoryBlock, check: Check[Found]) -> Found:
    """Have the document of a memory block checked. Raises DamagedDocument, DocumentTooLarge: naming the block."""
    try:
        return await check(event.document or b"", metadata_text(event.record["metadata"]))
    except (DamagedDocument, LimitExceeded) as error:
        raise error.at(stage="documents", table="memory_blocks", row_id=event.record["id"]) from None


def unchecked(event: OpenMemoryBlock, error: DocumentTooLarge) -> Finding:
    """The warning that nobody looked into a document, which only a whole backup may have. Raises the error itself."""
    if event.history is None:
        raise error
    message = f"memory document was not looked into: {error.message}"
    return Finding("warning", "document-unchecked", message, error.where, error.hint)


def metadata_text(metadata: Any) -> str | None:
    """A memory block's metadata as JSON text; what is too large for its record names no schema."""
    if metadata is None or type(metadata) is Large:
        return None
    return str(metadata) if type(metadata) is StoredText else write_json(metadata)


@dataclass(slots=True)
class Replayed:
    """A memory block with a history: its active updates, gathered to be applied to what is stored."""

    block: OpenMemoryBlock
    history: MemoryHistory
    updates: list[tuple[int, list[bytes]]] = field(default_factory=list)
    updates_bytes: int = 0
    _newest: tuple[str, int] = ("", 0)
    _checkpoint: list[bytes] = field(default_factory=list)
    _coming: tuple[str, list[bytes]] | None = None
    """The column of a Large cell that is wanted, and the pieces of it that have come."""

    @classmethod
    def of(cls, event: OpenMemoryBlock) -> Replayed | None:
        """None where the block has no history, or no document to compare with."""
        return None if event.history is None or event.document is None else cls(event, event.history)

    async def add(self, event: RecordEvent, show: Show, report: Report) -> bool:
        """Take one more event inside the block; whether it was the last. Raises DamagedDocument, LimitExceeded."""
        if isinstance(event, Cells):
            self._coming = None
            if event.table == HISTORY_TABLES[UpdateChunk]:
                self._add_rows(event.rows)
            elif self.history.base == b"":
                self._add_checkpoints(event.rows)
        elif isinstance(event, Piece):
            if self._coming is not None and event.column == self._coming[0]:
                self._coming[1].append(event.data)
        elif isinstance(event, Close):
            await self._compare(show, report)
            return True
        return False

    def _add_rows(self, rows: list[Row]) -> None:
        columns = self.history.columns[HISTORY_TABLES[UpdateChunk]]
        seq, update = columns.index("seq"), columns.index("update_blob")
        active = columns.index("is_active") if "is_active" in columns else None
        for row in rows:
            if active is None or row[active] == 1:
                self._add_update(row[seq], row[update])

    def _add_checkpoints(self, rows: list[Row]) -> None:
        """An empty document starts from its newest checkpoint, as on export. Source: docs/memory.md#checkpoints."""
        columns = self.history.columns[HISTORY_TABLES[CheckpointChunk]]
        created, number, snapshot = (columns.index(name) for name in ("created_at", "id", "snapshot"))
        for row in rows:
            age = (str(row[created]), row[number] if type(row[number]) is int else 0)
            if type(row[snapshot]) in (bytes, Large) and age > self._newest:
                self._newest, self._checkpoint = age, self._pieces_of("snapshot", row[snapshot])

    def _add_update(self, seq: Any, update: Any) -> None:
        if type(seq) is not int or type(update) not in (bytes, Large):
            raise self._damaged(f"an update has {type(seq).__name__} and {type(update).__name__} for number and bytes")
        self.updates_bytes += update.bytes if type(update) is Large else len(update)
        if self.updates_bytes <= MAX_REPLAYED_BYTES:
            self.updates.append((seq, self._pieces_of("update_blob", update)))

    def _pieces_of(self, column: str, cell: Any) -> list[bytes]:
        """The bytes of a cell; those of a Large one are appended as they come."""
        if type(cell) is not Large:
            return [cell]
        self._coming = (column, [])
        return self._coming[1]

    async def _compare(self, show: Show, report: Report) -> None:
        if self.history.base is None and not self.updates:
            return
        replayed_bytes = self.updates_bytes + sum(map(len, self._checkpoint))
        if replayed_bytes > MAX_REPLAYED_BYTES:
            message = f"active updates and their start are {replayed_bytes} bytes: not compared with the document"
            report(Finding("warning", "history-unchecked", message, self._where()))
            return
        document = self.block.document or b""
        stored = document if self.history.base is None else self.history.base or b"".join(self._checkpoint)
        updates = [(seq, b"".join(pieces)) for seq, pieces in self.updates]
        metadata = metadata_text(self.block.record["metadata"])
        try:
            equal = await show(document, (), metadata) == await show(stored, updates, metadata)
        except DamagedMemory as error:
            raise self._damaged(error.message) from None
        except DocumentTooLarge as error:
            message = f"history was not compared with the document: {error.message}"
            report(Finding("warning", "history-unchecked", message, self._where(), error.hint))
            return
        if not equal:
            raise self._damaged("the document is not what its stored form and its active updates lead to")

    def _where(self) -> Where:
        return Where(stage="documents", table="memory_blocks", row_id=self.block.record["id"], field="history")

    def _damaged(self, reason: str) -> DamagedDocument:
        return DamagedDocument(f"history of the memory block is damaged: {reason}", where=self._where())
