"""Memory made current: edits that wait in rows of their own go into the document they belong to."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import field, replace
from typing import Any, Final, Literal

from pattern_stream.errors import (
    DamagedMemory,
    DocumentTooLarge,
    Finding,
    InvalidCell,
    PatternStreamError,
    Report,
    Where,
    ignore_findings,
)
from pattern_stream.format import DOCUMENT_GROWTH, MAX_DOCUMENT_BYTES
from pattern_stream.items import Close, Fold, Folded, Open, OpenHistory, OpenMemoryBlock, Piece, Row, RowEvent, Rows
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.records import MemoryBlock, MemoryUpdate
from pattern_stream.streams import Events, closing

Oversized = Literal["refuse", "carry", "salvage"]
"""What becomes of a block whose document is too large. carry: it goes out as it is stored, beside its history, up to
DOCUMENT_GROWTH times the limit, and the worker never sees it; salvage: likewise, without its updates, as damaged."""

_ID: Final = MemoryBlock.index("id")
_SNAPSHOT: Final = MemoryBlock.index("loro_snapshot")
_FRONTIER: Final = MemoryBlock.index("frontier")
_PREVIEW: Final = MemoryBlock.index("content_preview")
_METADATA: Final = MemoryBlock.index("metadata")
_SEQ: Final = MemoryUpdate.index("seq")
_UPDATE: Final = MemoryUpdate.index("update_blob")


async def fold_memory(
    events: Events[RowEvent],
    fold: Fold,
    report: Report = ignore_findings,
    *,
    stored_previews: bool = True,
    max_document_bytes: int = MAX_DOCUMENT_BYTES,
    oversized: Oversized = "refuse",
) -> AsyncGenerator[RowEvent]:
    """Give each memory block its current document and version; pass everything else through.

    In:      an opened memory block holds its row (and the Pieces of it, if any), then batches of its active updates in
             seq order, then its History, if that goes along, and Close.
    Out:     the block opened with `loro_snapshot` and `frontier` replaced, and the rest; no updates. Nothing to fold:
             the stored bytes go out untouched, and the History has no base. A block that is damaged has no History:
             what is good of it is in the document. Without `stored_previews` each block gets the text of the document
             that goes out as its preview: a stored one may hold text that was undone since.
    Memory:  the updates of one block, at most DOCUMENT_GROWTH times `max_document_bytes`, and what Pieces it has.
    Raises:  DamagedMemory: a snapshot or update cannot be read (row_id, seq, reason); InvalidCell; DocumentTooLarge:
             a document is, or grows to be, larger than `max_document_bytes`, see Oversized.
    Reports: stale-preview (info): the stored preview is not the text of the document, as after an undo;
             damaged-memory (error): `fold` salvages, and this block goes out as far as it is good;
             document-unchecked (warning): it is too large, and goes out as it is stored.
    Source:  docs/memory.md#folding, docs/format.md#memory-history.
    """
    pending: UnfoldedBlock | None = None
    history = HistoryFilter()
    async with closing(events):
        async for event in events:
            if isinstance(event, OpenMemoryBlock):
                pending = UnfoldedBlock(event, stored_previews, max_document_bytes, oversized)
            elif pending is not None and isinstance(event, Piece):
                pending.pieces.append(event)
            elif pending is not None and isinstance(event, Rows) and event.record is MemoryUpdate:
                pending.add(event.rows)
            else:
                if pending is not None:
                    opened = await pending.folded(fold, report)
                    history = HistoryFilter(opened.record[_SNAPSHOT], pending.damaged)
                    yield opened
                    for piece in pending.pieces:
                        yield piece
                    pending = None
                if (kept := history.filter(event)) is not None:
                    yield kept


@dataclass(slots=True)
class HistoryFilter:
    """Drops the history of a damaged block; clears `base` when it equals the exported snapshot."""

    document: bytes = b""
    damaged: bool = False
    _silent: bool = False

    def filter(self, event: RowEvent) -> RowEvent | None:
        """The event as it goes on, None where it does not."""
        if isinstance(event, OpenHistory):
            self._silent = self.damaged
            if not self._silent and event.stored.base == self.document:
                event = replace(event, stored=replace(event.stored, base=None))
        if not self._silent:
            return event
        self._silent = not isinstance(event, Close)
        return None


@dataclass(slots=True)
class UnfoldedBlock:
    """A memory block whose updates are still coming in."""

    opened: Open
    stored_preview: bool
    max_document_bytes: int
    oversized: Oversized
    updates: list[tuple[int, bytes]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    updates_bytes: int = 0
    damaged: bool = False
    _too_large: DocumentTooLarge | None = None

    def add(self, rows: list[Row]) -> None:
        """Keep more updates. Raises InvalidCell, DocumentTooLarge."""
        for row in rows:
            seq, data = row[_SEQ], row[_UPDATE]
            if type(seq) is not int or type(data) is not bytes:
                found = f"seq {seq!r}, {type(data).__name__}"
                where = self._where("update_blob")
                raise InvalidCell(f"found an update with {found}, expected a number and bytes", where=where)
            self.updates.append((seq, data))
            self.updates_bytes += len(data)
        limit = DOCUMENT_GROWTH * self.max_document_bytes
        if self.updates_bytes > limit:
            message = f"updates of the memory block are over {self.updates_bytes} bytes, limit is {limit} bytes"
            error = DocumentTooLarge(message, where=self._where("update_blob"))
            if self.oversized != "salvage":
                raise error
            self._too_large = error
            self.updates.clear()

    async def folded(self, fold: Fold, report: Report) -> Open:
        """The block with its current document. Raises what `fold` raises, with the place filled in."""
        row = self.opened.record
        try:
            result = await self._result(fold, report)
        except PatternStreamError as error:
            raise error.at(self._where(None)) from None
        self._judge(result, report)
        cells = list(row)
        cells[_SNAPSHOT], cells[_FRONTIER] = result.snapshot, result.frontier
        if not self.stored_preview and (_text(row[_PREVIEW]) or "") != result.rendered:
            cells[_PREVIEW] = result.rendered or None
            self.pieces = [piece for piece in self.pieces if piece.column != "content_preview"]
        return replace(self.opened, record=tuple(cells))

    async def _result(self, fold: Fold, report: Report) -> Folded:
        row, limit = self.opened.record, self.max_document_bytes
        stored = _snapshot(row)
        try:
            if self._too_large is not None:
                raise self._too_large
            result = await fold(stored, self.updates, _text(row[_METADATA]))
            if len(result.snapshot) > limit:
                raise DocumentTooLarge(f"memory document grows to {len(result.snapshot)} bytes, limit is {limit} bytes")
        except DocumentTooLarge as error:
            if self.oversized == "refuse" or (self.oversized == "carry" and len(stored) > DOCUMENT_GROWTH * limit):
                raise
            as_stored = Folded(stored, row[_FRONTIER], changed=False)
            if self.oversized == "salvage":
                return replace(as_stored, damage=f"{error.message}; stored snapshot kept, no updates")
            message = f"memory block goes out as it is stored, and was not looked into: {error.message}"
            report(Finding("warning", "document-unchecked", message, self._where("loro_snapshot"), error.hint))
            return as_stored
        return result

    def _judge(self, result: Folded, report: Report) -> None:
        """Say what is wrong with the block, as far as it does not stop the work."""
        if result.damage is not None:
            self.damaged = True
            message = f"memory block goes out as far as it is good: {result.damage}"
            report(Finding("error", _DAMAGED, message, self._where("loro_snapshot")))
        elif (
            self.stored_preview
            and result.rendered is not None
            and result.rendered != (_text(self.opened.record[_PREVIEW]) or "")
        ):
            message = "stored preview is not the text of the document with its edits; it goes out as it is"
            report(Finding("info", "stale-preview", message, self._where("content_preview")))

    def _where(self, place: str | None) -> Where:
        return Where("fold", table=MemoryBlock.table, row_id=_text(self.opened.record[_ID]), field=place)


_DAMAGED: Final = DamagedMemory("").code


def _snapshot(row: Row) -> bytes:
    """The stored snapshot; NULL is a new document. Raises InvalidCell."""
    stored = row[_SNAPSHOT]
    if stored is None or type(stored) is bytes:
        return stored or b""
    where = Where("fold", table=MemoryBlock.table, row_id=_text(row[_ID]), field="loro_snapshot")
    raise InvalidCell(f"found {type(stored).__name__} in loro_snapshot, expected bytes", where=where)


def _text(cell: Any) -> str | None:
    """Text as it is; anything else, such as a number in a JSON column, names no schema and shows no text."""
    return cell if isinstance(cell, str) else None
