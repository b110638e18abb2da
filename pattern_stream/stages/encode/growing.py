"""What an encoder's open nodes have in common: collections that grow into pages, values that move out.
Source: docs/format.md#version-4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pattern_stream.codec import dagcbor
from pattern_stream.errors import LimitExceeded, Where
from pattern_stream.format import LINK_BYTES, MAX_BLOCK_BYTES, MAX_BLOCK_CONTAINERS
from pattern_stream.items import Begin, Block, BlockEvent, Piece
from pattern_stream.schema.model.nodes import Edge
from pattern_stream.stages.encode.block_counter import Ledger
from pattern_stream.stages.encode.open_nodes import Frame
from pattern_stream.stages.encode.out_of_line import Body, Outflow, RecordBody, RowBody
from pattern_stream.stages.encode.pages import Collection, outgrows


class Growing:
    """The open nodes, and what was sent out of them. `may_widen`: pages and values outside their record are allowed
    where readers of version 3 see them.
    """

    def __init__(self, too_large: Callable[[LimitExceeded], None], *, may_widen: bool) -> None:
        self._too_large = too_large
        self._may_widen = may_widen
        self._ledger = Ledger()
        self._frames: list[Frame] = []
        self._outflow: Outflow | None = None
        self._is_hidden = False
        self._then: Callable[[], Iterator[BlockEvent]] = lambda: iter(())

    # --- collections --------------------------------------------------------------------------------------------

    def _keep_place(self, frame: Frame, edge: Edge, size: int, child: Frame | None = None) -> Iterator[Begin]:
        """A place for a page, where the next element would start one. What is inline grows: it always might."""
        if not (self._may_widen or frame.is_hidden) or edge.page is None or not frame.is_pageable:
            return
        collection = frame.collection(edge)
        if child is not None and edge.kind == "inline":
            begin, child.place = self._ledger.keep_place()
            yield begin
        elif collection.starts_run(size):
            begin, collection.place = self._ledger.keep_place()
            yield begin

    def _append_link(self, edge: Edge, cid: bytes) -> Iterator[BlockEvent]:
        """One more link that has no block of its own, in the innermost node."""
        yield from self._keep_place(self._frames[-1], edge, LINK_BYTES)
        yield from self._append(self._frames[-1], edge, dagcbor.link(cid))

    def _append(self, frame: Frame, edge: Edge, element: bytes) -> Iterator[Block]:
        """One more element. A collection that outgrows a block is refused at that element, or gives pages away."""
        if frame.overgrown:
            return
        frame.collection(edge).add(element)
        yield from self._after_append(frame, edge)

    def _after_append(self, frame: Frame, edge: Edge) -> Iterator[Block]:
        """Give pages away, or refuse, where a collection has outgrown its node."""
        collection = frame.collection(edge)
        if not is_due(collection):
            return
        if self._may_widen or frame.is_hidden:
            yield from self._ledger.wide(collection.give(everything=False), hidden=frame.is_hidden)
        else:
            frame.overgrown = True
            self._too_large(frame.too_large(collection.size, f" with {collection.count} elements in {edge.name}"))

    # --- values -------------------------------------------------------------------------------------------------

    def _keep_value_place(self, frame: Frame) -> Iterator[Begin]:
        if self._may_widen:
            begin, frame.value_place = self._ledger.keep_place()
            yield begin

    def _send_values(self, frame: Frame, body: RecordBody) -> Iterator[BlockEvent]:
        """Values of a node's record that cannot stay: so many that what is left is no matter for its block."""
        self._refuse_wide(frame.noun, frame.where, len(body.encoded()) + body.moved_bytes)
        body.settle(lambda: len(body.encoded()) <= MAX_BLOCK_BYTES // 2)
        yield from self._flow(body, lambda: iter(()))

    def _refuse_wide(self, noun: str, where: Where, size: int) -> None:
        if not self._may_widen:
            self._too_large(does_not_fit(noun, where, size))

    def _flow(self, body: Body[Any], then: Callable[[], Iterator[BlockEvent]]) -> Iterator[BlockEvent]:
        """The blocks of what was moved out, as far as it is here, and then what waits for them."""
        self._outflow, self._then = Outflow(body.waiting()), then
        self._is_hidden = isinstance(body, RowBody)
        yield from self._ledger.wide(self._outflow.pump(), hidden=self._is_hidden)
        yield from self._end_flow()

    def _add_piece(self, piece: Piece) -> Iterator[BlockEvent]:
        if self._outflow is not None:
            yield from self._ledger.wide(self._outflow.take(piece), hidden=self._is_hidden)
            yield from self._end_flow()

    def _end_flow(self) -> Iterator[BlockEvent]:
        if self._outflow is not None and self._outflow.is_done:
            self._outflow = None
            yield from self._then()


def is_due(collection: Collection) -> bool:
    """Whether a collection has to give pages away."""
    return outgrows(collection) or collection.has_full_page


def does_not_fit(noun: str, where: Where, size: int) -> LimitExceeded:
    """The refusal of a block that is too large, or of more arrays and maps than can be read back."""
    if size > MAX_BLOCK_BYTES:
        return LimitExceeded(f"{noun} is {size} bytes as one block, limit is {MAX_BLOCK_BYTES}", where=where)
    message = f"{noun} has more than {MAX_BLOCK_CONTAINERS} arrays and maps in one block, which cannot be read back"
    return LimitExceeded(message, where=where)
