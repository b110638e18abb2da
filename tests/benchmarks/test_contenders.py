"""Every contender and every stage does its work, at a size that takes no time."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import corpus, lines, stages
from benchmarks.commands import pipeline
from benchmarks.corpus import DEMO, REAL, Corpus
from benchmarks.import_lines import OtherWriter
from benchmarks.lines import named

MESSAGES = 60
CORPUS = Corpus(DEMO, MESSAGES)
ALIKE = frozenset(("export-zstd", "zstd-alone", "portable-file", "import-portable"))
"""Lines that differ from others here by a name only; each costs a second."""


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Small corpora in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATTERN_STREAM_BENCH", str(tmp_path_factory.mktemp("bench")))
        patch.setattr(corpus, "LIVING_MESSAGES", MESSAGES)
        patch.setattr(stages, "REPEATED_SECONDS", 0.0)
        lines.make_corpora(CORPUS)
        CORPUS.gzipped()
        CORPUS.shuffled()
        patch.setenv("PATTERN_STREAM_BENCH_TRUST", "1")  # as a child does
        yield


@pytest.mark.parametrize("name", [each.name for each in (*lines.CONTENDERS, *lines.STARTS) if each.name not in ALIKE])
def test_a_line_runs(name: str) -> None:
    """It ends well, takes time and memory, and a peer that cannot run says why."""
    if (reason := named(name).missing()) is not None:
        pytest.skip(reason)
    (run,) = lines.child(name, CORPUS)

    assert name == run.name
    assert run.seconds > 0
    assert run.peak_mb > 1


@pytest.mark.parametrize("name", [stage.name for stage in stages.STAGES])
def test_a_stage_runs_alone(name: str) -> None:
    """The stage and its floor, if it has one, each take time."""
    (stage,) = (each for each in stages.STAGES if each.name == name)
    runs = stages.child(name, CORPUS)

    assert [name, *([f"{name}-floor"] if stage.floor else [])] == [run.name for run in runs]
    assert all(run.seconds > 0 for run in runs)


def _rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        found: tuple[int] = connection.execute("SELECT count(*) FROM messages").fetchone()
    return found[0]


def test_peers_and_lines_do_the_same_work() -> None:
    """What `INSERT SELECT` and an import bring in is equal; into a living database it comes beside what was there."""
    counts = {}
    for name in ("insert", "import-missing", "import-shuffled", "insert-living", "import-living"):
        lines.child(name, CORPUS)
        counts[name] = _rows(corpus.folder() / "target.db")
    there = _rows(corpus.living())

    assert counts["insert"] > 0
    assert there > 0
    assert {name: counts["insert"] + (there if name.endswith("living") else 0) for name in counts} == counts


def test_a_command_that_fails_ends_the_run() -> None:
    """A pipe is as good as its worst member."""
    with pytest.raises(SystemExit, match=r"false \| cat ended with \[1, 0\]"):
        pipeline(["false"], ["cat"])


def test_who_is_blocked_knows_for_how_long(tmp_path: Path) -> None:
    """The other writer counts the longest time in which somebody else had the database, and has it open meanwhile."""
    made = tmp_path / "held.db"
    shutil.copyfile(corpus.living(), made)
    other = OtherWriter(made)
    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE agents SET name = name")
        time.sleep(0.3)
        connection.execute("COMMIT")
        connection.close()
        held = made.with_name("held.db-wal").exists()
    time.sleep(0.1)
    blocked = other.end()

    assert held
    assert 0.3 <= blocked < 5


def test_databases_of_the_real_program_are_repeated(tmp_path: Path) -> None:
    """To the size that was asked for, every id and position once; or there is a reason why not."""
    if (reason := corpus.why_no_fixtures()) is not None:
        pytest.skip(reason)
    path = Corpus(REAL, 3_000).database()
    with closing(sqlite3.connect(path)) as connection:
        counts = connection.execute("SELECT count(*), count(DISTINCT id), count(DISTINCT position) FROM messages")
        found = counts.fetchone()
        (kinds,) = connection.execute("SELECT count(DISTINCT content_json) FROM messages").fetchone()
        (entries,) = connection.execute("SELECT count(*) FROM archival_entries").fetchone()
        dangling = connection.execute("PRAGMA foreign_key_check").fetchall()

    assert (3_000, 3_000, 3_000) == found
    assert kinds > 1_500
    assert entries > 120
    assert [] == dangling


def test_without_the_real_program_its_corpus_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a reason; the rest is measured."""
    monkeypatch.setattr(corpus, "SHARED", tmp_path)
    tasks, skipped = lines.planned("lines", MESSAGES, 1)

    assert {CORPUS} == {task.corpus for task in tasks}
    assert f"databases of the real program are not in {tmp_path / 'fixtures'}" == skipped[REAL]


def test_every_language_has_the_same_lines() -> None:
    """ASCII first, each with all that a target of scripts names."""
    tasks, _ = lines.planned("scripts", 4 * MESSAGES, 1)

    assert "ascii" == tasks[0].corpus.name
    assert {(name, MESSAGES, line) for name in lines.languages() for line in lines.SCRIPTS} == {
        (task.corpus.name, task.corpus.messages, task.name) for task in tasks
    }
