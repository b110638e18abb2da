"""Hostile archives, each wrong in one way, given to the real command: it names the fault and stays small and quick.

Each case runs with one of the four commands that read archives, in turn; all of them with all four, and the large ones,
run with `make hostile`, which prints what each took.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.hostile.case import COMMANDS, Case
from tests.hostile.corpus import CORPUS
from tests.hostile.running import Base, Outcome, base_of, faults_of, run, write

CASES = [(case, COMMANDS[number % len(COMMANDS)]) for number, case in enumerate(c for c in CORPUS if not c.large)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """What a small sound archive takes."""
    return base_of(COMMANDS, tmp_path_factory.mktemp("hostile") / "base")


@pytest.fixture(scope="module")
def outcomes(
    base: Base, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Outcome]]]:
    """Every case that was asked for, running or run: one child for each processor at a time."""
    folder = tmp_path_factory.mktemp("cases")
    wanted = {item.callspec.params["case"].name for item in request.session.items if hasattr(item, "callspec")
              and "case" in item.callspec.params}  # fmt: skip
    with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:
        yield {
            case.name: pool.submit(_outcome, case, command, folder, base)
            for case, command in CASES
            if case.name in wanted
        }
        pool.shutdown(cancel_futures=True)


def _outcome(case: Case, command: str, folder: Path, base: Base) -> Outcome:
    archive = write(case, folder)
    try:
        return run(command, archive, folder / case.name, timeout=base.timeout)
    finally:
        archive.unlink()


@pytest.mark.parametrize(("case", "command"), [pytest.param(*pair, id=f"{pair[0].name}-{pair[1]}") for pair in CASES])
def test_hostile_archive(case: Case, command: str, base: Base, outcomes: dict[str, Future[Outcome]]) -> None:
    """The right exit code, a message that names the fault, at most 64 MB more than usual, nothing left behind."""
    found = outcomes[case.name].result()

    assert [] == faults_of(case, command, found, base)


def test_names_say_what_is_wrong_once() -> None:
    """No two cases have one name, so that the corpus can be read as a list of faults."""
    names = [case.name for case in CORPUS]

    assert sorted(set(names)) == sorted(names)
    assert len(names) > 100
