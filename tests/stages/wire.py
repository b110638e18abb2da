"""A line without a database: events of records to the sections of an archive, and back to events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pattern_stream.archive.shelf import Shelf
from pattern_stream.archive.spool import Spool
from pattern_stream.archive.writer import CarDraft
from pattern_stream.codec.car import SectionSplitter, encode_header
from pattern_stream.codec.dagcbor import decode
from pattern_stream.items import (
    Block,
    BlockEvent,
    Close,
    Open,
    OpenHistory,
    OpenMemoryBlock,
    RecordEvent,
    Root,
    Section,
    WalkEvent,
)
from pattern_stream.schema.model.scopes import Limits
from pattern_stream.stages.chunking import ChunkBuilder
from pattern_stream.stages.encode.encoder import Encoder
from pattern_stream.stages.rebuild.records import RecordBuilder
from pattern_stream.stages.walk.walker import Walker
from tests.archives import AT, Archive, Blocks


def made(events: Iterable[RecordEvent], limits: Limits = Limits(), **options: Any) -> list[BlockEvent]:
    """What chunk and encode make of events."""
    chunks, encoder = ChunkBuilder(limits), Encoder(AT, {"created_by": "pattern-stream test"}, **options)
    return [block for event in events for draft in chunks.add(event) for block in encoder.add(draft)]


def written(blocks: Iterable[BlockEvent]) -> Archive:
    """The sections as the writer puts them, in its order."""
    with Spool([Path()]) as spool:
        draft = CarDraft(spool)
        for block in blocks:
            draft.add(block)
        root = draft.finish().cid
        splitter = SectionSplitter()
        sections = list(
            splitter.feed(encode_header(root) + b"".join(area.peek(*place) or b"" for area, *place in draft.pieces()))
        )
        splitter.finish()
    return Archive([(section.cid, section.data) for section in sections], root)


def exported(events: Iterable[RecordEvent], limits: Limits = Limits(), **options: Any) -> Archive:
    """An archive of events."""
    return written(made(events, limits, **options))


class Reading:
    """An archive read back: its events, and the walker, which knows more."""

    def __init__(self, archive: Archive, blocks: Blocks | None = None, **options: Any) -> None:
        with Shelf() as shelf:
            self.walker = Walker(archive.root, shelf, **options)
            builder = RecordBuilder(damage=options.get("damage"))
            sections = [Section(1000 + place, *found) for place, found in enumerate(blocks or archive.blocks)]
            nodes: list[WalkEvent] = [event for section in sections for event in self.walker.add(section)]
            nodes += self.walker.finish()
            self.events: list[RecordEvent] = [event for node in nodes for event in builder.add(node)]


def imported(archive: Archive, blocks: Blocks | None = None, **options: Any) -> list[RecordEvent]:
    """The events of an archive."""
    return Reading(archive, blocks, **options).events


def nodes_of(archive: Archive) -> list[Any]:
    """The decoded blocks, in order."""
    return [decode(data) for _, data in archive.blocks]


def version_of(blocks: Sequence[BlockEvent]) -> int:
    """The version that an encoder came to."""
    root = blocks[-1]
    assert isinstance(root, Root)
    return root.version


def sizes_of(blocks: Iterable[BlockEvent]) -> list[int]:
    """How many bytes each block has."""
    return [len(block.data) for block in blocks if isinstance(block, Block)]


def as_exported(events: Sequence[RecordEvent]) -> list[RecordEvent]:
    """Events of an import in the form that export has them: a history opens behind its block, and closes before it."""
    found: list[RecordEvent] = []
    closes: list[bool] = []
    late: list[RecordEvent] = []
    for event in events:
        if late and type(event).__name__ != "Piece":
            found += late
            late = []
        if isinstance(event, Close) and closes.pop():
            found.append(Close())
        if isinstance(event, Open):
            history = event.history if isinstance(event, OpenMemoryBlock) else None
            closes.append(history is not None)
            if isinstance(event, OpenMemoryBlock) and history is not None:
                event = replace(event, history=None, has_history=True)
                late = [OpenHistory(stored=history)]
        found.append(event)
    return found
