"""The dry run of an export: what it would hold, how large it would be, and what would keep it from being written."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from pattern_stream.budget import BUDGET
from pattern_stream.codec.car import encode_section_head
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.read.census import Census
from pattern_stream.errors import (
    FILE_SIZE_HINT,
    Finding,
    LimitExceeded,
    PatternStreamError,
    StorageFull,
    file_size_limit,
)
from pattern_stream.files.temporary import open_temporary, require_space, temporary_folders
from pattern_stream.format import CAR_HEADER_BYTES, COPY_BYTES, FORMAT_VERSION
from pattern_stream.items import AsyncWriter, Block, ProgressCallback, Root
from pattern_stream.pipelines.exporting import ExportOptions, no_file_to_verify, open_line, refuse_source, section_bytes
from pattern_stream.pipelines.results import has_errors
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.scopes import ResolvedScope, Scope
from pattern_stream.streams import closing
from pattern_stream.transport.files import check_output
from pattern_stream.transport.wrapping import wrap

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """What an export would do. `bytes` is the length of the archive, measured by making it without keeping it."""

    scope: ResolvedScope
    version: int
    bytes: int
    sections: int
    stats: dict[str, int]
    census: Census
    seconds: float
    blocks_with_deleted_text: int = 0
    problems: list[PatternStreamError] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def loss(self) -> bool:
        """Whether the export would lose something that it was asked to tolerate (--salvage)."""
        return has_errors(self.findings)

    def as_dict(self) -> dict[str, object]:
        """The plan as the command line prints it."""
        return {
            "scope": "thin group" if self.scope.thin else self.scope.kind,
            "name": self.scope.name,
            "id": self.scope.id,
            "version": self.version,
            "dry_run": True,
            "bytes": self.bytes,
            "sections": self.sections,
            "stats": self.stats,
            "rows": self.census.carried,
            "blocks_with_deleted_text": self.blocks_with_deleted_text,
            "beyond_version_3": self.census.beyond,
            "not_carried": self.census.not_carried,
            "derived": self.census.derived,
            "does_not_fit": [{"code": p.code, "message": p.message, "where": p.where.as_dict()} for p in self.problems],
            "warnings": [finding.as_dict() for finding in self.findings],
            "seconds": round(self.seconds, 3),
        }


async def plan_export(
    database: Path | Connection | AsyncConnection,
    out: Path | None = None,
    *,
    scope: Scope = Scope(),  # noqa: B008  frozen
    options: ExportOptions = ExportOptions(),  # noqa: B008  frozen
    progress: ProgressCallback | None = None,
) -> ExportPlan:
    """Go through a whole export without keeping its bytes: counts, size, and what would not fit one block.

    `out`: the file that the export would go to; whatever would keep the export from writing it is raised here too.
    """
    started = time.monotonic()
    stats, version = dict[str, int](), FORMAT_VERSION
    problems: list[PatternStreamError] = []
    folder = None
    if out is not None:
        await refuse_source(database, out)
        folder = await check_output(out, force=options.force)
        if options.verify and folder is None:
            raise no_file_to_verify()
    temporary = temporary_folders(options.spool_dir, folder)
    file = _Counter()
    async with AsyncExitStack() as resources:
        line = await open_line(resources, database, scope, options, progress)
        line.too_large = problems.append
        async with wrap(file, options.wrapping) as wrapped:
            sizes = _Sizes(wrapped if folder is not None else None)
            try:
                async with closing(await line.blocks()) as blocks:
                    async for event in blocks:
                        if isinstance(event, Block):
                            await sizes.add(event)
                        elif isinstance(event, Root):
                            stats, version = dict(event.stats), event.version
            except LimitExceeded as error:  # a cell that has no place in the format at all
                problems.append(error)
            await sizes.finish()
        elapsed = time.monotonic() - started
        if not problems:
            _require_room(sizes, file.count if options.wrapping else sizes.archive_bytes, temporary, folder)
        return ExportPlan(
            scope=line.scope,
            version=version,
            bytes=sizes.archive_bytes,
            sections=sizes.sections,
            stats=stats,
            census=line.census,
            seconds=elapsed,
            blocks_with_deleted_text=line.blocks_with_deleted_text,
            problems=problems,
            findings=line.findings(),
        )


@dataclass(slots=True)
class _Counter:
    """An output that counts."""

    count: int = 0

    async def write(self, data: bytes, /) -> None:
        """Count some more bytes."""
        self.count += len(data)


class _Sizes:
    """Counts an archive that is not kept. `wrapped`: gets its sections, in the order of the spool, to be packed."""

    def __init__(self, wrapped: AsyncWriter | None) -> None:
        self.sections = 0
        self.spooled_bytes = 0
        self._wrapped = wrapped
        self._pending = bytearray()

    @property
    def archive_bytes(self) -> int:
        """The length of the archive; 0 where there was not even one block."""
        return self.spooled_bytes + CAR_HEADER_BYTES if self.spooled_bytes else 0

    async def add(self, block: Block) -> None:
        """Count one more section."""
        self.sections += 1
        self.spooled_bytes += section_bytes(block)
        if self._wrapped is not None:
            self._pending += encode_section_head(block.cid, len(block.data)) + block.data
            if len(self._pending) >= COPY_BYTES:
                await self.finish()

    async def finish(self) -> None:
        """Pack what is left."""
        if self._wrapped is not None:
            await self._wrapped.write(bytes(self._pending))
            self._pending.clear()


def _require_room(sizes: _Sizes, file_bytes: int, temporary: list[Path], folder: Path | None) -> None:
    """Raise what the export would meet on its disks. `file_bytes`: of the output file in its `folder`.

    A small archive has no spool. One on the disk of the file is emptied into it, unless a packer stands between them.
    """
    spool_folder = None
    most, largest = file_size_limit(), max(sizes.spooled_bytes, file_bytes)
    if most is not None and largest > most:
        message = f"the export makes a file of {largest} bytes, limit is {most}"
        raise StorageFull(message, hint=FILE_SIZE_HINT)
    if sizes.spooled_bytes >= BUDGET.spool_memory_bytes:
        probe, spool_folder = open_temporary(temporary, "spool")
        probe.close()
        require_space(
            spool_folder, sizes.spooled_bytes + BUDGET.spool_reserve_bytes, f"spool in {spool_folder} is empty"
        )
    if folder is None:
        return
    beside = spool_folder is not None and spool_folder.stat().st_dev == folder.stat().st_dev
    if not beside:
        require_space(folder, file_bytes, f"the archive has no byte in {folder}")
    elif file_bytes != sizes.archive_bytes:
        require_space(folder, sizes.spooled_bytes + file_bytes, f"the archive has no byte in {folder}")
