"""Encodes what open nodes contain: records, chunks of messages and rows, memory documents and their history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pattern_stream.codec import dagcbor
from pattern_stream.codec.dagcbor import encode_records
from pattern_stream.errors import LimitExceeded, Where
from pattern_stream.format import LINK_BYTES
from pattern_stream.items import Block, BlockEvent, Draft, MemoryHistory, Records
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.nodes import (
    ArchivalEntryExport,
    ArchiveSummaryExport,
    Edge,
    MessageChunk,
    NodeType,
)
from pattern_stream.schema.model.records import Message, Record
from pattern_stream.stages.encode.block_counter import BlockCounter
from pattern_stream.stages.encode.open_nodes import NodeBuilder, edge_to, field_edge
from pattern_stream.stages.encode.out_of_line import Body, RecordBody, RowBody, has_large_values
from pattern_stream.stages.encode.pager import Pager, is_due
from pattern_stream.stages.encode.splice import document_blocks, draft_count, encode_chunk, fits, octets
from pattern_stream.stages.encode.value_flow import ValueFlow, does_not_fit
from pattern_stream.stages.statistics import COUNTED

_BLOCK_OF: dict[type[Record], type[NodeType]] = {
    node.record: node for node in (ArchivalEntryExport, ArchiveSummaryExport) if node.record is not None
}


class Contents:
    """Takes in what an open node contains, and sends out the blocks of it."""

    def __init__(
        self, counter: BlockCounter, pager: Pager, values: ValueFlow, too_large: Callable[[LimitExceeded], None]
    ) -> None:
        self._counter = counter
        self._pager = pager
        self._values = values
        self._too_large = too_large

    # --- records and chunks -------------------------------------------------------------------------------------

    def add_records(self, open_node: NodeBuilder, event: Records) -> Iterator[BlockEvent]:
        """Records: each a block that the node links to, or an element of the node."""
        node = _BLOCK_OF.get(event.record)
        edge = edge_to(open_node, node or event.record)
        collection = open_node.collection(edge)
        is_large = len(event.records) == 1 and has_large_values(event.records[0].values())
        for record, encoded in zip(event.records, [b""] if is_large else encode_records(event.records), strict=True):
            if collection.starts_run(LINK_BYTES if node is not None else len(encoded)):
                yield from self._pager.keep_place(open_node, edge, LINK_BYTES if node is not None else len(encoded))
            if node is not None and (is_large or not fits(encoded)):
                body = RecordBody(event.record, record)
                where = Where(stage="encode", table=event.record.table, row_id=record["id"])
                yield from self._add_wide(open_node, node, body, body.encoded, where, event.record.noun)
                continue
            if node is not None:
                self._counter.stats[COUNTED[node]] += 1
                block = self._counter.block(encoded)
                yield block
                encoded = dagcbor.link(block.cid)
            if not open_node.overgrown:
                collection.add(encoded)
                if is_due(collection):
                    yield from self._pager.after_append(open_node, edge)

    def _finish_leaf(self, open_node: NodeBuilder, edge: Edge, block: Block) -> Iterator[BlockEvent]:
        yield block
        yield from self._pager.append(open_node, edge, dagcbor.link(block.cid))

    def add_draft(self, open_node: NodeBuilder, draft: Draft) -> Iterator[BlockEvent]:
        """A chunk of messages or rows."""
        edge, count = edge_to(open_node, draft.node), draft_count(draft, draft.parts) if draft.wide is None else 1
        yield from self._pager.keep_place(open_node, edge, LINK_BYTES)
        table = Message.table if draft.node is MessageChunk else draft.fields.get("table")
        where = Where(stage="encode", table=table, row_id=draft.row_id)
        if draft.node is MessageChunk:
            self._counter.stats["message_count"] += count
        open_node.row_count += count
        if draft.wide is not None:
            body = RecordBody(Message, draft.wide) if isinstance(draft.wide, dict) else RowBody(draft.wide)
            noun = Message.noun if draft.node is MessageChunk else "row"
            yield from self._add_wide(
                open_node, draft.node, body, lambda: encode_chunk(draft, [body.encoded()]), where, noun
            )
        else:
            if draft.node is MessageChunk:
                self._counter.stats["chunk_count"] += 1
            yield from self._finish_leaf(open_node, edge, self._counter.block(encode_chunk(draft, draft.parts)))

    def _add_wide(
        self,
        open_node: NodeBuilder,
        node: type[NodeType],
        body: Body[Any],
        build: Callable[[], bytes],
        where: Where,
        noun: str,
    ) -> Iterator[BlockEvent]:
        """A record or row that outgrows its block: some of its values move out, until it fits."""
        is_row = isinstance(body, RowBody)
        if not is_row:
            self._values.refuse(noun, where, len(build()) + body.moved_bytes)
        if (self._values.may_widen or is_row) and not body.settle(lambda: fits(build())):
            self._too_large(does_not_fit(noun, where, len(build())))
        if node in COUNTED:
            self._counter.stats[COUNTED[node]] += 1
        edge = edge_to(open_node, node)
        yield self._counter.begin()
        yield from self._values.start(
            body, lambda: self._finish_leaf(open_node, edge, self._counter.block(build(), closes=True))
        )

    # --- memory documents ---------------------------------------------------------------------------------------

    def add_document(self, open_node: NodeBuilder, key: str, document: bytes) -> Iterator[Block]:
        """The pieces of a document, linked under a key of the node; many memory blocks share one empty document."""
        edge = field_edge(open_node, key)
        for block in document_blocks(document):
            yield from self._pager.append(open_node, edge, dagcbor.link(block.cid))
            yield from self._counter.once((block,))

    def open_history(self, open_node: NodeBuilder, stored: MemoryHistory) -> Iterator[BlockEvent]:
        """What is stored of a memory block, but for its rows."""
        open_node.fields = {"frontier": octets(stored.frontier)}
        changed = {
            table: list(names) for table, names in stored.columns.items() if tuple(names) != HISTORY_COLUMNS[table]
        }
        if changed:
            open_node.fields["columns"] = dagcbor.encode_record(changed)
        if stored.base is None:
            open_node.fields["base"] = octets(None)
        else:
            yield from self.add_document(open_node, "base", stored.base)
