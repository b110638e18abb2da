"""Turns, runs in processes of their own, and what they come to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import harness
from benchmarks.contender import Contender
from benchmarks.corpus import DEMO, Corpus
from benchmarks.harness import Run, Task, figure_of, interleaved, run_child, tasks_of
from benchmarks.watching import Watcher, descendants, memory_mb

SMALL = Corpus(DEMO, 20)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory of other processes is looked up in /proc")


@pytest.mark.parametrize(("rounds", "expected"), [(5, [1, 2, 3, 4, 5]), (3, [2, 4, 5]), (1, [5]), (0, [])])
def test_fewer_rounds_are_spread(rounds: int, expected: list[int]) -> None:
    """A task takes part in as many rounds as it should, not only in the first ones."""
    task = Task("lines", "one", SMALL, rounds)

    assert expected == [number for number in range(1, 6) if task.takes_part(number, 5)]


def test_contenders_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Round after round, not one contender after the other; the warm-up counts for nothing."""
    order: list[str] = []

    def fake(task: Task) -> list[Run]:
        order.append(task.name)
        return [Run(task.name, float(len(order)))]

    monkeypatch.setattr(harness, "run_child", fake)
    figures = interleaved([Task("lines", "often", SMALL, 2), Task("lines", "seldom", SMALL, 1)], warm_up=True)

    assert ["often", "seldom", "often", "often", "seldom"] == order
    assert [("often", 2, 3.5, 3.0, 4.0), ("seldom", 1, 5.0, 5.0, 5.0)] == [
        (each.name, each.runs, each.seconds, each.least_seconds, each.most_seconds) for each in figures
    ]


def test_a_figure_has_medians_and_the_worst_peak() -> None:
    """One run that was disturbed does not move the time; one that took more memory counts."""
    runs = [Run("a", 1.0, 0.5, 10.0, 20.0, {"rows": 4.0}), Run("a", 9.0, 0.7, 11.0, 19.0, {"rows": 6.0}), Run("a", 2.0)]
    figure = figure_of(SMALL, [*runs[:2], Run("a", 2.0, 0.6, 9.0, 18.0, {"rows": 5.0})])

    assert (2.0, 1.0, 9.0) == (figure.seconds, figure.least_seconds, figure.most_seconds)
    assert (0.6, 11.0, 20.0, {"rows": 5.0}) == (figure.cpu_seconds, figure.peak_mb, figure.together_mb, figure.counts)


def test_who_cannot_run_is_named_with_the_reason() -> None:
    """It gets no task; who hangs on a target gets all rounds, others half."""
    works = [
        Contender("there", "", lambda _: dict, often=True),
        Contender("seldom", "", lambda _: dict),
        Contender("gone", "", lambda _: dict, missing=lambda: "not here"),
    ]
    tasks, skipped = tasks_of("lines", works, SMALL, 5)

    assert [("there", 5), ("seldom", 3)] == [(task.name, task.rounds) for task in tasks]
    assert {"gone": "not here"} == skipped


def test_a_run_has_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real contender in a real child: its time, its memory. One that does not exist ends the whole."""
    monkeypatch.setenv("PATTERN_STREAM_BENCH", str(tmp_path))
    SMALL.database()
    (run,) = run_child(Task("lines", "select", SMALL, 1))

    assert "select" == run.name
    assert run.seconds > 0
    assert 5 < run.peak_mb < 500
    with pytest.raises(SystemExit, match="none with 20 messages of demo ended with 1"):
        run_child(Task("lines", "none", SMALL, 1))


@LINUX
def test_memory_is_seen_from_outside() -> None:
    """A process with a child that holds 64 MB: the child is found, and what both have is counted together."""
    grandchild = "import sys; kept = bytearray(64_000_000); print(flush=True); sys.stdin.read()"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    command = [sys.executable, "-c", child]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        watcher = Watcher(process.pid)
        watcher.look()
        (found,) = descendants(process.pid)
        outer = Watcher(os.getpid())
        outer.look()
        process.communicate()

    assert found != process.pid
    assert 64 < watcher.largest_mb < 120
    assert outer.together_mb > watcher.together_mb + 3
    assert (0.0, 0.0) == memory_mb(process.pid)
