"""`pattern-stream dump`: an archive as JSON Lines."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pattern_stream.cli.options import PATH, document_limit, examples, presets, talking
from pattern_stream.cli.output import json_text, print_findings, show
from pattern_stream.cli.places import binary_input
from pattern_stream.cli.running import run
from pattern_stream.cli.session import Session
from pattern_stream.cli.wrapping import opening_options, unwrapping

if TYPE_CHECKING:
    from pattern_stream.items import ProgressCallback
    from pattern_stream.pipelines.dumping import DumpKind

WHAT = ("agents", "groups", "blocks", "messages", "archival", "summaries", "tables")


@click.command(
    short_help="Show an archive as JSON Lines.",
    epilog=examples(
        "pattern-stream dump constellation.car.gz messages | head",
        "pattern-stream export | pattern-stream dump - blocks > memory.jsonl",
    ),
)
@click.argument("file", type=PATH)
@click.argument("what", type=click.Choice(WHAT), required=False)
@opening_options
@document_limit
@click.option("--spool-dir", type=PATH, metavar="DIR", help="Where blocks wait that come before they are wanted.")
@presets
@talking
@click.pass_obj
def dump(session: Session, file: Path, what: DumpKind | None, max_document_bytes: int, spool_dir: Path | None) -> None:
    """Show the records of the archive FILE on stdout, one JSON object a line with its kind; nothing is imported.

    FILE may be compressed or encrypted; "-" is stdin. Memory blocks come with the text that their documents show.
    """
    source, keys = binary_input(file), unwrapping(session)
    from pattern_stream.pipelines.dumping import dump_archive
    from pattern_stream.pipelines.results import FindingLog

    log = FindingLog()

    async def pour(progress: ProgressCallback) -> None:
        records = dump_archive(
            source,
            what,
            max_document_bytes=max_document_bytes,
            report=log.report,
            progress=progress,
            spool_dir=spool_dir,
            unwrapping=keys,
        )
        async with aclosing(records):
            async for record in records:
                show(json_text(record))

    run(session, pour)
    print_findings(session, log.findings())
