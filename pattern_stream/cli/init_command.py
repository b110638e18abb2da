"""`pattern-stream init`: an empty constellation database."""

from __future__ import annotations

from pathlib import Path

import click

from pattern_stream.cli.options import database, examples, json_output, talking
from pattern_stream.cli.output import conclude, path_text, require_stdout, say
from pattern_stream.cli.places import database_to_fill
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
def init(session: Session, db: Path | None) -> int:
    """Make an empty constellation database with the full schema, one that Pattern opens. An existing file: exit 7."""
    require_stdout(session)
    from pattern_stream.pipelines.creating import create_database

    with database_to_fill(session, db) as path:
        made = run(session, lambda progress: create_database(path))
    summary = {"db": made, "created": True}
    return conclude(session, "the database", summary, lambda: say(session, f"made {path_text(made)}, empty"))
