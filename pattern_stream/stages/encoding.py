"""Drafts to blocks: each node in canonical DAG-CBOR, named by its CID, linked from its parent.

Nodes are put together from ready-encoded pieces, so a record is encoded once and a list of links costs 41 bytes each.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pattern_stream.codec import dagcbor
from pattern_stream.codec.cid import cid_of
from pattern_stream.errors import LimitExceeded, Where, refuse
from pattern_stream.format import FORMAT_VERSION, MAX_BLOCK_BYTES, MAX_BLOCK_CONTAINERS
from pattern_stream.items import Begin, Block, BlockEvent, Draft, DraftEvent, Open, Records, Ref, Root
from pattern_stream.schema.nodes import (
    EXPORT_TYPES,
    STATS_KEYS,
    AgentExport,
    ArchivalEntryExport,
    ArchiveSummaryExport,
    ConstellationExport,
    Edge,
    GroupConfigExport,
    GroupExport,
    GroupExportThin,
    MemoryBlockExport,
    MessageChunk,
    NodeType,
    SnapshotChunk,
)
from pattern_stream.schema.records import Record, canonical
from pattern_stream.stages.streams import Events, closing

_BLOCK_OF: dict[type[Record], type[NodeType]] = {
    node.record: node for node in (ArchivalEntryExport, ArchiveSummaryExport) if node.record is not None
}
_COUNTED: dict[type[NodeType], str] = {
    AgentExport: "agent_count",
    GroupExport: "group_count",
    GroupExportThin: "group_count",
    GroupConfigExport: "group_count",
    MemoryBlockExport: "memory_block_count",
    ArchivalEntryExport: "archival_entry_count",
    ArchiveSummaryExport: "archive_summary_count",
    MessageChunk: "chunk_count",
}
_INLINE = frozenset({GroupExportThin})
_AT_HAND = frozenset({MemoryBlockExport})
"""Nodes whose children are few and held until the node is made, so that no position has to be kept for them."""


@dataclass(slots=True)
class _Frame:
    """An open node: its encoded fields, and the growing collections (count, encoded elements)."""

    node: type[NodeType]
    key: str | None
    inline: bool
    where: Where
    noun: str
    fields: dict[str, bytes] = field(default_factory=dict)
    lists: dict[str, tuple[int, bytearray]] = field(default_factory=dict)
    maps: dict[str, dict[str, bytes]] = field(default_factory=dict)
    pieces: list[Draft] = field(default_factory=list)
    refuse: Callable[[LimitExceeded], None] = refuse
    overgrown: bool = False

    def append(self, name: str, element: bytes) -> None:
        """One more element of a list. One that outgrows a block is told at that element, and grows no further."""
        if self.overgrown:
            return
        count, elements = self.lists.get(name, (0, bytearray()))
        elements += element
        self.lists[name] = (count + 1, elements)
        if len(elements) > MAX_BLOCK_BYTES:
            self.overgrown = True
            self.refuse(self.too_large(len(elements), f" with {count + 1} elements in {name}"))

    def too_large(self, size: int, what: str = "") -> LimitExceeded:
        """The refusal that names the row, its size and the limit."""
        return LimitExceeded(
            f"{self.noun}{what} is at least {size} bytes as one block, limit is {MAX_BLOCK_BYTES}", where=self.where
        )


class Encoder:
    """The open nodes from the root down. Feed it events with `add`; it knows no event loop.

    `exported_at`: RFC 3339 text with Z. `lineage`: further keys of the manifest, all plain values.
    """

    def __init__(
        self,
        exported_at: str,
        lineage: Mapping[str, Any] | None = None,
        too_large: Callable[[LimitExceeded], None] = refuse,
    ) -> None:
        self._too_large = too_large
        self.stats: dict[str, int] = dict.fromkeys(STATS_KEYS, 0)
        self._exported_at = exported_at
        self._lineage = dict(lineage or {})
        self._frames: list[_Frame] = []
        self._named: dict[tuple[type[NodeType], str], bytes] = {}
        self._snapshot_cids: set[bytes] = set()

    def add(self, event: DraftEvent) -> Iterator[BlockEvent]:
        """The blocks that follow from one more event."""
        if isinstance(event, Records):
            yield from self._add_records(event)
        elif isinstance(event, Draft):
            yield from self._add_draft(event)
        elif isinstance(event, Open):
            yield from self._open(event)
        elif isinstance(event, Ref):
            self._frames[-1].append(event.field, dagcbor.link(self._named[event.node, event.key]))
        else:
            yield from self._close()

    def _open(self, event: Open) -> Iterator[Begin]:
        if not self._frames:
            yield Begin()  # the manifest's place
        inline = event.node in _INLINE or self._edge_to(event.node).kind == "inline"
        frame = _Frame(event.node, event.key, inline, _where(event), _noun(event))
        frame.refuse = self._too_large
        frame.fields = self._own_fields(event)
        if event.node in _COUNTED:
            self.stats[_COUNTED[event.node]] += 1
        if event.node is GroupConfigExport:
            self.stats["agent_count"] = len(event.extra["member_agent_ids"])
        self._frames.append(frame)
        if not inline and event.node not in _AT_HAND:
            yield Begin()

    def _own_fields(self, event: Open) -> dict[str, bytes]:
        encode = dagcbor.encode_record
        given = {name: value for name, value in event.extra.items() if name in event.node.keys}
        if event.node is ConstellationExport:
            given |= {"version": FORMAT_VERSION, "exported_at": self._exported_at}
        if event.node.record is not None:
            given |= event.record
        encoded = {name: encode(value) for name, value in given.items()}
        if (edge := event.node.embedded()) is not None:
            encoded[edge.name] = encode(event.record)
        return encoded

    def _edge_to(self, child: type[NodeType] | type[Record]) -> Edge:
        if not self._frames:
            return Edge("link", name="data_cid")
        edge = self._frames[-1].node.home_of(child)
        if edge is None:
            raise TypeError(f"{self._frames[-1].node.__name__} has no place for {child.__name__}")
        return edge

    def _add_records(self, event: Records) -> Iterator[Block]:
        node = _BLOCK_OF.get(event.record)
        edge, frame = self._edge_to(node or event.record), self._frames[-1]
        for record in event.records:
            encoded = dagcbor.encode_record(record)
            if node is None:
                frame.append(edge.name, encoded)
            else:
                where = Where(stage="encode", table=event.record.table, row_id=record["id"])
                block = self._block(node, encoded, where, event.record.noun)
                frame.append(edge.name, dagcbor.link(block.cid))
                yield block

    def _add_draft(self, draft: Draft) -> Iterator[Block]:
        frame = self._frames[-1]
        if draft.node is SnapshotChunk:
            frame.pieces.append(draft)
            return
        fields = {name: dagcbor.encode_record(value) for name, value in draft.fields.items()}
        fields["messages"] = dagcbor.array_head(len(draft.parts)) + b"".join(draft.parts)
        where = Where(stage="encode", table="messages", row_id=draft.row_id)
        self.stats["message_count"] += len(draft.parts)
        block = self._block(MessageChunk, _node(fields), where, "message chunk")
        frame.append(self._edge_to(MessageChunk).name, dagcbor.link(block.cid))
        yield block

    def _block(self, node: type[NodeType], data: bytes, where: Where, noun: str) -> Block:
        """A finished block that holds records, checked and counted."""
        if len(data) > MAX_BLOCK_BYTES:
            message = f"{noun} is {len(data)} bytes as one block, limit is {MAX_BLOCK_BYTES}"
            self._too_large(LimitExceeded(message, where=where))
        elif not dagcbor.is_readable(data):  # JSON of empty arrays: no honest row, but none that would be lost
            message = (
                f"{noun} has more than {MAX_BLOCK_CONTAINERS} arrays and maps in one block, which cannot be read back"
            )
            self._too_large(LimitExceeded(message, where=where))
        return self._counted(node, data)

    def _counted(self, node: type[NodeType], data: bytes) -> Block:
        """A finished block below the data node."""
        if node in _COUNTED and node is not AgentExport and node is not MemoryBlockExport:
            self.stats[_COUNTED[node]] += 1
        self.stats["total_blocks"] += 1
        self.stats["total_bytes"] += len(data)
        return Block(cid_of(data), data)

    def _close(self) -> Iterator[BlockEvent]:
        frame = self._frames.pop()
        chunks = list(self._snapshot_chunks(frame)) if frame.node is MemoryBlockExport else []
        data = self._assemble(frame)
        if len(data) > MAX_BLOCK_BYTES and not frame.overgrown:
            self._too_large(frame.too_large(len(data)))
        if frame.inline:
            self._frames[-1].append(self._edge_to(frame.node).name, data)
        elif not self._frames:
            yield from self._finish(frame.node, Block(cid_of(data), data, closes=True))
        else:
            yield from self._close_block(frame, data)
            yield from chunks

    def _close_block(self, frame: _Frame, data: bytes) -> Iterator[Block]:
        block = self._counted(frame.node, data)
        edge, parent = self._edge_to(frame.node), self._frames[-1]
        if frame.key is not None:
            self._named[frame.node, frame.key] = block.cid
        if edge.kind == "link_map":
            parent.maps.setdefault(edge.name, {})[str(frame.where.row_id)] = block.cid
        else:
            parent.append(edge.name, dagcbor.link(block.cid))
        yield block if frame.node in _AT_HAND else Block(block.cid, block.data, closes=True)

    def _snapshot_chunks(self, frame: _Frame) -> Iterator[Block]:
        """The pieces of a document, each linking to the next, so made from the last to the first."""
        following: bytes | None = None
        blocks: list[Block] = []
        for piece in reversed(frame.pieces):
            data = piece.fields["data"]
            encoded = _node(
                {
                    "data": dagcbor.bytes_head(len(data)) + data,
                    "index": dagcbor.integer(piece.fields["index"]),
                    "next_cid": dagcbor.encode_record(None) if following is None else dagcbor.link(following),
                }
            )
            following = cid_of(encoded)
            blocks.append(Block(following, encoded))
        frame.fields["total_snapshot_bytes"] = dagcbor.integer(sum(len(p.fields["data"]) for p in frame.pieces))
        for block in reversed(blocks):
            frame.append("snapshot_chunk_cids", dagcbor.link(block.cid))
            if block.cid not in self._snapshot_cids:  # many blocks share one empty document; no section goes out twice
                self._snapshot_cids.add(block.cid)
                self.stats["total_blocks"] += 1
                self.stats["total_bytes"] += len(block.data)
                yield block

    def _assemble(self, frame: _Frame) -> bytes:
        for edge in frame.node.edges:
            if edge.kind in ("links", "records", "inline"):
                count, elements = frame.lists.get(edge.name, (0, bytearray()))
                frame.fields[edge.name] = dagcbor.array_head(count) + elements
            elif edge.kind == "link_map":
                frame.fields[edge.name] = _link_map(frame.maps.get(edge.name, {}))
        return _node(frame.fields)

    def _finish(self, node: type[NodeType], data_block: Block) -> Iterator[BlockEvent]:
        yield data_block
        fields = {
            "stats": self.stats,
            "version": FORMAT_VERSION,
            "export_type": EXPORT_TYPES[node],
            "exported_at": self._exported_at,
            "section_count": self.stats["total_blocks"] + 2,
        } | self._lineage
        encoded = {name: dagcbor.encode_record(value) for name, value in fields.items()}
        data = _node(encoded | {"data_cid": dagcbor.link(data_block.cid)})
        manifest = Block(cid_of(data), data, closes=True)
        yield manifest
        yield Root(manifest.cid, dict(self.stats))


async def encode(
    events: Events[DraftEvent],
    *,
    exported_at: str,
    lineage: Mapping[str, Any] | None = None,
    too_large: Callable[[LimitExceeded], None] = refuse,
) -> AsyncGenerator[BlockEvent]:
    """Encode nodes and name them; a node's block comes after its children, its `Begin` before them.

    In:      one tree of Open ... Close with records and drafts in it.
    Out:     Begin, Block and, last, Root with the statistics. Each block at most MAX_BLOCK_BYTES, none twice.
    Memory:  encoded links of the open nodes, one CID per distinct document and one per node that is referred to.
    Raises:  LimitExceeded: a row or node that does not fit one block (table, row, sizes), unless `too_large` takes
             it: what comes out is good for counting only then.
    Source:  v3 2, 5, 7.
    """
    encoder = Encoder(exported_at, lineage, too_large)
    async with closing(events):
        async for event in events:
            for block in encoder.add(event):
                yield block


def _node(fields: Mapping[str, bytes]) -> bytes:
    """A map from encoded values, keys in canonical order."""
    parts = [dagcbor.map_head(len(fields))]
    for name in sorted(fields, key=canonical):
        parts.append(dagcbor.text(name))
        parts.append(fields[name])
    return b"".join(parts)


def _link_map(cids: Mapping[str, bytes]) -> bytes:
    return _node({key: dagcbor.link(cid) for key, cid in cids.items()})


def _where(event: Open) -> Where:
    if event.record is None:
        return Where(stage="encode")
    record = event.node.record or getattr(event.node.embedded(), "of", None)
    return Where(stage="encode", table=getattr(record, "table", None), row_id=event.record["id"])


def _noun(event: Open) -> str:
    record = event.node.record or getattr(event.node.embedded(), "of", None)
    return getattr(record, "noun", "constellation")
