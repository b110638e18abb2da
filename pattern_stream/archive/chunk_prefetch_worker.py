"""The worker that decodes chunks of messages ahead of the walk.

A request names a chunk in a slot of shared memory. The answer has the chunk's own fields, the number of messages, and
the lengths of the marshalled batches of rows that took the chunk's place; or REST, where the chunk is lossy or its rows
do not fit there.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable
from typing import Any

from pattern_stream.codec.message_arrays import MessageArray, MessageArrayReader, NotMessageArray
from pattern_stream.format import BATCH_ROWS
from pattern_stream.schema.checks.check_nodes import check_node
from pattern_stream.schema.checks.check_records import record_checker
from pattern_stream.schema.ids.snowflakes import is_snowflake
from pattern_stream.schema.mapping.record_to_row import record_unmapper
from pattern_stream.schema.model.nodes import MessageChunk
from pattern_stream.schema.model.records import Message
from pattern_stream.workers.serving import LAST, REST, Send, serve
from pattern_stream.workers.slots import Slots

Batches = list[list[tuple[Any, ...]]]


class ChunkDecoder:
    """Decodes the chunks of one archive."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._reader = MessageArrayReader()
        self._checker, self._unmapper = record_checker(Message), record_unmapper(Message)
        self._batch_id = Message.index("batch_id")

    def answer(self, send: Send, slot: int, size: int, with_rows: bool) -> None:
        """Decode the chunk in a slot and send what became of it."""
        make = self._with_rows if with_rows else lambda value: self._checked(value, [])
        found = self._reader.read(self._slots.get(slot, size), make)
        parts = [marshal.dumps(batch) for batch in found[2]] if found is not None else []
        sizes = list(map(len, parts))
        if found is None or sum(sizes) > self._slots.size_bytes:
            send(REST, None, ())
            return
        offset = 0
        for part in parts:
            self._slots.put(slot, part, offset)
            offset += len(part)
        send(LAST, (*found[:2], sizes), ())

    def _with_rows(self, value: dict[str, Any]) -> tuple[dict[str, Any], int, Batches]:
        """Raises NotMessageArray for batch ids that are no snowflakes too: a warning is due for each."""
        batches: Batches = [[]]
        found = self._checked(value, batches)
        ids = {row[self._batch_id] for batch in batches for row in batch} - {None}
        if not all(map(is_snowflake, ids)):
            raise NotMessageArray
        return found

    def _checked(self, value: dict[str, Any], batches: Batches) -> tuple[dict[str, Any], int, Batches]:
        """The chunk's fields. Each group of its messages is proved, checked and made into rows while in the cache.

        Raises NotMessageArray, MalformedNode.
        """
        messages = value["messages"]
        if not isinstance(messages, MessageArray):
            raise NotMessageArray
        for group in self._checker.proved(messages):
            if batches:
                if len(batches[-1]) >= BATCH_ROWS:
                    batches.append([])
                if (rows := self._unmapper.unmap_fast(group)) is None:
                    raise NotMessageArray
                batches[-1] += rows
        fields = check_node(MessageChunk, value | {"messages": []})
        return fields, len(messages), batches


def prepare(slots: Slots) -> Callable[..., None]:
    """Get ready."""
    return ChunkDecoder(slots).answer


def main() -> None:
    """Serve, as `workers.serving` says."""
    serve(prepare)
