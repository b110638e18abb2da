"""`pattern-stream list`: what a database holds, by the names that export takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click

from pattern_stream.cli.options import database, examples, json_output, talking
from pattern_stream.cli.output import document, show, table
from pattern_stream.cli.places import chosen_database
from pattern_stream.cli.running import run
from pattern_stream.cli.session import Session


@click.command(
    "list",
    short_help="Show what a database holds, by the names that export takes.",
    epilog=examples("pattern-stream list", "pattern-stream list agents --json"),
)
@click.argument("what", type=click.Choice(["agents", "groups", "blocks", "tables"]), required=False)
@json_output("The lists as one JSON document on stdout.")
@database()
@talking
@click.pass_obj
def list_(session: Session, what: Literal["agents", "groups", "blocks", "tables"] | None, db: Path | None) -> None:
    """Show the agents and groups of a database, by the names that export takes, or its memory blocks or tables."""
    path = chosen_database(session, db)
    from pattern_stream.pipelines.listing import list_database

    result = run(session, lambda progress: list_database(path, what))
    if session.json:
        document(result.as_dict())
        return
    kinds = {"agents": result.agents, "groups": result.groups, "blocks": result.blocks, "tables": result.tables}
    for kind, rows in kinds.items():
        if rows is not None:
            _show(kind, rows, titled=what is None)


def _show(kind: str, rows: Sequence[dict[str, Any]], *, titled: bool) -> None:
    if titled:
        show(f"{kind}: {len(rows)}")
    if rows:
        headers: list[str] = [name for name in ("name", "label", "id") if name in rows[0]]
        headers += [name for name in rows[0] if name not in headers]
        for line in table([h.replace("_", " ") for h in headers], [[_cell(row[h]) for h in headers] for row in rows]):
            show(line)
    if titled:
        show("")


def _cell(value: Any) -> object:
    return ", ".join(str(part) for part in value) if isinstance(value, list) else value
