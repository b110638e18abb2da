"""The worker that decodes chunks of messages ahead of the walk.

Asked for chunks in slots of the memory that it shares. Says `d` with the chunk's own fields, how
many messages it has, and the lengths of the marshalled batches of rows that it put in the chunk's place; or `n`, where
the chunk is not plain or its rows do not fit there.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable
from typing import Any

from pattern_stream.codec.message_arrays import AlikeMaps, AlikeReader, NotAlike
from pattern_stream.format import BATCH_ROWS
from pattern_stream.schema.checks.check_nodes import check_node, record_checker
from pattern_stream.schema.ids.new_ids import is_snowflake
from pattern_stream.schema.mapping.record_to_row import record_unmapper
from pattern_stream.schema.model.nodes import MessageChunk
from pattern_stream.schema.model.records import Message
from pattern_stream.workers.serving import Say, serve
from pattern_stream.workers.slots import Slots

Batches = list[list[tuple[Any, ...]]]


class Decoder:
    """Chunks of one archive."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._reader = AlikeReader()
        self._checker, self._unmapper = record_checker(Message), record_unmapper(Message)
        self._batch_id = Message.index("batch_id")

    def answer(self, say: Say, slot: int, size: int, with_rows: bool) -> None:
        """Decode the chunk in a slot and say what became of it."""
        found = self._reader.read(
            self._slots.get(slot, size), self._made if with_rows else lambda value: self._checked(value, [])
        )
        if found is None:
            say(b"n", None, ())
            return
        fields, count, batches = found
        parts = [marshal.dumps(batch) for batch in batches]
        sizes = list(map(len, parts))
        if sum(sizes) > self._slots.size_bytes:
            say(b"n", None, ())
            return
        offset = 0
        for part in parts:
            self._slots.put(slot, part, offset)
            offset += len(part)
        say(b"d", (fields, count, sizes), ())

    def _made(self, value: dict[str, Any]) -> tuple[dict[str, Any], int, Batches]:
        batches: Batches = [[]]
        found = self._checked(value, batches)
        self._require_snowflakes(batches)
        return found

    def _checked(self, value: dict[str, Any], batches: Batches) -> tuple[dict[str, Any], int, Batches]:
        """The chunk, of whose messages each group is proved, checked and made into rows while it is in the cache.

        Raises NotAlike, MalformedNode.
        """
        messages = value["messages"]
        if not isinstance(messages, AlikeMaps):
            raise NotAlike
        for group in self._checker.proved(messages):
            if batches:
                if len(batches[-1]) >= BATCH_ROWS:
                    batches.append([])
                if (rows := self._unmapper.unmap_plain(group)) is None:
                    raise NotAlike
                batches[-1] += rows
        fields = check_node(MessageChunk, value | {"messages": []})
        return fields, len(messages), batches

    def _require_snowflakes(self, batches: Batches) -> None:
        """Of others a warning is due. Raises NotAlike."""
        ids = {row[self._batch_id] for batch in batches for row in batch} - {None}
        if not all(map(is_snowflake, ids)):
            raise NotAlike


def prepare(slots: Slots) -> Callable[..., None]:
    """Get ready."""
    return Decoder(slots).answer


def main() -> None:
    """Serve, as `workers.serving` says."""
    serve(prepare)
