"""`pattern-stream convert`: an old archive, or data of another system, as an archive of the present format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import click

from pattern_stream.cli.export_command import fixed_date
from pattern_stream.cli.options import PATH, document_limit, examples, json_output, presets, talking
from pattern_stream.cli.output import (
    conclude,
    counted,
    document,
    held,
    human_bytes,
    json_text,
    path_text,
    plain,
    print_findings,
    require_stdout,
    say,
    shortened,
    table,
)
from pattern_stream.cli.places import STREAM, binary_input, binary_output
from pattern_stream.cli.running import run
from pattern_stream.cli.session import Session
from pattern_stream.cli.wrapping import Passphrase, opening_options, unwrapping, wrapping, wrapping_options
from pattern_stream.errors import ExitCode, UsageError
from pattern_stream.format import FORMAT_VERSION, WIDE_VERSION

if TYPE_CHECKING:
    from pattern_stream.items import ProgressCallback
    from pattern_stream.legacy.conversion import IssueSeverity
    from pattern_stream.pipelines.converting import ConversionResult, ConvertOptions
    from pattern_stream.pipelines.reframing import ReframeResult

ISSUES_SHOWN = 20
"""Issues that are shown without -v; --json and --issues give all."""


class ConvertArguments(TypedDict):
    """What the command line gave."""

    old: Path
    output: Path
    force: bool
    newest_version: str
    rechunk: bool
    analyze: bool
    issues: Path | None
    fail_on: IssueSeverity | None
    rescue: bool
    archival_as: Literal["entries", "blocks"]
    max_document_bytes: int
    spool_dir: Path | None


@click.command(
    short_help="Turn an old archive into one of the present format.",
    epilog=examples(
        "pattern-stream convert old.car -o new.car",
        "pattern-stream convert old.car --analyze --json",
        "pattern-stream convert old.car | pattern-stream import - --db copy.db",
    ),
)
@click.argument("old", type=PATH)
@click.option("-o", "--output", type=PATH, default="-", metavar="FILE", help="Where to.  [default: -, stdout]")
@click.option("--force", is_flag=True, help="Replace an existing FILE.")
@wrapping_options
@opening_options
@click.option(
    "--format",
    "newest_version",
    type=click.Choice([str(FORMAT_VERSION), str(WIDE_VERSION)]),
    default=str(WIDE_VERSION),
    show_default=True,
    help=f"Newest version to use. An archive is version {FORMAT_VERSION} unless something needs {WIDE_VERSION}.",
)
@click.option("--rechunk", is_flag=True, help="Cut the chunks of an archive of the present format anew.")
@click.option("--analyze", is_flag=True, help="Write no archive: show what a conversion would do, and the issues.")
@click.option("--issues", type=PATH, metavar="FILE", help="Write the issues to FILE, as JSON.")
@click.option(
    "--fail-on",
    type=click.Choice(["info", "warning", "error", "critical"]),
    help="Write nothing, exit 7, where an issue is at least so severe.",
)
@click.option(
    "--rescue", is_flag=True, help="Read an archive of today whose documents Pattern's export emptied: rebuild them."
)
@click.option(
    "--archival-as",
    type=click.Choice(["entries", "blocks"]),
    default="entries",
    show_default=True,
    help="What archival memory of Pattern's versions 1 and 2 becomes.",
)
@document_limit
@click.option("--spool-dir", type=PATH, metavar="DIR", help="Where temporary files go.")
@json_output("Report as JSON: on stdout if the archive goes to a file, else on stderr.")
@presets
@talking
@click.pass_obj
def convert(session: Session, /, **given: Unpack[ConvertArguments]) -> int:
    """Read OLD, an archive of an older version, and write an archive of the present format.

    An archive of the present format is written anew: with other things round it, its sections in order, each once. Its
    blocks stay as they are, and its signatures with them, unless --rechunk cuts it anew.

    OLD is recognised by what is in it, may be compressed or encrypted, and is never changed; "-" is stdin. Nothing is
    written before all of it was read and found good. A report says what was kept, changed and dropped, and which issues
    a person may want to decide.
    """
    source, options = binary_input(given["old"]), options_of(session, given)
    if given["issues"] == STREAM:
        raise UsageError("--issues is -, expected the name of a file", hint="--analyze --json has the issues on stdout")
    analyze = given["analyze"]
    out = None if analyze else binary_output(session, given["output"])
    require_stdout(session)
    result = run(session, lambda progress: _converted(source, out, options, given, progress))
    if not analyze:
        return conclude(session, "the conversion", result.as_dict(), lambda: _tell(session, result, out))
    if session.json:
        document(result.as_dict())
    else:
        _tell(session, result, None)
    return ExitCode.DONE


async def _converted(
    source: Path | None, out: Path | None, options: ConvertOptions, given: ConvertArguments, progress: ProgressCallback
) -> ConversionResult | ReframeResult:
    """The conversion or its analysis, with the issues in their file: opened before, named when whole."""
    from pattern_stream.pipelines.converting import analyze_source, convert_archive
    from pattern_stream.transport.files import open_output

    async with AsyncExitStack() as resources:
        issues = None
        if given["issues"] is not None:
            issues = await resources.enter_async_context(open_output(given["issues"], force=given["force"]))
        result: ConversionResult | ReframeResult
        if given["analyze"]:
            result = await analyze_source(source, options=options, progress=progress)
        else:
            result = await convert_archive(source, out, options=options, progress=progress)
        if issues is not None and "issues" not in result.as_dict():
            raise UsageError("--issues was given for an archive of the present format, which has none")
        if issues is not None:
            found = result.as_dict()
            text = json_text({"source": found["source"], "issues": found["issues"]}, indent=True)
            await issues.write(f"{text}\n".encode())
        return result


def options_of(session: Session, given: ConvertArguments) -> ConvertOptions:
    """The pipeline's options. Raises UsageError where they do not fit together."""
    import os

    from pattern_stream.pipelines.converting import ConvertOptions
    from pattern_stream.schema.model.scopes import Limits

    if given["analyze"] and given["fail_on"] is not None:
        raise UsageError("--analyze and --fail-on were both given, expected one of them: an analysis writes nothing")
    passphrase = Passphrase()
    return ConvertOptions(
        archival=given["archival_as"],
        fail_on=given["fail_on"],
        rescue=given["rescue"],
        force=given["force"],
        newest_version=int(given["newest_version"]),
        wrapping=wrapping(session, given["output"], passphrase),
        unwrapping=unwrapping(session, passphrase),
        spool_dir=given["spool_dir"],
        max_document_bytes=given["max_document_bytes"],
        now=fixed_date(os.environ.get("SOURCE_DATE_EPOCH")),
        rechunk=Limits() if given["rechunk"] else None,
    )


def _tell(session: Session, result: ConversionResult | ReframeResult, out: Path | None) -> None:
    """The report as tables, then one closing line."""
    from pattern_stream.pipelines.reframing import ReframeResult

    print_findings(session, result.findings)
    if isinstance(result, ReframeResult):
        _tell_reframed(session, result, out)
        return
    for line in report(result.report.as_dict(), most_issues=None if session.verbose else ISSUES_SHOWN):
        say(session, line)
    size = f"{human_bytes(result.bytes)}, {result.sections:,} sections"
    target = "nothing written" if not result.written else "stdout" if out is None else path_text(out)
    say(
        session,
        f"{plain(result.source.noun)} -> {target}: {size}; {held(result.stats) or 'nothing'}; {result.seconds:.1f} s",
    )


def _tell_reframed(session: Session, result: ReframeResult, out: Path | None) -> None:
    """What became of signatures, then one closing line."""
    if result.signatures_gone:
        say(session, f"signatures that stay behind, as the root is another one: {result.signatures_gone}")
    root = f"root {result.root}" + ("" if result.root == result.source_root else f", was {result.source_root}")
    size = f"{human_bytes(result.bytes)}, {result.sections:,} sections"
    target = "stdout" if out is None else path_text(out)
    say(session, f"archive of version {result.version} -> {target}: {size}; {root}; {result.seconds:.1f} s")


def report(found: Mapping[str, Any], *, most_issues: int | None = None) -> Iterator[str]:
    """The lines that a person reads. `found` is the JSON form, all of it from the source and not to be trusted."""
    yield f"kept: {counted(found['kept']) or 'nothing'}"
    for title in ("changed", "dropped"):
        if found[title]:
            yield f"{title}:"
            rows = [
                (deviation["count"], deviation["kind"], deviation["why"], _example(deviation))
                for deviation in found[title]
            ]
            yield from table(("count", "kind", "why", "for example"), rows)
    if found["issues"]:
        counts = {f"{each['code']} ({each['severity']})": each["count"] for each in found["issue_counts"]}
        yield f"issues: {counted(counts)}"
        for issue in found["issues"][:most_issues]:
            entity = f"{issue['entity']['kind']} {issue['entity']['id']}"
            yield plain(f"  {issue['severity']}: {issue['code']}, {entity}: {issue['found']}; {issue['done']}")
        if most_issues is not None and len(found["issues"]) > most_issues:
            yield f"  and {len(found['issues']) - most_issues:,} more; -v shows all, --issues FILE writes them"


def _example(deviation: Mapping[str, Any]) -> str:
    first = deviation["examples"][0] if deviation["examples"] else {}
    found, now = (shortened(str(first[key]), 30) if key in first else "" for key in ("found", "now"))
    arrow = f"{found} -> {now}" if found and now else found or now
    return ": ".join(part for part in (shortened(str(first.get("id", "")), 40), arrow) if part)
