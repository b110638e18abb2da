"""Collections of the open nodes that grow into pages. Source: docs/format.md#version-4."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pattern_stream.codec import dagcbor
from pattern_stream.errors import LimitExceeded
from pattern_stream.format import LINK_BYTES
from pattern_stream.items import Begin, Block, BlockEvent
from pattern_stream.schema.model.nodes import Edge
from pattern_stream.stages.encode.block_counter import BlockCounter
from pattern_stream.stages.encode.open_nodes import NodeBuilder
from pattern_stream.stages.encode.pages import Collection, outgrows


class Pager:
    """Adds elements to collections; one that outgrows its block gives pages away, or is refused.

    `may_widen`: pages are allowed where readers of version 3 see them.
    """

    def __init__(self, counter: BlockCounter, too_large: Callable[[LimitExceeded], None], *, may_widen: bool) -> None:
        self._counter = counter
        self._too_large = too_large
        self._may_widen = may_widen

    def keep_place(
        self, open_node: NodeBuilder, edge: Edge, size: int, child: NodeBuilder | None = None
    ) -> Iterator[Begin]:
        """A place for a page, where the next element would start one. What is inline grows: it always might."""
        if not (self._may_widen or open_node.is_hidden) or edge.page is None or not open_node.is_pageable:
            return
        collection = open_node.collection(edge)
        if child is not None and edge.kind == "inline":
            begin, child.place = self._counter.keep_place()
            yield begin
        elif collection.starts_run(size):
            begin, collection.place = self._counter.keep_place()
            yield begin

    def append_link(self, open_node: NodeBuilder, edge: Edge, cid: bytes) -> Iterator[BlockEvent]:
        """One more link that has no block of its own."""
        yield from self.keep_place(open_node, edge, LINK_BYTES)
        yield from self.append(open_node, edge, dagcbor.link(cid))

    def append(self, open_node: NodeBuilder, edge: Edge, element: bytes) -> Iterator[Block]:
        """One more element. A collection that outgrows a block is refused at that element, or gives pages away."""
        if open_node.overgrown:
            return
        open_node.collection(edge).add(element)
        yield from self.after_append(open_node, edge)

    def after_append(self, open_node: NodeBuilder, edge: Edge) -> Iterator[Block]:
        """Give pages away, or refuse, where a collection has outgrown its node."""
        collection = open_node.collection(edge)
        if not is_due(collection):
            return
        if self._may_widen or open_node.is_hidden:
            yield from self._counter.wide(collection.give(everything=False), hidden=open_node.is_hidden)
        else:
            open_node.overgrown = True
            self._too_large(open_node.too_large(collection.size, f" with {collection.count} elements in {edge.name}"))


def is_due(collection: Collection) -> bool:
    """Whether a collection has to give pages away."""
    return outgrows(collection) or collection.has_full_page
