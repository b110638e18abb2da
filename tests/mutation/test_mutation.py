"""The short form of `make mutants`: the list of mutants that may survive fits the sources; the parts of the runner."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutation.explaining import Explanation, explanations, stale, unexplained
from tests.mutation.planning import FILES, PACKAGE, Mutant
from tests.mutation.running import changed_functions

LISTED = explanations()


def mutant(old: str = "a", new: str = "b", file: str = "codec/car.py") -> Mutant:
    """A mutant of nothing."""
    return Mutant(file, "f", 1, 1, old, new, "")


def text_of(file: str, function: str) -> str:
    """A function or class of a file, or all of the file, with single spaces."""
    source = (PACKAGE / file).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(source)
    for name in [] if function == "module" else function.split("."):
        node = next(found for found in ast.walk(node) if getattr(found, "name", "") == name)
    if isinstance(node, ast.Module):
        return " ".join(source.split())
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return " ".join(" ".join(source.splitlines()[first - 1 : node.end_lineno]).split())


@pytest.mark.parametrize("listed", LISTED, ids=lambda listed: f"{listed.file}-{listed.function}")
def test_what_is_explained_is_there(listed: Explanation) -> None:
    """Every listed change is one of lines that its function still has, and says why no test can or should see it."""
    assert listed.file in FILES
    assert listed.changes
    assert len(listed.why.split()) > 4
    assert [] == [old for old, _ in listed.changes if old not in text_of(listed.file, listed.function)]
    assert all(old != new for old, new in listed.changes)


def test_nothing_is_explained_twice() -> None:
    """One reason for each."""
    keys = [key for listed in LISTED for key in listed.mutants()]

    assert len(keys) == len(set(keys))


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
