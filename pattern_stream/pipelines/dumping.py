"""An archive as a stream of plain dicts, one a record: nothing is imported."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any, Final, Literal

from pattern_stream.codec.cid import cid_text
from pattern_stream.errors import DamagedDocument, Finding, LimitExceeded, Report, ignore_findings
from pattern_stream.items import Open, ProgressCallback, RecordEvent, Records
from pattern_stream.memory.sandbox import Sandbox
from pattern_stream.pipelines.reading import ArchiveSource, open_archive
from pattern_stream.schema.nodes import (
    AgentExport,
    GroupConfigExport,
    GroupExport,
    GroupExportThin,
    MemoryBlockExport,
    NodeType,
)
from pattern_stream.schema.records import ArchivalEntry, ArchiveSummary, Member, Message, Record, SharedAttachment
from pattern_stream.schema.values import write_json
from pattern_stream.stages.chunking import unchunk
from pattern_stream.stages.walking import Walker, walk

DumpKind = Literal["agents", "groups", "blocks", "messages", "archival", "summaries", "tables"]

_NODES: Final[dict[type[NodeType], tuple[DumpKind, str]]] = {
    AgentExport: ("agents", "agent"),
    GroupExport: ("groups", "group"),
    GroupConfigExport: ("groups", "group"),
    GroupExportThin: ("groups", "group"),
    MemoryBlockExport: ("blocks", "memory_block"),
}
_RECORDS: Final[dict[type[Record], tuple[DumpKind, str]]] = {
    Member: ("groups", "member"),
    SharedAttachment: ("blocks", "attachment"),
    Message: ("messages", "message"),
    ArchivalEntry: ("archival", "archival_entry"),
    ArchiveSummary: ("summaries", "archive_summary"),
}


async def dump_archive(
    source: ArchiveSource,
    what: DumpKind | None = None,
    *,
    report: Report = ignore_findings,
    progress: ProgressCallback | None = None,
    spool_dir: Path | None = None,
) -> AsyncGenerator[dict[str, Any]]:
    """The records of an archive as they stand on the wire, each with its `kind`; all of them, or those of one sort.

    In:      a file, standard input (None) or any iterator of bytes.
    Out:     {"kind": "manifest", ...} first where everything is wanted, then records in the order of the tree: agent,
             memory_block, message, archival_entry, archive_summary, group, member, attachment. A memory block has the
             `text` that its document shows (None where it cannot be read, with a finding) and `snapshot_bytes`.
             Version 3 has no further tables, so "tables" gives nothing.
    Memory:  one batch, one memory document.
    Raises:  ArchiveError at the first damage: what was handed out before it was whole in itself.
    """
    async with AsyncExitStack() as resources:
        archive = await resources.enter_async_context(
            open_archive(source, stage="dump", progress=progress, spool_dir=spool_dir)
        )
        sandbox = await resources.enter_async_context(Sandbox())
        walker = Walker(await archive.reader.open(), archive.shelf, report=report)
        events = unchunk(walk(archive.reader.sections(), walker, archive.shelf))
        first = what is None
        async with aclosing(events):
            async for event in events:
                if first and walker.manifest is not None:
                    first = False
                    yield _manifest(walker.manifest, archive.reader.root)
                for record in _plain(event, what):
                    if record["kind"] == "memory_block" and isinstance(event, Open):
                        record |= await _document(event, sandbox, report)
                    yield record


def _plain(event: RecordEvent, what: DumpKind | None) -> Iterator[dict[str, Any]]:
    if isinstance(event, Open) and event.node in _NODES:
        sort, kind = _NODES[event.node]
        records = [event.record | {name: value for name, value in event.extra.items() if name in event.node.keys}]
    elif isinstance(event, Records):
        sort, kind = _RECORDS[event.record]
        records = event.records
    else:
        return
    if what in (None, sort):
        for record in records:
            yield {"kind": kind, **record}


async def _document(event: Open, sandbox: Sandbox, report: Report) -> dict[str, Any]:
    document, metadata = event.extra["loro_snapshot"], event.record["metadata"]
    try:
        found = await sandbox.check(document, None if metadata is None else write_json(metadata))
        text = found.rendered
    except (DamagedDocument, LimitExceeded) as error:
        report(_finding(error, event.record["id"]))
        text = None
    return {"snapshot_bytes": len(document), "text": text}


def _finding(error: DamagedDocument | LimitExceeded, block_id: str) -> Finding:
    return Finding.of(error.at(stage="documents", table="memory_blocks", row_id=block_id))


def _manifest(manifest: dict[str, Any], root: bytes) -> dict[str, Any]:
    return {"kind": "manifest", "root": cid_text(root)} | manifest | {"data_cid": cid_text(manifest["data_cid"])}
