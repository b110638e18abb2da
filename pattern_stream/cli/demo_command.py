"""`pattern-stream demo`: a lifelike constellation of invented content."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from pattern_stream.cli.options import PATH, examples, json_output, talking
from pattern_stream.cli.output import conclude, path_text, require_stdout, say
from pattern_stream.cli.running import run
from pattern_stream.cli.session import Session

DEFAULT_MESSAGES: Final = 600


@click.command(
    short_help="Make a lifelike database of invented content.",
    epilog=examples("pattern-stream demo --db demo.db --messages 600 --seed 7"),
)
@click.option("--db", type=PATH, metavar="PATH", required=True, envvar="PATTERN_DB", help="The file to make.")
@click.option(
    "--messages", type=click.IntRange(min=0), default=DEFAULT_MESSAGES, show_default=True, help="How many messages."
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same rows.")
@json_output("What was made, as JSON on stdout.")
@talking
@click.pass_obj
def demo(session: Session, db: Path, messages: int, seed: int) -> int:
    """Make a constellation of invented content, with every kind of row and memory document, edits pending."""
    require_stdout(session)
    from pattern_stream.demo.database import make_demo

    run(session, lambda progress: make_demo(db, messages=messages, seed=seed, progress=progress))
    summary = {"db": db, "created": True, "messages": messages, "seed": seed}
    line = f"made {path_text(db)}: {messages:,} messages, seed {seed}"
    return conclude(session, "the database", summary, lambda: say(session, line))
