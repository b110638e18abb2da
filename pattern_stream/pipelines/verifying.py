"""An archive read whole and judged: framing, digests, links, shapes, statistics, documents. One run lists it all."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pattern_stream.archive.chunk_prefetch import ChunkPrefetch, open_chunk_prefetch
from pattern_stream.budget import BUDGET, Budget
from pattern_stream.codec.cid import cid_text
from pattern_stream.errors import (
    ArchiveError,
    DamagedDocument,
    DocumentTooLarge,
    ExitCode,
    Finding,
    LegacyError,
    LimitExceeded,
    UnsupportedArchive,
)
from pattern_stream.files.temporary import temporary_folder, temporary_folders
from pattern_stream.format import MAX_DOCUMENT_BYTES
from pattern_stream.items import OpenMemoryBlock, ProgressCallback, RecordEvent
from pattern_stream.legacy.pattern_archive.root import may_be_of_today
from pattern_stream.memory.sandbox import Sandbox
from pattern_stream.pipelines.comparing import Comparison, open_comparison
from pattern_stream.pipelines.gc_tuning import few_collections
from pattern_stream.pipelines.reading import ArchiveSource, OpenArchive, is_foreign, open_archive, open_content
from pattern_stream.pipelines.results import FindingLog, conversion_findings, has_errors
from pattern_stream.pipelines.signatures import JudgedSignature, WantedSignature, judge, untrusted
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.records import Message, Record
from pattern_stream.stages.edit.check_documents import Replayed, check_one, unchecked
from pattern_stream.stages.rebuild.records import unchunk
from pattern_stream.stages.statistics import ArchiveStatistics, is_ours
from pattern_stream.stages.walk.walker import Walker, walk
from pattern_stream.transport.wrapping import Unwrapping

if TYPE_CHECKING:
    from pattern_stream.pipelines.converting import ConversionResult

_UNSUPPORTED = frozenset(
    error("").code for error in (*UnsupportedArchive.__subclasses__(), UnsupportedArchive, LimitExceeded)
)


@dataclass(frozen=True, slots=True)
class Documents:
    """Memory documents: looked into, empty ones among them, damaged ones; not looked into, as they are too large."""

    checked: int = 0
    empty: int = 0
    failed: int = 0
    unchecked: int = 0

    def as_dict(self) -> dict[str, int]:
        """As in the summary."""
        counts = {"checked": self.checked, "empty": self.empty, "failed": self.failed}
        return counts | ({"unchecked": self.unchecked} if self.unchecked else {})


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found. `version`, `type` and `root` are None where the archive does not say. Only errors make it bad.

    `converted`: of an archive of an older version, or of data of another system, how it was converted to be verified.
    """

    version: int | None
    type: str | None
    root: str | None
    bytes: int
    sections: int
    distinct_blocks: int
    duplicates: int
    unreferenced: int
    depth_first: bool
    stats_match: bool
    documents: Documents
    against: Comparison | None
    seconds: float
    findings: list[Finding] = field(default_factory=list)
    signatures: list[JudgedSignature] = field(default_factory=list)
    wanted: WantedSignature | None = None
    converted: ConversionResult | None = None

    @property
    def ok(self) -> bool:
        """Whether the archive is whole and sound."""
        return not has_errors(self.findings)

    @property
    def exit_code(self) -> ExitCode:
        """0; 4; 5: nothing is wrong but what this release does not know; 8: no signature counts; 10: it differs."""
        codes = {finding.code for finding in self.findings if finding.severity == "error"}
        if codes:
            return ExitCode.UNSUPPORTED if codes <= _UNSUPPORTED else ExitCode.CORRUPT
        if self.wanted is not None and untrusted(self.signatures) is not None:
            return ExitCode.KEY
        return ExitCode.DIFFERS if self.against is not None and self.against.differs else ExitCode.DONE

    def as_dict(self) -> dict[str, Any]:
        """The summary, as the command line prints it."""
        summary = {
            "ok": self.ok,
            "version": self.version,
            "type": self.type,
            "root": self.root,
            "bytes": self.bytes,
            "sections": self.sections,
            "distinct_blocks": self.distinct_blocks,
            "duplicates": self.duplicates,
            "unreferenced": self.unreferenced,
            "order": "depth-first" if self.depth_first else "other",
            "stats_match": self.stats_match,
            "documents": self.documents.as_dict(),
            "findings": [finding.as_dict() for finding in self.findings],
            "signatures": [one.as_dict() for one in self.signatures],
            "seconds": round(self.seconds, 3),
        }
        if self.converted is not None:
            summary["converted_from"] = self.converted.source.as_dict()
        return summary | ({"against": self.against.as_dict()} if self.against is not None else {})


async def verify_archive(
    source: ArchiveSource,
    *,
    documents: bool = True,
    against: Path | None = None,
    both_ways: bool = False,
    max_document_bytes: int = MAX_DOCUMENT_BYTES,
    progress: ProgressCallback | None = None,
    spool_dir: Path | None = None,
    unwrapping: Unwrapping = Unwrapping(),
    wanted: WantedSignature | None = None,
    budget: Budget = BUDGET,
) -> Verification:
    """Read a whole archive and list everything that is wrong with it; write nothing.

    `documents`: look into every memory document too. `against`: a database that every record is compared with, or
    another archive, also an old one: what an import of it gives is compared with then, in a temporary database;
    `both_ways`: rows of it that the archive should carry by its scope, and does not, are differences too. `wanted`:
    whose signature it must have.

    Raises DatabaseError where the database to compare with cannot be read, TransportError and OSError where the archive
    cannot be; whatever is wrong with the archive itself is a finding.
    """
    started = time.monotonic()
    async with AsyncExitStack() as resources:
        resources.enter_context(few_collections())
        check = _Check(max_document_bytes, documents)
        chunks = resources.enter_context(open_chunk_prefetch(with_rows=False, budget=budget))
        damage = chunks.in_turn(check.report)
        opening = open_archive(
            source,
            stage="verify",
            damage=damage,
            progress=progress,
            spool_dir=spool_dir,
            unwrapping=unwrapping,
            max_document_bytes=max_document_bytes,
        )
        try:
            archive = await resources.enter_async_context(opening)
        except (ArchiveError, LegacyError, LimitExceeded) as error:  # of what had to be converted
            check.report(Finding.of(error))
            return check.result(None, time.monotonic() - started, [], wanted)
        check.sandbox = await resources.enter_async_context(Sandbox(max_document_bytes=max_document_bytes))
        if against is not None:
            database = await resources.enter_async_context(_database_of(against, spool_dir, unwrapping, progress))
            check.comparison = await resources.enter_async_context(
                open_comparison(database, check.sandbox.fold, both_ways=both_ways, ours=check.is_ours)
            )
            check.comparison.path = against
        await check.run(archive, chunks)
        signatures = list[JudgedSignature]()
        if archive.reader.header is not None and (archive.reader.signatures or wanted is not None):
            signatures = judge(archive.reader.root, archive.reader.signatures, wanted)
        return check.result(archive, time.monotonic() - started, signatures, wanted)


@asynccontextmanager
async def _database_of(
    against: Path, spool_dir: Path | None, unwrapping: Unwrapping, progress: ProgressCallback | None
) -> AsyncGenerator[Path]:
    """The database itself, or one that an archive was imported into, which vanishes in the end."""
    is_database = True
    if against.exists():
        async with open_content(against, stage="compare", unwrapping=unwrapping) as content:
            is_database = not (content.folder or may_be_of_today(content.head) or is_foreign(content))
    if is_database:
        yield against
        return
    from pattern_stream.pipelines.importing import ImportOptions, import_archive  # for this rare case alone

    with temporary_folder(temporary_folders(spool_dir, None)) as folder:
        options = ImportOptions(spool_dir=spool_dir, unwrapping=unwrapping, verify_documents=False)
        await import_archive(against, folder / "against.db", options=options, progress=progress)
        yield folder / "against.db"


@dataclass(slots=True)
class _Check:
    """One verification under way."""

    max_document_bytes: int
    with_documents: bool
    sandbox: Sandbox | None = None
    comparison: Comparison | None = None
    walker: Walker | None = None
    log: FindingLog = field(default_factory=FindingLog)
    errors: int = 0
    checked: int = 0
    empty: int = 0
    failed: int = 0
    unchecked: int = 0
    _replayed: Replayed | None = None

    def report(self, finding: Finding) -> None:
        """Keep one more finding."""
        self.errors += finding.severity == "error"
        self.log.report(finding)

    def is_ours(self) -> bool:
        """Whether this program made the archive."""
        return self.walker is not None and is_ours(self.walker.manifest or {})

    async def run(self, archive: OpenArchive, chunks: ChunkPrefetch) -> None:
        """Read everything; what is wrong with the archive goes to the log."""
        for finding in conversion_findings(archive.converted):
            self.report(finding)
        try:
            root = await archive.reader.open()
        except ArchiveError as error:
            self.report(Finding.of(error.at(stage="read")))
            return
        sections, made = archive.reader.sections(), None
        if self.comparison is None:  # which looks at records
            sections, made = chunks.sections(sections), chunks.made
        self.walker = Walker(root, archive.shelf, report=self.report, damage=self.report, made=made, with_rows=False)
        nodes = walk(sections, self.walker, archive.shelf)
        try:
            unread: frozenset[type[Record]] = frozenset({Message}) if self.comparison is None else frozenset()
            limit = self.max_document_bytes
            await self._judge(unchunk(nodes, max_document_bytes=limit, damage=self.report, unread=unread))
        except ArchiveError as error:  # gzip's own faults, and what no reading goes on after
            self.report(Finding.of(error))

    async def _judge(self, events: AsyncGenerator[RecordEvent]) -> None:
        errors = 0
        async with aclosing(events):
            async for event in events:
                if self.with_documents:
                    await self._look(event, whole=self.errors == errors)
                if self.comparison is not None:
                    await self.comparison.add(event)
                errors = self.errors
        if self.comparison is not None:
            await self.comparison.finish()

    async def _look(self, event: RecordEvent, *, whole: bool) -> None:
        """Look into a document, and at what its history leads to. One that is not whole was reported already."""
        if self.sandbox is None:
            return
        try:
            if isinstance(event, OpenMemoryBlock) and event.document is not None:
                self._replayed = await self._look_into(event, self.sandbox) if whole else None
            elif self._replayed is not None and await self._replayed.add(event, self.sandbox.show, self.report):
                self._replayed = None
        except (DamagedDocument, LimitExceeded) as error:
            self.failed += 1
            self._replayed = None
            self.report(Finding.of(error))

    async def _look_into(self, event: OpenMemoryBlock, sandbox: Sandbox) -> Replayed | None:
        self.checked += 1
        try:
            found = await check_one(event, sandbox.check)
        except DocumentTooLarge as error:
            self.report(unchecked(event, error))
            self.checked, self.unchecked = self.checked - 1, self.unchecked + 1
            return None
        self.empty += found.empty
        return Replayed.of(event)

    def result(
        self,
        archive: OpenArchive | None,
        seconds: float,
        signatures: list[JudgedSignature],
        wanted: WantedSignature | None,
    ) -> Verification:
        """The summary of what was found. Without `archive` there was none to read: it could not be converted."""
        reader, walker = archive.reader if archive is not None else None, self.walker
        statistics = walker.statistics if walker is not None else ArchiveStatistics()
        manifest = walker.manifest if walker is not None else None
        found = Verification(
            version=manifest["version"] if manifest is not None else None,
            type=manifest["export_type"] if manifest is not None else None,
            root=cid_text(reader.root) if reader is not None and reader.header is not None else None,
            bytes=reader.bytes_read if reader is not None else 0,
            sections=reader.section_count if reader is not None else 0,
            distinct_blocks=statistics.distinct_blocks,
            duplicates=statistics.duplicates,
            unreferenced=statistics.unreferenced,
            depth_first=walker.depth_first if walker is not None else False,
            stats_match=manifest is not None and manifest["stats"] == statistics.stats(manifest),
            documents=Documents(self.checked, self.empty, self.failed, self.unchecked),
            against=self.comparison,
            seconds=seconds,
            signatures=signatures,
            wanted=wanted,
            findings=self.log.findings(),
            converted=archive.converted if archive is not None else None,
        )
        return found if found.converted is None else _as_it_was(found, found.converted)


def _as_it_was(found: Verification, converted: ConversionResult) -> Verification:
    """The verification of what a conversion made, with what is known of the input that it was made of."""
    source, counts = converted.source, converted.report.facts.get("archive", {})
    sections = counts.get("sections", found.sections)
    return replace(
        found,
        version=source.version,
        root=source.identity,
        bytes=counts.get("bytes", found.bytes),
        sections=sections,
        distinct_blocks=sections - counts.get("repeated", 0),
        duplicates=counts.get("repeated", 0),
    )
