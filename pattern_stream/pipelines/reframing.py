"""An archive of the present format written anew: other things round it, its sections in order, its chunks cut anew.

No database takes part. The whole archive is read, hashed and followed from its root before anything is written.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pattern_stream.archive.writer import write_car
from pattern_stream.codec.cid import cid_of, cid_text
from pattern_stream.errors import Finding, ProtocolError, UsageError
from pattern_stream.format import MAX_DOCUMENT_BYTES, WIDE_VERSION
from pattern_stream.items import (
    AsyncWriter,
    Block,
    BlockEvent,
    Cells,
    Close,
    MemoryHistory,
    OpenHistory,
    OpenMemoryBlock,
    ProgressCallback,
    RecordEvent,
    Root,
    Section,
)
from pattern_stream.pipelines.gc_tuning import few_collections
from pattern_stream.pipelines.reading import ArchiveSource, OpenArchive, open_archive
from pattern_stream.pipelines.results import FindingLog
from pattern_stream.schema.model.nodes import ExportManifest
from pattern_stream.schema.model.scopes import Limits
from pattern_stream.stages.chunking import chunk
from pattern_stream.stages.encode.encoder import encode
from pattern_stream.stages.rebuild.records import unchunk
from pattern_stream.stages.walk.walker import Walker, walk
from pattern_stream.streams import Events, closing
from pattern_stream.transport.files import open_target
from pattern_stream.transport.wrapping import Unwrapping, Wrapping, wrap


@dataclass(frozen=True, slots=True)
class ReframeOptions:
    """How to write an archive anew. `limits`: where its chunks close, where they are cut anew; None keeps every block
    as it is. `newest_version`: 3 refuses what only version 4 can hold. `wrapping`, `unwrapping`: what lies round the
    archive that is written, and round the one that is read.
    """

    limits: Limits | None = None
    newest_version: int = WIDE_VERSION
    force: bool = False
    wrapping: Wrapping = Wrapping()
    unwrapping: Unwrapping = Unwrapping()
    spool_dir: Path | None = None
    max_document_bytes: int = MAX_DOCUMENT_BYTES


@dataclass(frozen=True, slots=True)
class ReframeResult:
    """What was written. `source_root`: of the archive that was read; the same one where its blocks were kept.

    `signatures`: those that came along; `signatures_gone`: those that stayed behind, since the root is another one.
    """

    source_root: str
    root: str
    version: int
    bytes: int
    sections: int
    stats: dict[str, int]
    signatures: int
    signatures_gone: int
    seconds: float
    findings: list[Finding] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The summary, as the command line prints it."""
        return {
            "source_root": self.source_root,
            "root": self.root,
            "version": self.version,
            "bytes": self.bytes,
            "sections": self.sections,
            "stats": self.stats,
            "signatures": self.signatures,
            "signatures_gone": self.signatures_gone,
            "warnings": [finding.as_dict() for finding in self.findings],
            "seconds": round(self.seconds, 3),
        }


async def reframe_archive(
    source: ArchiveSource,
    out: Path | AsyncWriter | None,
    *,
    options: ReframeOptions = ReframeOptions(),
    progress: ProgressCallback | None = None,
) -> ReframeResult:
    """Write an archive anew: its sections depth first, each once, with what nothing links to left behind.

    Signatures stay while the root stays. Nothing is written before all of the source was read and found good.
    Memory:  as for an export and a verification together.
    Raises what its parts raise: ArchiveError, LimitExceeded, TransportError, UsageError.
    """
    started = time.monotonic()
    if isinstance(out, Path) and isinstance(source, Path) and out.exists() and out.samefile(source):
        raise UsageError(f"{out} is the archive that is read, expected another file")
    async with AsyncExitStack() as resources:
        resources.enter_context(few_collections())
        target = await resources.enter_async_context(open_target(out, force=options.force))
        near, log = getattr(target, "folder", None), FindingLog()
        archive = await resources.enter_async_context(
            open_archive(
                source,
                stage="convert",
                progress=progress,
                spool_dir=options.spool_dir,
                near=near,
                unwrapping=options.unwrapping,
            )
        )
        walker = Walker(await archive.reader.open(), archive.shelf, report=log.report)
        if options.limits is None:
            blocks = _as_they_are(archive, walker, options.newest_version)
        else:
            blocks = await _cut_anew(archive, walker, options, options.limits)
        async with wrap(target, options.wrapping) as wrapped:
            written = await write_car(blocks, wrapped, spool_dir=options.spool_dir, near=near, progress=progress)
        signatures = len(archive.reader.signatures)
        kept = signatures if written.root == archive.reader.root else 0
        return ReframeResult(
            source_root=cid_text(archive.reader.root),
            root=cid_text(written.root),
            version=written.version,
            bytes=written.bytes,
            sections=written.sections,
            stats=dict(written.stats),
            signatures=kept,
            signatures_gone=signatures - kept,
            seconds=time.monotonic() - started,
            findings=log.findings(),
        )


async def _as_they_are(archive: OpenArchive, walker: Walker, newest_version: int) -> AsyncGenerator[BlockEvent]:
    """Each block as it was read, where the walk from the root meets it first; then the signatures."""
    met: list[Section] = []
    walker.when_met(met.append)
    nodes = walk(archive.reader.sections(), walker, archive.shelf)
    async with closing(nodes):
        async for _ in nodes:
            for section in met:
                yield Block(section.cid, bytes(section.data))
            met.clear()
    for section in met:
        yield Block(section.cid, bytes(section.data))
    for data in archive.reader.signatures:
        yield Block(cid_of(data), data)
    manifest = walker.manifest
    if manifest is None:
        raise ProtocolError("the walk ended without a manifest")
    if manifest["version"] > newest_version:
        raise UsageError(
            f"the archive is version {manifest['version']}, expected {newest_version} at most",
            hint="--rechunk writes version 3 where all of it fits",
        )
    yield Root(archive.reader.root, manifest["stats"], manifest["version"])


async def _cut_anew(
    archive: OpenArchive, walker: Walker, options: ReframeOptions, limits: Limits
) -> AsyncGenerator[BlockEvent]:
    """The blocks of the same records, in chunks that close where a new export would close them."""
    nodes = walk(archive.reader.sections(), walker, archive.shelf)
    first = await anext(nodes)
    manifest: dict[str, Any] = walker.manifest or {}
    records = unchunk(_behind(first, nodes), max_document_bytes=options.max_document_bytes)
    made = {edge.name for edge in ExportManifest.edges} | {"section_count"}
    return encode(
        chunk(reopen_history(records), limits),
        exported_at=manifest["exported_at"],
        lineage={key: value for key, value in manifest.items() if key not in made},
        newest_version=options.newest_version,
    )


async def _behind(first: Any, rest: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
    async with closing(rest):
        yield first
        async for event in rest:
            yield event


async def reopen_history(events: Events[RecordEvent]) -> AsyncGenerator[RecordEvent]:
    """The history of a memory block as a node of its own inside the block, as the way out has it.

    In:      as `unchunk` gives it: the block has the history, whose rows follow.
    Out:     as `map_rows` gives it: OpenHistory, the rows, Close.
    """
    waiting: MemoryHistory | None = None
    inside = False
    async with closing(events):
        async for event in events:
            if isinstance(event, OpenMemoryBlock) and event.history is not None:
                waiting = event.history
                yield replace(event, history=None, has_history=True)
                continue
            if waiting is not None and isinstance(event, Cells | Close):
                yield OpenHistory(stored=waiting)
                waiting, inside = None, True
            if inside and isinstance(event, Close):
                inside = False
                yield Close()
            yield event
