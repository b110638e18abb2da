"""A memory block put together again: its record, its history, its document in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pattern_stream.codec.cid import cid_text
from pattern_stream.errors import DocumentTooLarge, Finding, LimitExceeded, Report, Where
from pattern_stream.format import DOCUMENT_GROWTH
from pattern_stream.items import MemoryHistory, Node, OpenMemoryBlock, RecordEvent
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.records import MemoryBlock
from pattern_stream.stages.rebuild.out_of_line import Restoring, moved_values

_BLOCK_FIELDS: Final = tuple(field.name for field in MemoryBlock.wire_fields())

MAX_HELD_BYTES: Final = 512 * 1024 * 1024
"""Most bytes of one memory block that wait for its document: what an export refuses to make. Ours."""


class DocumentPieces:
    """The pieces of a memory document. One that is too large is counted on, and its pieces are let go."""

    def __init__(self, limit: int) -> None:
        self.size = 0
        self._limit = limit
        self._pieces: list[bytes] = []

    @property
    def is_whole(self) -> bool:
        """Whether it was not too large."""
        return self.size <= self._limit

    def add(self, data: bytes) -> None:
        """One more piece."""
        self.size += len(data)
        if self.is_whole:
            self._pieces.append(data)
        else:
            self._pieces = []

    def joined(self) -> bytes:
        """All of it."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


@dataclass(frozen=True, slots=True)
class _RestoredRecord:
    """The record of a memory block with what was outside it, or Large in its place."""

    record: Any


class RestoredBlock:
    """A memory block until its end: its history comes first, then values outside its record, its document last.

    Documents that a whole backup has beside a history may be DOCUMENT_GROWTH times the limit: nobody looks into them.

    Memory:  the two documents, and rows and values up to MAX_HELD_BYTES.
    """

    def __init__(self, node: Node, limit: int, damage: Report | None, *, in_whole_backup: bool = False) -> None:
        self.in_history = False
        self._history: Node | None = None
        self._node = node
        self._limit = limit
        self._in_whole_backup = in_whole_backup
        self._damage = damage
        self._document = DocumentPieces(limit)
        self._base = DocumentPieces(limit)
        self._record: Any = {name: node.value[name] for name in _BLOCK_FIELDS}
        self._rows: list[RecordEvent] = []
        self._pieces: list[RecordEvent] = []
        self._held_bytes = 0
        self._overflown = False

    def begin_history(self, node: Node) -> None:
        """What follows is of the history, up to its Close."""
        self._history, self.in_history = node, True
        if self._in_whole_backup:
            self._limit *= DOCUMENT_GROWTH
            self._document, self._base = DocumentPieces(self._limit), DocumentPieces(self._limit)

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """The columns of the tables of its history."""
        given = self._history.value["columns"] if self._history is not None else None
        return HISTORY_COLUMNS if given is None else given

    def count(self, size: int) -> None:
        """So many more bytes are about to be held. Raises LimitExceeded."""
        self._held_bytes += size
        if self._held_bytes > MAX_HELD_BYTES:
            self._overflow()

    def hold(self, event: Any) -> None:
        """Keep what goes out behind the Open."""
        if isinstance(event, _RestoredRecord):
            self._record = event.record
        elif not self._overflown:
            (self._rows if self.in_history else self._pieces).append(event)

    def _overflow(self) -> None:
        self._rows, self._pieces = [], []
        message = f"history and values of the memory block are over {MAX_HELD_BYTES} bytes, which is the limit"
        error = LimitExceeded(message, where=self._where())
        if self._damage is None:
            raise error
        if not self._overflown:
            self._damage(Finding.of(error))
        self._overflown = True

    def add(self, data: bytes) -> None:
        """A piece of the document; of the stored one inside the history. Raises LimitExceeded."""
        document = self._base if self.in_history else self._document
        document.add(data)
        if not document.is_whole and self._damage is None:
            raise self._too_large(document)

    def opened(self) -> Iterator[RecordEvent]:
        """The Open, with all of its documents, and what was held until then."""
        document = self._document.joined() if self._told_whole(self._document) else None
        history = None
        if self._history is not None and self._told_whole(self._base):
            stored = self._history.value
            base = None if stored["base"] is None else self._base.joined()
            history = MemoryHistory(base, stored["frontier"], self.columns)
        yield OpenMemoryBlock(self._record, self._node.value["id"], document=document, history=history)
        yield from self._pieces
        yield from self._rows

    def restoring(self) -> Restoring:
        """The values outside the record, whose first piece is here."""
        return Restoring(_RestoredRecord, self._record, moved_values(self._record), self._node, MemoryBlock)

    def _told_whole(self, document: DocumentPieces) -> bool:
        if not document.is_whole and self._damage is not None:
            self._damage(Finding.of(self._too_large(document)))
        return document.is_whole

    def _too_large(self, document: DocumentPieces) -> DocumentTooLarge:
        return DocumentTooLarge(
            f"memory document is at least {document.size} bytes, limit is {self._limit}", where=self._where()
        )

    def _where(self) -> Where:
        node = self._node
        table, row_id = MemoryBlock.table, node.value["id"]
        return Where(stage="unchunk", offset=node.offset, cid=cid_text(node.cid), table=table, row_id=row_id)
