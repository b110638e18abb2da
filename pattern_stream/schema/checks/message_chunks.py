"""Chunks of messages decoded, checked and made into rows a few messages at a time, while they are in the processor's
cache. Source: docs/format.md#message-chunks."""

from __future__ import annotations

from typing import Any, NamedTuple

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

_BATCH_ID = Message.index("batch_id")


class MadeChunk(NamedTuple):
    """A chunk's other fields, the number of its messages, and batches of them: of rows, or of checked records where
    something is to be reported."""

    fields: dict[str, Any]
    message_count: int
    batches: list[list[Any]]


def make_rows(data: bytes, *, with_rows: bool) -> MadeChunk | None:
    """Decode, check and unmap a chunk; without `with_rows` it has no batches.

    None where it has to be decoded as any other block, which finds out what is wrong with it: it is at fault, small, or
    has values outside the block.
    """
    batches = _Batches()
    count = 0
    check = record_checker(Message).check

    def take(values: list[Any]) -> None:
        nonlocal count
        records = check(values)
        if any(EXTERNAL in value for value in values):
            raise NotProved
        count += len(values)
        if with_rows:
            batches.add(records)

    try:
        fields = check_node(MessageChunk, decode_array(data, take))
    except (ArchiveError, NotProved):
        return None
    return MadeChunk(fields, count, batches.made)


class _Batches:
    """Rows of messages, and in their places the records of those of which something is to be reported."""

    def __init__(self) -> None:
        self.made: list[list[Any]] = []
        self._unmap = record_unmapper(Message).unmap_fast
        self._snowflakes: set[str | None] = {None}

    def add(self, records: list[dict[str, Any]]) -> None:
        """A few more messages."""
        if not self._add_rows(records):
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
        last = self.made[-1] if self.made else ()
        if not 0 < len(last) < BATCH_ROWS or type(last[0]) is not type(batch[0]):
            self.made.append([])
        self.made[-1] += batch
