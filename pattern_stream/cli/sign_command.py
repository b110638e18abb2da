"""`pattern-stream sign`: a signature over the root of an archive, beside it or in it."""

from __future__ import annotations

from pathlib import Path

import click

from pattern_stream.cli.options import PATH, examples, json_output, presets, talking
from pattern_stream.cli.output import conclude, path_text, require_stdout, say
from pattern_stream.cli.places import STREAM, binary_input, binary_output
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
from pattern_stream.errors import UsageError


@click.command(
    short_help="Sign an archive with an SSH key.",
    epilog=examples(
        "pattern-stream sign out.car.zst --key ~/.ssh/id_ed25519",
        "pattern-stream sign out.car --key id_ed25519 --embed -o signed.car",
        "pattern-stream verify out.car.zst --signed-by allowed_signers --signature out.car.zst.sig",
    ),
)
@click.argument("file", type=PATH)
@click.option(
    "--key", type=PATH, required=True, metavar="FILE", help="An SSH key; a public one signs through its agent."
)
@click.option("--embed", is_flag=True, help="Write the archive with the signature in it, not the signature alone.")
@click.option("-o", "--output", type=PATH, metavar="FILE", help="Where to.  [default: FILE.sig beside the archive]")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@wrapping_options
@opening_options
@json_output("Summary as JSON: on stdout if the output is a file, else on stderr.")
@presets
@talking
@click.pass_obj
def sign(session: Session, file: Path, key: Path, embed: bool, output: Path | None, force: bool) -> int:
    """Read the archive FILE whole, and sign its root where all of it is sound.

    The root names every block, so the signature holds whatever lies round the archive and in which order its sections
    stand. It is one of OpenSSH, in namespace pattern-stream, which `ssh-keygen -Y verify` checks too.
    """
    source, passphrase = binary_input(file), Passphrase()
    if output is None and (embed or source is None):
        raise UsageError("an output is wanted here, expected -o FILE, or -o - for stdout")
    place = output if output is not None else file.with_name(f"{file.name}.sig")
    if embed or place == STREAM:
        out = binary_output(session, place) if embed else None
        session.archive_on_stdout = place == STREAM
    else:
        out = place
    require_stdout(session)
    around = wrapping(session, place, passphrase) if embed else None
    keys, make = unwrapping(session, passphrase), signing_key(key, Passphrase())
    from pattern_stream.pipelines.signing import sign_archive
    from pattern_stream.transport.wrapping import Wrapping

    result = run(
        session,
        lambda progress: sign_archive(
            source,
            out,
            make,
            embed=embed,
            force=force,
            wrapping=around or Wrapping(),
            unwrapping=keys,
            progress=progress,
        ),
    )
    target = "stdout" if out is None else path_text(out)
    summary = f"root {result.root} signed with key {result.key} -> {target}"
    return conclude(session, "the signature", result.as_dict(), lambda: say(session, summary))
