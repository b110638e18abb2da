"""Mutants of source files: each the file with one change, as JSON Lines. Runs where mutmut and libcst are installed.

The changes are those of mutmut and two more; they are made everywhere, also where mutmut makes none: in decorated
functions, in classes that are dataclasses, and outside functions. Left out is what changes no behaviour, or only asks
the same question again: annotations, type variables, whether a dataclass is frozen, whether zip is strict, `__all__`,
overloads, letters of texts in another case.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation.mutators import mutation_operators

_SILENT_CALLS = ("TypeVar", "dataclass")
_SILENT_NAMES = ("__all__", "__slots__")


def mutants(source: str) -> Iterator[dict[str, Any]]:
    """Every mutant of a source: `function` it is in, first and last `line` of what is changed, `old` and `new` lines
    that differ, and the whole mutated `source`.
    """
    wrapper = MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
    finder = _Finder()
    wrapper.visit(finder)
    seen = {source}
    for function, node in finder.found:
        place = wrapper.resolve(PositionProvider)[node]
        for changed in _changes(node):
            mutated = wrapper.module.deep_replace(node, changed).code
            if mutated in seen or not _compiles(mutated):
                continue
            seen.add(mutated)
            old, new = _difference(source, mutated)
            lines = (place.start.line, place.end.line)
            yield {"function": function, "lines": lines, "old": old, "new": new, "source": mutated}


class _Finder(cst.CSTVisitor):  # type: ignore[misc]  # libcst is not there when types are checked
    """All nodes that may be changed, each with the qualified name of its function or class."""

    METADATA_DEPENDENCIES = (PositionProvider, ParentNodeProvider)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, cst.CSTNode]] = []
        self._names: list[str] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if _is_silent(node):
            return False
        self.found.append((".".join(self._names) or "module", node))
        if isinstance(node, (cst.FunctionDef, cst.ClassDef)):
            self._names.append(node.name.value)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, (cst.FunctionDef, cst.ClassDef)) and not _is_silent(original_node):
            self._names.pop()


def _is_silent(node: cst.CSTNode) -> bool:
    """Whether changes inside would be seen by no test, since they change nothing but words and types."""
    if isinstance(node, cst.FunctionDef):
        return any(_name(decorator.decorator) == "overload" for decorator in node.decorators)
    if isinstance(node, cst.Call):
        return _name(node.func) in _SILENT_CALLS
    if isinstance(node, cst.Arg):
        return node.keyword is not None and node.keyword.value == "strict" and _name(node.value) == "True"
    if isinstance(node, cst.Assign):
        return _name(node.targets[0].target) in _SILENT_NAMES or _is_silent(node.value)
    return isinstance(node, (cst.Annotation, cst.Import, cst.ImportFrom))


def _name(node: cst.CSTNode) -> str:
    return node.value if isinstance(node, cst.Name) else ""


def _changes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    if isinstance(node, (cst.If, cst.While)):
        yield node.with_changes(test=_negated(node.test))
    if isinstance(node, cst.CompIf):
        yield node.with_changes(test=_negated(node.test))
    if isinstance(node, cst.Expr) and not isinstance(node.value, (cst.BaseString, cst.Ellipsis)):
        yield cst.Pass()
    for kind, operator in mutation_operators:
        if isinstance(node, kind):
            made = [changed for changed in operator(node) if not _is_same_zip(node, changed)]
            yield from made[:1] if isinstance(node, cst.BaseString) else made


def _is_same_zip(node: cst.CSTNode, changed: cst.CSTNode) -> bool:
    """Whether a call of zip differs only in `strict`, which raises where the code around it is wrong already."""
    if not (isinstance(node, cst.Call) and isinstance(changed, cst.Call) and _name(node.func) == "zip"):
        return False
    before, after = ([arg.value for arg in call.args if arg.keyword is None] for call in (node, changed))
    return len(before) == len(after) and all(one is other for one, other in zip(before, after, strict=True))


def _negated(test: cst.BaseExpression) -> cst.BaseExpression:
    inner = test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    return cst.UnaryOperation(cst.Not(), inner)


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def _difference(old: str, new: str) -> tuple[str, str]:
    """The lines that differ, each in one line."""
    before, after = old.splitlines(), new.splitlines()
    while before and after and before[0] == after[0]:
        del before[0], after[0]
    while before and after and before[-1] == after[-1]:
        del before[-1], after[-1]
    return " ".join(" ".join(before).split()), " ".join(" ".join(after).split())


def main(path: str) -> None:
    """Print the mutants of one file, one a line."""
    for mutant in mutants(Path(path).read_text(encoding="utf-8")):
        sys.stdout.write(json.dumps(mutant) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
