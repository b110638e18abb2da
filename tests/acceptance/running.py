"""The real command in a process of its own, and the fixtures it runs on."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tests import forked
from tests.acceptance.car import Archive, parse, parse_ours
from tests.acceptance.flat import Flat, flatten
from tests.acceptance.oracle import DEFAULT, Database, Expected, Options

EPOCH = 1_772_000_000
EPOCH_TEXT = "2026-02-25T06:13:20Z"
SECONDS = 120


@dataclass
class Export:
    """One finished run of the command."""

    code: int
    stdout: bytes
    stderr: str
    path: Path

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What `--json` says."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    @cached_property
    def archive(self) -> Archive:
        return parse_ours(self.path.read_bytes())

    @cached_property
    def flat(self) -> Flat:
        return flatten(self.archive)


def command(*arguments: str | Path) -> list[str]:
    """The command line of a run."""
    return [sys.executable, "-m", "pattern_stream", *map(str, arguments)]


def environment() -> dict[str, str]:
    """The environment of a run: `exported_at` is fixed."""
    return {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}


def export(database: Path, out: Path, *arguments: str) -> Export:
    """Run `export --json` into a file, which must not exist yet."""
    code, stdout, stderr = _run(["export", "--db", str(database), "-o", str(out), "--json", *arguments])
    return Export(code, stdout, stderr, out)


def run_all(lines: Mapping[str, list[str]]) -> dict[str, tuple[int, bytes, str]]:
    """(exit code, stdout, stderr) of many command lines, one for each processor at a time."""
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        return dict(zip(lines, pool.map(_run, lines.values()), strict=True))


def _run(line: list[str]) -> tuple[int, bytes, str]:
    """(exit code, stdout, stderr) of one command line, in a process of its own."""
    with TemporaryFile() as out, TemporaryFile() as err, open(os.devnull, "rb") as nothing:
        streams = (nothing.fileno(), out.fileno(), err.fileno())
        code = forked.run(line, streams, folder=Path.cwd(), environment=environment(), seconds=SECONDS)
        assert code is not None, f"{line} took longer than {SECONDS} s"
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read().decode()


def export_all(database: Path, folder: Path, runs: Mapping[str, Iterable[str]]) -> dict[str, Export]:
    """Several exports of one database, into a folder."""
    made = {name: Path(folder / f"{name}.car") for name in runs}
    lines = {
        name: ["export", "--db", str(database), "-o", str(made[name]), "--json", *line] for name, line in runs.items()
    }
    done = run_all(lines)
    return {name: Export(code, out, err, made[name]) for name, (code, out, err) in done.items()}


@dataclass(frozen=True)
class Case:
    """One scope of a fixture: the arguments for ours, and the options for the oracle."""

    scope: str
    index: int = 0
    arguments: tuple[str, ...] = ()
    options: Options = DEFAULT

    def row_id(self, database: Database) -> str:
        """The id of the agent or group, which the fixtures count by name."""
        table = "agents" if self.scope == "agent" else "agent_groups"
        return str(sorted(database.rows(table), key=lambda row: row["name"].encode())[self.index]["id"])

    def line(self, database: Database) -> tuple[str, ...]:
        if self.scope == "constellation":
            return ("--scope", "constellation", *self.arguments)
        thin = ("--thin",) if self.scope == "thin" else ()
        return ("--scope", self.scope.replace("thin", "group"), *thin, *self.arguments, "--", self.row_id(database))

    def expected(self, database: Database, *, real_program: bool = False) -> Flat:
        build = Expected(database, replace(self.options, real_program=real_program))
        if self.scope == "constellation":
            return build.constellation_scope()
        scopes = {"agent": build.agent_scope, "group": build.group_scope, "thin": build.thin_scope}
        return scopes[self.scope](self.row_id(database))


def cases_of(agents: int, groups: int) -> dict[str, Case]:
    """Every scope of a database, by the name that the real program's archive has in the fixtures."""
    small = ("--max-chunk-bytes", "20000", "--max-messages-per-chunk", "25")
    return {
        "constellation": Case("constellation"),
        "constellation-config": Case(
            "constellation", 0, ("--no-messages", "--no-archival"), Options(messages=False, archival=False)
        ),
        "constellation-small-chunks": Case(
            "constellation", 0, small, Options(chunk_bytes=20_000, chunk_messages=25)
        ),
        **{f"agent-{n}": Case("agent", n) for n in range(agents)},
        **{f"group-{n}": Case("group", n) for n in range(groups)},
        **{f"group-{n}-thin": Case("thin", n) for n in range(groups)},
    }  # fmt: skip


FOLDERS = {
    "family": cases_of(6, 3),
    "quiet": cases_of(2, 1),
    "edges": cases_of(4, 1),
    "numbers": cases_of(4, 1),
    "many": cases_of(4, 3),
    "oversize": {"constellation-config": cases_of(0, 0)["constellation-config"]},
    "schema-3": cases_of(6, 3),
    "schema-6": cases_of(6, 3),
    "schema-10": cases_of(6, 3),
}
"""Folders of the fixtures and the exports of each that must succeed."""


def packed(path: Path) -> bytes | None:
    """A fixture file, gzipped or not; None where there is none."""
    if path.exists():
        return path.read_bytes()
    wrapped = path.with_name(path.name + ".gz")
    return gzip.decompress(wrapped.read_bytes()) if wrapped.exists() else None


class Folder:
    """One folder of the fixtures: its database unpacked, its rows, our exports and the real program's archives."""

    def __init__(self, source: Path, scratch: Path) -> None:
        self.source, self.scratch, self.cases = source, scratch, FOLDERS[source.name]
        self.database = scratch / "constellation.db"
        self.database.write_bytes(packed(source / "constellation.db") or b"")

    @cached_property
    def rows(self) -> Database:
        return Database(self.database)

    @cached_property
    def exports(self) -> dict[str, Export]:
        return export_all(
            self.database, self.scratch, {name: case.line(self.rows) for name, case in self.cases.items()}
        )

    def real(self, name: str) -> Flat | None:
        """The real program's own archive, if it could make one."""
        raw = packed(self.source / f"{name}.car")
        return flatten(parse(raw)) if raw is not None else None

    @cached_property
    def view(self) -> dict[str, dict[str, Any]]:
        """What the real program says of each memory block, by id; empty where it could not read the database."""
        lines = (packed(self.source / "view.jsonl") or b"").decode().split("\n")
        found = [json.loads(line) for line in lines if line.startswith('{"k":"block"')]
        return {item["v"]["id"]: item["v"] for item in found}
