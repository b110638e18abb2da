"""What fuzzing found worth keeping runs through every target again; where atheris is there, it looks on for a while."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.edits import edited_archive
from tests.fuzz.targets import TARGETS, Broken, archive, dagcbor
from tests.hostile.case import sound_bytes

CORPUS = Path(__file__).with_name("corpus")
ROOT = Path(__file__).resolve().parents[2]
RUNS = 1500
"""Inputs that a short run tries beyond the kept ones: seconds, also on a slow machine."""


@pytest.mark.parametrize("target", TARGETS)
def test_kept_corpus(target: str) -> None:
    """Every file of every target's corpus, through this target."""
    files = sorted(path for folder in CORPUS.iterdir() for path in folder.iterdir())
    for path in files:
        try:
            TARGETS[target](path.read_bytes())
        except Exception as error:
            error.add_note(f"in {path.relative_to(ROOT)}")
            raise

    assert [] == [path for path in files if path.stat().st_size > 5000]
    assert 20 <= len(files) <= 100
    assert sorted(TARGETS) == sorted(folder.name for folder in CORPUS.iterdir())


def test_targets_tell_what_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that loses something is found out: the targets can fail."""
    monkeypatch.setattr("tests.fuzz.targets.decode", lambda data, **_: [])

    with pytest.raises(Broken):
        dagcbor(b"\x82\x01\x02")


def test_errors_of_others_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no error of ours comes through as it is: a crash."""

    def failing(raw: bytes) -> None:
        raise KeyError("agent")

    monkeypatch.setattr("tests.fuzz.targets._rows", failing)

    with pytest.raises(KeyError):
        archive(b"\x00")


def test_edits_are_what_their_bytes_say() -> None:
    """The same bytes give the same archive, whatever was made before; no bytes but the first leave it as it is."""
    chosen = bytes(range(0, 250, 7))
    first = edited_archive(chosen)
    for number in range(4):
        archive(bytes([number]))
        edited_archive(bytes([number, *chosen]))

    assert first == edited_archive(chosen)
    assert edited_archive(b"\x00") == edited_archive(b"")
    assert edited_archive(b"\x00") != first != sound_bytes()


@pytest.mark.parametrize("target", TARGETS)
def test_short_run(target: str, tmp_path: Path) -> None:
    """A bounded run, guided by coverage, finds nothing. `make fuzz` runs for as long as one likes."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: it has wheels for Linux on x86-64 and Python 3.11 to 3.13")
    line = [sys.executable, "-m", "tests.fuzz", target, f"-runs={RUNS}", "-seed=1", "-max_total_time=20"]
    done = subprocess.run(
        [*line, f"-artifact_prefix={tmp_path}/"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        errors="replace",
    )

    assert 0 == done.returncode, done.stderr[-3000:]
    assert [] == list(tmp_path.iterdir())
    assert "Done" in done.stderr
