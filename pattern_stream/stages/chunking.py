"""Many records to drafts that fit one block. The way back is `rebuild.records`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from operator import itemgetter
from typing import Final

from pattern_stream.codec.chunk_borders import chunk_borders
from pattern_stream.codec.dagcbor import encode_records
from pattern_stream.errors import ProtocolError, Where
from pattern_stream.format import (
    MAX_BLOCK_BYTES,
    MAX_BLOCK_CONTAINERS,
)
from pattern_stream.items import (
    Cells,
    Draft,
    DraftEvent,
    Encoded,
    OpenHistory,
    OpenTable,
    RecordDict,
    RecordEvent,
    Records,
    Rows,
)
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.nodes import (
    MessageChunk,
)
from pattern_stream.schema.model.records import Message
from pattern_stream.schema.model.scopes import Limits
from pattern_stream.stages.encode.out_of_line import has_large_values
from pattern_stream.stages.encode.row_chunks import RowChunks
from pattern_stream.stages.encode.splice import encode_chunk, fits
from pattern_stream.streams import Events, closing

DEFAULT_LIMITS = Limits()
_ENVELOPE_BYTES = 200
"""More than the map around a chunk's messages takes, but for the two positions.
Source: docs/format.md#where-chunks-close."""

_OWN_CONTAINERS = 2
"""Arrays and maps of a chunk of messages beside its messages: its own map and the list of them."""

_Key = tuple[str, str]
"""A message's id and position."""

_key_of: Final[Callable[[RecordDict], _Key]] = itemgetter("id", "position")


@dataclass(frozen=True, slots=True)
class _EncodedBatch:
    """Encoded messages, one element each. `records`: None for what surely fits a block by itself.

    `borders`: the places of those that start a chunk.
    """

    keys: list[_Key]
    sizes: list[int]
    most_containers: list[int]
    records: Sequence[RecordDict | None]
    borders: list[int]


class ChunkBuilder:
    """The open chunk of messages or rows. Each is encoded once, here, and spliced into its block as it is."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._rows = RowChunks(limits)
        self._room = 0
        self._begin_chunk()

    def add(self, event: RecordEvent) -> Iterator[DraftEvent]:
        """The events that follow from one more event."""
        if isinstance(event, Records) and event.record is Message:
            yield from self._add_messages(event)
            return
        if isinstance(event, Encoded):
            yield from self._add_encoded(event)
            return
        if isinstance(event, Cells):
            yield from self._rows.add(event)
            return
        if isinstance(event, Rows):
            raise ProtocolError("rows came where records are chunked", where=Where(stage="chunk"))
        yield from self._flush()
        yield from self._rows.flush()
        if isinstance(event, (OpenTable, OpenHistory)):
            self._rows.begin(event)
        yield event

    def _add_messages(self, event: Records) -> Iterator[Draft]:
        if len(event.records) == 1 and has_large_values(event.records[0].values()):
            yield from self._flush()
            yield self._alone(event.records[0])
            return
        most = event.most_containers or [MAX_BLOCK_CONTAINERS] * len(event.records)
        parts = encode_records(event.records)
        keys = list(map(_key_of, event.records))
        borders = chunk_borders(identity.encode() for identity, _ in keys)
        batch = _EncodedBatch(keys, list(map(len, parts)), most, event.records, borders)
        yield from self._add_batch(batch, lambda start, stop: parts[start:stop])

    def _add_encoded(self, event: Encoded) -> Iterator[Draft]:
        ends = [0, *accumulate(event.sizes)]
        keys = list(zip(event.ids, event.positions, strict=True))
        batch = _EncodedBatch(keys, event.sizes, event.most_containers, [None] * len(keys), event.borders)
        yield from self._add_batch(batch, lambda start, stop: [event.data[ends[start] : ends[stop]]])

    def _add_batch(self, batch: _EncodedBatch, parts: Callable[[int, int], list[bytes]]) -> Iterator[Draft]:
        """Encoded messages; `parts` gives the bytes of a run of them."""
        for start, stop in pairwise([0, *batch.borders, len(batch.keys)]):
            if start in batch.borders:
                yield from self._flush()
            at = start
            while at < stop:
                if count := self._room_for(batch.sizes[at:stop]):
                    self._take(batch, at, at + count, parts)
                    at += count
                    continue
                yield from self._flush()
                record = batch.records[at]
                if record is not None and not self._fits_alone(batch.keys[at], parts(at, at + 1)[0]):
                    yield self._alone(record)
                else:
                    self._room = min(self._limits.max_chunk_bytes, MAX_BLOCK_BYTES - _envelope_bytes(batch.keys[at]))
                    self._take(batch, at, at + 1, parts)
                at += 1

    def _room_for(self, sizes: list[int]) -> int:
        """How many of the next messages go into the open chunk; none where there is no chunk yet."""
        if not self._parts:
            return 0
        most = max(self._limits.max_messages - len(self._keys), 0)
        return bisect_right(list(accumulate(sizes[:most])), self._room - self._part_bytes)

    def _take(self, batch: _EncodedBatch, start: int, stop: int, parts: Callable[[int, int], list[bytes]]) -> None:
        self._keys += batch.keys[start:stop]
        self._sizes += batch.sizes[start:stop]
        self._records += batch.records[start:stop]
        self._parts += parts(start, stop)
        self._part_bytes += sum(batch.sizes[start:stop])
        self._most_containers += sum(batch.most_containers[start:stop])

    def _fits_alone(self, key: _Key, encoded: bytes) -> bool:
        if len(encoded) + _envelope_bytes(key) <= MAX_BLOCK_CONTAINERS:  # the usual case, at no cost
            return True
        return fits(encode_chunk(self._draft([key], ()), (encoded,)))

    def _alone(self, record: RecordDict) -> Draft:
        """A message that outgrows a block. The encoder decides which of its values move out."""
        return replace(self._draft([_key_of(record)], ()), wide=record)

    def _flush(self) -> Iterator[Draft]:
        if not self._parts:
            return
        keys, parts, fits_surely = self._keys, self._parts, self._fits_surely()
        sizes, records = self._sizes, self._records
        self._begin_chunk()
        whole = self._draft(keys, tuple(parts))
        if fits_surely or fits(encode_chunk(whole, parts)):
            yield whole
            return
        for key, record, encoded in zip(keys, records, _cut(b"".join(parts), sizes), strict=True):
            # more arrays than could be read back
            if record is not None and not self._fits_alone(key, encoded):
                yield self._alone(record)
                continue
            yield self._draft([key], (encoded,))

    def _begin_chunk(self) -> None:
        self._keys: list[_Key] = []
        self._sizes: list[int] = []
        self._parts: list[bytes] = []
        self._records: list[RecordDict | None] = []
        self._part_bytes = 0
        self._most_containers = 0

    def _fits_surely(self) -> bool:
        """Whether the open chunk is known to fit without putting it together, as most are."""
        size = self._part_bytes + _ENVELOPE_BYTES + sum(len(self._keys[at][1].encode()) for at in (0, -1))
        return size <= MAX_BLOCK_BYTES and self._most_containers <= MAX_BLOCK_CONTAINERS - _OWN_CONTAINERS

    def _draft(self, keys: list[_Key], parts: tuple[bytes, ...]) -> Draft:
        (first_id, start_position), (_, end_position) = keys[0], keys[-1]
        fields = {
            "chunk_index": 0,
            "end_position": end_position,
            "message_count": len(keys),
            "start_position": start_position,
        }
        return Draft(MessageChunk, fields, parts, first_id, count=len(keys) if len(parts) != len(keys) else None)


def _cut(data: bytes, sizes: list[int]) -> list[bytes]:
    return [data[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]


def _envelope_bytes(key: _Key) -> int:
    """More than the map around a message takes that is alone in its chunk."""
    return _ENVELOPE_BYTES + 2 * len(key[1].encode())


async def chunk(
    events: Events[RecordEvent],
    limits: Limits = DEFAULT_LIMITS,
) -> AsyncGenerator[DraftEvent]:
    """Group messages and rows into drafts that fit one block; the rest passes.

    In:      Records grouped by agent, in source order; Cells inside the Open of their table or history.
    Out:     Draft of MessageChunk: its first message is a border or follows a full chunk, none after it is a border;
             the sum of its messages <= limits.max_chunk_bytes, and at most limits.max_messages of them.
             Draft of TableChunk, UpdateChunk, CheckpointChunk: the same for rows, at most MAX_CHUNK_ROWS of them.
             A message or row that outgrows a block, or has Large cells, is alone in its draft, not encoded yet.
    Memory:  the open chunk and one batch.
    Source:  docs/format.md#where-chunks-close, #memory-history.
    """
    builder = ChunkBuilder(limits)
    async with closing(events):
        async for event in events:
            for draft in builder.add(event):
                yield draft
