"""An archive as a stream of plain dicts, one a record: nothing is imported."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import field
from pathlib import Path
from typing import Any, Final, Literal

from pattern_stream.codec.cid import cid_text
from pattern_stream.errors import DamagedDocument, DocumentTooLarge, Finding, LimitExceeded, Report, ignore_findings
from pattern_stream.format import MAX_DOCUMENT_BYTES
from pattern_stream.items import (
    CELLS_TABLE,
    Cells,
    Open,
    OpenGroupConfig,
    OpenMemoryBlock,
    OpenTable,
    ProgressCallback,
    RecordEvent,
    Records,
)
from pattern_stream.memory.sandbox import Sandbox
from pattern_stream.pipelines.reading import ArchiveSource, open_archive
from pattern_stream.pipelines.results import conversion_findings
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.json_values import read_json
from pattern_stream.schema.model.cells import Large, NotUtf8, StoredText, cell_to_wire
from pattern_stream.schema.model.nodes import (
    AgentExport,
    GroupConfigExport,
    GroupExport,
    GroupExportThin,
    MemoryBlockExport,
    NodeType,
)
from pattern_stream.schema.model.records import ArchivalEntry, ArchiveSummary, Member, Message, Record, SharedAttachment
from pattern_stream.stages.edit.check_documents import check_one, unchecked
from pattern_stream.stages.rebuild.records import unchunk
from pattern_stream.stages.walk.walker import Walker, walk
from pattern_stream.transport.wrapping import Unwrapping

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
_TABLES: Final[dict[str, tuple[DumpKind, str]]] = {
    "memory_block_updates": ("blocks", "memory_update"),
    "memory_block_checkpoints": ("blocks", "memory_checkpoint"),
    CELLS_TABLE: ("tables", "cell"),
}
_APART: Final = frozenset({Large, StoredText})


async def dump_archive(
    source: ArchiveSource,
    what: DumpKind | None = None,
    *,
    max_document_bytes: int = MAX_DOCUMENT_BYTES,
    report: Report = ignore_findings,
    progress: ProgressCallback | None = None,
    spool_dir: Path | None = None,
    unwrapping: Unwrapping = Unwrapping(),
) -> AsyncGenerator[dict[str, Any]]:
    """The records of an archive as they stand on the wire, each with its `kind`; all of them, or those of one sort.

    In:      a file, standard input (None) or any iterator of bytes.
    Out:     {"kind": "manifest", ...} first where everything is wanted, then records in the order of the tree: agent,
             memory_block, message, archival_entry, archive_summary, group, member, attachment, memory_update,
             memory_checkpoint, cell, row. A memory block has the `text` that its document shows (None where it cannot
             be read, with a finding) and `snapshot_bytes`. "tables" is what lies beyond version 3: a row has its
             `table` and its `cells` by column, a cell its `table`, `key`, `column` and `value`. Bytes are
             {"/": {"bytes": base64}}; of a cell beyond LARGE_CELL_BYTES only {"large": its length in bytes} is told.
    Memory:  one batch, one memory document.
    Raises:  ArchiveError at the first damage: what was handed out before it was whole in itself.
    """
    async with AsyncExitStack() as resources:
        archive = await resources.enter_async_context(
            open_archive(
                source,
                stage="dump",
                progress=progress,
                spool_dir=spool_dir,
                unwrapping=unwrapping,
                max_document_bytes=max_document_bytes,
            )
        )
        if archive.converted is not None:
            message = f"input is {archive.converted.source.noun}: these are the records that `convert` makes of it"
            report(Finding("info", "converted", message))
        for finding in conversion_findings(archive.converted):
            report(finding)
        sandbox = await resources.enter_async_context(Sandbox(max_document_bytes=max_document_bytes))
        walker = Walker(await archive.reader.open(), archive.shelf, report=report)
        nodes = walk(archive.reader.sections(), walker, archive.shelf)
        events = unchunk(nodes, max_document_bytes=max_document_bytes)
        first, flat = what is None, _Flat(what)
        async with aclosing(events):
            async for event in events:
                if first and walker.manifest is not None:
                    first = False
                    yield _manifest(walker.manifest, archive.reader.root)
                for record in flat.records(event):
                    if record["kind"] == "memory_block" and isinstance(event, OpenMemoryBlock):
                        record |= await _document(event, sandbox, report)
                    yield record


@dataclass(slots=True)
class _Flat:
    """Events to plain dicts. Which columns rows have is told where their node opens."""

    what: DumpKind | None
    _columns: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def records(self, event: RecordEvent) -> Iterator[dict[str, Any]]:
        """The dicts that one event stands for."""
        if isinstance(event, Open):
            yield from self._opened(event)
        elif isinstance(event, Records):
            sort, kind = _RECORDS[event.record]
            if self.what in (None, sort):
                yield from ({"kind": kind, **_flat_record(record)} for record in event.records)
        elif isinstance(event, Cells):
            yield from self._cells(event)

    def _opened(self, event: Open) -> Iterator[dict[str, Any]]:
        if isinstance(event, OpenTable):
            self._columns = {event.cells_table: event.column_names}
        elif isinstance(event, OpenMemoryBlock) and event.history is not None:
            self._columns = event.history.columns
        if event.node in _NODES and self.what in (None, _NODES[event.node][0]):
            members = {"member_agent_ids": event.member_agent_ids} if isinstance(event, OpenGroupConfig) else {}
            yield {"kind": _NODES[event.node][1], **_flat_record(event.record), **members}

    def _cells(self, event: Cells) -> Iterator[dict[str, Any]]:
        sort, kind = _TABLES.get(event.table, ("tables", "row"))
        if self.what not in (None, sort):
            return
        for row in event.rows:
            cells = {name: _flat_cell(cell) for name, cell in zip(self._columns[event.table], row, strict=True)}
            yield {"kind": "row", "table": event.table, "cells": cells} if kind == "row" else {"kind": kind, **cells}


def _flat_record(record: dict[str, Any]) -> dict[str, Any]:
    if not _APART.isdisjoint(map(type, record.values())):
        return {name: _flat_cell(value) for name, value in record.items()}
    return record


def _flat_cell(cell: Any) -> Any:
    """A cell as JSON can hold it."""
    if type(cell) is Large:
        return {"large": cell.bytes}
    if type(cell) is StoredText:
        return read_json(str(cell))
    if type(cell) is NotUtf8:
        return {"text": _flat_cell(bytes(cell))}
    if type(cell) is bytes:
        return {"/": {"bytes": b64encode(cell).decode().rstrip("=")}}
    return cell_to_wire(cell)


async def _document(event: OpenMemoryBlock, sandbox: Sandbox, report: Report) -> dict[str, Any]:
    found = None
    try:
        found = await check_one(event, sandbox.check)
    except DocumentTooLarge as error:
        report(unchecked(event, error))
    except (DamagedDocument, LimitExceeded) as error:
        report(Finding.of(error))
    return {"snapshot_bytes": len(event.document or b""), "text": None if found is None else found.rendered}


def _manifest(manifest: dict[str, Any], root: bytes) -> dict[str, Any]:
    return {"kind": "manifest", "root": cid_text(root)} | manifest | {"data_cid": cid_text(manifest["data_cid"])}
