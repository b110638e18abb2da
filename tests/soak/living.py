"""Exports one after another while another program commits: each archive is one committed state, and a fresh one."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.acceptance.running import command, environment
from tests.soak.runner import CHECKOUT
from tests.soak.states import state_of
from tests.soak.writer import PREFIX

RATE: Final = 500
SECONDS: Final = 120


@dataclass(slots=True)
class Lived:
    """What was seen. `states`: the state of each archive; `transactions`: how many the writer committed."""

    states: list[int] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    export_seconds: list[float] = field(default_factory=list)
    meanwhile: list[int] = field(default_factory=list)
    transactions: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Transactions a second."""
        return self.transactions / self.seconds if self.seconds else 0.0


def live(folder: Path, *, exports: int, messages: int, rate: int = RATE) -> Lived:
    """Export so many times beside a living writer. Raises Torn, AssertionError."""
    database, out, lived = folder / "living.db", folder / "out.car", Lived()
    call("demo", "--db", str(database), "--messages", str(messages), "-q")
    with _writer(database, rate, lived):
        for _ in range(exports):
            before = last_committed(database)
            started = time.monotonic()
            call("export", "--db", str(database), "-o", str(out), "--force", "-q")
            lived.export_seconds.append(time.monotonic() - started)
            after = last_committed(database)
            raw = out.read_bytes()
            state = state_of(raw)
            assert before <= state <= after, f"{before} was committed before, {after} after; the archive is {state}"
            lived.states.append(state)
            lived.bytes.append(len(raw))
            lived.meanwhile.append(after - before)
    return lived


def last_committed(database: Path) -> int:
    """The number of the last transaction, as any reader finds it."""
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        sql = "SELECT json_extract(pattern_config, '$.tick') FROM agent_groups WHERE id = ?"
        return int(connection.execute(sql, (f"{PREFIX}-group",)).fetchone()[0])


def call(*arguments: str) -> None:
    """A command that must succeed."""
    done = subprocess.run(command(*arguments), capture_output=True, env=environment(), timeout=SECONDS, check=False)
    assert done.returncode == 0, f"{arguments[0]}: exit {done.returncode}: {done.stderr.decode()}"


@contextmanager
def _writer(database: Path, rate: int, lived: Lived) -> Iterator[None]:
    line = [sys.executable, "-m", "tests.soak.writer", str(database), str(rate)]
    with subprocess.Popen(
        line, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            ready = process.stdout.readline()
            assert ready == "ready\n", f"the writer does not start: {process.communicate()[1]}"
            yield
        finally:
            said, complaint = process.communicate("stop", timeout=SECONDS)
    assert process.returncode == 0, f"the writer failed: {complaint}"
    told = json.loads(said)
    lived.transactions, lived.seconds = told["transactions"], told["seconds"]
