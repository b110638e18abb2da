"""Drafts to blocks: each node in canonical DAG-CBOR, named by its CID, linked from its parent.

Nodes are put together from ready-encoded pieces, so a record is encoded once and a list of links costs 41 bytes each.
Only where a node or record outgrows its block does it give its collections to pages, its values to blocks of their own,
and the archive is of version 4 then.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

from pattern_stream.codec import dagcbor
from pattern_stream.codec.cid import cid_of
from pattern_stream.errors import LimitExceeded, ProtocolError, Where, refuse
from pattern_stream.format import (
    FORMAT_VERSION,
    LINK_BYTES,
    WIDE_VERSION,
)
from pattern_stream.items import (
    Block,
    BlockEvent,
    Close,
    Draft,
    DraftEvent,
    Open,
    OpenConstellation,
    OpenGroupConfig,
    OpenHistory,
    OpenMemoryBlock,
    OpenTable,
    Piece,
    Records,
    Ref,
    Root,
)
from pattern_stream.schema.model.cells import Large
from pattern_stream.schema.model.nodes import (
    EXPORT_TYPES,
    ConstellationExport,
    MemoryBlockExport,
    NodeType,
    TableExport,
)
from pattern_stream.stages.encode.block_counter import BlockCounter, Named
from pattern_stream.stages.encode.contents import Contents
from pattern_stream.stages.encode.open_nodes import BIG_RECORD_BYTES, NodeBuilder, edge_to, field_edge, open_node_of
from pattern_stream.stages.encode.out_of_line import Outflow, RecordBody, has_large_values
from pattern_stream.stages.encode.pager import Pager
from pattern_stream.stages.encode.pages import LinkMap
from pattern_stream.stages.encode.splice import encode_fields, fits, splice
from pattern_stream.stages.encode.value_flow import ValueFlow, does_not_fit
from pattern_stream.stages.statistics import COUNTED
from pattern_stream.streams import Events, closing


class Encoder:
    """Encodes events, one by one with `add`; it knows no event loop. `open_nodes`: from the root down.

    `exported_at`: RFC 3339 text with Z. `lineage`: further keys of the manifest, all plain values. `newest_version`: 3
    refuses what only version 4 can hold.
    """

    def __init__(
        self,
        exported_at: str,
        lineage: Mapping[str, Any] | None = None,
        too_large: Callable[[LimitExceeded], None] = refuse,
        newest_version: int = WIDE_VERSION,
    ) -> None:
        self._too_large = too_large
        self._may_widen = newest_version >= WIDE_VERSION
        self.open_nodes: list[NodeBuilder] = []
        self._counter = BlockCounter()
        self._pager = Pager(self._counter, too_large, may_widen=self._may_widen)
        self._values = ValueFlow(self._counter, too_large, may_widen=self._may_widen)
        self._contents = Contents(self._counter, self._pager, self._values, too_large)
        self._exported_at = exported_at
        self._lineage = dict(lineage or {})
        self._named: dict[type[NodeType], Named] = {}

    def add(self, event: DraftEvent) -> Iterator[BlockEvent]:
        """The blocks that follow from one more event."""
        if isinstance(event, Piece) != self._values.is_open:
            raise ProtocolError("pieces of values must follow their record at once", where=Where(stage="encode"))
        if isinstance(event, Piece):
            yield from self._wait_for_history(self.open_nodes[-1], self._values.add(event))
        elif isinstance(event, Records):
            yield from self._contents.add_records(self.open_nodes[-1], event)
        elif isinstance(event, Draft):
            yield from self._contents.add_draft(self.open_nodes[-1], event)
        elif isinstance(event, Open):
            yield from self._open(event)
        elif isinstance(event, Ref):
            yield from self._pager.append_link(
                self.open_nodes[-1],
                field_edge(self.open_nodes[-1], event.field),
                self._named[event.node].cid(event.key),
            )
        elif isinstance(event, Close):
            yield from self._close()
        else:
            raise ProtocolError(f"{type(event).__name__} came unchunked", where=Where(stage="encode"))

    # --- nodes start --------------------------------------------------------------------------------------------

    def _open(self, event: Open) -> Iterator[BlockEvent]:
        parent = self.open_nodes[-1] if self.open_nodes else None
        open_node = open_node_of(event, edge_to(parent, event.node, event))
        if parent is None:
            yield self._counter.begin()  # the manifest's place
        elif not open_node.is_part:
            yield from self._pager.keep_place(parent, open_node.edge, _entry_bytes(open_node), open_node)
        if event.node in COUNTED:
            self._counter.stats[COUNTED[event.node]] += 1
        self.open_nodes.append(open_node)
        open_node.begun = not open_node.is_part and open_node.edge.kind != "inline" and not _is_at_hand(event)
        if open_node.begun:
            yield self._counter.begin()
        yield from self._fill(open_node, event)

    def _fill(self, open_node: NodeBuilder, event: Open) -> Iterator[BlockEvent]:
        """The node's own fields; values of its record that are no part of it any more."""
        if isinstance(event, OpenHistory):
            yield from self._contents.open_history(open_node, event.stored)
            return
        if isinstance(event, OpenMemoryBlock):
            open_node.document = event.document or b""
            open_node.fields["total_snapshot_bytes"] = dagcbor.integer(len(open_node.document))
        elif isinstance(event, OpenConstellation):
            fields = {"exported_at": self._exported_at, "owner_id": event.owner_id, "version": FORMAT_VERSION}
            open_node.fields = encode_fields(fields)
        elif isinstance(event, OpenTable):
            open_node.fields = encode_fields({"columns": event.columns})
        elif isinstance(event, OpenGroupConfig):
            yield from self._add_member_ids(open_node, event.member_agent_ids)
        if event.record is None:
            return
        embedded = event.node.embedded()
        record: Any = event.node.record or (embedded.of if embedded is not None else None)
        if has_large_values(event.record.values()):
            open_node.body = RecordBody(record, event.record)
            yield from self._wait_for_history(open_node, self._values.send(open_node, open_node.body))
        elif event.node is MemoryBlockExport:
            open_node.body = RecordBody(record, event.record)
        elif embedded is not None:
            encoded = dagcbor.encode_record(event.record)
            if len(encoded) <= BIG_RECORD_BYTES:
                open_node.fields[embedded.name] = encoded
                return
            open_node.body = RecordBody(record, event.record)
            yield from self._values.keep_place(open_node)

    def _wait_for_history(self, open_node: NodeBuilder, blocks: Iterator[BlockEvent]) -> Iterator[BlockEvent]:
        """Blocks of values: those of a memory block wait until its history has gone."""
        if open_node.node is not MemoryBlockExport:
            yield from blocks
        else:
            open_node.values += [block for block in blocks if isinstance(block, Block)]

    def _add_member_ids(self, open_node: NodeBuilder, ids: Sequence[str]) -> Iterator[BlockEvent]:
        self._counter.stats["agent_count"] = len(ids)
        for agent_id in ids:
            encoded = dagcbor.text(agent_id)
            edge = field_edge(open_node, "member_agent_ids")
            yield from self._pager.keep_place(open_node, edge, len(encoded))
            yield from self._pager.append(open_node, edge, encoded)

    # --- nodes end ----------------------------------------------------------------------------------------------

    def _close(self) -> Iterator[BlockEvent]:
        open_node = self.open_nodes.pop()
        if open_node.node is TableExport:
            open_node.fields["count"] = dagcbor.integer(open_node.row_count)
        if open_node.is_part:
            self.open_nodes[-1].parts.setdefault(open_node.edge.name, {})[open_node.name] = open_node
        elif open_node.node is MemoryBlockExport:
            document = list(self._contents.add_document(open_node, "snapshot_chunk_cids", open_node.document))
            data = yield from self._fit(open_node)
            open_node.values += self._place_values(open_node)
            yield from self._hand_up(open_node, data)
            yield from open_node.values
            yield from document
        else:
            data = yield from self._fit(open_node)
            yield from self._place_values(open_node)
            yield from self._hand_up(open_node, data)

    def _fit(self, open_node: NodeBuilder) -> Generator[Block, None, bytes]:
        """Make the node fit its block, or refuse it. Returns it, but for the CIDs of values that are still to go."""
        for block, hidden in open_node.finish_pages():
            yield from self._counter.wide_one(block, hidden=hidden)
        data = yield from self._widened(open_node.shrink(may_widen=self._may_widen))
        if len(data) > open_node.limit and not open_node.overgrown:
            self._too_large(open_node.too_large(len(data)))
        elif self._may_widen and not fits(data):
            self._too_large(does_not_fit(open_node.noun, open_node.where, len(data)))
        return data

    def _widened(self, shrinking: Generator[tuple[Block, bool], None, bytes]) -> Generator[Block, None, bytes]:
        while True:
            try:
                block, hidden = next(shrinking)
            except StopIteration as end:
                return bytes(end.value)
            yield from self._counter.wide_one(block, hidden=hidden)

    def _place_values(self, open_node: NodeBuilder) -> Iterator[Block]:
        """The values that have just moved out of the node's record, to the place that was kept for them."""
        if open_node.body is not None and open_node.body.moved:
            for block in self._counter.wide(Outflow(open_node.body.waiting()).pump()):
                yield Block(block.cid, block.data, place=open_node.value_place)

    def _hand_up(self, open_node: NodeBuilder, data: bytes) -> Iterator[BlockEvent]:
        if open_node.body is not None and open_node.body.moved:
            data = open_node.encoded()  # now that all its values have their CIDs
        if not self.open_nodes:
            yield from self._finish(open_node, data)
            return
        parent, edge = self.open_nodes[-1], open_node.edge
        if edge.kind == "inline":
            parent.collection(edge).place = open_node.place
            yield from self._pager.append(parent, edge, data)
            return
        block = self._counter.block(data, closes=open_node.begun)
        if open_node.key is not None:
            self._named.setdefault(open_node.node, Named()).add(open_node.key, block.cid)
        yield block
        collection = parent.collection(edge)
        if isinstance(collection, LinkMap) and not parent.overgrown:
            collection.add_entry(open_node.name, block.cid)
            yield from self._pager.after_append(parent, edge)
        else:
            yield from self._pager.append(parent, edge, dagcbor.link(block.cid))

    def _finish(self, open_node: NodeBuilder, data: bytes) -> Iterator[BlockEvent]:
        if open_node.node is ConstellationExport:
            open_node.fields["version"] = dagcbor.integer(self._counter.version)
            data = open_node.encoded()
        data_block = Block(cid_of(data), data, closes=True)
        yield data_block
        fields = {
            "stats": self._counter.stats,
            "version": self._counter.version,
            "export_type": EXPORT_TYPES[open_node.node],
            "exported_at": self._exported_at,
            "section_count": self._counter.stats["total_blocks"] + 2,
        } | self._lineage
        manifest = splice(encode_fields(fields) | {"data_cid": dagcbor.link(data_block.cid)})
        root = Block(cid_of(manifest), manifest, closes=True)
        yield root
        yield Root(root.cid, dict(self._counter.stats), self._counter.version)


async def encode(
    events: Events[DraftEvent],
    *,
    exported_at: str,
    lineage: Mapping[str, Any] | None = None,
    too_large: Callable[[LimitExceeded], None] = refuse,
    newest_version: int = WIDE_VERSION,
) -> AsyncGenerator[BlockEvent]:
    """Encode nodes and name them; a node's block comes after its children, its `Begin` before them.

    In:      one tree of Open ... Close with records and drafts in it, Pieces at once after what they belong to.
    Out:     Begin, Block and, last, Root with statistics and version. Each block at most MAX_BLOCK_BYTES, none twice.
    Memory:  encoded links of the open nodes, at most some 45,000 of one collection; one CID per distinct document,
             page and piece of a value, and one per node that is referred to.
    Raises:  LimitExceeded: a row or node that does not fit one block whatever moves out of it (table, row, sizes), or
             that `newest_version` cannot hold, unless `too_large` takes it: what comes out is good for counting only
             then.
    Source:  docs/format.md#dag-cbor, #statistics, #nodes.
    """
    encoder = Encoder(exported_at, lineage, too_large, newest_version)
    async with closing(events):
        async for event in events:
            for block in encoder.add(event):
                yield block


def _is_at_hand(event: Open) -> bool:
    """Whether all blocks of a node wait in memory until it is made, so that no position has to be kept for it."""
    if not isinstance(event, OpenMemoryBlock) or event.has_history:
        return False
    return Large not in map(type, event.record.values())


def _entry_bytes(open_node: NodeBuilder) -> int:
    """How many bytes a node takes in its parent's collection, if it is a link there."""
    return LINK_BYTES + (len(dagcbor.text(open_node.name)) if open_node.edge.kind == "link_map" else 0)
