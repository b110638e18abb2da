"""pattern-stream: move a Pattern constellation out of and into CAR archives, as a line of async stages.

Every public name is here. They are loaded when first used, so that importing the package costs nothing. The four whole
pipelines without `await` are in `pattern_stream.sync`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pattern_stream.archive.reader import ArchiveReader, read_sections
    from pattern_stream.archive.shelf import Shelf
    from pattern_stream.archive.writer import WriteResult, write_car
    from pattern_stream.db.catalog.scope import resolve_scope
    from pattern_stream.db.connection.connection import Connection
    from pattern_stream.db.connection.opening import open_reader, open_writer
    from pattern_stream.db.read.scope_reader import read_scope
    from pattern_stream.db.write.sink import write_rows
    from pattern_stream.demo.database import make_demo
    from pattern_stream.errors import ExitCode, Finding, PatternStreamError, Where
    from pattern_stream.items import (
        AsyncWriter,
        Begin,
        Block,
        BlockEvent,
        Cells,
        Close,
        Draft,
        DraftEvent,
        MemoryHistory,
        Node,
        Open,
        Piece,
        Progress,
        RecordEvent,
        Records,
        Ref,
        Root,
        RowEvent,
        Rows,
        Section,
        WalkEvent,
    )
    from pattern_stream.memory.sandbox import Sandbox
    from pattern_stream.pipelines.creating import create_database
    from pattern_stream.pipelines.dumping import dump_archive
    from pattern_stream.pipelines.exporting import ExportOptions, ExportResult, export_archive
    from pattern_stream.pipelines.import_terms import ImportOptions, ImportResult
    from pattern_stream.pipelines.importing import import_archive
    from pattern_stream.pipelines.inspecting import Inspection, inspect_archive
    from pattern_stream.pipelines.listing import list_database
    from pattern_stream.pipelines.planning import ExportPlan, plan_export
    from pattern_stream.pipelines.reading import open_archive
    from pattern_stream.pipelines.verifying import Verification, verify_archive
    from pattern_stream.schema.mapping.lossy_types import LossyTypes
    from pattern_stream.schema.model.cells import Large, NotUtf8, StoredText
    from pattern_stream.schema.model.scopes import Limits, ResolvedScope, Scope, Selection
    from pattern_stream.stages.chunking import chunk
    from pattern_stream.stages.edit.check_documents import check_documents
    from pattern_stream.stages.edit.select import select
    from pattern_stream.stages.edit.translate import translate
    from pattern_stream.stages.encode.encoder import encode
    from pattern_stream.stages.folding import fold_memory
    from pattern_stream.stages.mapping import map_rows, unmap_records
    from pattern_stream.stages.rebuild.records import unchunk
    from pattern_stream.stages.walk.walker import Walker, walk
    from pattern_stream.transport.files import open_input, open_output
    from pattern_stream.transport.wrapping import Compression, Encryption, Unwrapping, Wrapping, unwrap, wrap

_HOMES = {
    "archive.reader": (
        "ArchiveReader",
        "read_sections",
    ),
    "archive.shelf": ("Shelf",),
    "archive.writer": (
        "WriteResult",
        "write_car",
    ),
    "db.connection.connection": ("Connection",),
    "db.connection.opening": (
        "open_reader",
        "open_writer",
    ),
    "db.catalog.scope": ("resolve_scope",),
    "db.write.sink": ("write_rows",),
    "db.read.scope_reader": ("read_scope",),
    "errors": (
        "ExitCode",
        "Finding",
        "PatternStreamError",
        "Where",
    ),
    "items": (
        "AsyncWriter",
        "Begin",
        "Block",
        "BlockEvent",
        "Cells",
        "Close",
        "Draft",
        "DraftEvent",
        "MemoryHistory",
        "Node",
        "Open",
        "Piece",
        "Progress",
        "RecordEvent",
        "Records",
        "Ref",
        "Root",
        "RowEvent",
        "Rows",
        "Section",
        "WalkEvent",
    ),
    "memory.sandbox": ("Sandbox",),
    "pipelines.creating": ("create_database",),
    "demo.database": ("make_demo",),
    "pipelines.dumping": ("dump_archive",),
    "pipelines.exporting": (
        "ExportOptions",
        "ExportResult",
        "export_archive",
    ),
    "pipelines.import_terms": (
        "ImportOptions",
        "ImportResult",
    ),
    "pipelines.importing": ("import_archive",),
    "pipelines.inspecting": (
        "Inspection",
        "inspect_archive",
    ),
    "pipelines.listing": ("list_database",),
    "pipelines.planning": (
        "ExportPlan",
        "plan_export",
    ),
    "pipelines.reading": ("open_archive",),
    "pipelines.verifying": (
        "Verification",
        "verify_archive",
    ),
    "schema.model.scopes": (
        "Limits",
        "ResolvedScope",
        "Scope",
        "Selection",
    ),
    "schema.mapping.lossy_types": ("LossyTypes",),
    "schema.model.cells": (
        "Large",
        "NotUtf8",
        "StoredText",
    ),
    "stages.edit.check_documents": ("check_documents",),
    "stages.chunking": ("chunk",),
    "stages.encode.encoder": ("encode",),
    "stages.edit.select": ("select",),
    "stages.folding": ("fold_memory",),
    "stages.mapping": (
        "map_rows",
        "unmap_records",
    ),
    "stages.edit.translate": ("translate",),
    "stages.rebuild.records": ("unchunk",),
    "stages.walk.walker": (
        "Walker",
        "walk",
    ),
    "transport.wrapping": ("Compression", "Encryption", "Unwrapping", "Wrapping", "unwrap", "wrap"),
    "transport.files": (
        "open_input",
        "open_output",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = (
    "ArchiveReader",
    "AsyncWriter",
    "Begin",
    "Block",
    "BlockEvent",
    "Cells",
    "Close",
    "Compression",
    "Connection",
    "Draft",
    "DraftEvent",
    "Encryption",
    "ExitCode",
    "ExportOptions",
    "ExportPlan",
    "ExportResult",
    "Finding",
    "ImportOptions",
    "ImportResult",
    "Inspection",
    "Large",
    "Limits",
    "LossyTypes",
    "MemoryHistory",
    "Node",
    "NotUtf8",
    "Open",
    "PatternStreamError",
    "Piece",
    "Progress",
    "RecordEvent",
    "Records",
    "Ref",
    "ResolvedScope",
    "Root",
    "RowEvent",
    "Rows",
    "Sandbox",
    "Scope",
    "Section",
    "Selection",
    "Shelf",
    "StoredText",
    "Unwrapping",
    "Verification",
    "WalkEvent",
    "Walker",
    "Where",
    "Wrapping",
    "WriteResult",
    "check_documents",
    "chunk",
    "create_database",
    "dump_archive",
    "encode",
    "export_archive",
    "fold_memory",
    "import_archive",
    "inspect_archive",
    "list_database",
    "make_demo",
    "map_rows",
    "open_archive",
    "open_input",
    "open_output",
    "open_reader",
    "open_writer",
    "plan_export",
    "read_scope",
    "read_sections",
    "resolve_scope",
    "select",
    "translate",
    "unchunk",
    "unmap_records",
    "unwrap",
    "verify_archive",
    "walk",
    "wrap",
    "write_car",
    "write_rows",
)


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
