"""What comes into an encoder's open nodes: records, chunks of messages and rows, memory documents and their history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pattern_stream.codec import dagcbor
from pattern_stream.codec.dagcbor import encode_records
from pattern_stream.errors import LimitExceeded, Where
from pattern_stream.format import LINK_BYTES, SNAPSHOT_CHUNK_BYTES
from pattern_stream.items import Block, BlockEvent, Draft, MemoryHistory, Open, OpenTable, Records
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.nodes import (
    ArchivalEntryExport,
    ArchiveSummaryExport,
    Edge,
    MessageChunk,
    NodeType,
    SnapshotChunk,
)
from pattern_stream.schema.model.records import Message, Record
from pattern_stream.stages.encode.block_counter import BlockCounter
from pattern_stream.stages.encode.open_nodes import Frame
from pattern_stream.stages.encode.out_of_line import Body, RecordBody, RowBody, stands_apart
from pattern_stream.stages.encode.pager import Pager, is_due
from pattern_stream.stages.encode.splice import chain_documents, draft_count, encode_chunk, fits, octets
from pattern_stream.stages.encode.value_flow import ValueFlow, does_not_fit
from pattern_stream.stages.statistics import COUNTED

_BLOCK_OF: dict[type[Record], type[NodeType]] = {
    node.record: node for node in (ArchivalEntryExport, ArchiveSummaryExport) if node.record is not None
}


class Contents:
    """Takes in what the innermost open node has, and sends out the blocks of it."""

    def __init__(
        self,
        frames: list[Frame],
        counter: BlockCounter,
        too_large: Callable[[LimitExceeded], None],
        *,
        may_widen: bool,
    ) -> None:
        self.pager = Pager(counter, too_large, may_widen=may_widen)
        self.values = ValueFlow(counter, too_large, may_widen=may_widen)
        self._frames = frames
        self._counter = counter
        self._too_large = too_large
        self._may_widen = may_widen

    def edge_to(self, child: type[NodeType] | type[Record], event: Open | None = None) -> Edge:
        if not self._frames:
            return Edge("link", name="data_cid")
        node = self._frames[-1].node
        if isinstance(event, OpenTable) and event.table is not None:
            return next(edge for edge in node.edges if edge.kind == "tables")
        edge = node.home_of(child)
        if edge is None:
            raise TypeError(f"{node.__name__} has no place for {child.__name__}")
        return edge

    # --- records and chunks -------------------------------------------------------------------------------------

    def add_records(self, event: Records) -> Iterator[BlockEvent]:
        node = _BLOCK_OF.get(event.record)
        edge, frame = self.edge_to(node or event.record), self._frames[-1]
        collection = frame.collection(edge)
        apart = len(event.records) == 1 and stands_apart(event.records[0].values())
        for record, encoded in zip(event.records, [b""] if apart else encode_records(event.records), strict=True):
            if collection.starts_run(LINK_BYTES if node is not None else len(encoded)):
                yield from self.pager.keep_place(frame, edge, LINK_BYTES if node is not None else len(encoded))
            if node is not None and (apart or not fits(encoded)):
                body = RecordBody(event.record, record)
                where = Where(stage="encode", table=event.record.table, row_id=record["id"])
                yield from self._add_wide(node, body, body.encoded, where, event.record.noun)
                continue
            if node is not None:
                self._counter.stats[COUNTED[node]] += 1
                block = self._counter.block(encoded)
                yield block
                encoded = dagcbor.link(block.cid)
            if not frame.overgrown:
                collection.add(encoded)
                if is_due(collection):
                    yield from self.pager.after_append(frame, edge)

    def _finish_leaf(self, edge: Edge, block: Block) -> Iterator[BlockEvent]:
        yield block
        yield from self.pager.append(self._frames[-1], edge, dagcbor.link(block.cid))

    def add_draft(self, draft: Draft) -> Iterator[BlockEvent]:
        frame = self._frames[-1]
        if draft.node is SnapshotChunk:
            frame.pieces.append(draft.fields["data"])
            return
        edge, count = self.edge_to(draft.node), draft_count(draft, draft.parts) if draft.wide is None else 1
        yield from self.pager.keep_place(frame, edge, LINK_BYTES)
        table = Message.table if draft.node is MessageChunk else draft.fields.get("table")
        where = Where(stage="encode", table=table, row_id=draft.row_id)
        if draft.node is MessageChunk:
            self._counter.stats["message_count"] += count
        frame.row_count += count
        if draft.wide is not None:
            body = RecordBody(Message, draft.wide) if isinstance(draft.wide, dict) else RowBody(draft.wide)
            noun = Message.noun if draft.node is MessageChunk else "row"
            yield from self._add_wide(draft.node, body, lambda: encode_chunk(draft, [body.encoded()]), where, noun)
        else:
            if draft.node is MessageChunk:
                self._counter.stats["chunk_count"] += 1
            yield from self._finish_leaf(edge, self._counter.block(encode_chunk(draft, draft.parts)))

    def _add_wide(
        self, node: type[NodeType], body: Body[Any], build: Callable[[], bytes], where: Where, noun: str
    ) -> Iterator[BlockEvent]:
        """A record or row that outgrows its block: some of its values move out, until it fits."""
        is_row = isinstance(body, RowBody)
        if not is_row:
            self.values.refuse(noun, where, len(build()) + body.moved_bytes)
        if (self._may_widen or is_row) and not body.settle(lambda: fits(build())):
            self._too_large(does_not_fit(noun, where, len(build())))
        if node in COUNTED:
            self._counter.stats[COUNTED[node]] += 1
        edge = self.edge_to(node)
        yield self._counter.begin()
        yield from self.values.start(body, lambda: self._finish_leaf(edge, self._counter.block(build(), closes=True)))

    # --- memory documents ---------------------------------------------------------------------------------------

    def add_document(self, frame: Frame, edge: Edge, pieces: list[bytes]) -> Iterator[Block]:
        """The pieces of a document, in their collection and out; many blocks share one empty document."""
        if edge.name == "snapshot_chunk_cids":
            frame.fields["total_snapshot_bytes"] = dagcbor.integer(sum(map(len, pieces)))
        for block in chain_documents(pieces):
            yield from self.pager.append(frame, edge, dagcbor.link(block.cid))
            yield from self._counter.once((block,))

    def open_history(self, frame: Frame, stored: MemoryHistory) -> Iterator[BlockEvent]:
        frame.fields = {"frontier": octets(stored.frontier)}
        changed = {
            table: list(names) for table, names in stored.columns.items() if tuple(names) != HISTORY_COLUMNS[table]
        }
        if changed:
            frame.fields["columns"] = dagcbor.encode_record(changed)
        if stored.base is None:
            frame.fields["base"] = octets(None)
        else:
            yield from self.add_document(frame, field_edge(frame, "base"), _cut(stored.base))


def field_edge(frame: Frame, name: str) -> Edge:
    """A key of a node."""
    return next(edge for edge in frame.node.edges if edge.name == name)


def _cut(document: bytes) -> list[bytes]:
    return [document[at : at + SNAPSHOT_CHUNK_BYTES] for at in range(0, len(document), SNAPSHOT_CHUNK_BYTES)]
