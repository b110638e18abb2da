"""The export line, wired: a database and a scope in, one archive out, whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import field
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pattern_stream import __version__
from pattern_stream.archive.writer import WriteResult, write_car
from pattern_stream.budget import BUDGET, Budget
from pattern_stream.codec.car import encode_section_head
from pattern_stream.codec.cid import cid_text
from pattern_stream.db.catalog.scope import resolve_scope
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.opening import DATABASE_SUFFIXES, open_reader
from pattern_stream.db.ddl.migrations import schema_version
from pattern_stream.db.read.census import Census, has_rows, take_census
from pattern_stream.db.read.orphans import count_orphans
from pattern_stream.db.read.prefetch import MessagePrefetch, open_message_prefetch
from pattern_stream.db.read.scope_reader import read_scope
from pattern_stream.errors import (
    Finding,
    LimitExceeded,
    TransportError,
    UsageError,
    Where,
    refuse,
)
from pattern_stream.format import (
    DEFAULT_OWNER,
    FORMAT_VERSION,
    MAX_DOCUMENT_BYTES,
    WIDE_VERSION,
)
from pattern_stream.items import (
    AsyncWriter,
    Block,
    BlockEvent,
    Cells,
    Encoded,
    Folded,
    Open,
    Progress,
    ProgressCallback,
    RowEvent,
    Rows,
)
from pattern_stream.memory.sandbox import Sandbox
from pattern_stream.pipelines.gc_tuning import few_collections
from pattern_stream.pipelines.results import FindingLog, has_errors, summaries_kept
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.instants import instant_to_wire
from pattern_stream.schema.mapping.lossy_types import LossyTypes
from pattern_stream.schema.model.records import ArchiveSummary, MemoryBlock, Message
from pattern_stream.schema.model.scopes import Limits, ResolvedScope, Scope, Selection
from pattern_stream.stages.chunking import chunk
from pattern_stream.stages.encode.encoder import encode
from pattern_stream.stages.folding import fold_memory
from pattern_stream.stages.mapping import Mapping
from pattern_stream.streams import transform
from pattern_stream.transport.files import open_target
from pattern_stream.transport.wrapping import Unwrapping, Wrapping, wrap

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from pattern_stream.transport.signers import MakeSignature

CREATED_BY = f"pattern-stream {__version__}"


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to export. `exported_at`: RFC 3339 text, by default the clock; with one, equal databases give equal bytes.

    `portable`: nothing beyond version 3, which a whole constellation otherwise has. `history`: the history of the
    memory blocks of an agent or group too. `newest_version`: 3 refuses what only version 4 can hold. `wrapping`:
    compression and encryption; `unwrapping`: what `verify` opens it with. `sign`: makes a signature, which goes into
    the archive. `max_document_bytes`: the largest memory document that is looked into; a whole backup carries larger
    ones as they are stored.
    """

    messages: bool = True
    archival: bool = True
    limits: Limits = Limits()
    owner: str = DEFAULT_OWNER
    spool_dir: Path | None = None
    salvage: bool = False
    force: bool = False
    verify: bool = False
    exported_at: str | None = None
    portable: bool = False
    history: bool = False
    newest_version: int = WIDE_VERSION
    wrapping: Wrapping = Wrapping()
    unwrapping: Unwrapping = Unwrapping()
    sign: MakeSignature | None = None
    max_document_bytes: int = MAX_DOCUMENT_BYTES
    budget: Budget = BUDGET

    def __post_init__(self) -> None:
        if self.portable and self.history:
            raise UsageError("--portable and --history were both given, expected one of them: history is not portable")
        if self.newest_version not in (FORMAT_VERSION, WIDE_VERSION):
            raise UsageError(f"--format is {self.newest_version}, expected {FORMAT_VERSION} or {WIDE_VERSION}")

    @property
    def selection(self) -> Selection:
        """Which rows go along."""
        return Selection(self.messages, self.archival, self.owner, self.portable, self.history, self.max_document_bytes)


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written. `bytes` is the length of the archive, `root` the CID of its manifest as text."""

    scope: ResolvedScope
    version: int
    root: str
    bytes: int
    sections: int
    stats: dict[str, int]
    folded_blocks: int
    census: Census
    seconds: float
    blocks_with_deleted_text: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def not_carried(self) -> dict[str, int]:
        """Rows of the scope by table that stayed behind; none of a whole constellation that is not portable."""
        return self.census.not_carried

    @property
    def beyond(self) -> dict[str, int]:
        """Rows by table that only readers of the extensions see."""
        return self.census.beyond

    @property
    def derived(self) -> dict[str, int]:
        """Rows by table that can be made again from others and were left out."""
        return self.census.derived

    @property
    def loss(self) -> bool:
        """Whether something was lost that was asked to be tolerated (--salvage)."""
        return has_errors(self.findings)

    def as_dict(self) -> dict[str, object]:
        """The summary, as the command line prints it."""
        return {
            "scope": "thin group" if self.scope.thin else self.scope.kind,
            "name": self.scope.name,
            "id": self.scope.id,
            "version": self.version,
            "root": self.root,
            "bytes": self.bytes,
            "sections": self.sections,
            "stats": self.stats,
            "folded_blocks": self.folded_blocks,
            "blocks_with_deleted_text": self.blocks_with_deleted_text,
            "beyond_version_3": self.beyond,
            "not_carried": self.not_carried,
            "derived": self.derived,
            "warnings": [finding.as_dict() for finding in self.findings],
            "seconds": round(self.seconds, 3),
        }


@dataclass(slots=True)
class ExportLine:
    """An export line before its sink: open resources, and what is counted on the way. A dry run has no other."""

    connection: Connection
    scope: ResolvedScope
    census: Census
    sandbox: Sandbox
    options: ExportOptions
    progress: ProgressCallback | None
    prefetch: MessagePrefetch | None = None
    log: FindingLog = field(default_factory=FindingLog)
    too_large: Callable[[LimitExceeded], None] = refuse
    passed: int = 0
    folded_blocks: int = 0
    blocks_with_deleted_text: int = 0

    def findings(self) -> list[Finding]:
        """What was found on the way, and of an archive that is made to be given away, what it still holds."""
        if self.blocks_with_deleted_text:
            message = (
                f"{self.blocks_with_deleted_text} memory blocks go out with a history that holds text which was deleted"
                " or written over: whoever gets the archive can read it"
            )
            self.log.report(Finding("warning", "deleted-text", message, Where("fold")))
        summaries = self.census.carried.get(ArchiveSummary.table, 0)
        if not self.options.messages and summaries:
            self.log.report(summaries_kept(summaries))
        return self.log.findings()

    async def blocks(self) -> AsyncGenerator[BlockEvent]:
        """The line itself: straight calls, one stage a line."""
        selection = self.options.selection
        oddities = LossyTypes() if selection.with_tables(self.scope) else None
        rows = read_scope(self.connection, self.scope, selection, oddities, self.prefetch)
        whole = selection.with_tables(self.scope)
        folded = fold_memory(
            rows,
            self._fold,
            self.log.report,
            stored_previews=whole,
            max_document_bytes=self.options.max_document_bytes,
            oversized="carry" if whole else "salvage" if self.options.salvage else "refuse",
        )
        mapping = Mapping(self.log.report, oddities)
        records = transform(folded, self._count, mapping.map, finish=mapping.finish)
        drafts = chunk(records, self.options.limits)
        return encode(
            drafts,
            exported_at=_exported_at(self.options),
            lineage=await self._lineage(),
            too_large=self.too_large,
            newest_version=self.options.newest_version,
        )

    async def _fold(self, snapshot: bytes, updates: Sequence[tuple[int, bytes]], metadata: str | None) -> Folded:
        folded = await self.sandbox.fold(snapshot, updates, metadata)
        self.folded_blocks += folded.changed
        self.blocks_with_deleted_text += folded.deleted_text
        return folded

    def _count(self, event: RowEvent) -> RowEvent:
        """Tell the caller how many rows have passed."""
        rows = len(event.rows) if isinstance(event, Rows | Cells) else 0
        rows += len(event.ids) if isinstance(event, Encoded) else 0
        rows += isinstance(event, Open) and event.record is not None
        if rows:
            self.passed += rows
            if self.progress is not None:
                total = self.census.total
                self.progress(Progress("export", min(self.passed, total), total, "rows"))
        return event

    async def _lineage(self) -> dict[str, Any]:
        lineage: dict[str, Any] = {"created_by": CREATED_BY, "source_schema": await schema_version(self.connection)}
        if (version := _loro_version()) is not None:
            lineage["loro_version"] = version
        return lineage


async def export_archive(
    database: Path | Connection | AsyncConnection,
    out: Path | AsyncWriter | None,
    *,
    scope: Scope = Scope(),  # noqa: B008  frozen
    options: ExportOptions = ExportOptions(),  # noqa: B008  frozen
    progress: ProgressCallback | None = None,
) -> ExportResult:
    """Write one archive of a scope. Nothing is emitted before all of it is known to be good.

    `database`: a path, or an open connection inside a read transaction. `out`: a path (written aside, renamed when
    whole), any object with `async write(bytes)`, or None for standard output.

    Raises what its parts raise: DatabaseError (not found, busy, corrupt cell), NotInDatabase, NameConflict,
    LimitExceeded, DamagedMemory, TransportError, UsageError.
    """
    started = time.monotonic()
    if isinstance(out, Path):
        await refuse_source(database, out)
    async with AsyncExitStack() as resources:
        target = await resources.enter_async_context(open_target(out, force=options.force))
        unfinished = getattr(target, "partial", None)
        if options.verify and unfinished is None:
            raise no_file_to_verify()
        line = await open_line(resources, database, scope, options, progress)
        near = getattr(target, "folder", None)
        with few_collections():
            async with wrap(target, options.wrapping) as wrapped:
                written = await write_car(
                    await line.blocks(),
                    wrapped,
                    spool_dir=options.spool_dir,
                    near=near,
                    progress=progress,
                    seal=None if options.sign is None else partial(_signature, options.sign),
                )
        if options.verify and unfinished is not None:
            await _read_back(unfinished, written, options)
        return _result(line, written, time.monotonic() - started)


async def refuse_source(source: Path | Connection | AsyncConnection, out: Path) -> None:
    """Raise UsageError where the archive would take the place of the database, or of a file that is a part of it."""
    database = source if isinstance(source, Path) else (await Connection.of(source)).path
    if database is None:
        return
    place = Path(os.path.realpath(out))
    for suffix in DATABASE_SUFFIXES:
        part = Path(f"{os.path.realpath(database)}{suffix}")
        if place == part or (place.exists() and part.exists() and place.samefile(part)):
            raise UsageError(
                f"{out} is {'a part of ' if suffix else ''}the database that is exported, expected another file"
            )


async def open_line(
    resources: AsyncExitStack,
    database: Path | Connection | AsyncConnection,
    scope: Scope,
    options: ExportOptions,
    progress: ProgressCallback | None,
) -> ExportLine:
    """Everything that the line needs, opened into `resources`. Raises as `export_archive`."""
    prefetch = None
    if isinstance(database, Path) and options.messages:
        prefetch = await resources.enter_async_context(open_message_prefetch(database, options.budget))
    connection = (
        await resources.enter_async_context(open_reader(database, mode=prefetch.watch.mode if prefetch else None))
        if isinstance(database, Path)
        else await Connection.of(database)
    )
    resolved = await resolve_scope(connection, scope)
    many = options.messages and await has_rows(connection, Message, resolved, options.budget.least_messages)
    if prefetch is not None and not many:  # the workers started meanwhile, in vain
        prefetch.end()
        prefetch = None
    sandbox = await resources.enter_async_context(
        Sandbox(
            salvage=options.salvage,
            max_document_bytes=options.max_document_bytes,
            find_deleted=not options.selection.with_tables(resolved),
        )
    )
    if await has_rows(connection, MemoryBlock, resolved):  # while it starts, there is something else to do
        await sandbox.prepare()
    census = await take_census(connection, resolved, options.selection)
    line = ExportLine(connection, resolved, census, sandbox, options, progress, prefetch)
    for table, collation in census.unreadable.items():
        message = f"rows stand in the order of {collation!r}, which only another program has: all of them stay behind"
        line.log.report(Finding("warning", "table-unreadable", message, Where(table=table)))
    for orphans in await count_orphans(connection) if options.selection.with_tables(resolved) else ():
        rows = f"{orphans.count} row{' refers' if orphans.count == 1 else 's refer'}"
        message = f"{rows} to what is not in {orphans.parent} any more: carried as they are"
        where = Where(table=orphans.table, field=orphans.column)
        line.log.report(Finding("warning", "orphans", message, where))
    return line


def _result(line: ExportLine, written: WriteResult, seconds: float) -> ExportResult:
    return ExportResult(
        scope=line.scope,
        version=written.version,
        root=cid_text(written.root),
        bytes=written.bytes,
        sections=written.sections,
        stats=dict(written.stats),
        folded_blocks=line.folded_blocks,
        census=line.census,
        seconds=seconds,
        blocks_with_deleted_text=line.blocks_with_deleted_text,
        findings=line.findings(),
    )


def _loro_version() -> str | None:
    """The version of the installed Loro, None where nothing names it, as in a frozen build.

    The name of the folder with its metadata says it: importlib.metadata takes as long to load as a third of this line.
    """
    spec = find_spec("loro")
    beside = Path(spec.origin).parents[1] if spec is not None and spec.origin is not None else None
    named = [] if beside is None else [path.name for path in beside.glob("loro-*.dist-info")]
    if len(named) == 1:
        return named[0].removeprefix("loro-").removesuffix(".dist-info")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("loro")
    except PackageNotFoundError:
        return None


def _exported_at(options: ExportOptions) -> str:
    if options.exported_at is not None:
        return instant_to_wire(options.exported_at)
    return instant_to_wire(datetime.now(UTC).isoformat())


def section_bytes(block: Block) -> int:
    """The length of a block as framed: length, CID and data, in bytes."""
    return len(encode_section_head(block.cid, len(block.data))) + len(block.data)


def no_file_to_verify() -> UsageError:
    """The error of --verify where the output is none that can be read back."""
    return UsageError("--verify needs a file that can be read back, found a stream", hint="name a file with -o")


async def _signature(make: MakeSignature, root: bytes) -> bytes:
    from pattern_stream.pipelines.signing import signature_block  # an export without one needs nothing of it

    return await signature_block(root, make)


async def _read_back(path: Path, written: WriteResult, options: ExportOptions) -> None:
    """Read a file whole before it gets its name. Raises TransportError where it is not what was written."""
    from pattern_stream.pipelines.verifying import verify_archive  # 4 MB that an export alone does not need

    limit, unwrapping = options.max_document_bytes, options.unwrapping
    found = await verify_archive(path, max_document_bytes=limit, unwrapping=unwrapping)
    if found.ok and found.root == cid_text(written.root):
        return
    fault = next((str(finding) for finding in found.findings if finding.severity == "error"), f"root {found.root}")
    raise TransportError(f"the file does not read back as it was written: found {fault}, expected a sound archive")
