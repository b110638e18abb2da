"""Collections of the open nodes that grow into pages. Source: docs/format.md#version-4."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pattern_stream.codec import dagcbor
from pattern_stream.errors import LimitExceeded
from pattern_stream.format import LINK_BYTES
from pattern_stream.items import Begin, Block, BlockEvent
from pattern_stream.schema.model.nodes import Edge
from pattern_stream.stages.encode.block_counter import BlockCounter
from pattern_stream.stages.encode.open_nodes import Frame
from pattern_stream.stages.encode.pages import Collection, outgrows


class Pager:
    """Adds elements to collections; one that outgrows its block gives pages away, or is refused.

    `may_widen`: pages are allowed where readers of version 3 see them.
    """

    def __init__(self, counter: BlockCounter, too_large: Callable[[LimitExceeded], None], *, may_widen: bool) -> None:
        self._counter = counter
        self._too_large = too_large
        self._may_widen = may_widen

    def keep_place(self, frame: Frame, edge: Edge, size: int, child: Frame | None = None) -> Iterator[Begin]:
        """A place for a page, where the next element would start one. What is inline grows: it always might."""
        if not (self._may_widen or frame.is_hidden) or edge.page is None or not frame.is_pageable:
            return
        collection = frame.collection(edge)
        if child is not None and edge.kind == "inline":
            begin, child.place = self._counter.keep_place()
            yield begin
        elif collection.starts_run(size):
            begin, collection.place = self._counter.keep_place()
            yield begin

    def append_link(self, frame: Frame, edge: Edge, cid: bytes) -> Iterator[BlockEvent]:
        """One more link that has no block of its own."""
        yield from self.keep_place(frame, edge, LINK_BYTES)
        yield from self.append(frame, edge, dagcbor.link(cid))

    def append(self, frame: Frame, edge: Edge, element: bytes) -> Iterator[Block]:
        """One more element. A collection that outgrows a block is refused at that element, or gives pages away."""
        if frame.overgrown:
            return
        frame.collection(edge).add(element)
        yield from self.after_append(frame, edge)

    def after_append(self, frame: Frame, edge: Edge) -> Iterator[Block]:
        """Give pages away, or refuse, where a collection has outgrown its node."""
        collection = frame.collection(edge)
        if not is_due(collection):
            return
        if self._may_widen or frame.is_hidden:
            yield from self._counter.wide(collection.give(everything=False), hidden=frame.is_hidden)
        else:
            frame.overgrown = True
            self._too_large(frame.too_large(collection.size, f" with {collection.count} elements in {edge.name}"))


def is_due(collection: Collection) -> bool:
    """Whether a collection has to give pages away."""
    return outgrows(collection) or collection.has_full_page
