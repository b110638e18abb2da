"""Every contender and every stage does its work, at a size that takes no time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import corpus, lines, stages
from benchmarks.commands import pipeline
from benchmarks.lines import named

MESSAGES = 60
ALIKE = frozenset(("export-half", "import-half", "export-zstd"))
"""Commands that differ from others here by a name only; each costs a second."""


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Small corpora in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATTERN_STREAM_BENCH", str(tmp_path_factory.mktemp("bench")))
        patch.setattr(corpus, "LIVING_MESSAGES", MESSAGES)
        patch.setattr(stages, "REPEATED_SECONDS", 0.0)
        lines.make_corpora(MESSAGES)
        corpus.gzipped(MESSAGES)
        patch.setenv("PATTERN_STREAM_BENCH_TRUST", "1")  # as a child does
        yield


@pytest.mark.parametrize("name", [each.name for each in lines.CONTENDERS if each.name not in ALIKE])
def test_a_line_runs(name: str) -> None:
    """It ends well, takes time and memory, and a peer that cannot run says why."""
    if (reason := named(name).missing()) is not None:
        pytest.skip(reason)
    (run,) = lines.child(name, MESSAGES)

    assert name == run.name
    assert run.seconds > 0
    assert run.peak_mb > 1


@pytest.mark.parametrize("name", [stage.name for stage in stages.STAGES])
def test_a_stage_runs_alone(name: str) -> None:
    """The stage and its floor, if it has one, each take time."""
    (stage,) = (each for each in stages.STAGES if each.name == name)
    runs = stages.child(name, MESSAGES)

    assert [name, *([f"{name}-floor"] if stage.floor else [])] == [run.name for run in runs]
    assert all(run.seconds > 0 for run in runs)


def _rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        found: tuple[int] = connection.execute("SELECT count(*) FROM messages").fetchone()
    return found[0]


def test_peers_and_lines_do_the_same_work() -> None:
    """What `INSERT SELECT` and an import bring in is equal; into a living database it comes beside what was there."""
    counts = {}
    for name in ("insert-select", "import-missing", "import-shuffled", "import-living"):
        lines.child(name, MESSAGES)
        counts[name] = _rows(corpus.folder() / "target.db")
    there = _rows(corpus.living())

    assert counts["insert-select"] > 0
    assert there > 0
    assert {name: counts["insert-select"] + (there if name == "import-living" else 0) for name in counts} == counts


def test_a_command_that_fails_ends_the_run() -> None:
    """A pipe is as good as its worst member."""
    with pytest.raises(SystemExit, match=r"false \| cat ended with \[1, 0\]"):
        pipeline(["false"], ["cat"])


def test_the_living_database_is_held_open(tmp_path: Path) -> None:
    """Another process has it: SQLite keeps its WAL when we let go of it."""
    from benchmarks.import_lines import held_open

    made = tmp_path / "held.db"
    with held_open(made), closing(sqlite3.connect(made)) as connection:
        connection.execute("UPDATE agents SET name = name")
        connection.commit()
        connection.close()
        held = made.with_name("held.db-wal").exists()

    assert held
