"""How things are measured here: contenders take turns, each run in a process of its own, ratios come from one session.

A machine's speed drifts, so absolute times mean little; a ratio of medians from interleaved runs does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Run:
    """One run: seconds of the work (imports apart), processor seconds in it, peak RSS of its process in MB."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Figure:
    """What a contender came to: medians, the spread of its seconds, and the worst peak."""

    name: str
    seconds: float
    least_seconds: float
    most_seconds: float
    cpu_seconds: float
    peak_mb: float


def timed(work: Callable[[], object]) -> None:
    """In a child: do the work, print a `Run` as JSON."""
    started, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, used = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps(asdict(Run(seconds, used, peak_mb()))))


def peak_mb() -> float:
    """Peak RSS of this process in MB. Trap: Linux's ru_maxrss starts from what the parent had, VmHWM does not."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8"))):
        return int(found[1]) / 1_000
    unit = 1_000_000 if sys.platform == "darwin" else 1_000  # bytes there, kB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def interleaved(module: str, names: Sequence[str], arguments: Sequence[str], rounds: int) -> dict[str, Figure]:
    """Run `python -m MODULE --child NAME ARGUMENTS` for each name in turn, `rounds` times after one warm-up round."""
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names:
            run = _child(module, name, arguments)
            if number > 0:
                runs[name].append(run)
        print(f"  round {number} of {rounds}" + (" (warm-up)" if number == 0 else ""), file=sys.stderr)
    return {name: _figure(name, found) for name, found in runs.items()}


def _child(module: str, name: str, arguments: Sequence[str]) -> Run:
    command = [sys.executable, "-m", module, "--child", name, *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def _figure(name: str, runs: Sequence[Run]) -> Figure:
    seconds = [run.seconds for run in runs]
    return Figure(
        name,
        statistics.median(seconds),
        min(seconds),
        max(seconds),
        statistics.median(run.cpu_seconds for run in runs),
        max(run.peak_mb for run in runs),
    )


def arguments(usage: str | None) -> argparse.Namespace:
    """What every benchmark can be told, and what it tells its children."""
    options = argparse.ArgumentParser(description=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--messages", type=int, default=200_000)
    options.add_argument("--large", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--readme", action="store_true", help="put the table into README.md")
    options.add_argument("--child", help=argparse.SUPPRESS)
    options.add_argument("path", nargs="?", type=Path, help=argparse.SUPPRESS)
    return options.parse_args()


def machine() -> str:
    """The machine in a few words."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.*)", cpuinfo.read_text(encoding="utf-8"))):
        model = found[1].strip()
    return f"{os.cpu_count()} x {model}, {platform.system()}, Python {platform.python_version()}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def into_readme(mark: str, text: str) -> None:
    """Replace what stands between `<!-- MARK -->` and `<!-- /MARK -->` in the README."""
    path = ROOT / "README.md"
    whole = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    if not pattern.search(whole):
        raise SystemExit(f"README.md has no place marked {mark}")
    path.write_text(pattern.sub(lambda m: f"{m[1]}{text}\n{m[2]}", whole), encoding="utf-8")


def save(name: str, figures: dict[str, Any]) -> Path:
    """Keep a result as JSON beside the benchmarks."""
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return path
