"""Values moved out of their record or row, on their way to blocks. Source: docs/format.md#version-4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pattern_stream.errors import LimitExceeded, Where
from pattern_stream.format import MAX_BLOCK_BYTES, MAX_BLOCK_CONTAINERS
from pattern_stream.items import Begin, BlockEvent, Piece
from pattern_stream.stages.encode.block_counter import BlockCounter
from pattern_stream.stages.encode.open_nodes import NodeBuilder
from pattern_stream.stages.encode.out_of_line import Body, Outflow, RecordBody, RowBody


class ValueFlow:
    """The values of one record or row at a time; some come in Pieces, and what needs their CIDs waits for the last.

    `may_widen`: values may stand outside of records that readers of version 3 see.
    """

    def __init__(self, counter: BlockCounter, too_large: Callable[[LimitExceeded], None], *, may_widen: bool) -> None:
        self._counter = counter
        self._too_large = too_large
        self.may_widen = may_widen
        self._outflow: Outflow | None = None
        self._is_hidden = False
        self._then: Callable[[], Iterator[BlockEvent]] = lambda: iter(())

    @property
    def is_open(self) -> bool:
        """Whether Pieces are waited for."""
        return self._outflow is not None

    def keep_place(self, open_node: NodeBuilder) -> Iterator[Begin]:
        if self.may_widen:
            begin, open_node.value_place = self._counter.keep_place()
            yield begin

    def send(self, open_node: NodeBuilder, body: RecordBody) -> Iterator[BlockEvent]:
        """Values of a node's record that cannot stay: so many that what is left is no matter for its block."""
        self.refuse(open_node.noun, open_node.where, len(body.encoded()) + body.moved_bytes)
        body.settle(lambda: len(body.encoded()) <= MAX_BLOCK_BYTES // 2)
        yield from self.start(body, lambda: iter(()))

    def refuse(self, noun: str, where: Where, size: int) -> None:
        if not self.may_widen:
            self._too_large(does_not_fit(noun, where, size))

    def start(self, body: Body[Any], then: Callable[[], Iterator[BlockEvent]]) -> Iterator[BlockEvent]:
        """The blocks of what was moved out, as far as it is here, and then what waits for them."""
        self._outflow, self._then = Outflow(body.waiting()), then
        self._is_hidden = isinstance(body, RowBody)
        yield from self._counter.wide(self._outflow.pump(), hidden=self._is_hidden)
        yield from self._end_flow()

    def add(self, piece: Piece) -> Iterator[BlockEvent]:
        if self._outflow is not None:
            yield from self._counter.wide(self._outflow.take(piece), hidden=self._is_hidden)
            yield from self._end_flow()

    def _end_flow(self) -> Iterator[BlockEvent]:
        if self._outflow is not None and self._outflow.is_done:
            self._outflow = None
            yield from self._then()


def does_not_fit(noun: str, where: Where, size: int) -> LimitExceeded:
    """The refusal of a block that is too large, or of more arrays and maps than can be read back."""
    if size > MAX_BLOCK_BYTES:
        return LimitExceeded(f"{noun} is {size} bytes as one block, limit is {MAX_BLOCK_BYTES}", where=where)
    message = f"{noun} has more than {MAX_BLOCK_CONTAINERS} arrays and maps in one block, which cannot be read back"
    return LimitExceeded(message, where=where)
