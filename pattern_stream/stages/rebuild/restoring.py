"""What an archive holds in pieces, put together again: documents, values outside their record, batches of rows."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pattern_stream.codec.cid import cid_text
from pattern_stream.codec.message_arrays import CACHED_MAPS, MessageArray
from pattern_stream.errors import Finding, LimitExceeded, MalformedNode, Report, Where
from pattern_stream.format import BATCH_BYTES, BATCH_ROWS
from pattern_stream.items import Cells, MemoryHistory, Node, Open, OpenMemoryBlock, Piece, RecordEvent, Records
from pattern_stream.schema.model.cells import HISTORY_COLUMNS, External, Large, NotUtf8, StoredText
from pattern_stream.schema.model.records import MemoryBlock, Record

_BLOCK_FIELDS: Final = tuple(field.name for field in MemoryBlock.wire_fields())
_decoder: Final = getincrementaldecoder("utf-8")

MAX_HELD_BYTES: Final = 512 * 1024 * 1024
"""Most bytes of one memory block that wait for its document: what an export refuses to make. Ours."""


def moved_values(content: Any) -> dict[Any, External]:
    """The values of a record, or of a row, that were moved out of it, in the order of its keys."""
    if External not in map(type, content.values() if type(content) is dict else content):
        return {}  # so it is with nearly all
    items = content.items() if type(content) is dict else enumerate(content)
    return {key: value for key, value in items if type(value) is External}


class RestoredBatch:
    """Records or rows of one kind, until they are enough to be handed on."""

    def __init__(self) -> None:
        self._kind: type[Record] | str = ""
        self._rows: list[Any] = []
        self._bytes = 0

    def add(self, kind: type[Record] | str, rows: Sequence[Any], size: int) -> Iterator[Records | Cells]:
        """More of them, `size` bytes together; kind: record type, or name of a table."""
        if kind != self._kind or self._bytes + size > BATCH_BYTES:
            yield from self.flush()
        self._kind = kind
        if isinstance(rows, MessageArray):
            yield from self.flush()
            yield from map(self._made, rows.groups(CACHED_MAPS))
            return
        self._rows += rows
        self._bytes += size
        while len(self._rows) >= BATCH_ROWS:
            full, self._rows = self._rows[:BATCH_ROWS], self._rows[BATCH_ROWS:]
            self._bytes = self._bytes * len(self._rows) // (len(self._rows) + len(full))
            yield self._made(full)

    def flush(self) -> Iterator[Records | Cells]:
        """What there is."""
        if self._rows:
            rows, self._rows, self._bytes = self._rows, [], 0
            yield self._made(rows)

    def _made(self, rows: list[Any]) -> Records | Cells:
        return Cells(self._kind, rows) if isinstance(self._kind, str) else Records(self._kind, rows)


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

    Memory:  the two documents, and rows and values up to MAX_HELD_BYTES.
    """

    def __init__(self, node: Node, limit: int, damage: Report | None) -> None:
        self.in_history = False
        self._history: Node | None = None
        self._node = node
        self._limit = limit
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

    def _too_large(self, document: DocumentPieces) -> LimitExceeded:
        return LimitExceeded(
            f"memory document is at least {document.size} bytes, limit is {self._limit}",
            where=self._where(),
            hint="--max-document-bytes raises the limit",
        )

    def _where(self) -> Where:
        node = self._node
        table, row_id = MemoryBlock.table, node.value["id"]
        return Where(stage="unchunk", offset=node.offset, cid=cid_text(node.cid), table=table, row_id=row_id)


class Restoring:
    """A record or row whose values are still coming: few bytes are put back, many are handed on as they come.

    `make`: the event of the record or row. `names`: of a row's columns. `after`: events that follow.
    """

    def __init__(
        self,
        make: Callable[[Any], Any],
        content: Any,
        external: dict[Any, External],
        node: Node,
        record: type[Record] | None,
        after: tuple[RecordEvent, ...] = (),
        names: tuple[str, ...] = (),
    ) -> None:
        self._make = make
        self._content = content
        self._external = external
        self._node = node
        self._record = record
        self._after = after
        self._names = names
        self._is_large = sum(value.bytes for value in external.values()) > BATCH_BYTES
        self._pieces: dict[Any, list[bytes]] = {key: [] for key in external}
        self._got = dict.fromkeys(external, 0)
        self._decoders = {key: _decoder() for key in external} if record is not None else {}

    def start(self) -> Iterator[RecordEvent]:
        """The event itself where the values follow it."""
        if self._is_large:
            yield self._make(self._with({key: Large(value.bytes, value.text) for key, value in self._external.items()}))

    def add(self, node: Node, *, tolerate: Report | None) -> Iterator[RecordEvent]:
        """One more piece. Raises MalformedNode: a text of a record that is no UTF-8."""
        key, data = node.value["of"], node.value["data"]
        self._got[key] += len(data)
        if not self._is_large:
            self._pieces[key].append(data)
            return
        if self._record is not None:
            self._decode(key, data, tolerate)
        yield Piece(key if isinstance(key, str) else self._names[key], data)

    def _decode(self, key: Any, data: bytes, tolerate: Report | None) -> str:
        """A text as far as it has come, piece by piece where it is large."""
        whole = self._got[key] == self._external[key].bytes
        try:
            return str(self._decoders[key].decode(data, final=whole))
        except UnicodeDecodeError as error:
            self._tell(key, tolerate, error)
            return ""

    def _tell(self, key: Any, tolerate: Report | None, cause: UnicodeDecodeError) -> None:
        table = self._record.table if self._record is not None else None
        where = Where(
            stage="unchunk", offset=self._node.offset, cid=cid_text(self._node.cid), table=table,
            row_id=str(self._content["id"]), field=key,
        )  # fmt: skip
        fault = MalformedNode(f"text outside its record is no UTF-8 ({cause.reason})", where=where)
        if tolerate is None:
            raise fault from cause
        tolerate(Finding.of(fault))

    def finish(self, *, tolerate: Report | None) -> Iterator[RecordEvent]:
        """The event with all values in it, unless it went before them; and what follows.

        What is not whole is damage that was told already: of it only what opens a node is handed on.
        """
        if not self._is_large:
            whole = all(self._got[key] == value.bytes for key, value in self._external.items())
            event = self._make(self._with({key: self._restored(key, tolerate) for key in self._external}))
            if whole or isinstance(event, Open):
                yield event
        yield from self._after

    def _restored(self, key: Any, tolerate: Report | None) -> Any:
        data = b"".join(self._pieces[key])
        if self._record is not None:
            text = self._decode(key, data, tolerate)
            kinds = {field.name: field.kind for field in self._record.wire_fields()}
            return StoredText(text) if kinds[key] == "json" else text
        if not self._external[key].text:
            return data
        try:
            return data.decode()
        except UnicodeDecodeError:
            return NotUtf8(data)

    def _with(self, values: dict[Any, Any]) -> Any:
        if type(self._content) is dict:
            return self._content | values
        return tuple(values.get(index, cell) for index, cell in enumerate(self._content))
