"""The open nodes of an encoder: what is known of each so far, and how it is made to fit its block."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import field
from typing import Final

from pattern_stream.codec import dagcbor
from pattern_stream.errors import LimitExceeded, Where
from pattern_stream.format import MAX_BLOCK_BYTES
from pattern_stream.items import Block, Open, OpenTable
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.nodes import EXTENSIONS, Edge, MemoryBlockExport, NodeType
from pattern_stream.schema.model.records import Record
from pattern_stream.stages.encode.out_of_line import LEAST_MOVED_BYTES, RecordBody
from pattern_stream.stages.encode.pages import PAGE_ENVELOPE_BYTES, Collection, new_collection
from pattern_stream.stages.encode.splice import fits, splice

BIG_RECORD_BYTES: Final = 100_000
"""An embedded record up to this size never has to move values out: with its collections in pages its node fits."""

_GROWING: Final = frozenset({"links", "link_map", "records", "inline"})
_PARTS: Final = frozenset({"part", "tables"})
_EMPTY: Final = dagcbor.array_head(0)
_EMPTY_MAP: Final = dagcbor.map_head(0)


@dataclass(slots=True)
class NodeBuilder:
    """An open node. `edge`: where it goes in its parent, there under `name` where that is a map.

    `begun`: it has a Begin of its own. `place`: kept for a page that would start with it; `value_place`: for values
    that may have to move out of its record. `document`: of a memory block; `values`: blocks of what moved out
    of its record. Both come after its history, so they wait for its end.
    """

    node: type[NodeType]
    edge: Edge
    key: str | None
    name: str
    where: Where
    noun: str
    begun: bool = False
    place: int | None = None
    value_place: int | None = None
    fields: dict[str, bytes] = field(default_factory=dict)
    body: RecordBody | None = None
    collections: dict[str, Collection] = field(default_factory=dict)
    parts: dict[str, dict[str, NodeBuilder]] = field(default_factory=dict)
    document: bytes = b""
    values: list[Block] = field(default_factory=list)
    row_count: int = 0
    overgrown: bool = False

    @property
    def is_part(self) -> bool:
        """Whether it is neither a block nor an element of a collection."""
        return self.edge.kind in _PARTS

    @property
    def is_hidden(self) -> bool:
        """Whether readers of version 3 never see it, so that it may widen in any archive."""
        return self.node in EXTENSIONS

    @property
    def is_pageable(self) -> bool:
        """Whether its collections may go to pages: not where all of it is at hand and no place is kept."""
        return self.begun or self.is_part or self.edge.kind == "inline"

    @property
    def limit(self) -> int:
        """Most bytes it may have: what has no block of its own must fit into a page."""
        return MAX_BLOCK_BYTES - (PAGE_ENVELOPE_BYTES if self.edge.kind == "inline" else 0)

    def collection(self, edge: Edge) -> Collection:
        """The collection of a key."""
        if edge.name not in self.collections:
            self.collections[edge.name] = new_collection(edge, hidden=self.is_hidden)
        return self.collections[edge.name]

    def all_collections(self) -> Iterator[Collection]:
        """Its own collections and those of its parts, in key order."""
        for edge in self.node.edges:
            if edge.name in self.collections:
                yield self.collections[edge.name]
            for part in self.parts.get(edge.name, {}).values():
                yield from part.all_collections()

    def encoded(self) -> bytes:
        """The node as it stands."""
        fields = dict(self.fields)
        if self.body is not None:
            embedded = self.node.embedded()
            fields |= self.body.fields() if embedded is None else {embedded.name: self.body.encoded()}
        for edge in self.node.edges:
            if edge.name not in fields and (value := self._edge(edge)) is not None:
                fields[edge.name] = value
        return splice(fields)

    def _edge(self, edge: Edge) -> bytes | None:
        if edge.kind in _GROWING or edge.page is not None:
            found = self.collections.get(edge.name)
            return found.encoded() if found is not None else _EMPTY_MAP if edge.kind == "link_map" else _EMPTY
        parts = self.parts.get(edge.name, {})
        if edge.kind == "tables" and parts:
            return splice({name: part.encoded() for name, part in parts.items()})
        return next((part.encoded() for part in parts.values()), None)

    def finish_pages(self) -> Iterator[tuple[Block, bool]]:
        """What is left of the collections that are in pages already, and whether it is hidden."""
        for collection in self.all_collections():
            if collection.paged:
                yield from ((block, collection.hidden) for block in collection.give(everything=True))

    def shrink(self, *, may_widen: bool) -> Generator[tuple[Block, bool], None, bytes]:
        """The pages of collections that must go, while values move out of the record, until the node fits.

        `may_widen`: also what readers of version 3 see.

        # Rule: the largest goes first, be it a collection or a value, of equals a collection, of these the first.
        Returns the node, of which it is for the caller to see whether it fits.
        """
        while not fits(data := self.encoded(), self.limit):
            pageable = [found for found in self._pageable() if may_widen or found.hidden]
            longest = max(pageable, key=lambda collection: collection.size, default=None)
            key, size = self.body.largest() if self.body is not None and self.may_move and may_widen else (None, 0)
            if longest is not None and longest.size >= max(size, LEAST_MOVED_BYTES):
                yield from ((block, longest.hidden) for block in longest.give(everything=True))
            elif key is not None and self.body is not None:
                self.body.move(key)
            else:
                break
        return data

    @property
    def may_move(self) -> bool:
        """Whether there is a place for values that move out: one was kept, or everything is still at hand."""
        return self.value_place is not None or not self.is_pageable or self.node is MemoryBlockExport

    def _pageable(self) -> list[Collection]:
        if not self.is_pageable:
            return []
        return [found for found in self.all_collections() if not found.paged and found.edge.page is not None]

    def too_large(self, size: int, what: str = "") -> LimitExceeded:
        """The refusal that names the row, its size and the limit."""
        return LimitExceeded(
            f"{self.noun}{what} is at least {size} bytes as one block, limit is {MAX_BLOCK_BYTES}", where=self.where
        )


def open_node_of(event: Open, edge: Edge) -> NodeBuilder:
    """The open_node of a node that starts."""
    record = event.node.record or getattr(event.node.embedded(), "of", None)
    row_id = None if event.record is None else event.record["id"]
    table = getattr(record, "table", None)
    where = Where(stage="encode", table=table, row_id=row_id) if row_id is not None else Where(stage="encode")
    name = str(event.table if isinstance(event, OpenTable) else row_id)
    return NodeBuilder(event.node, edge, event.key, name, where, getattr(record, "noun", "constellation"))


def edge_to(parent: NodeBuilder | None, child: type[NodeType] | type[Record], event: Open | None = None) -> Edge:
    """The key of an open node, or of the manifest (None), under which a child goes. `event`: the one that opens it."""
    if parent is None:
        return Edge("link", name="data_cid")
    if isinstance(event, OpenTable) and event.table is not None:
        return next(edge for edge in parent.node.edges if edge.kind == "tables")
    edge = parent.node.home_of(child)
    if edge is None:
        raise TypeError(f"{parent.node.__name__} has no place for {child.__name__}")
    return edge


def field_edge(open_node: NodeBuilder, name: str) -> Edge:
    """A key of a node."""
    return next(edge for edge in open_node.node.edges if edge.name == name)
