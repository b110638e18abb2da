"""`pattern-stream verify`: is an archive whole and sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pattern_stream.cli.options import PATH, document_limit, examples, json_output, presets, talking
from pattern_stream.cli.output import (
    counted,
    detail,
    document,
    human_bytes,
    path_text,
    plain,
    print_findings,
    say,
    styled,
    tell,
)
from pattern_stream.cli.places import binary_input
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
    from pattern_stream.pipelines.verifying import Verification


@click.command(
    short_help="Check that an archive is whole and sound.",
    epilog=examples(
        "pattern-stream verify constellation.car.gz",
        "pattern-stream verify out.car --against constellation.db --json",
    ),
)
@click.argument("file", type=PATH)
@click.option("--no-documents", is_flag=True, help="Do not look into memory documents.")
@click.option(
    "--against",
    type=PATH,
    metavar="DB|FILE",
    help="Compare every record with this database, or this (also old) archive.",
)
@click.option("--both-ways", is_flag=True, help="With --against: rows that only the database has are differences too.")
@signature_options("--signed-by", "Exit code 8 unless one of these keys signed the archive.")
@opening_options
@document_limit
@click.option("--spool-dir", type=PATH, metavar="DIR", help="Where blocks wait that come before they are wanted.")
@json_output("Summary with all findings as one JSON document on stdout.")
@presets
@talking
@click.pass_obj
def verify(
    session: Session,
    file: Path,
    no_documents: bool,
    against: Path | None,
    both_ways: bool,
    max_document_bytes: int,
    spool_dir: Path | None,
    trusted: str | None,
    signer: str | None,
    signature: Path | None,
) -> int:
    """Read all of the archive FILE and list everything that is wrong with it; write nothing.

    FILE may be compressed or encrypted; "-" is stdin. Exit code 0: sound. 4: damaged. 5: of a kind that this release
    does not know. 8: no key opens it, or no signature counts. 10: sound, but some records differ from the database of
    --against.
    """
    if both_ways and against is None:
        raise UsageError("--both-ways was given without --against, which names the database to compare with")
    source, keys = binary_input(file), unwrapping(session)
    wanted = wanted_signature("--signed-by", trusted, signer, signature)
    from pattern_stream.pipelines.verifying import verify_archive

    found = run(
        session,
        lambda progress: verify_archive(
            source,
            documents=not no_documents,
            against=against,
            both_ways=both_ways,
            max_document_bytes=max_document_bytes,
            unwrapping=keys,
            wanted=wanted,
            progress=progress,
            spool_dir=spool_dir,
        ),
    )
    if session.json:
        document(found.as_dict())
    else:
        _tell(session, found)
    return int(found.exit_code)


def _tell(session: Session, found: Verification) -> None:
    """Findings and the comparison, then one closing line."""
    print_findings(session, found.findings)
    tell_signatures(session, found.signatures, found.root)
    from pattern_stream.pipelines.signatures import untrusted

    if found.wanted is not None and (error := untrusted(found.signatures)) is not None:
        tell(session, "error", plain(error.message))
    if (against := found.against) is not None:
        print_findings(session, against.log.findings())
        compared = f"{against.records:,} records compared, {against.count:,} differences"
        say(session, f"against {path_text(against.path)}: {compared}")
        if against.only_in_database:
            only = counted(against.only_in_database)
            say(session, f"only in the database, though within the archive's scope: {only}")
    parts = [human_bytes(found.bytes), f"{found.sections:,} sections"]
    if found.duplicates or found.unreferenced:
        parts.append(f"{found.duplicates:,} repeated, {found.unreferenced:,} that nothing links to")
    if (documents := found.documents).checked:
        parts.append(f"{documents.checked:,} memory documents, {documents.failed:,} of them unreadable")
    verdict = styled("sound", "green") if found.ok else styled("damaged or unknown", "red")
    kind = f"{plain(found.type)} archive of version {found.version}" if found.type else "archive"
    if found.converted is not None:
        kind = f"{plain(found.converted.source.noun)}, which `convert` makes one of today of"
    say(session, f"{kind}: {verdict}; {', '.join(parts)}; {found.seconds:.1f} s")
    detail(session, f"{documents.empty:,} memory documents were never written to")
    detail(session, f"sections {'depth-first' if found.depth_first else 'in another order'}")
