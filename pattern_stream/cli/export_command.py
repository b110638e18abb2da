"""`pattern-stream export`: a constellation, a group or an agent out of the database, as an archive."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import click

from pattern_stream.cli.options import PATH, database, document_limit, examples, json_output, presets, talking
from pattern_stream.cli.output import (
    conclude,
    counted,
    detail,
    document,
    held,
    human_bytes,
    path_text,
    plain,
    print_findings,
    require_stdout,
    say,
    tell,
)
from pattern_stream.cli.places import STREAM, binary_output, chosen_database
from pattern_stream.cli.running import run
from pattern_stream.cli.session import Session
from pattern_stream.cli.wrapping import (
    Passphrase,
    opening_options,
    signing_key,
    unwrapping,
    wrapping,
    wrapping_options,
)
from pattern_stream.errors import ExitCode, UsageError
from pattern_stream.format import (
    DEFAULT_OWNER,
    FORMAT_VERSION,
    MAX_CHUNK_MESSAGES,
    TARGET_CHUNK_BYTES,
    WIDE_VERSION,
)

if TYPE_CHECKING:
    from pattern_stream.pipelines.exporting import ExportOptions, ExportResult
    from pattern_stream.pipelines.planning import ExportPlan
    from pattern_stream.schema.model.scopes import Scope, ScopeKind

AT_LEAST_ONE: Final = click.IntRange(min=1)
_WHOLE: Final = "a whole backup, with deleted messages, undone edits, endpoints and source settings"


class ExportArguments(TypedDict):
    """What the command line gave."""

    name: str | None
    scope: ScopeKind | None
    thin: bool
    output: Path
    force: bool
    no_messages: bool
    no_archival: bool
    max_chunk_bytes: int
    max_messages_per_chunk: int
    owner: str | None
    spool_dir: Path | None
    dry_run: bool
    verify: bool
    salvage: bool
    portable: bool
    history: bool
    newest_version: str
    max_document_bytes: int
    sign: Path | None
    db: Path | None


@click.command(
    short_help="Write a constellation, a group or an agent to an archive.",
    epilog=examples(
        "pattern-stream export -o constellation.car.gz",
        "pattern-stream export Anchor --scope agent -o anchor.car",
        "pattern-stream export --portable -o to-share.car",
        "pattern-stream export --dry-run --json",
    ),
)
@click.argument("name", required=False)
@click.option(
    "--scope",
    type=click.Choice(["constellation", "group", "agent"]),
    help="What to export.  [default: constellation; with NAME: whichever has it]",
)
@click.option("--thin", is_flag=True, help="Of a group, the configuration only: no agents, no messages.")
@click.option("-o", "--output", type=PATH, default="-", metavar="FILE", help="Where to.  [default: -, stdout]")
@click.option("--sign", type=PATH, metavar="KEY", help="Sign the archive with an SSH key; the signature goes into it.")
@wrapping_options
@opening_options
@click.option("--force", is_flag=True, help="Replace an existing FILE.")
@click.option("--no-messages", is_flag=True, help="Leave messages out.")
@click.option("--no-archival", is_flag=True, help="Leave archival entries out.")
@click.option("--portable", is_flag=True, help="Of a constellation, only what every reader of version 3 knows.")
@click.option("--history", is_flag=True, help="Of a group or agent, also the history of its memory blocks.")
@click.option(
    "--format",
    "newest_version",
    type=click.Choice([str(FORMAT_VERSION), str(WIDE_VERSION)]),
    default=str(WIDE_VERSION),
    show_default=True,
    help=f"Newest version to use. An archive is version {FORMAT_VERSION} unless something needs {WIDE_VERSION}.",
)
@click.option(
    "--max-chunk-bytes",
    type=AT_LEAST_ONE,
    default=TARGET_CHUNK_BYTES,
    show_default=True,
    help="Bytes of messages at which a chunk closes.",
)
@click.option(
    "--max-messages-per-chunk",
    type=AT_LEAST_ONE,
    default=MAX_CHUNK_MESSAGES,
    show_default=True,
    help="Messages at which a chunk closes.",
)
@click.option("--owner", metavar="TEXT", help=f"Owner to name in a constellation archive.  [default: {DEFAULT_OWNER}]")
@document_limit
@click.option("--spool-dir", type=PATH, metavar="DIR", help="Where the archive grows until it is whole.")
@click.option("--dry-run", is_flag=True, help="Write nothing: show counts, size, and what would not fit.")
@click.option("--verify", is_flag=True, help="Read FILE back whole before it gets its name.")
@click.option("--salvage", is_flag=True, help="Export a damaged memory block as far as it is good, list it, exit 3.")
@json_output("Summary as JSON: on stdout if the archive goes to a file, else on stderr.")
@database()
@presets
@talking
@click.pass_obj
def export(session: Session, /, **given: Unpack[ExportArguments]) -> int:
    """Write a constellation (the default), or the group or agent NAME, to an archive.

    The archive of a constellation is a whole backup: deleted messages, undone edits and all other tables travel as
    extensions that readers of version 3 skip. --portable leaves them out; groups and agents are portable anyway.

    NAME is a name or an id; an exact id wins. Nothing is written before the whole archive is known to be good.
    SOURCE_DATE_EPOCH, where set, is the archive's date: the same database then gives the same bytes.
    """
    to_file = given["output"] != STREAM
    if given["verify"] and not to_file:
        raise UsageError("--verify was given without a file: stdout cannot be read back", hint="name one with -o FILE")
    if given["dry_run"]:
        return _plan(session, given, binary_output(session, given["output"]) if to_file else None)
    return _export(session, given, binary_output(session, given["output"]))


def _export(session: Session, given: ExportArguments, out: Path | None) -> int:
    scope, options = scope_of(given), options_of(session, given)
    require_stdout(session)
    path = chosen_database(session, given["db"])
    from pattern_stream.pipelines.exporting import export_archive

    result = run(session, lambda progress: export_archive(path, out, scope=scope, options=options, progress=progress))
    with suppress(ConnectionError):
        _warn(session, result, portable=given["portable"])
    code = conclude(session, "the export", result.as_dict(), lambda: _tell(session, result, out))
    return ExitCode.LOSS if result.loss else code


def _plan(session: Session, given: ExportArguments, out: Path | None) -> int:
    scope, options = scope_of(given), options_of(session, given)
    path = chosen_database(session, given["db"])
    from pattern_stream.pipelines.planning import plan_export

    plan = run(session, lambda progress: plan_export(path, out, scope=scope, options=options, progress=progress))
    _warn(session, plan, portable=given["portable"])
    for problem in plan.problems:
        tell(session, "error", f"does not fit: {plain(str(problem))}")
    if session.json:
        document(plan.as_dict())
    else:
        _tell_plan(session, plan)
    if plan.problems:
        return ExitCode.UNSUPPORTED
    return ExitCode.LOSS if plan.loss else ExitCode.DONE


# --- what was asked for ------------------------------------------------------------------------------------------


def scope_of(given: ExportArguments) -> Scope:
    """The scope that the options mean. Raises UsageError where they do not fit together."""
    from pattern_stream.schema.model.scopes import Scope

    kind, name = given["scope"], given["name"]
    if kind is None and name is None:
        kind = "constellation"
    if given["owner"] is not None and kind != "constellation":
        raise UsageError(f"--owner goes with scope constellation, found scope {kind or 'agent or group'}")
    if given["history"] and given["thin"]:
        raise UsageError("--history was given with --thin, whose archive has no memory blocks")
    return Scope(kind, name, given["thin"])


def options_of(session: Session, given: ExportArguments) -> ExportOptions:
    """The pipeline's options."""
    from pattern_stream.pipelines.exporting import ExportOptions
    from pattern_stream.schema.model.scopes import Limits

    passphrase = Passphrase()
    if given["verify"] and session.encrypt_to and not session.identity:
        hint = "name one of the recipients' keys with --identity FILE, or verify the file where such a key is"
        raise UsageError("--verify was given with --encrypt-to, and no key to read the file back with", hint=hint)
    return ExportOptions(
        messages=not given["no_messages"],
        archival=not given["no_archival"],
        limits=Limits(given["max_chunk_bytes"], given["max_messages_per_chunk"]),
        owner=DEFAULT_OWNER if given["owner"] is None else given["owner"],
        spool_dir=given["spool_dir"],
        salvage=given["salvage"],
        force=given["force"],
        verify=given["verify"],
        exported_at=fixed_date(os.environ.get("SOURCE_DATE_EPOCH")),
        portable=given["portable"],
        history=given["history"],
        max_document_bytes=given["max_document_bytes"],
        newest_version=int(given["newest_version"]),
        wrapping=wrapping(session, given["output"], passphrase),
        unwrapping=unwrapping(session, passphrase),
        sign=None if given["sign"] is None else signing_key(given["sign"], Passphrase()),
    )


def fixed_date(epoch: str | None) -> str | None:
    """SOURCE_DATE_EPOCH, seconds since 1970, as RFC 3339 text; None where it is not set."""
    if not epoch:
        return None
    try:
        return datetime.fromtimestamp(int(epoch), UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"SOURCE_DATE_EPOCH is {epoch[:40]!r}, expected whole seconds since 1970") from error


# --- what came of it ---------------------------------------------------------------------------------------------


def _warn(session: Session, result: ExportResult | ExportPlan, *, portable: bool) -> None:
    """What was found on the way, and in one line what this archive is not."""
    print_findings(session, result.findings)
    unwanted, derived = result.census.unwanted, result.census.derived
    not_carried = {name: count for name, count in result.census.not_carried.items() if name not in unwanted}
    if result.scope.kind == "constellation" and result.census.beyond:
        say(session, f"{_WHOLE} ({counted(result.census.beyond)}); --portable leaves that out")
    if not_carried:
        whole = result.scope.kind == "constellation" and not portable
        reason = "not carried, as they are virtual tables" if whole else "not carried by format version 3"
        say(session, f"{reason}: {counted(not_carried)}")
    if unwanted:
        say(session, f"left out, as asked for: {counted(unwanted)}")
    if derived:
        say(session, f"left out, as it is derived from the rest: {counted(derived)}")


def _tell(session: Session, result: ExportResult, out: Path | None) -> None:
    """One closing line; with -v the root and the edits that were folded in."""
    target = "stdout" if out is None else path_text(out)
    version = f", version {result.version}" if result.version != FORMAT_VERSION else ""
    size = f"{human_bytes(result.bytes)}, {result.sections:,} sections{version}"
    say(
        session, f"{_scope_text(result)} -> {target}: {size}; {held(result.stats) or 'nothing'}; {result.seconds:.1f} s"
    )
    detail(session, f"root {result.root}")
    detail(session, f"{result.folded_blocks:,} memory blocks had edits pending and are current")


def _tell_plan(session: Session, plan: ExportPlan) -> None:
    say(session, f"{_scope_text(plan)}, dry run: {human_bytes(plan.bytes)}, {plan.sections:,} sections")
    if plan.stats:
        say(session, f"holds {held(plan.stats) or 'nothing'}")


def _scope_text(result: ExportResult | ExportPlan) -> str:
    parts = ("thin" if result.scope.thin else None, result.scope.kind, result.scope.name)
    return plain(" ".join(part for part in parts if part))
