"""Archives of messages in many chunks, and what comes out of them with a worker that decodes ahead and without one."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from pattern_stream.archive.chunk_prefetch import ChunkPrefetch, open_chunk_prefetch
from pattern_stream.archive.reader import ArchiveReader, read_sections
from pattern_stream.archive.shelf import Shelf
from pattern_stream.budget import Budget
from pattern_stream.errors import ArchiveError, Finding
from pattern_stream.items import MadeRows, Node, Rows, Section, WalkEvent
from pattern_stream.schema.model.records import Message
from pattern_stream.stages.edit.translate import watch_batch_ids
from pattern_stream.stages.mapping import unmap_records
from pattern_stream.stages.rebuild.records import unchunk
from pattern_stream.stages.walk.walker import Walker, walk
from pattern_stream.streams import transform
from tests.acceptance.car import Link, cid_of, encode
from tests.archives import Archive, entry_record, memory_record, message_record
from tests.drive import collect, dribble

CHUNKS = 20
EACH = 24
BATCH = "31358194177998848"


class Chunked(Archive):
    """An archive whose blocks are twisted before they get their CIDs."""

    twist: Callable[[bytes], bytes] = staticmethod(lambda data: data)

    def add(self, value: dict[str, Any]) -> Link:
        data = self.twist(encode(value))
        cid = cid_of(data)
        self.blocks.append((bytes(cid), data))
        return cid


def chunked(
    odd: dict[int, dict[str, Any]] | None = None,
    *,
    chunks: int = CHUNKS,
    twist: Callable[[bytes], bytes] = lambda data: data,
    version: int = 3,
) -> Archive:
    """An agent with many chunks, and blocks before and behind them. `odd`: changes to the message of that number."""
    archive = Chunked()
    archive.twist = twist
    messages = [
        message_record(number, **{"batch_id": BATCH, **(odd or {}).get(number, {})}) for number in range(chunks * EACH)
    ]
    link = archive.agent(
        memory=[(memory_record("b1"), [b"first piece, ", b"second piece"]), (memory_record("b2"), [b"one"])],
        chunks=[messages[start : start + EACH] for start in range(0, len(messages), EACH)],
        entries=[entry_record(1), entry_record(2)],
    )
    counts = {
        "agent_count": 1,
        "chunk_count": chunks,
        "message_count": len(messages),
        "memory_block_count": 2,
        "archival_entry_count": 2,
    }
    return archive.finish("Agent", link, stats=counts, created_by="pattern-stream 0.1", version=version)


EAGER = Budget(processors=2, least_prefetch_bytes=1, least_chunk_bytes=1, chunk_start_seconds=60)
"""The first chunk starts a worker, which all further ones are given to once it is ready; one processor is enough."""

ALONE = Budget(processors=1)


@dataclass
class Watched:
    """What became of chunks in all lines of a test."""

    prefetches: list[ChunkPrefetch] = field(default_factory=list)

    @property
    def asked(self) -> int:
        """How many were given to a worker."""
        return sum(prefetch.asked_count for prefetch in self.prefetches)

    @property
    def answered(self) -> int:
        """How many it decoded."""
        return sum(prefetch.answered_count for prefetch in self.prefetches)

    @property
    def used(self) -> int:
        """How many were of use to the walk, in lines that take all in their order."""
        return self.asked - sum(prefetch.useless_count for prefetch in self.prefetches)


@contextmanager
def watching(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Look at everything that decodes chunks ahead."""
    watched, sections = Watched(), ChunkPrefetch.sections

    def watch(self: ChunkPrefetch, source: AsyncIterator[Section]) -> AsyncGenerator[Section]:
        watched.prefetches.append(self)
        return sections(self, source)

    with monkeypatch.context() as patched:
        patched.setattr(ChunkPrefetch, "sections", watch)
        yield watched


@dataclass
class Found:
    """What came out of an archive: rows and what is around them, findings, the error that ended it."""

    rows: list[Any] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    error: tuple[type[ArchiveError], str, Any] | None = None
    made: int = 0
    """Chunks of messages that the worker made into rows."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Found) and (self.rows, self.findings, self.error) == (
            other.rows,
            other.findings,
            other.error,
        )

    async def counting(self, events: AsyncGenerator[WalkEvent]) -> AsyncGenerator[WalkEvent]:
        """Count what was made."""
        async with aclosing(events):
            async for event in events:
                self.made += is_of_a_worker(event)
                yield event


def is_of_a_worker(event: WalkEvent) -> bool:
    """Whether a worker made the rows of a chunk: others are in a list."""
    messages = event.value.get("messages") if isinstance(event, Node) else None
    return isinstance(messages, MadeRows) and getattr(messages.batches, "func", None) is not iter


Step = Callable[[Found, ChunkPrefetch], None]


async def found(
    raw: bytes, *, ahead: bool = True, step: Step = lambda found, decoding: None, budget: Budget = EAGER
) -> Found:
    """The line of an import as far as rows, with a worker or without; `step` is called whenever something came out."""
    result = Found()
    reader = ArchiveReader(dribble(raw, 4096))
    with open_chunk_prefetch(budget=budget) as decoding, Shelf() as shelf:
        try:
            root = await reader.open()
            sections, made = reader.sections(), None
            if ahead:
                sections, made = decoding.sections(sections), decoding.made
            nodes = walk(sections, Walker(root, shelf, report=result.findings.append, made=made), shelf)
            watch = partial(watch_batch_ids, report=result.findings.append, minted=False)
            records = transform(unchunk(result.counting(nodes)), watch)
            async with aclosing(unmap_records(records, result.findings.append)) as events:
                async for event in events:
                    if isinstance(event, Rows):
                        result.rows += [(event.record, row) for row in event.rows]
                    else:
                        result.rows.append(event)
                    step(result, decoding)
        except ArchiveError as error:
            result.error = (type(error), error.message, error.where)
    return result


def messages(result: Found) -> int:
    """How many messages came out."""
    return sum(type(row) is tuple and row[0] is Message for row in result.rows)


async def sections_of(raw: bytes) -> list[Section]:
    """The sections of an archive, read plainly."""
    return await collect(read_sections(dribble(raw, 4096)))


def chunks_of(sections: list[Section]) -> list[Section]:
    """The sections of chunks of messages."""
    return [section for section in sections if b"\x68messages" == section.data[1:10]]


def chunk_section(sections: list[Section], number: int) -> Section:
    """The section of a chunk."""
    return chunks_of(sections)[number]


def flipped(raw: bytes, section: Section, place: int = -30) -> bytes:
    """An archive with one bit of a section's block changed."""
    at = raw.index(section.data) + place % len(section.data)
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def descriptors() -> set[str]:
    """Descriptors of this process, where the system tells."""
    folder = "/proc/self/fd"
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()
