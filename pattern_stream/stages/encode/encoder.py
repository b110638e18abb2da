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
    SnapshotChunk,
    TableExport,
)
from pattern_stream.stages.encode.block_counter import BlockCounter, Named
from pattern_stream.stages.encode.contents import Contents, field_edge
from pattern_stream.stages.encode.open_nodes import BIG_RECORD_BYTES, Frame, frame_of
from pattern_stream.stages.encode.out_of_line import Outflow, RecordBody, stands_apart
from pattern_stream.stages.encode.pages import LinkMap
from pattern_stream.stages.encode.splice import encode_fields, fits, splice
from pattern_stream.stages.encode.value_flow import does_not_fit
from pattern_stream.stages.statistics import COUNTED
from pattern_stream.streams import Events, closing


class Encoder:
    """The open nodes from the root down. Feed it events with `add`; it knows no event loop.

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
        self._frames: list[Frame] = []
        self._counter = BlockCounter()
        self._contents = Contents(self._frames, self._counter, too_large, may_widen=self._may_widen)
        self._pager, self._values = self._contents.pager, self._contents.values
        self._exported_at = exported_at
        self._lineage = dict(lineage or {})
        self._named: dict[type[NodeType], Named] = {}

    def add(self, event: DraftEvent) -> Iterator[BlockEvent]:
        """The blocks that follow from one more event."""
        if isinstance(event, Piece) != self._values.is_open and not _is_document(event):
            raise ProtocolError("pieces of values must follow their record at once", where=Where(stage="encode"))
        if isinstance(event, Piece):
            yield from self._held_back(self._frames[-1], self._values.add(event))
        elif isinstance(event, Records):
            yield from self._contents.add_records(event)
        elif isinstance(event, Draft):
            yield from self._contents.add_draft(event)
        elif isinstance(event, Open):
            yield from self._open(event)
        elif isinstance(event, Ref):
            yield from self._pager.append_link(
                self._frames[-1], field_edge(self._frames[-1], event.field), self._named[event.node].cid(event.key)
            )
        elif isinstance(event, Close):
            yield from self._close()
        else:
            raise ProtocolError(f"{type(event).__name__} came unchunked", where=Where(stage="encode"))

    # --- nodes start --------------------------------------------------------------------------------------------

    def _open(self, event: Open) -> Iterator[BlockEvent]:
        if not self._frames:
            yield self._counter.begin()  # the manifest's place
        frame = frame_of(event, self._contents.edge_to(event.node, event))
        if self._frames and not frame.is_part:
            yield from self._pager.keep_place(self._frames[-1], frame.edge, _entry_bytes(frame), frame)
        if event.node in COUNTED:
            self._counter.stats[COUNTED[event.node]] += 1
        self._frames.append(frame)
        frame.begun = not frame.is_part and frame.edge.kind != "inline" and not _is_at_hand(event)
        if frame.begun:
            yield self._counter.begin()
        yield from self._fill(frame, event)

    def _fill(self, frame: Frame, event: Open) -> Iterator[BlockEvent]:
        """The node's own fields; values of its record that are no part of it any more."""
        if isinstance(event, OpenHistory):
            yield from self._contents.open_history(frame, event.stored)
            return
        if isinstance(event, OpenConstellation):
            fields = {"exported_at": self._exported_at, "owner_id": event.owner_id, "version": FORMAT_VERSION}
            frame.fields = encode_fields(fields)
        elif isinstance(event, OpenTable):
            frame.fields = encode_fields({"columns": event.columns})
        elif isinstance(event, OpenGroupConfig):
            yield from self._add_member_ids(frame, event.member_agent_ids)
        if event.record is None:
            return
        embedded = event.node.embedded()
        record: Any = event.node.record or (embedded.of if embedded is not None else None)
        if stands_apart(event.record.values()):
            frame.body = RecordBody(record, event.record)
            yield from self._held_back(frame, self._values.send(frame, frame.body))
        elif event.node is MemoryBlockExport:
            frame.body = RecordBody(record, event.record)
        elif embedded is not None:
            encoded = dagcbor.encode_record(event.record)
            if len(encoded) <= BIG_RECORD_BYTES:
                frame.fields[embedded.name] = encoded
                return
            frame.body = RecordBody(record, event.record)
            yield from self._values.keep_place(frame)

    def _held_back(self, frame: Frame, blocks: Iterator[BlockEvent]) -> Iterator[BlockEvent]:
        """Blocks of values: those of a memory block wait until its history has gone."""
        if frame.node is not MemoryBlockExport:
            yield from blocks
        else:
            frame.values += [block for block in blocks if isinstance(block, Block)]

    def _add_member_ids(self, frame: Frame, ids: Sequence[str]) -> Iterator[BlockEvent]:
        self._counter.stats["agent_count"] = len(ids)
        for agent_id in ids:
            encoded = dagcbor.text(agent_id)
            edge = field_edge(frame, "member_agent_ids")
            yield from self._pager.keep_place(frame, edge, len(encoded))
            yield from self._pager.append(frame, edge, encoded)

    # --- nodes end ----------------------------------------------------------------------------------------------

    def _close(self) -> Iterator[BlockEvent]:
        frame = self._frames.pop()
        if frame.node is TableExport:
            frame.fields["count"] = dagcbor.integer(frame.row_count)
        if frame.is_part:
            self._frames[-1].parts.setdefault(frame.edge.name, {})[frame.name] = frame
        elif frame.node is MemoryBlockExport:
            document = list(self._contents.add_document(frame, field_edge(frame, "snapshot_chunk_cids"), frame.pieces))
            data = yield from self._fit(frame)
            frame.values += self._place_values(frame)
            yield from self._hand_up(frame, data)
            yield from frame.values
            yield from document
        else:
            data = yield from self._fit(frame)
            yield from self._place_values(frame)
            yield from self._hand_up(frame, data)

    def _fit(self, frame: Frame) -> Generator[Block, None, bytes]:
        """Make the node fit its block, or refuse it. Returns it, but for the CIDs of values that are still to go."""
        for block, hidden in frame.finish_pages():
            yield from self._counter.wide_one(block, hidden=hidden)
        data = yield from self._widened(frame.shrink(may_widen=self._may_widen))
        if len(data) > frame.limit and not frame.overgrown:
            self._too_large(frame.too_large(len(data)))
        elif self._may_widen and not fits(data):
            self._too_large(does_not_fit(frame.noun, frame.where, len(data)))
        return data

    def _widened(self, shrinking: Generator[tuple[Block, bool], None, bytes]) -> Generator[Block, None, bytes]:
        while True:
            try:
                block, hidden = next(shrinking)
            except StopIteration as end:
                return bytes(end.value)
            yield from self._counter.wide_one(block, hidden=hidden)

    def _place_values(self, frame: Frame) -> Iterator[Block]:
        """The values that have just moved out of the node's record, to the place that was kept for them."""
        if frame.body is not None and frame.body.moved:
            for block in self._counter.wide(Outflow(frame.body.waiting()).pump()):
                yield Block(block.cid, block.data, place=frame.value_place)

    def _hand_up(self, frame: Frame, data: bytes) -> Iterator[BlockEvent]:
        if frame.body is not None and frame.body.moved:
            data = frame.encoded()  # now that all its values have their CIDs
        if not self._frames:
            yield from self._finish(frame, data)
            return
        parent, edge = self._frames[-1], frame.edge
        if edge.kind == "inline":
            parent.collection(edge).place = frame.place
            yield from self._pager.append(parent, edge, data)
            return
        block = self._counter.block(data, closes=frame.begun)
        if frame.key is not None:
            self._named.setdefault(frame.node, Named()).add(frame.key, block.cid)
        yield block
        collection = parent.collection(edge)
        if isinstance(collection, LinkMap) and not parent.overgrown:
            collection.add_entry(frame.name, block.cid)
            yield from self._pager.after_append(parent, edge)
        else:
            yield from self._pager.append(parent, edge, dagcbor.link(block.cid))

    def _finish(self, frame: Frame, data: bytes) -> Iterator[BlockEvent]:
        if frame.node is ConstellationExport:
            frame.fields["version"] = dagcbor.integer(self._counter.version)
            data = frame.encoded()
        data_block = Block(cid_of(data), data, closes=True)
        yield data_block
        fields = {
            "stats": self._counter.stats,
            "version": self._counter.version,
            "export_type": EXPORT_TYPES[frame.node],
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


def _is_document(event: DraftEvent) -> bool:
    """Pieces of a memory document come right after its block, and wait for its end."""
    return isinstance(event, Draft) and event.node is SnapshotChunk


def _is_at_hand(event: Open) -> bool:
    """Nodes whose children are few and held until the node is made, so that no position has to be kept for them."""
    if not isinstance(event, OpenMemoryBlock) or event.has_history:
        return False
    return Large not in map(type, event.record.values())


def _entry_bytes(frame: Frame) -> int:
    """How many bytes a node takes in its parent's collection, if it is a link there."""
    return LINK_BYTES + (len(dagcbor.text(frame.name)) if frame.edge.kind == "link_map" else 0)
