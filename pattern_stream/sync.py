"""The whole pipelines without `await`, for scripts: each runs an event loop of its own until it is done.

Not for use inside a running event loop: there, await the functions of `pattern_stream` themselves.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from pattern_stream.items import AsyncWriter, ProgressCallback
from pattern_stream.pipelines.exporting import ExportOptions, ExportResult
from pattern_stream.pipelines.exporting import export_archive as _export_archive
from pattern_stream.pipelines.import_terms import ImportOptions, ImportResult
from pattern_stream.pipelines.importing import import_archive as _import_archive
from pattern_stream.pipelines.inspecting import Inspection
from pattern_stream.pipelines.inspecting import inspect_archive as _inspect_archive
from pattern_stream.pipelines.reading import ArchiveSource
from pattern_stream.pipelines.verifying import Verification
from pattern_stream.pipelines.verifying import verify_archive as _verify_archive
from pattern_stream.schema.model.scopes import Scope

__all__ = ("export_archive", "import_archive", "inspect_archive", "verify_archive")


def export_archive(
    database: Path,
    out: Path | AsyncWriter | None,
    *,
    scope: Scope = Scope(),  # noqa: B008  frozen
    options: ExportOptions = ExportOptions(),  # noqa: B008  frozen
    progress: ProgressCallback | None = None,
) -> ExportResult:
    """As `pattern_stream.export_archive`."""
    return asyncio.run(_export_archive(database, out, scope=scope, options=options, progress=progress))


def import_archive(
    source: ArchiveSource,
    database: Path,
    *,
    options: ImportOptions = ImportOptions(),  # noqa: B008  frozen
    progress: ProgressCallback | None = None,
) -> ImportResult:
    """As `pattern_stream.import_archive`."""
    return asyncio.run(_import_archive(source, database, options=options, progress=progress))


def verify_archive(
    source: ArchiveSource,
    *,
    documents: bool = True,
    against: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Verification:
    """As `pattern_stream.verify_archive`."""
    return asyncio.run(_verify_archive(source, documents=documents, against=against, progress=progress))


def inspect_archive(
    source: ArchiveSource, *, full: bool = False, progress: ProgressCallback | None = None
) -> Inspection:
    """As `pattern_stream.inspect_archive`."""
    return asyncio.run(_inspect_archive(source, full=full, progress=progress))
