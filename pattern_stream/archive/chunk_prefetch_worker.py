"""The worker that decodes chunks of messages ahead of the walk.

A request names a chunk in a slot of shared memory. The answer has the chunk's own fields, the number of messages, and
the lengths of the marshalled batches that took the chunk's place: of rows, or of checked records where something is to
be reported of them, which the walk's line does. Or it is REST, where the chunk is at fault, has values outside its
block, or its rows do not fit there.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable
from typing import Any

from pattern_stream.codec.dagcbor import NotProved
from pattern_stream.codec.large_values import decode_array
from pattern_stream.errors import ArchiveError
from pattern_stream.format import BATCH_ROWS
from pattern_stream.schema.checks.check_nodes import check_node
from pattern_stream.schema.checks.check_records import record_checker
from pattern_stream.schema.checks.version_4 import EXTERNAL
from pattern_stream.schema.ids.snowflakes import is_snowflake
from pattern_stream.schema.mapping.record_to_row import record_unmapper
from pattern_stream.schema.model.nodes import MessageChunk
from pattern_stream.schema.model.records import Message
from pattern_stream.workers.serving import LAST, REST, Send, serve
from pattern_stream.workers.slots import Slots

_BATCH_ID = Message.index("batch_id")


class ChunkBatches:
    """The messages of one chunk, checked as they come, and `with_rows` made into batches of rows or records."""

    def __init__(self, *, with_rows: bool) -> None:
        self.count = 0
        self.batches: list[list[Any]] = []
        self._with_rows = with_rows
        self._check, self._unmap = record_checker(Message).check, record_unmapper(Message).unmap_fast
        self._snowflakes: set[str | None] = {None}

    def take(self, values: list[Any]) -> None:
        """A few more messages. Raises MalformedNode, NotProved."""
        records = self._check(values)
        if any(EXTERNAL in value for value in values):
            raise NotProved
        self.count += len(records)
        if self._with_rows and not self._add_rows(records):
            for record in records:
                if not self._add_rows([record]):
                    self._add([record])

    def _add_rows(self, records: list[dict[str, Any]]) -> bool:
        """Add the rows of records, unless something is to be reported: a bare number, a batch that is no snowflake."""
        rows = self._unmap(records)
        if rows is None:
            return False
        ids = {row[_BATCH_ID] for row in rows} - self._snowflakes
        if not all(map(is_snowflake, ids)):
            return False
        self._snowflakes |= ids
        self._add(rows)
        return True

    def _add(self, batch: list[Any]) -> None:
        last = self.batches[-1] if self.batches else ()
        if not 0 < len(last) < BATCH_ROWS or type(last[0]) is not type(batch[0]):
            self.batches.append([])
        self.batches[-1] += batch


def prepare(slots: Slots) -> Callable[..., None]:
    """What answers requests for the chunks in these slots."""

    def answer(send: Send, slot: int, size: int, with_rows: bool) -> None:
        made = ChunkBatches(with_rows=with_rows)
        try:
            fields = check_node(MessageChunk, decode_array(slots.get(slot, size), made.take))
        except (ArchiveError, NotProved):
            send(REST, None, ())
            return
        parts = [marshal.dumps(batch) for batch in made.batches]
        if sum(map(len, parts)) > slots.size_bytes:
            send(REST, None, ())
            return
        offset = 0
        for part in parts:
            slots.put(slot, part, offset)
            offset += len(part)
        send(LAST, (fields, made.count, list(map(len, parts))), ())

    return answer


def main() -> None:
    """Serve, as `workers.serving` says."""
    serve(prepare)
