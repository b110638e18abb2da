"""What is in an archive, for a person: agents, groups, memory blocks, counts, and what looks wrong."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pattern_stream.codec.cid import cid_text
from pattern_stream.errors import Finding
from pattern_stream.format import MAX_DOCUMENT_BYTES
from pattern_stream.items import ProgressCallback
from pattern_stream.memory.sandbox import Sandbox
from pattern_stream.pipelines.reading import ArchiveSource, open_archive
from pattern_stream.pipelines.results import FindingLog, conversion_findings
from pattern_stream.pipelines.surveying import NOT_SHOWN, Survey
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.stages.rebuild.records import unchunk
from pattern_stream.stages.statistics import is_ours
from pattern_stream.stages.walk.walker import Walker, walk
from pattern_stream.transport.wrapping import Unwrapping

if TYPE_CHECKING:
    from pattern_stream.pipelines.converting import ConversionResult


@dataclass(frozen=True, slots=True)
class Inspection:
    """What an archive holds. Entries are dicts with the keys of the command line's JSON.

    `tables`: rows by table beyond version 3. `cells`: cells of version 3 rows that only a whole backup has.
    `blocks_with_deleted_text`: memory blocks whose document still holds, in its history, text that was deleted.
    `decoded`: "shown" where leaves that are only counted were not decoded, so nothing is known of what is in them.
    """

    version: int
    type: str
    exported_at: str
    root: str
    stats: dict[str, int]
    created_by: str | None
    agents: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    unowned_blocks: list[dict[str, Any]]
    attachments: int
    sections: int
    bytes: int
    tables: dict[str, int] = field(default_factory=dict)
    cells: int = 0
    blocks_with_deleted_text: int = 0
    decoded: Literal["shown", "all"] = "all"
    findings: list[Finding] = field(default_factory=list)
    converted: ConversionResult | None = None

    def as_dict(self) -> dict[str, Any]:
        """As the command line prints it."""
        summary = {
            "version": self.version,
            "type": self.type,
            "exported_at": self.exported_at,
            "root": self.root,
            "created_by": self.created_by,
            "bytes": self.bytes,
            "sections": self.sections,
            "decoded": self.decoded,
            "stats": self.stats,
            "agents": self.agents,
            "groups": self.groups,
            "unowned_blocks": self.unowned_blocks,
            "attachments": self.attachments,
            "tables_beyond_version_3": self.tables,
            "cells_beyond_version_3": self.cells,
            "blocks_with_deleted_text": self.blocks_with_deleted_text,
            "findings": [finding.as_dict() for finding in self.findings],
        }
        return summary | ({"converted_from": self.converted.source.as_dict()} if self.converted is not None else {})


async def inspect_archive(
    source: ArchiveSource,
    *,
    full: bool = False,
    max_document_bytes: int = MAX_DOCUMENT_BYTES,
    progress: ProgressCallback | None = None,
    spool_dir: Path | None = None,
    unwrapping: Unwrapping = Unwrapping(),
) -> Inspection:
    """Read a whole archive and say what is in it. Memory: an entry for each agent, group and memory block.

    `full`: decode and check everything. Otherwise messages, entries, summaries and rows beyond version 3 are hashed and
    counted, and of each chunk of messages only the first and the last are decoded.

    Raises ArchiveError where it is damaged, TransportError and OSError where it cannot be read.
    """
    log = FindingLog()
    async with AsyncExitStack() as resources:
        archive = await resources.enter_async_context(
            open_archive(
                source,
                stage="inspect",
                progress=progress,
                spool_dir=spool_dir,
                unwrapping=unwrapping,
                max_document_bytes=max_document_bytes,
            )
        )
        walker = Walker(
            await archive.reader.open(),
            archive.shelf,
            report=log.report,
            only_counted=frozenset() if full else NOT_SHOWN,
        )
        sandbox = await resources.enter_async_context(Sandbox(max_document_bytes=max_document_bytes, find_deleted=True))
        survey = Survey(log, sandbox, lambda: is_ours(walker.manifest or {}))
        nodes = survey.count_leaves(walk(archive.reader.sections(), walker, archive.shelf))
        await survey.take(unchunk(nodes, max_document_bytes=max_document_bytes))
        manifest = walker.manifest or {}
        return Inspection(
            version=manifest["version"],
            type=manifest["export_type"],
            exported_at=manifest["exported_at"],
            root=cid_text(archive.reader.root),
            stats=manifest["stats"],
            created_by=manifest.get("created_by"),
            agents=list(survey.agents.values()),
            groups=survey.groups,
            unowned_blocks=survey.unowned_blocks,
            attachments=survey.attachments,
            sections=walker.statistics.sections,
            bytes=archive.reader.bytes_read,
            tables=survey.tables,
            cells=survey.cells,
            blocks_with_deleted_text=survey.blocks_with_deleted_text,
            decoded="all" if full else "shown",
            findings=[*conversion_findings(archive.converted), *log.findings()],
            converted=archive.converted,
        )
