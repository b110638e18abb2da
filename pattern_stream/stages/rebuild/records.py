"""Nodes back to the records that an export started from: the reverse of `chunking` and `encoding`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

from pattern_stream.errors import Report
from pattern_stream.format import (
    BATCH_BYTES,
    BATCH_ROWS,
    MAX_DOCUMENT_BYTES,
)
from pattern_stream.items import (
    CELLS_TABLE,
    Cells,
    Close,
    MadeRows,
    Node,
    Open,
    OpenConstellation,
    OpenGroupConfig,
    OpenTable,
    RecordDict,
    RecordEvent,
    Records,
    Ref,
    WalkEvent,
)
from pattern_stream.schema.checks.version_4 import PAGES
from pattern_stream.schema.model.nodes import (
    HISTORY_TABLES,
    AgentExport,
    AttachmentPage,
    ConstellationExport,
    ExportManifest,
    GroupConfigExport,
    History,
    MemberIdPage,
    MemberPage,
    MemoryBlockExport,
    MessageChunk,
    SnapshotChunk,
    TableChunk,
    TableExport,
    ValueChunk,
)
from pattern_stream.schema.model.records import ArchivalEntry, ArchiveSummary, Member, Message, Record, SharedAttachment
from pattern_stream.stages.rebuild.memory_block import RestoredBlock
from pattern_stream.stages.rebuild.out_of_line import Restoring, moved_values
from pattern_stream.streams import Events, closing

_SINGLE = frozenset({ArchivalEntry, ArchiveSummary})
"""Records that have a block each."""

_ROWS: Final = frozenset({TableChunk, *HISTORY_TABLES})

_SMALL_BYTES: Final = 4096
"""Only messages of smaller chunks wait for those of the next: others come with their chunk, as where a worker made
their rows, so that findings and what is stored before an error are the same."""


class RestoredBatch:
    """Records or rows of one kind, until they are enough to be handed on."""

    def __init__(self) -> None:
        self._kind: type[Record] | str = ""
        self._rows: list[Any] = []
        self._bytes = 0

    def add(self, kind: type[Record] | str, rows: list[Any], size: int) -> Iterator[Records | Cells]:
        """More of them, `size` bytes together; kind: record type, or name of a table."""
        if kind != self._kind or self._bytes + size > BATCH_BYTES:
            yield from self.flush()
        self._kind = kind
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


class RecordBuilder:
    """The batch, the memory block and the attachments that are being put together. Feed it events with `add`.

    `damage`: where a document that is too large goes; its memory block then has none. None raises.
    `unread`: types of records that nobody looks at: they were checked in their nodes, and do not come out, but for
    those with values outside their block.
    """

    def __init__(
        self,
        max_document_bytes: int = MAX_DOCUMENT_BYTES,
        *,
        damage: Report | None = None,
        unread: frozenset[type[Record]] = frozenset(),
    ) -> None:
        self._max_document_bytes = max_document_bytes
        self._damage = damage
        self._unread = unread
        self._batch = RestoredBatch()
        self._open: list[Node] = []
        self._attachments: list[list[RecordDict]] = []
        self._table: tuple[str, tuple[str, ...]] = ("", ())
        self._block: RestoredBlock | None = None
        self._closing: RestoredBlock | None = None
        self._values: Restoring | None = None
        self._thin: Node | None = None
        self._ids: list[str] = []

    def add(self, event: WalkEvent) -> Iterator[RecordEvent]:
        """The events that follow from one more event."""
        if self._block is not None and isinstance(event, Node) and event.node is not SnapshotChunk:
            self._block.count(event.size_bytes)
        for made in self._events(event):
            if self._block is None:
                yield made
            else:
                self._block.hold(made)
        if isinstance(event, Close) and self._closing is not None:
            block, self._closing = self._closing, None
            yield from block.opened()
            yield event

    def _events(self, event: WalkEvent) -> Iterator[RecordEvent]:
        if isinstance(event, Node) and event.node is ValueChunk:
            yield from self._add_value(event)
            return
        if self._values is not None:
            yield from self._end_values()
        if isinstance(event, Node):
            yield from self._add_node(event)
        elif isinstance(event, Ref):
            yield from self._batch.flush()
            if event.field == "standalone_agent_cids":
                yield from self._attach()
            yield event
        else:
            yield from self._batch.flush()
            yield from self._end(event)

    def _add_node(self, node: Node) -> Iterator[RecordEvent]:
        if node.node is SnapshotChunk:
            if self._block is not None:
                self._block.add(node.value["data"])
        elif node.node is MessageChunk:
            yield from self._add_messages(node)
        elif node.node.record in _SINGLE:
            yield from self._add_rows(node.node.record, [node.value], node)
        elif node.node in _ROWS:
            yield from self._add_rows(HISTORY_TABLES.get(node.node, self._table[0]), node.value["rows"], node)
        else:
            yield from self._batch.flush()
            yield from self._start(node)

    # --- nodes --------------------------------------------------------------------------------------------------

    def _start(self, node: Node) -> Iterator[RecordEvent]:
        kind, value = node.node, node.value
        if kind in PAGES:
            yield from self._add_page(node)
            return
        if kind.branches or kind is ExportManifest:
            self._open.append(node)
            self._attachments.append(_attachments_of(node))
        if kind is ConstellationExport:
            said = {name: value[name] for name in ("version", "owner_id", "exported_at")}
            yield OpenConstellation(**said)
        elif kind is TableExport:
            self._table = (value["table"] or CELLS_TABLE, tuple(column["name"] for column in value["columns"]))
            yield OpenTable(**{key: value[key] for key in ("table", "columns", "count")})
        elif kind is MemoryBlockExport:
            whole = any(opened.node is ConstellationExport for opened in self._open)
            self._block = RestoredBlock(node, self._max_document_bytes, self._damage, in_whole_backup=whole)
        elif kind is History and self._block is not None:
            self._block.begin_history(node)
        elif kind is GroupConfigExport:
            self._thin, ids = node, value["member_agent_ids"]
            self._ids = ids if type(ids) is list else []
        elif kind.embedded() is not None:
            yield from self._open_embedded(node)

    def _open_embedded(self, node: Node, ids: list[str] | None = None) -> Iterator[RecordEvent]:
        """A node that holds its record under a key; behind it what else the node itself has."""
        edge: Any = node.node.embedded()
        record, members = node.value[edge.name], node.value.get("members")
        after: list[RecordEvent] = list(_batches(Member, members if type(members) is list else []))
        if node.node is GroupConfigExport:
            after.append(Close())
        key = record["id"] if node.node is AgentExport else None

        def opened(record: Any) -> Open:
            return Open(node.node, record, key) if ids is None else OpenGroupConfig(record, member_agent_ids=ids)

        if external := moved_values(record):
            yield from self._restore(Restoring(opened, record, external, node, edge.of, tuple(after)))
        else:
            yield opened(record)
            yield from after

    def _add_page(self, node: Node) -> Iterator[RecordEvent]:
        if node.node is MemberPage:
            yield from _batches(Member, node.value["members"])
        elif node.node is AttachmentPage:
            yield from _batches(SharedAttachment, node.value["attachments"])
        elif node.node is MemberIdPage:
            self._ids += node.value["ids"]

    def _open_thin(self) -> Iterator[RecordEvent]:
        """A thin group, once the ids of its members are complete: they may have come in pages."""
        if self._thin is not None:
            node, self._thin = self._thin, None
            yield from self._open_embedded(node, self._ids)

    def _end(self, close: Close) -> Iterator[RecordEvent]:
        node = self._open.pop()
        yield from self._open_thin()
        yield from self._end_values()
        yield from self._attach()
        self._attachments.pop()
        if node.node is MemoryBlockExport:
            self._closing, self._block = self._block, None
        elif node.node is History and self._block is not None:
            self._block.in_history = False
        elif node.node is not ExportManifest:
            yield close

    def _attach(self) -> Iterator[Records]:
        """Attachments go behind the memory blocks that they name."""
        waiting, self._attachments[-1] = self._attachments[-1], []
        yield from _batches(SharedAttachment, waiting)

    # --- memory blocks, records, rows ---------------------------------------------------------------------------

    def _add_messages(self, node: Node) -> Iterator[RecordEvent]:
        messages = node.value["messages"]
        if not isinstance(messages, MadeRows):
            yield from self._add_rows(Message, messages, node)
            if node.size_bytes > _SMALL_BYTES:
                yield from self._batch.flush()
        elif Message not in self._unread:
            yield from self._batch.flush()
            yield from messages.events()

    def _add_rows(self, kind: type[Record] | str, rows: list[Any], node: Node) -> Iterator[RecordEvent]:
        external = moved_values(rows[0]) if rows else {}
        if not external:
            if kind not in self._unread:
                yield from self._batch.add(kind, rows, node.size_bytes)
            return
        yield from self._batch.flush()
        names = self._columns(node) if isinstance(kind, str) else ()

        def batch(row: Any) -> RecordEvent:
            return Cells(kind, [row]) if isinstance(kind, str) else Records(kind, [row])

        record = None if isinstance(kind, str) else kind
        yield from self._restore(Restoring(batch, rows[0], external, node, record, names=names))

    def _columns(self, node: Node) -> tuple[str, ...]:
        table = HISTORY_TABLES.get(node.node)
        if table is None or self._block is None:
            return self._table[1]
        return self._block.columns[table]

    # --- values that were moved out -----------------------------------------------------------------------------

    def _restore(self, values: Restoring) -> Iterator[RecordEvent]:
        self._values = values
        yield from values.start()

    def _add_value(self, node: Node) -> Iterator[RecordEvent]:
        if self._values is None and self._block is not None:
            yield from self._restore(self._block.restoring())
        yield from self._open_thin()
        if self._values is not None:
            yield from self._values.add(node, tolerate=self._damage)

    def _end_values(self) -> Iterator[RecordEvent]:
        if self._values is not None:
            values, self._values = self._values, None
            yield from values.finish(tolerate=self._damage)


async def unchunk(
    events: Events[WalkEvent],
    *,
    max_document_bytes: int = MAX_DOCUMENT_BYTES,
    damage: Report | None = None,
    unread: frozenset[type[Record]] = frozenset(),
) -> AsyncGenerator[RecordEvent]:
    """Nodes back to the records that `map_rows` yields on export: the reverse of `chunk` and `encode`.

    In:      one tree of Node, Ref and Close as `walk` yields it. `unread`: types of records that are not to come out,
             which saves making them; those with values outside their block do.
    Out:     one tree of Open ... Close from the data node down; the manifest is left out. Every Open has the record of
             its node (RecordDict of wire fields, checked, instants normalised), None only for ConstellationExport:

             Open(AgentExport, record, key = its id)         alone, in a constellation, or inline in a GroupExport
               OpenMemoryBlock(record, key = its id, document=the joined document), Close
               Records(Message) or Rows(Message), Records(ArchivalEntry), Records(ArchiveSummary), each in the
               archive's order
             Open(GroupExport, record)                       Records(Member), agents, memory blocks,
                                                             Records(SharedAttachment)
             OpenGroupConfig(record, member_agent_ids=list of text), Close
             OpenConstellation(version, owner_id, exported_at)
               agents, then groups, then memory blocks that no agent owns, Records(SharedAttachment),
               Ref(AgentExport, "standalone_agent_cids", agent id)
               Open(GroupExportThin, record)                 Records(Member), Ref(AgentExport, "agent_cids", agent id),
                                                             memory blocks, Records(SharedAttachment)

             A memory block that is linked again is Ref(MemoryBlockExport, field, its id), an agent likewise; `field` is
             the link's key in the innermost open node. Batches are never empty, at most BATCH_ROWS rows and, but for
             a single block's own rows, BATCH_BYTES.
    Memory:  one batch, one memory document, the attachments of the open nodes.
    Raises:  DocumentTooLarge: a memory document is larger than `max_document_bytes` (DOCUMENT_GROWTH times that, beside
             a history in a constellation), unless `damage` takes it: the Open
             then has no document.
    Source:  docs/format.md#rows-and-order, #nodes.
    """
    builder = RecordBuilder(max_document_bytes, damage=damage, unread=unread)
    async with closing(events):
        async for event in events:
            for record in builder.add(event):
                yield record


def _attachments_of(node: Node) -> list[RecordDict]:
    edge = node.node.home_of(SharedAttachment)
    found = node.value[edge.name] if edge is not None else []
    return found if type(found) is list else []


def _batches(record: type[Record], records: list[RecordDict]) -> Iterator[Records]:
    for start in range(0, len(records), BATCH_ROWS):
        yield Records(record, records[start : start + BATCH_ROWS])
