"""How things are measured here: contenders take turns, each run in a process of its own, ratios come from one session.

A machine's speed drifts, so absolute times mean little; a ratio of medians from interleaved runs does.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contender import Contender, Work
from benchmarks.corpus import DEMO, Corpus
from benchmarks.watching import Watcher

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Run:
    """One run: seconds of the work, processor seconds in it (of processes it waited for too), peak RSS in MB.

    `together_mb`: the most that was resident in all its processes at one moment, 0 where that cannot be seen.
    """

    name: str
    seconds: float
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    together_mb: float = 0.0
    counts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figure:
    """What a contender came to: medians, the spread of its seconds, the worst peaks, medians of what it counted."""

    name: str
    messages: int
    runs: int
    seconds: float
    least_seconds: float
    most_seconds: float
    cpu_seconds: float
    peak_mb: float
    together_mb: float
    counts: Mapping[str, float] = field(default_factory=dict)
    corpus: str = DEMO


@dataclass(frozen=True, slots=True)
class Task:
    """What one child process is to do (see `benchmarks.child`), in so many of the rounds."""

    part: str
    name: str
    corpus: Corpus
    rounds: int

    def takes_part(self, number: int, rounds: int) -> bool:
        """Whether in round `number` of `rounds`, counted from 1: spread evenly over all of them."""
        return number * self.rounds // rounds > (number - 1) * self.rounds // rounds


def interleaved(tasks: Sequence[Task], *, warm_up: bool) -> list[Figure]:
    """Run every task in turn, round after round; `warm_up`: one round before that counts for nothing."""
    rounds = max((task.rounds for task in tasks), default=0)
    runs: dict[tuple[str, Corpus], list[Run]] = {}
    for number in range(0 if warm_up else 1, rounds + 1):
        for task in tasks:
            if number == 0:
                run_child(task)
            elif task.takes_part(number, rounds):
                for run in run_child(task):
                    runs.setdefault((run.name, task.corpus), []).append(run)
        print(f"  round {number} of {rounds}" + (" (warm-up)" if number == 0 else ""), file=sys.stderr)
    return [figure_of(corpus, found) for (_, corpus), found in runs.items()]


def run_child(task: Task) -> list[Run]:
    """Do a task in a process of its own, watched from here. Raises SystemExit where it fails."""
    name, messages = task.corpus.name, str(task.corpus.messages)
    command = [sys.executable, "-m", "benchmarks.child", task.part, task.name, name, messages]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        with Watcher(process.pid) as watcher:
            said = process.communicate()[0]
        if process.returncode:
            raise SystemExit(f"error: {task.name} with {task.corpus} ended with {process.returncode}")
    return [_seen(Run(**one), watcher) for one in json.loads(said.splitlines()[-1])]


def _seen(run: Run, watcher: Watcher) -> Run:
    """The run with what only an onlooker knows."""
    told: dict[str, Any] = asdict(run)
    return Run(**told | {"together_mb": watcher.together_mb, "peak_mb": watcher.largest_mb or run.peak_mb})


def figure_of(corpus: Corpus, runs: Sequence[Run]) -> Figure:
    """Medians and extremes of some runs of one contender."""
    seconds = [run.seconds for run in runs]
    return Figure(
        name=runs[0].name,
        messages=corpus.messages,
        runs=len(runs),
        seconds=statistics.median(seconds),
        least_seconds=min(seconds),
        most_seconds=max(seconds),
        cpu_seconds=statistics.median(run.cpu_seconds for run in runs),
        peak_mb=max(run.peak_mb for run in runs),
        together_mb=max(run.together_mb for run in runs),
        counts={key: statistics.median(run.counts[key] for run in runs) for key in runs[0].counts},
        corpus=corpus.name,
    )


def timed(name: str, work: Work) -> Run:
    """In a child: do the work and say what it took."""
    started, cpu = time.perf_counter(), sum(_cpu_seconds())
    counts = work() or {}
    seconds, used = time.perf_counter() - started, sum(_cpu_seconds()) - cpu
    return Run(name, seconds, used, _children_peak_mb(), 0.0, counts)


def _cpu_seconds() -> Iterator[float]:
    """Of this process and of those it has waited for."""
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        yield used.ru_utime + used.ru_stime


def _children_peak_mb() -> float:
    unit = 1_000_000 if sys.platform == "darwin" else 1_000
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit


def tasks_of(
    part: str, contenders: Sequence[Contender], corpus: Corpus, rounds: int
) -> tuple[list[Task], dict[str, str]]:
    """The tasks of all contenders that can run here, and why the others cannot."""
    skipped = {each.name: reason for each in contenders if (reason := each.missing()) is not None}
    tasks = [
        Task(part, each.name, corpus, rounds if each.often else (rounds + 1) // 2)
        for each in contenders
        if each.name not in skipped
    ]
    return tasks, skipped
