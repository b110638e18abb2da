"""The parts of `make mutants` itself. Whether explained.toml fits the sources is for `make mutants` to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.explaining import explanations, malformed, stale, unexplained
from tests.mutation.planning import Mutant
from tests.mutation.running import changed_functions


def mutant(old: str = "a", new: str = "b", file: str = "codec/car.py") -> Mutant:
    """A mutant of nothing."""
    return Mutant(file, "f", 1, 1, old, new, "")


def test_survivors_are_compared_with_the_list(tmp_path: Path) -> None:
    """What survives and is not listed, and what is listed and did not survive, of the files that were looked at."""
    path = tmp_path / "explained.toml"
    path.write_text(
        '[[explained]]\nfile = "codec/car.py"\nfunction = "f"\nwhy = "because"\nchanges = [["a", "b"], ["c", "d"]]\n'
        '[[explained]]\nfile = "codec/cid.py"\nfunction = "f"\nwhy = "because"\nchanges = [["a", "b"]]\n'
    )
    listed = explanations(path)
    survivors = [mutant(), mutant("e", "f")]

    assert [mutant("e", "f")] == unexplained(survivors, listed)
    assert [("codec/car.py", "f", "c", "d")] == stale(survivors, listed, ["codec/car.py"])
    assert [] == stale(survivors, listed, ["codec/varint.py"])


def test_faults_of_the_list_are_named(tmp_path: Path) -> None:
    """A file nobody changes, no change, a change into itself, a reason too short and a change listed twice."""
    path = tmp_path / "explained.toml"
    entry = '[[explained]]\nfile = "codec/{}.py"\nfunction = "f"\nwhy = "{}"\nchanges = {}\n'
    because = "the result is the same by another way"
    path.write_text(
        entry.format("car", because, '[["a", "b"]]')
        + entry.format("none", because, '[["a", "b"]]')
        + entry.format("car", because, "[]")
        + entry.format("car", because, '[["c", "c"]]')
        + entry.format("car", "why not", '[["d", "e"]]')
        + entry.format("car", because, '[["a", "b"]]')
    )

    assert [
        "codec/none.py f: no file of `make mutants`",
        "codec/car.py f: no change",
        "codec/car.py f: changes c into itself",
        "codec/car.py f: expected a reason of five words or more",
        "codec/car.py f: a -> b is listed twice",
    ] == malformed(explanations(path))


@pytest.mark.parametrize(
    ("after", "changed"),
    [
        ("A = 1\nclass B:\n    def f(self): return 1\n    def g(self): return 3\n", ["g"]),
        ("A = 2\nclass B:\n    def f(self): return 1\n    def g(self): return 2\n", None),
        ("A = 1\nclass B:\n    def f(self, x=1): return 1\n    def g(self): return 2\n", None),
        ("A = 1\nclass B:\n    c = 1\n    def f(self): return 1\n    def g(self): return 2\n", None),
    ],
)
def test_changes_inside_functions_are_told_from_others(after: str, changed: list[str] | None) -> None:
    """A function is put in place as it is; a constant, a default or a class needs everything imported anew."""
    before = "A = 1\nclass B:\n    def f(self): return 1\n    def g(self): return 2\n"

    found = changed_functions(compile(before, "x", "exec"), compile(after, "x", "exec"))

    assert changed == (None if found is None else [new.co_name for _, new in found])
