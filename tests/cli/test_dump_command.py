"""`dump`: JSON Lines on stdout, findings on stderr."""

from __future__ import annotations

import json
from pathlib import Path

from tests.archives import agent_archive
from tests.cli.conftest import Cli


def test_messages_alone(cli: Cli, tmp_path: Path) -> None:
    """One object a line, only of the sort that was asked for."""
    path = tmp_path / "a.car"
    path.write_bytes(agent_archive().to_bytes())

    outcome = cli("dump", path, "messages", "-q")

    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert (0, "") == (outcome.code, outcome.err)
    assert [("message", "a1-m4"), ("message", "a1-m3"), ("message", "a1-m2")] == [
        (record["kind"], record["id"]) for record in records
    ]


def test_everything_of_an_export(cli: Cli, small: Path, tmp_path: Path) -> None:
    """All kinds come, and memory blocks show the text of their documents."""
    path = tmp_path / "out.car"
    assert cli("export", "--db", small, "-o", path, "-q").code == 0

    outcome = cli("dump", path, "-q")

    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert outcome.code == 0
    assert {"manifest", "agent", "memory_block", "message", "group"} <= {record["kind"] for record in records}
    assert any(record.get("text") for record in records if record["kind"] == "memory_block")


def test_damage_ends_it(cli: Cli, tmp_path: Path) -> None:
    """Exit 4, with what came before on stdout."""
    path = tmp_path / "a.car"
    raw = agent_archive().to_bytes()
    path.write_bytes(raw[:-3] + b"???")

    outcome = cli("dump", path, "-q")

    assert outcome.code == 4
    assert b'"kind":"manifest"' in outcome.out
