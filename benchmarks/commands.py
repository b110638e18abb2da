"""Whole programs as contenders: pipelines of them, from the first start to the last end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.corpus import scratch

Command = Sequence[str | Path]

NOWHERE = Path(os.devnull)
PROGRAM = (sys.executable, "-m", "pattern_stream")


def pipeline(
    *commands: Command, source: Path | None = None, out: Path | None = None, folder: Path | None = None
) -> None:
    """Run commands in a folder, each reading what the one before writes; the ends are files or nothing.

    Raises SystemExit where one of them fails.
    """
    with ExitStack() as stack:
        stdin = stack.enter_context((source or NOWHERE).open("rb"))
        stdout = stack.enter_context((out or NOWHERE).open("wb"))
        processes: list[subprocess.Popen[bytes]] = []
        for number, command in enumerate(commands):
            upstream = processes[-1].stdout if processes else stdin
            last = number == len(commands) - 1
            out_of = stdout if last else subprocess.PIPE
            processes.append(subprocess.Popen(command, stdin=upstream, stdout=out_of, cwd=folder))
            if upstream is not None:
                upstream.close()  # only the reader keeps it, so that a pipe that breaks is noticed
        codes = [process.wait() for process in processes]
    if any(codes):
        raise SystemExit(f"error: {' | '.join(str(command[0]) for command in commands)} ended with {codes}")


def exporting(database: Path, *options: str | Path) -> Command:
    """`pattern-stream export` of a database."""
    return [*PROGRAM, "export", "-q", "--db", database, *options]


def importing(source: str | Path, database: Path) -> Command:
    """`pattern-stream import` into a database; says on stdout what it did."""
    return [*PROGRAM, "import", "-q", "--json", "--db", database, source]


def peer(what: str, *arguments: Path) -> Command:
    """A plain program beside ours: a function of `peers`."""
    return [sys.executable, "-m", "benchmarks.peers", what, *arguments]


def told(command: Command) -> Any:
    """Run a command alone, and read the JSON that it says."""
    said = scratch("said.json")
    pipeline(command, out=said)
    return json.loads(said.read_bytes())


def needs(program: str) -> Callable[[], str | None]:
    """Why a program of the machine cannot be run, as a contender's `missing`."""
    return lambda: None if shutil.which(program) else f"{program} is not on this machine"
