"""`pattern-stream import`: an archive into a database, whole or not at all."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from pattern_stream.cli.options import PATH, database, document_limit, examples, json_output, presets, talking
from pattern_stream.cli.output import conclude, counted, detail, path_text, plain, print_findings, require_stdout, say
from pattern_stream.cli.places import binary_input, database_to_fill
from pattern_stream.cli.running import run
from pattern_stream.cli.session import Session
from pattern_stream.cli.wrapping import (
    opening_options,
    signature_options,
    tell_signatures,
    unwrapping,
    wanted_signature,
)
from pattern_stream.errors import UsageError

if TYPE_CHECKING:
    from pattern_stream.db.write.conflicts import OnConflict, Orphans
    from pattern_stream.pipelines.importing import ImportOptions, ImportResult


class ImportArguments(TypedDict):
    """What the command line gave."""

    file: Path
    new_ids: bool
    id_key: str | None
    rename: tuple[str, ...]
    only: tuple[str, ...]
    no_messages: bool
    no_archival: bool
    owner: str | None
    on_conflict: OnConflict
    drop_unknown: bool
    orphans: Orphans | None
    rescue: bool
    dry_run: bool
    no_verify_documents: bool
    max_document_bytes: int
    spool_dir: Path | None
    trusted: str | None
    signer: str | None
    signature: Path | None
    db: Path | None


@click.command(
    "import",
    short_help="Take an archive into a database.",
    epilog=examples(
        "pattern-stream import constellation.car.gz --db copy.db",
        "pattern-stream import anchor.car --new-ids --rename Anchor=Anchor2",
        "pattern-stream export | pattern-stream import - --db copy.db",
    ),
)
@click.argument("file", type=PATH)
@click.option("--new-ids", is_flag=True, help="Give everything a new id.  [default: ids are kept]")
@click.option("--id-key", metavar="HEX", help="32 bytes in hex that make new ids repeatable.")
@click.option(
    "--rename",
    multiple=True,
    metavar="[OLD=]NEW",
    help="Another name for the agent or group of the archive, or for the one named OLD; block:LABEL=NEW for memory "
    "blocks, id:ID=NEW for any of them, \\= for a literal =. Repeatable.",
)
@click.option(
    "--only", multiple=True, metavar="KIND:NAME", help="Only agent:NAME or group:NAME, with what is theirs. Repeatable."
)
@click.option("--no-messages", is_flag=True, help="Leave messages out.")
@click.option("--no-archival", is_flag=True, help="Leave archival entries out.")
@click.option("--owner", metavar="ID", help="Who gets memory blocks whose owner is not in the archive.")
@click.option(
    "--on-conflict",
    type=click.Choice(["fail", "skip", "replace"]),
    default="fail",
    show_default=True,
    help="What happens where an id is there already. A taken name is always a conflict.",
)
@click.option("--drop-unknown", is_flag=True, help="Leave out tables and columns that the database does not have.")
@click.option(
    "--orphans",
    type=click.Choice(["keep", "drop"]),
    help="What happens to rows that refer to nothing.  [default: refused; a restore into an empty database keeps them]",
)
@click.option("--rescue", is_flag=True, help="Rebuild documents that Pattern's export emptied, from their previews.")
@click.option("--dry-run", is_flag=True, help="Do everything but keep it.")
@click.option("--no-verify-documents", is_flag=True, help="Do not look into memory documents.")
@signature_options("--require-signature", "Take the archive only where one of these keys signed it.")
@opening_options
@document_limit
@click.option(
    "--spool-dir", type=PATH, metavar="DIR", help="Where blocks wait that come early, and rows for a living database."
)
@json_output("Summary as one JSON document on stdout.")
@database("The database; made with the full schema where it is missing.  [default: $PATTERN_DB, else Pattern's own]")
@presets
@talking
@click.pass_obj
def import_(session: Session, /, **given: Unpack[ImportArguments]) -> int:
    """Take the archive FILE into a database, in one transaction: all of it, or nothing.

    FILE may be compressed or encrypted; "-" is stdin. A database that holds rows is locked only when the archive has
    been read and found good, so the real program may have it open.
    """
    source, options = binary_input(given["file"]), options_of(session, given)
    require_stdout(session)
    from pattern_stream.pipelines.importing import import_archive

    with database_to_fill(session, given["db"], keep=not options.dry_run) as path:
        result = run(session, lambda progress: import_archive(source, path, options=options, progress=progress))
    if result.not_carried:
        with suppress(ConnectionError):
            say(session, f"not carried, as the options leave it behind: {counted(result.not_carried)}")
    change = "the dry run" if result.dry_run else "the import"
    return conclude(session, change, result.as_dict(), lambda: _tell(session, result))


def options_of(session: Session, given: ImportArguments) -> ImportOptions:
    """The pipeline's options. Raises UsageError where they do not fit together."""
    from pattern_stream.pipelines.importing import ImportOptions

    return ImportOptions(
        new_ids=given["new_ids"],
        id_key=None if given["id_key"] is None else _key(given["id_key"]),
        renames=tuple(map(renaming, given["rename"])),
        only=given["only"],
        messages=not given["no_messages"],
        archival=not given["no_archival"],
        owner=given["owner"],
        on_conflict=given["on_conflict"],
        drop_unknown=given["drop_unknown"],
        orphans=given["orphans"],
        rescue=given["rescue"],
        dry_run=given["dry_run"],
        verify_documents=not given["no_verify_documents"],
        max_document_bytes=given["max_document_bytes"],
        spool_dir=given["spool_dir"],
        unwrapping=unwrapping(session),
        wanted=wanted_signature("--require-signature", given["trusted"], given["signer"], given["signature"]),
    )


def _key(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise UsageError(f"--id-key is {text[:70]!r}, expected 64 hex digits") from error


def renaming(text: str) -> tuple[str | None, str]:
    """`NEW` or `OLD=NEW`; the first `=` without a backslash before it divides."""
    parts = re.split(r"(?<!\\)=", text, maxsplit=1)
    old, new = (parts[0].replace("\\=", "="), parts[-1].replace("\\=", "=") if len(parts) > 1 else "")
    divided = len(parts) > 1
    if not new and (divided or not old):
        raise UsageError(f"--rename is {text!r}, expected NEW or OLD=NEW")
    return (old, new) if divided else (None, old)


def _tell(session: Session, result: ImportResult) -> None:
    print_findings(session, result.findings)
    tell_signatures(session, result.signatures, result.root)
    if result.converted is not None:
        report = result.converted.report
        deviations = f"{len(report.changed):,} kinds of changes, {len(report.dropped):,} of losses"
        say(
            session,
            f"converted from: {plain(result.converted.source.noun)}; {deviations}; `convert --analyze` lists them",
        )
    if result.dry_run:
        say(session, "dry run: nothing was kept")
    for what, counts in (("replaced", result.replaced), ("skipped", result.skipped), ("dropped", result.dropped)):
        if counts:
            say(session, f"{what}: {counted(counts)}")
    if result.moved_blocks is not None:
        say(session, f"memory blocks that went to --owner: {result.moved_blocks}")
    for what, found in (("agents", result.agents), ("groups", result.groups)):
        if found:
            detail(session, f"{what}: {', '.join(plain(one.name) for one in found)}")
    made, ids = ", made for it" if result.created else "", "new ids" if result.new_ids else "ids kept"
    rows = f"{counted(result.rows) or 'nothing'}; {ids}"
    times = f"{result.seconds:.1f} s" + (f", others waited {result.locked_seconds:.1f} s" if not result.created else "")
    say(session, f"{plain(result.type)} -> {path_text(result.db)}{made}: {rows}; {times}")
