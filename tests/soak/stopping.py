"""Commands that are stopped for longer than they would wait for a document, and go on: Ctrl-Z and fg, docker pause."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

STOPPED_SECONDS: Final = 65.0
"""Longer than a worker may take to start, or to answer."""

LINES: Final = (
    "export --db d.db -o {}.car", "import a.car --db {}.db", "verify a.car", "dump a.car", "inspect a.car",
    "demo --db {}.db --messages 50",
)  # fmt: skip
MOMENTS: Final = (0.1, 0.3, 0.6, 1.0)
PATIENCE_SECONDS: Final = 120.0


def stop_commands(folder: Path, *, seconds: float = STOPPED_SECONDS, moments: Sequence[float] = MOMENTS) -> list[str]:
    """Stop each command at several moments, all of them together, and let them go on; those that fail."""
    for line in ("demo --db d.db", "export --db d.db -o a.car"):
        _start(folder, line).communicate()
    jobs: list[tuple[str, subprocess.Popen[bytes]]] = []
    for line in LINES:
        for moment in moments:
            job = _start(folder, line.format(len(jobs)))
            time.sleep(moment)
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGSTOP)
            jobs.append((f"{line} stopped after {moment} s", job))
    time.sleep(seconds)
    wrong = []
    for what, job in jobs:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGCONT)
        _, told = job.communicate(timeout=PATIENCE_SECONDS)
        if job.returncode:
            wrong.append(f"{what}: exit {job.returncode}: {told.decode(errors='replace')}")
    return wrong


def _start(folder: Path, line: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pattern_stream", *line.split(), "-q"]
    return subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
