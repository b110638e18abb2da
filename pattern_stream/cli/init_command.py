"""`pattern-stream init`: an empty constellation database."""

from __future__ import annotations

from pathlib import Path

import click

from pattern_stream.cli.options import database, examples, json_output, talking
from pattern_stream.cli.output import document, path_text, say
from pattern_stream.cli.places import chosen_database
from pattern_stream.cli.running import run
from pattern_stream.cli.session import Session


@click.command(
    short_help="Make an empty database that Pattern opens.",
    epilog=examples("pattern-stream init --db constellation.db"),
)
@database("The file to make.  [default: $PATTERN_DB, else where Pattern keeps it]")
@json_output("What was made, as JSON on stdout.")
@talking
@click.pass_obj
def init(session: Session, db: Path | None) -> None:
    """Make an empty constellation database with the full schema, one that Pattern opens. An existing file: exit 7."""
    path = chosen_database(session, db, must_exist=False)
    from pattern_stream.pipelines.creating import create_database

    made = run(session, lambda progress: create_database(path))
    if session.json:
        document({"db": made, "created": True})
    else:
        say(session, f"made {path_text(made)}, empty")
