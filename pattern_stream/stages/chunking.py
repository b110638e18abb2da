"""Many records to drafts that fit one block, and back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator

from pattern_stream.codec.cid import cid_text
from pattern_stream.codec.dagcbor import encode_records
from pattern_stream.errors import Finding, LimitExceeded, Report, Where, refuse
from pattern_stream.format import BATCH_BYTES, BATCH_ROWS, MAX_BLOCK_BYTES, MAX_DOCUMENT_BYTES, SNAPSHOT_CHUNK_BYTES
from pattern_stream.items import Close, Draft, DraftEvent, Node, Open, RecordDict, RecordEvent, Records, Ref, WalkEvent
from pattern_stream.schema.nodes import (
    AgentExport,
    ConstellationExport,
    ExportManifest,
    GroupConfigExport,
    MemoryBlockExport,
    MessageChunk,
    NodeType,
    SnapshotChunk,
)
from pattern_stream.schema.records import (
    ArchivalEntry,
    ArchiveSummary,
    Member,
    MemoryBlock,
    Message,
    Record,
    SharedAttachment,
)
from pattern_stream.schema.scopes import Limits
from pattern_stream.stages.streams import Events, closing

DEFAULT_LIMITS = Limits()
_ENVELOPE_BYTES = 200
"""More than the map around a chunk's messages takes, but for the two positions. Source: v3 8."""

_SINGLE = frozenset({ArchivalEntry, ArchiveSummary})
"""Records that have a block each."""

_BLOCK_FIELDS = tuple(field.name for field in MemoryBlock.wire_fields())


class ChunkBuilder:
    """The open chunk of messages. Messages are encoded once, here, and spliced into their block as they are."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS, too_large: Callable[[LimitExceeded], None] = refuse) -> None:
        self._limits = limits
        self._too_large = too_large
        self._parts: list[bytes] = []
        self._part_bytes = 0
        self._room = 0
        self._first: RecordDict = {}
        self._last: RecordDict = {}
        self._index = 0

    def add(self, event: RecordEvent) -> Iterator[DraftEvent]:
        """The events that follow from one more event."""
        if isinstance(event, Records) and event.record is Message:
            yield from self._add_messages(event)
            return
        yield from self._flush()
        if isinstance(event, Open) and event.node is AgentExport:
            self._index = 0
        yield event
        if isinstance(event, Open) and event.node is MemoryBlockExport:
            yield from cut_snapshot(event.extra["loro_snapshot"], row_id=event.record["id"])

    def _add_messages(self, event: Records) -> Iterator[Draft]:
        for record, encoded in zip(event.records, encode_records(event.records), strict=True):
            size = len(encoded)
            if self._part_bytes + size > self._room or len(self._parts) >= self._limits.max_messages:
                yield from self._flush()
                if not self._fits_alone(record, size):
                    continue
            if not self._parts:
                self._begin(record)
            self._parts.append(encoded)
            self._part_bytes += size
            self._last = record

    def _begin(self, record: RecordDict) -> None:
        """Start a chunk; a caller's limit leaves room for the map around the messages."""
        self._first = record
        envelope = _ENVELOPE_BYTES + 2 * len(record["position"].encode())
        self._room = min(self._limits.max_chunk_bytes, MAX_BLOCK_BYTES - envelope)

    def _fits_alone(self, record: RecordDict, size: int) -> bool:
        if size <= MAX_BLOCK_BYTES:
            return True
        where = Where(stage="chunk", table=Message.table, row_id=record["id"])
        self._too_large(LimitExceeded(f"message is {size} bytes, limit of one block is {MAX_BLOCK_BYTES}", where=where))
        return False

    def _flush(self) -> Iterator[Draft]:
        if not self._parts:
            return
        fields = {
            "chunk_index": self._index,
            "end_position": self._last["position"],
            "message_count": len(self._parts),
            "start_position": self._first["position"],
        }
        draft = Draft(MessageChunk, fields, tuple(self._parts), self._first["id"])
        self._parts, self._part_bytes, self._room = [], 0, 0
        self._index += 1
        yield draft


async def chunk(
    events: Events[RecordEvent],
    limits: Limits = DEFAULT_LIMITS,
    too_large: Callable[[LimitExceeded], None] = refuse,
) -> AsyncGenerator[DraftEvent]:
    """Group message records into drafts that fit one block, cut memory documents into pieces; the rest passes.

    In:      Records grouped by agent, in source order.
    Out:     Draft of MessageChunk: the sum of its messages <= limits.max_chunk_bytes, and at most
             limits.max_messages of them, index from 0 per agent. Draft of SnapshotChunk after the memory block's Open.
    Memory:  the open chunk and one batch.
    Raises:  LimitExceeded: one message is larger than a block (table, row, sizes), unless `too_large` takes it: the
             message is left out then.
    Source:  v3 5.4, 8.
    """
    builder = ChunkBuilder(limits, too_large)
    async with closing(events):
        async for event in events:
            for draft in builder.add(event):
                yield draft


def cut_snapshot(snapshot: bytes, *, row_id: str) -> Iterator[Draft]:
    """A memory document in pieces of at most SNAPSHOT_CHUNK_BYTES; an empty one has none."""
    for index, start in enumerate(range(0, len(snapshot), SNAPSHOT_CHUNK_BYTES)):
        piece = snapshot[start : start + SNAPSHOT_CHUNK_BYTES]
        yield Draft(SnapshotChunk, {"data": piece, "index": index}, row_id=row_id)


class RecordBuilder:
    """The batch, the memory block and the attachments that are being put together. Feed it events with `add`.

    `damage`: where a document that is too large goes; it is then left out of its memory block's `extra`. None raises.
    """

    def __init__(self, max_document_bytes: int = MAX_DOCUMENT_BYTES, *, damage: Report | None = None) -> None:
        self._max_document_bytes = max_document_bytes
        self._damage = damage
        self._record: type[Record] = Message
        self._batch: list[RecordDict] = []
        self._batch_bytes = 0
        self._open: list[type[NodeType]] = []
        self._attachments: list[list[RecordDict]] = []
        self._block: Node | None = None
        self._pieces: list[bytes] = []
        self._document_bytes = 0

    def add(self, event: WalkEvent) -> Iterator[RecordEvent]:
        """The events that follow from one more event."""
        if isinstance(event, Node):
            if event.node is SnapshotChunk:
                self._add_piece(event.value["data"])
            elif event.node is MessageChunk:
                yield from self._add_records(Message, event.value["messages"], event.size_bytes)
            elif event.node.record in _SINGLE:
                yield from self._add_records(event.node.record, [event.value], event.size_bytes)
            else:
                yield from self._flush()
                yield from self._start(event)
        elif isinstance(event, Ref):
            yield from self._flush()
            if event.field == "standalone_agent_cids":
                yield from self._attach()
            yield event
        else:
            yield from self._flush()
            yield from self._end(event)

    def _start(self, node: Node) -> Iterator[RecordEvent]:
        kind, value = node.node, node.value
        if kind.branches or kind is ExportManifest:
            self._open.append(kind)
            self._attachments.append(_attachments_of(node))
        if kind is ConstellationExport:
            yield Open(kind, extra={name: value[name] for name in ("version", "owner_id", "exported_at")})
        elif kind is GroupConfigExport:
            yield Open(kind, value["group"], extra={"member_agent_ids": value["member_agent_ids"]})
            yield Close()
        elif kind is MemoryBlockExport:
            self._block, self._pieces, self._document_bytes = node, [], 0
        elif (edge := kind.embedded()) is not None:
            record = value[edge.name]
            yield Open(kind, record, record["id"] if kind is AgentExport else None)
            yield from _batches(Member, value.get("members", []))

    def _end(self, close: Close) -> Iterator[RecordEvent]:
        yield from self._attach()
        self._attachments.pop()
        kind = self._open.pop()
        if self._block is not None:
            yield self._memory_block(self._block)
            self._block, self._pieces = None, []
        if kind is not ExportManifest:
            yield close

    def _attach(self) -> Iterator[Records]:
        """Attachments go behind the memory blocks that they name."""
        waiting, self._attachments[-1] = self._attachments[-1], []
        yield from _batches(SharedAttachment, waiting)

    def _add_piece(self, data: bytes) -> None:
        self._document_bytes += len(data)
        if self._document_bytes <= self._max_document_bytes:
            self._pieces.append(data)
        elif self._damage is None:
            raise self._too_large()
        else:
            self._pieces = []

    def _memory_block(self, node: Node) -> Open:
        record = {name: node.value[name] for name in _BLOCK_FIELDS}
        if self._document_bytes <= self._max_document_bytes:
            document = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            return Open(MemoryBlockExport, record, record["id"], {"loro_snapshot": document})
        if self._damage is not None:
            self._damage(Finding.of(self._too_large()))
        return Open(MemoryBlockExport, record, record["id"])

    def _too_large(self) -> LimitExceeded:
        node = self._block
        return LimitExceeded(
            f"memory document is at least {self._document_bytes} bytes, limit is {self._max_document_bytes}",
            where=Where(
                stage="unchunk",
                offset=node.offset if node is not None else None,
                cid=cid_text(node.cid) if node is not None else None,
                table=MemoryBlock.table,
                row_id=node.value["id"] if node is not None else None,
            ),
            hint="--max-document-bytes raises the limit",
        )

    def _add_records(self, record: type[Record], records: list[RecordDict], size: int) -> Iterator[Records]:
        if record is not self._record or self._batch_bytes + size > BATCH_BYTES:
            yield from self._flush()
        self._record = record
        self._batch += records
        self._batch_bytes += size
        while len(self._batch) >= BATCH_ROWS:
            full, self._batch = self._batch[:BATCH_ROWS], self._batch[BATCH_ROWS:]
            self._batch_bytes = self._batch_bytes * len(self._batch) // (len(self._batch) + len(full))
            yield Records(record, full)

    def _flush(self) -> Iterator[Records]:
        if self._batch:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            yield Records(self._record, batch)


async def unchunk(
    events: Events[WalkEvent], *, max_document_bytes: int = MAX_DOCUMENT_BYTES, damage: Report | None = None
) -> AsyncGenerator[RecordEvent]:
    """Nodes back to the records that `map_rows` yields on export: the reverse of `chunk` and `encode`.

    In:      one tree of Node, Ref and Close as `walk` yields it.
    Out:     one tree of Open ... Close from the data node down; the manifest is left out. Every Open has the record of
             its node (RecordDict of wire fields, checked, instants normalised), None only for ConstellationExport:

             Open(AgentExport, record, key = its id)         alone, in a constellation, or inline in a GroupExport
               Open(MemoryBlockExport, record, key = its id, {"loro_snapshot": the joined document}), Close
               Records(Message), Records(ArchivalEntry), Records(ArchiveSummary), each in the archive's order
             Open(GroupExport, record)                       Records(Member), agents, memory blocks,
                                                             Records(SharedAttachment)
             Open(GroupConfigExport, record, None, {"member_agent_ids": list of text}), Close
             Open(ConstellationExport, None, None, {"version", "owner_id", "exported_at"})
               agents, then groups, then memory blocks that no agent owns, Records(SharedAttachment),
               Ref(AgentExport, "standalone_agent_cids", agent id)
               Open(GroupExportThin, record)                 Records(Member), Ref(AgentExport, "agent_cids", agent id),
                                                             memory blocks, Records(SharedAttachment)

             A memory block that is linked again is Ref(MemoryBlockExport, field, its id), an agent likewise; `field` is
             the link's key in the innermost open node. Batches are never empty, at most BATCH_ROWS rows and, but for
             a single block's own rows, BATCH_BYTES.
    Memory:  one batch, one memory document, the attachments of the open nodes.
    Raises:  LimitExceeded: a memory document is larger than `max_document_bytes`, unless `damage` takes it: the Open
             then has no "loro_snapshot".
    Source:  v3 5, 6.
    """
    builder = RecordBuilder(max_document_bytes, damage=damage)
    async with closing(events):
        async for event in events:
            for record in builder.add(event):
                yield record


def _attachments_of(node: Node) -> list[RecordDict]:
    edge = node.node.home_of(SharedAttachment)
    return node.value[edge.name] if edge is not None else []


def _batches(record: type[Record], records: list[RecordDict]) -> Iterator[Records]:
    for start in range(0, len(records), BATCH_ROWS):
        yield Records(record, records[start : start + BATCH_ROWS])
