"""Commands that get two signals: milliseconds apart, as service managers do, or from somebody who cannot wait."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

ARCHIVE_MESSAGES: Final = 40_000

LINES: Final = ("export --db ../d.db -o n.car", "import ../a.car --db n.db", "demo --db n.db", "verify ../a.car")
PAIRS: Final = ((signal.SIGTERM, signal.SIGHUP), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGTERM))
GAPS: Final = (0.0, 0.001, 0.005, 1.1)
CODES: Final = {0, 128 + signal.SIGINT, 128 + signal.SIGTERM}
PATIENCE_SECONDS: Final = 60.0


def send_pairs(folder: Path, count: int, *, seed: int, messages: int = ARCHIVE_MESSAGES) -> list[str]:
    """Break commands off by two signals at moments by chance; everything that was not as it should be."""
    _run(folder, f"demo --db d.db -q --messages {messages}").communicate()
    _run(folder, "export --db d.db -o a.car -q").communicate()
    chance = random.Random(seed)
    wrong = []
    for number in range(count):
        place = folder / f"run-{number}"
        place.mkdir()
        line, pair = LINES[number % len(LINES)], chance.choice(PAIRS)
        gap, after = GAPS[number // len(LINES) % len(GAPS)], chance.uniform(0.2, 1.5)
        process = _run(place, line)
        time.sleep(after)
        for each in pair:
            if process.poll() is None:
                process.send_signal(each)
            time.sleep(gap)
        fault = _judged(process, place)
        if fault:
            wrong.append(f"{line}, {pair[0].name} and {pair[1].name} {gap} s apart after {after:.2f} s: {fault}")
    return wrong


def _run(folder: Path, line: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pattern_stream", *line.split(), "--progress", "none"]
    environment = {**os.environ, "HOME": str(folder)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _judged(process: subprocess.Popen[bytes], folder: Path) -> str:
    try:
        _, told = process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "hangs"
    early = -process.returncode in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # before a handler was there
    if process.returncode not in CODES and not early:
        return f"exit {process.returncode}: {told.decode(errors='replace')}"
    left = sorted(path.name for path in folder.iterdir())
    return f"exit {process.returncode}, left behind: {', '.join(left)}" if left and process.returncode else ""
