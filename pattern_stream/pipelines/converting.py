"""The conversion line, wired: an old archive, or data of another system, in; one archive of the present format out."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pattern_stream.archive.reader import ArchiveReader, starts_plain
from pattern_stream.archive.shelf import Shelf
from pattern_stream.archive.writer import WriteResult, write_car
from pattern_stream.codec.cid import cid_text
from pattern_stream.errors import Finding, GraveIssues, ProtocolError, UsageError, Where
from pattern_stream.files.temporary import temporary_folders
from pattern_stream.format import CAR_HEADER_BYTES, MAX_DOCUMENT_BYTES, WIDE_VERSION
from pattern_stream.items import (
    AsyncWriter,
    Block,
    BlockEvent,
    Cells,
    Close,
    Open,
    ProgressCallback,
    RecordEvent,
    Records,
    Root,
    Rows,
)
from pattern_stream.legacy.conversion import Conversion, IssueSeverity, Provenance
from pattern_stream.legacy.detect import recognise_foreign, require_reader
from pattern_stream.legacy.pattern_archive.root import may_be_of_today
from pattern_stream.legacy.source import LegacyInput, LegacySource, Reader, ReadOptions
from pattern_stream.memory.sandbox import Sandbox
from pattern_stream.memory.unrendering import unrender
from pattern_stream.pipelines.exporting import CREATED_BY, section_bytes
from pattern_stream.pipelines.gc_tuning import few_collections
from pattern_stream.pipelines.reading import ArchiveSource, Content, open_content
from pattern_stream.pipelines.reframing import ReframeOptions, ReframeResult, reframe_archive
from pattern_stream.pipelines.results import FindingLog
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.instants import instant_to_wire
from pattern_stream.schema.model.nodes import GroupExportThin, NodeType
from pattern_stream.schema.model.records import SharedAttachment
from pattern_stream.schema.model.scopes import Limits
from pattern_stream.stages.chunking import chunk
from pattern_stream.stages.edit.rescue import Rescuer, rescue_documents
from pattern_stream.stages.encode.encoder import encode
from pattern_stream.stages.mapping import map_rows, record_of
from pattern_stream.stages.rebuild.records import unchunk
from pattern_stream.stages.statistics import is_ours
from pattern_stream.stages.walk.walker import Walker, walk
from pattern_stream.stages.writing import write_documents
from pattern_stream.streams import closing, transform
from pattern_stream.transport.files import open_target
from pattern_stream.transport.wrapping import (
    Unwrapping,
    Wrapping,
    wrap,
)


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """How to convert. `archival`: what becomes of archival memory of versions 1 and 2. `fail_on`: the severity of an
    issue from which on nothing is written. `rescue`: read an archive of today that Pattern's export emptied.
    `newest_version`: 3 refuses what only version 4 can hold. `wrapping`, `unwrapping`: what lies round the archive that
    is written, and round the source. `now`: RFC 3339 text, the archive's time where the source tells none; by default
    the clock. `rechunk`: where chunks of an archive of the present format close; None keeps its blocks as they are.
    """

    archival: Literal["entries", "blocks"] = "entries"
    fail_on: IssueSeverity | None = None
    rescue: bool = False
    force: bool = False
    newest_version: int = WIDE_VERSION
    wrapping: Wrapping = Wrapping()
    unwrapping: Unwrapping = Unwrapping()
    spool_dir: Path | None = None
    max_document_bytes: int = MAX_DOCUMENT_BYTES
    now: str | None = None
    rechunk: Limits | None = None


@dataclass(frozen=True, slots=True)
class ConversionResult:
    """What was converted. `written`: False for an analysis, whose `bytes` and `root` are those that would be written.

    `report`: what was kept, changed and dropped, and the issues.
    """

    source: Provenance
    report: Conversion
    written: bool
    version: int
    root: str
    bytes: int
    sections: int
    stats: dict[str, int]
    seconds: float
    findings: list[Finding] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The summary, as the command line prints it."""
        return {
            "source": self.source.as_dict(),
            "written": self.written,
            "version": self.version,
            "root": self.root,
            "bytes": self.bytes,
            "sections": self.sections,
            "stats": self.stats,
            **self.report.as_dict(),
            "warnings": [finding.as_dict() for finding in self.findings],
            "seconds": round(self.seconds, 3),
        }


@dataclass(slots=True)
class ConversionLine:
    """A conversion line before its sink."""

    provenance: Provenance
    sandbox: Sandbox
    options: ConvertOptions
    conversion: Conversion
    log: FindingLog = field(default_factory=FindingLog)
    records: AsyncIterator[RecordEvent] | None = None
    _open: list[type[NodeType]] = field(default_factory=list)

    def blocks(self) -> AsyncGenerator[BlockEvent]:
        """From records on, whatever they are from. Raises GraveIssues before the root is given away."""
        if self.records is None:
            raise ProtocolError("a conversion has nothing to read yet", where=Where("convert"))
        drafts = chunk(transform(self.records, self._count), self.options.rechunk or Limits())
        blocks = encode(
            drafts,
            exported_at=self.provenance.exported_at,
            lineage=_lineage(),
            newest_version=self.options.newest_version,
        )
        return transform(blocks, finish=self._judge)

    def read_rows(self, source: LegacySource) -> None:
        """Records are the rows of another format."""
        documents = write_documents(source.rows(), self.sandbox.write)
        self.records = map_rows(documents, self.log.report)

    async def read_archive(self, resources: AsyncExitStack, content: Content, folders: list[Path]) -> None:
        """Records are those of an archive of today that Pattern's export emptied. Raises UsageError for ours."""
        shelf = resources.enter_context(Shelf(folders))
        reader = ArchiveReader(content.pieces)
        walker = Walker(await reader.open(), shelf, report=self.log.report)
        nodes = walk(reader.sections(), walker, shelf)
        events = unchunk(nodes, max_document_bytes=self.options.max_document_bytes)
        first = await anext(events, None)
        manifest = walker.manifest
        if first is None or manifest is None:
            raise ProtocolError("an archive came without a manifest", where=Where("convert"))
        if is_ours(manifest):
            message = f"archive was made by {manifest['created_by']}, which empties no document: nothing to rescue"
            raise UsageError(message)
        noun = f"archive of Pattern, version {manifest['version']}"
        identity = cid_text(reader.root)
        at = manifest["exported_at"]
        self.provenance = Provenance("pattern-archive", noun, at, manifest["version"], identity=identity)
        rescuer = Rescuer(self.sandbox.check, self.sandbox.write, unrender, self._note_rescued)
        self.records = rescue_documents(_with_first(first, events), rescuer)

    def _note_rescued(self, finding: Finding) -> None:
        why = "Pattern's export had emptied the document: it is rebuilt from the preview"
        self.conversion.change("memory_blocks", finding.code, why, finding.where.row_id or "", finding.message)
        self.log.report(finding)

    def _count(self, event: RecordEvent) -> RecordEvent:
        if isinstance(event, Open):
            self._open.append(event.node)
        elif isinstance(event, Close):
            self._open.pop()
        if isinstance(event, Rows | Records):
            count = len(event.rows if isinstance(event, Rows) else event.records)
            if self._open[-1] is not GroupExportThin or event.record is not SharedAttachment:  # which the whole repeats
                self.conversion.keep(event.record.table, count)
        elif isinstance(event, Cells):
            self.conversion.keep(event.table, len(event.rows))
        elif isinstance(event, Open) and event.record is not None:
            self.conversion.keep(record_of(event.node).table)
        return event

    def result(self, made: WriteResult, started: float, *, written: bool = True) -> ConversionResult:
        """What came of it. `started`: by the clock that never goes back."""
        return ConversionResult(
            source=self.provenance,
            report=self.conversion,
            written=written,
            version=made.version,
            root=cid_text(made.root),
            bytes=made.bytes,
            sections=made.sections,
            stats=dict(made.stats),
            seconds=time.monotonic() - started,
            findings=self.log.findings(),
        )

    def _judge(self) -> None:
        least = self.options.fail_on
        if least is not None and (count := self.conversion.count_from(least)):
            issues = "issue is" if count == 1 else "issues are"
            raise GraveIssues(
                f"{count} {issues} of severity {least} or more, expected none: nothing was written",
                hint="--analyze lists them",
            )


async def convert_archive(
    source: ArchiveSource,
    out: Path | AsyncWriter | None,
    *,
    options: ConvertOptions = ConvertOptions(),  # noqa: B008  frozen
    progress: ProgressCallback | None = None,
) -> ConversionResult | ReframeResult:
    """Read an archive of an older version, or data of another system, and write one archive of the present format.

    `source`: a file or folder, any async iterator of bytes, or None for standard input. `out`: as for `export_archive`.
    An archive of the present format is written anew, see `reframe_archive`. Nothing is written before all of the source
    was read and found good.

    Raises what its parts raise: LegacyError (unknown format, malformed, grave issues), ArchiveError, LimitExceeded,
    TransportError, UsageError.
    """
    started = time.monotonic()
    if isinstance(out, Path) and isinstance(source, Path) and out.exists() and out.samefile(source):
        raise UsageError(f"{out} is what is converted, expected another file")
    async with AsyncExitStack() as resources:
        target = await resources.enter_async_context(open_target(out, force=options.force))
        near = getattr(target, "folder", None)
        opening = open_content(source, stage="convert", progress=progress, unwrapping=options.unwrapping)
        content = await resources.enter_async_context(opening)
        is_archive = content.folder is None and starts_plain(content.head)
        if is_archive and may_be_of_today(content.head) and not options.rescue:
            reframing = ReframeOptions(
                options.rechunk,
                options.newest_version,
                wrapping=options.wrapping,
                spool_dir=options.spool_dir,
                max_document_bytes=options.max_document_bytes,
            )
            return await reframe_archive(content.path or content.pieces, target, options=reframing)
        line = await _line_over(resources, content, options, near, progress)
        async with wrap(target, options.wrapping) as wrapped:
            written = await write_car(line.blocks(), wrapped, spool_dir=options.spool_dir, near=near, progress=progress)
        return line.result(written, started)


async def analyze_source(
    source: ArchiveSource,
    *,
    options: ConvertOptions = ConvertOptions(),  # noqa: B008  frozen
    progress: ProgressCallback | None = None,
) -> ConversionResult:
    """Go through a whole conversion without keeping its bytes. Raises as `convert_archive` does."""
    started = time.monotonic()
    sections, size, root = 0, 0, Root(b"", {})
    async with open_conversion(source, options, progress) as line:
        async with closing(line.blocks()) as blocks:
            async for event in blocks:
                if isinstance(event, Block):
                    sections, size = sections + 1, size + section_bytes(event)
                elif isinstance(event, Root):
                    root = event
        counted = WriteResult(root.cid, size + CAR_HEADER_BYTES, sections, root.stats, root.version)
        return line.result(counted, started, written=False)


@asynccontextmanager
async def open_conversion(
    source: ArchiveSource,
    options: ConvertOptions,
    progress: ProgressCallback | None = None,
) -> AsyncGenerator[ConversionLine]:
    """A conversion line: the source recognised, opened and ready to be read. Raises UnknownFormat."""
    async with AsyncExitStack() as resources:
        opening = open_content(source, stage="convert", progress=progress, unwrapping=options.unwrapping)
        content = await resources.enter_async_context(opening)
        yield await _line_over(resources, content, options, None, progress)


async def _line_over(
    resources: AsyncExitStack,
    content: Content,
    options: ConvertOptions,
    near: Path | None,
    progress: ProgressCallback | None,
) -> ConversionLine:
    folders = temporary_folders(options.spool_dir, near)
    if not options.rescue or not may_be_of_today(content.head):
        given = resources.enter_context(_legacy_input(content, folders))
        return await _open_line(resources, require_reader(given), given, options, progress)
    resources.enter_context(few_collections())
    sandbox = await resources.enter_async_context(Sandbox(max_document_bytes=options.max_document_bytes))
    line = ConversionLine(Provenance("pattern-archive", "", ""), sandbox, options, Conversion())
    await line.read_archive(resources, content, folders)
    return line


async def _open_line(
    resources: AsyncExitStack,
    reader: Reader,
    given: LegacyInput,
    options: ConvertOptions,
    progress: ProgressCallback | None,
) -> ConversionLine:
    resources.enter_context(few_collections())
    conversion = Conversion()
    now = instant_to_wire(options.now or datetime.now(UTC).isoformat())
    reading = ReadOptions(now, given.folders, options.archival, options.max_document_bytes, progress)
    opened = await reader.open(given, reading, conversion)
    sandbox = await resources.enter_async_context(Sandbox(max_document_bytes=options.max_document_bytes))
    line = ConversionLine(opened.provenance, sandbox, options, conversion)
    line.read_rows(opened)
    return line


async def convert_content(
    content: Content,
    out: AsyncWriter,
    options: ConvertOptions,
    *,
    near: Path | None = None,
    progress: ProgressCallback | None = None,
) -> ConversionResult | None:
    """The same for an input that is open already: None, and nothing read, where it is of no format that is known.

    Raises as `convert_archive` does.
    """
    started = time.monotonic()
    async with AsyncExitStack() as resources:
        given = resources.enter_context(_legacy_input(content, temporary_folders(options.spool_dir, near)))
        if (reader := recognise_foreign(given)) is None:
            return None
        line = await _open_line(resources, reader, given, options, progress)
        return line.result(await write_car(line.blocks(), out, spool_dir=options.spool_dir, near=near), started)


@contextmanager
def _legacy_input(content: Content, folders: list[Path]) -> Iterator[LegacyInput]:
    path, is_folder = content.folder or content.path, content.folder is not None
    with LegacyInput(path, is_folder, content.head, content.pieces, folders) as given:
        yield given


async def _with_first(first: RecordEvent, rest: AsyncGenerator[RecordEvent]) -> AsyncGenerator[RecordEvent]:
    async with closing(rest):
        yield first
        async for event in rest:
            yield event


def _lineage() -> dict[str, Any]:
    lineage: dict[str, Any] = {"created_by": CREATED_BY}
    with suppress(PackageNotFoundError):  # a frozen build has no package metadata
        lineage["loro_version"] = version("loro")
    return lineage
