"""pattern-stream: move a Pattern constellation out of and into CAR archives, as a line of async stages.

Every public name is here. They are loaded when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pattern_stream.archive.writer import WriteResult, write_car
    from pattern_stream.db.open import open_reader
    from pattern_stream.db.scoping import resolve_scope
    from pattern_stream.db.source import read_scope
    from pattern_stream.errors import ExitCode, Finding, PatternStreamError, Where
    from pattern_stream.items import (
        AsyncWriter,
        Begin,
        Block,
        BlockEvent,
        Close,
        Draft,
        DraftEvent,
        Open,
        Progress,
        RecordEvent,
        Records,
        Ref,
        Root,
        RowEvent,
        Rows,
        Section,
    )
    from pattern_stream.memory.sandbox import Sandbox
    from pattern_stream.pipelines.creating import create_database
    from pattern_stream.pipelines.demoing import make_demo
    from pattern_stream.pipelines.exporting import (
        ExportOptions,
        ExportPlan,
        ExportResult,
        export_archive,
        plan_export,
    )
    from pattern_stream.pipelines.listing import list_database
    from pattern_stream.schema.scopes import Limits, ResolvedScope, Scope, Selection
    from pattern_stream.stages.chunking import chunk
    from pattern_stream.stages.encoding import encode
    from pattern_stream.stages.folding import fold_memory
    from pattern_stream.stages.mapping import map_rows
    from pattern_stream.transport.files import open_output

_HOMES = {
    "archive.writer": ("WriteResult", "write_car"),
    "db.open": ("open_reader",),
    "db.scoping": ("resolve_scope",),
    "db.source": ("read_scope",),
    "errors": ("ExitCode", "Finding", "PatternStreamError", "Where"),
    "items": (
        "AsyncWriter",
        "Begin",
        "Block",
        "BlockEvent",
        "Close",
        "Draft",
        "DraftEvent",
        "Open",
        "Progress",
        "RecordEvent",
        "Records",
        "Ref",
        "Root",
        "RowEvent",
        "Rows",
        "Section",
    ),
    "memory.sandbox": ("Sandbox",),
    "pipelines.creating": ("create_database",),
    "pipelines.demoing": ("make_demo",),
    "pipelines.exporting": ("ExportOptions", "ExportPlan", "ExportResult", "export_archive", "plan_export"),
    "pipelines.listing": ("list_database",),
    "schema.scopes": ("Limits", "ResolvedScope", "Scope", "Selection"),
    "stages.chunking": ("chunk",),
    "stages.encoding": ("encode",),
    "stages.folding": ("fold_memory",),
    "stages.mapping": ("map_rows",),
    "transport.files": ("open_output",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = tuple(sorted((*_HOME_OF, "__version__")))


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return list(__all__)
