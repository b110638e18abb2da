"""Hostile archives, each wrong in one way, given to the real command: it names the fault and stays small and quick.

Each case runs with one of the four commands that read archives, in turn; all of them with all four, and the large ones,
run with `make hostile`, which prints what each took.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.case import COMMANDS, Case
from tests.hostile.corpus import CORPUS
from tests.hostile.running import Base, base_of, faults_of, run, write

CASES = [(case, COMMANDS[number % len(COMMANDS)]) for number, case in enumerate(c for c in CORPUS if not c.large)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """What a small sound archive takes."""
    return base_of(COMMANDS, tmp_path_factory.mktemp("hostile") / "base")


@pytest.mark.parametrize(("case", "command"), [pytest.param(*pair, id=f"{pair[0].name}-{pair[1]}") for pair in CASES])
def test_hostile_archive(case: Case, command: str, base: Base, tmp_path: Path) -> None:
    """The right exit code, a message that names the fault, at most 64 MB more than usual, nothing left behind."""
    archive = write(case, tmp_path)
    found = run(command, archive, tmp_path / "run", timeout=base.timeout)
    archive.unlink()

    assert [] == faults_of(case, command, found, base)


def test_names_say_what_is_wrong_once() -> None:
    """No two cases have one name, so that the corpus can be read as a list of faults."""
    names = [case.name for case in CORPUS]

    assert sorted(set(names)) == sorted(names)
    assert len(names) > 100
