"""The import line, wired: an archive in, a database with all of it, or as it was."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pattern_stream.archive.chunk_prefetch import open_chunk_prefetch
from pattern_stream.archive.reader import ArchiveReader
from pattern_stream.archive.tee import Replay
from pattern_stream.codec.cid import cid_text
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.new_database import clear_leftovers, is_vacant, open_new
from pattern_stream.db.connection.opening import checkpoint, open_writer
from pattern_stream.db.ddl.create import create_schema
from pattern_stream.db.ddl.migrations import require_writable_schema
from pattern_stream.db.write.leftover_ids import LeftoverIds
from pattern_stream.db.write.sink import Loaded, LoadOptions, begin, commit, holds_rows, note_faults, write_rows
from pattern_stream.errors import Report, WrongKey, ignore_findings
from pattern_stream.files.temporary import temporary_folders
from pattern_stream.items import Open, Progress, ProgressCallback, RecordEvent, RowEvent
from pattern_stream.memory.sandbox import Sandbox
from pattern_stream.memory.unrendering import unrender
from pattern_stream.pipelines.gc_tuning import few_collections
from pattern_stream.pipelines.import_terms import Imported, ImportOptions, ImportResult
from pattern_stream.pipelines.kept_edits import KeptEdits
from pattern_stream.pipelines.reading import ArchiveSource, open_archive
from pattern_stream.pipelines.results import FindingLog, conversion_findings, summaries_kept
from pattern_stream.pipelines.signatures import JudgedSignature, judge, untrusted
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.ids.new_ids import KEY_BYTES, Identity
from pattern_stream.schema.model.cells import in_short
from pattern_stream.schema.model.nodes import AgentExport
from pattern_stream.schema.model.records import Message, Record
from pattern_stream.stages.edit.check_documents import check_documents
from pattern_stream.stages.edit.reassign import Reassigner
from pattern_stream.stages.edit.rename import Renamer
from pattern_stream.stages.edit.rescue import Rescuer, rescue_documents
from pattern_stream.stages.edit.select import Filter, select, without
from pattern_stream.stages.edit.table_of_contents import GROUP_NODES, TableOfContents, choose
from pattern_stream.stages.edit.translate import Translator, watch_batch_ids
from pattern_stream.stages.mapping import unmap_event
from pattern_stream.stages.rebuild.records import unchunk
from pattern_stream.stages.walk.walker import Walker, walk
from pattern_stream.streams import closing, transform
from pattern_stream.transport.files import open_input

if TYPE_CHECKING:
    from pattern_stream.pipelines.converting import ConversionResult

__all__ = ["ImportOptions", "ImportResult", "Imported", "import_archive"]


@dataclass(slots=True)
class _Source:
    """An archive that may be wanted twice: a file is opened again, anything else is kept on the way."""

    source: ArchiveSource
    replay: Replay | None = None
    passes: int = 0

    def next_pass(self, *, last: bool) -> ArchiveSource:
        """The archive from its beginning; `last`: it is not wanted again."""
        self.passes += 1
        if self.replay is None or self.source is None or isinstance(self.source, Path):
            return self.source
        if self.passes > 1:
            return self.replay.again()
        return self.source if last else self.replay.first(self.source)


@dataclass(slots=True)
class _ImportLine:
    """An import line under way."""

    source: _Source
    near: Path
    options: ImportOptions
    identity: Identity | None
    sandbox: Sandbox
    resources: AsyncExitStack
    progress: ProgressCallback | None
    gathered: Replay | None = None
    log: FindingLog = field(default_factory=FindingLog)
    survey: TableOfContents | None = None
    filter: Filter | None = None
    kept: KeptEdits | None = None
    renamer: Renamer = field(default_factory=Renamer)
    reassigner: Reassigner | None = None
    walker: Walker | None = None
    reader: ArchiveReader | None = None
    signatures: list[JudgedSignature] = field(default_factory=list)
    signed_root: bytes | None = None
    converted: ConversionResult | None = None
    agents: list[Imported] = field(default_factory=list)
    groups: list[Imported] = field(default_factory=list)

    def __post_init__(self) -> None:
        renames = self.options.renames
        whole = next((new for old, new in renames if old is None), None)
        self.renamer = Renamer(whole, {old: new for old, new in renames if old is not None})

    @property
    def needs_survey(self) -> bool:
        """Whether the whole archive has to be known before the first row is made."""
        options = self.options
        return bool(options.only) or options.owner is not None or options.wanted is not None or self.renamer.by_id

    @property
    def messages(self) -> int:
        """How many messages the archive says that it has; 0 before it was looked through."""
        manifest = self.walker.manifest if self.walker is not None else None
        return manifest["stats"]["message_count"] if manifest is not None else 0

    async def look_through(self) -> None:
        """Read the whole archive and believe it, before anything is chosen."""
        self.survey = TableOfContents()
        async with AsyncExitStack() as resources:
            events = await self._records(resources, "check", self.log.report, read_messages=False)
            async with closing(events):
                async for event in events:
                    self.survey.add(event)
                    self.renamer.learn(event)
        if self.options.wanted is not None and self.reader is not None:
            self.signatures = judge(self.reader.root, self.reader.signatures, self.options.wanted)
            if (error := untrusted(self.signatures)) is not None:
                raise error
            self.signed_root = self.reader.root

    async def gather(self, living: Connection) -> None:
        """Put all rows aside before a database that has others is locked: the archive was read whole then."""
        from pattern_stream.stages.row_packing import pack_row  # with pickle, which only a living database needs

        replaces = self.options.on_conflict == "replace" and not self.options.new_ids
        self.kept = KeptEdits(living, self.sandbox.show) if replaces else None
        async with AsyncExitStack() as resources:
            self.gathered = self.resources.enter_context(Replay(temporary_folders(self.options.spool_dir, self.near)))
            async with closing(await self._rows(resources, "check", pack_row)) as packed:
                async for row in packed:
                    await self.gathered.write(row)

    async def write(self, connection: Connection, *, into_empty: bool) -> Loaded:
        """The line itself, or its rows that were put aside; then everything is kept, or nothing in a dry run."""
        async with AsyncExitStack() as resources:
            if self.gathered is not None:
                from pattern_stream.stages.row_packing import unpack_rows

                rows = unpack_rows(self._progressing(self.gathered))
            else:
                rows = await self._rows(resources, "import")
            key = self.identity.key if self.identity is not None else bytes(KEY_BYTES)
            terms = LoadOptions(
                self.options.on_conflict,
                key,
                drop_unknown=self.options.drop_unknown,
                partial=bool(self.options.only),
                new_ids=self.options.new_ids,
                into_empty=into_empty,
                orphans=self.options.orphans,
                kept_edits=self.kept.stored if self.kept is not None else {},
            )
            leftover = None
            if self.identity is not None:
                leftover = await LeftoverIds.watch(connection, replacing=self.options.on_conflict == "replace")
            loaded = await write_rows(connection, rows, terms, self.log.report)
            if leftover is not None and self.identity is not None:
                old = [one.old for one in (*self.agents, *self.groups) if one.old != one.new]
                await leftover.report(self.identity, old, self.log.report)
            dry_run = self.options.dry_run
            await commit(connection, dry_run=dry_run, options=terms, loaded=loaded, report=self.log.report)
            return loaded

    async def _progressing(self, gathered: Replay) -> AsyncGenerator[bytes]:
        done = 0
        async for piece in gathered.again():
            yield piece
            done += len(piece)
            if self.progress is not None:
                self.progress(Progress("import", done, gathered.size_bytes, "bytes"))

    async def _rows(self, resources: AsyncExitStack, stage: str, *steps: Callable[[Any], Any]) -> AsyncGenerator[Any]:
        """Straight calls, one stage a line. `steps`: what else is done with each row event."""
        report = ignore_findings if self.survey is not None else self.log.report
        events = await self._records(resources, stage, report)
        chosen = self._chosen(events)
        if self.options.verify_documents:
            chosen = check_documents(chosen, self.sandbox.check, self.sandbox.show, self.log.report)
        if self.options.rescue:
            chosen = rescue_documents(
                chosen, Rescuer(self.sandbox.check, self.sandbox.write, unrender, self.log.report)
            )
        if self.kept is not None:
            chosen = self.kept.watch(chosen)
        return self._edited(chosen, *steps)

    async def _records(
        self, resources: AsyncExitStack, stage: str, report: Report, *, read_messages: bool = True
    ) -> AsyncGenerator[RecordEvent]:
        archive = await resources.enter_async_context(
            open_archive(
                self.source.next_pass(last=read_messages),
                stage=stage,
                progress=self.progress,
                spool_dir=self.options.spool_dir,
                near=self.near,
                unwrapping=self.options.unwrapping,
                max_document_bytes=self.options.max_document_bytes,
            )
        )
        self.converted = archive.converted
        self.reader, root = archive.reader, await archive.reader.open()
        if self.signed_root not in (None, root):
            raise WrongKey("the archive is another one than when its signature was checked, expected the same root")
        sections, made = archive.reader.sections(), None
        if self.identity is None or not read_messages:  # ids are replaced in records, not in rows
            prefetch = open_chunk_prefetch(with_rows=read_messages, budget=self.options.budget)
            chunks = resources.enter_context(prefetch)
            sections, made = chunks.sections(sections), chunks.made
        self.walker = Walker(
            root, archive.shelf, report=report, drop_unknown=self.options.drop_unknown, made=made,
            with_rows=read_messages,
        )  # fmt: skip
        nodes = walk(sections, self.walker, archive.shelf)
        unread: frozenset[type[Record]] = frozenset() if read_messages else frozenset({Message})
        return unchunk(nodes, max_document_bytes=self.options.max_document_bytes, unread=unread)

    def _chosen(self, events: AsyncGenerator[RecordEvent]) -> AsyncGenerator[RecordEvent]:
        options, left_out = self.options, without(messages=self.options.messages, archival=self.options.archival)
        wanted = choose(self.survey, options.only) if options.only and self.survey is not None else None
        if not left_out and wanted is None:
            return events
        self.filter = Filter(left_out, wanted)
        return select(events, self.filter)

    def not_carried(self) -> dict[str, int]:
        """Rows by table that the options left out of what was asked for; of summaries that stay there is a warning."""
        if self.filter is None:
            return {}
        if not self.options.messages and self.filter.summaries:
            self.log.report(summaries_kept(self.filter.summaries))
        return {table: count for table, count in sorted(self.filter.not_carried.items()) if count}

    def _edited(self, events: AsyncGenerator[RecordEvent], *last: Callable[[Any], Any]) -> AsyncGenerator[Any]:
        """Names, owners and ids as they are asked for, in one generator; then rows."""
        options, identity, report = self.options, self.identity, self.log.report
        steps: list[Callable[[Any], RecordEvent | RowEvent | None]] = []
        if options.renames:
            steps.append(self.renamer.rename)
        if options.owner is not None and self.survey is not None:
            self.reassigner = Reassigner(options.owner, self.survey.owners)
            steps.append(self.reassigner.reassign)
            if identity is not None and options.owner not in self.survey.owners:
                identity = replace(identity, kept=frozenset({options.owner}))
        steps += [partial(watch_batch_ids, report=report, minted=identity is not None), partial(self._note, identity)]
        if identity is not None:
            steps.append(Translator(identity, report).translate)
        return transform(events, *steps, partial(unmap_event, report=report), *last, finish=self.renamer.finish)

    def _note(self, identity: Identity | None, event: RecordEvent) -> RecordEvent:
        """Agents and groups for the summary."""
        if isinstance(event, Open) and (event.node is AgentExport or event.node in GROUP_NODES):
            agent, old = event.node is AgentExport, event.record["id"]
            new = old if identity is None else identity.mint(old, "agent" if agent else "group")
            (self.agents if agent else self.groups).append(Imported(old, new, in_short(event.record["name"])))
        return event


async def import_archive(
    source: ArchiveSource,
    database: Path,
    *,
    options: ImportOptions = ImportOptions(),  # noqa: B008  frozen
    progress: ProgressCallback | None = None,
) -> ImportResult:
    """Take in a whole archive in one transaction, or leave the database as it was.

    `source`: a file (gzipped or not), any async iterator of bytes, or None for standard input. `database`: made with
    the full schema where it is missing. One that holds rows is locked only when the archive has been read and found
    good.

    Raises what its parts raise: ArchiveError (corrupt, unsupported), NotInArchive, NameConflict, UnsupportedSchema,
    DatabaseBusy, DatabaseStorage, LimitExceeded, TransportError, UsageError.
    """
    started = time.monotonic()
    created = is_vacant(database)
    async with AsyncExitStack() as resources:
        resources.enter_context(few_collections())
        line = await _open_line(resources, source, database, options, progress)
        if created:
            loaded, locked = await _into_new(line, database), 0.0
        else:
            loaded, locked = await _into_existing(line, database)
        return _result(line, loaded, database, created, time.monotonic() - started, locked)


async def _into_new(line: _ImportLine, database: Path) -> Loaded:
    async with open_new(database, keep=not line.options.dry_run) as connection:
        if line.needs_survey:
            await line.look_through()
        await begin(connection, into_empty=True)
        await create_schema(connection, installed_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"))
        return await line.write(connection, into_empty=True)


async def _into_existing(line: _ImportLine, database: Path) -> tuple[Loaded, float]:
    clear_leftovers(database)
    async with open_writer(database) as connection:
        await require_writable_schema(connection)
        populated = await holds_rows(connection)
        if line.needs_survey:
            await line.look_through()
        if populated:
            await line.gather(connection)
        await begin(connection, into_empty=not populated, orphans=line.options.orphans, messages=line.messages)
        locked_at = time.monotonic()
        if populated:
            await note_faults(connection, dry_run=line.options.dry_run)
        loaded = await line.write(connection, into_empty=not populated)
        locked_seconds = time.monotonic() - locked_at
        await checkpoint(connection)
        return loaded, locked_seconds


async def _open_line(
    resources: AsyncExitStack,
    source: ArchiveSource,
    database: Path,
    options: ImportOptions,
    progress: ProgressCallback | None,
) -> _ImportLine:
    near = database.absolute().parent
    found = _Source(source)
    if not (isinstance(source, Path) and source.is_file()):
        if source is None or isinstance(source, Path):
            found.source = await resources.enter_async_context(open_input(source))
        found.replay = resources.enter_context(Replay(temporary_folders(options.spool_dir, near)))
    identity = Identity(options.id_key or secrets.token_bytes(KEY_BYTES)) if options.new_ids else None
    sandbox = await resources.enter_async_context(Sandbox(max_document_bytes=options.max_document_bytes))
    return _ImportLine(found, near, options, identity, sandbox, resources, progress)


def _result(
    line: _ImportLine, loaded: Loaded, database: Path, created: bool, seconds: float, locked_seconds: float
) -> ImportResult:
    resolutions, manifest = loaded.resolutions, line.walker.manifest if line.walker is not None else None
    not_carried = line.not_carried()
    return ImportResult(
        db=database,
        created=created,
        type=str(manifest["export_type"]) if manifest is not None else "",
        new_ids=line.options.new_ids,
        dry_run=line.options.dry_run,
        agents=[agent for agent in line.agents if resolutions.get(("agents", agent.new)) != "skip"],
        groups=[group for group in line.groups if resolutions.get(("agent_groups", group.new)) != "skip"],
        rows=dict(loaded.rows),
        replaced=dict(loaded.replaced),
        skipped=dict(loaded.skipped),
        seconds=seconds,
        locked_seconds=locked_seconds,
        dropped=dict(loaded.dropped),
        not_carried=not_carried,
        moved_blocks=line.reassigner.moved if line.reassigner is not None else None,
        findings=[*conversion_findings(line.converted), *line.log.findings()],
        converted=line.converted,
        signatures=line.signatures,
        root=None if line.reader is None else cid_text(line.reader.root),
    )
