"""The mutants that may survive, each with the reason: explained.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutation.planning import FILES, Mutant

EXPLAINED: Final = Path(__file__).with_name("explained.toml")

Key = tuple[str, str, str, str]
"""File, function, old lines, new lines."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Changes of one function that may survive for one reason."""

    file: str
    function: str
    why: str
    changes: tuple[tuple[str, str], ...]

    def mutants(self) -> Iterator[Key]:
        """What its mutants are known by."""
        return ((self.file, self.function, old, new) for old, new in self.changes)


def explanations(path: Path = EXPLAINED) -> list[Explanation]:
    """All that is in the list."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("explained", [])
    return [
        Explanation(entry["file"], entry["function"], entry["why"], tuple((old, new) for old, new in entry["changes"]))
        for entry in entries
    ]


def unexplained(survivors: Iterable[Mutant], listed: Iterable[Explanation]) -> list[Mutant]:
    """The survivors that are not in the list."""
    known = {key for explanation in listed for key in explanation.mutants()}
    return [mutant for mutant in survivors if mutant.key not in known]


def stale(survivors: Iterable[Mutant], listed: Iterable[Explanation], files: Iterable[str]) -> list[Key]:
    """What is in the list for these files but did not survive."""
    alive, looked_at = {mutant.key for mutant in survivors}, set(files)
    keys = [key for explanation in listed for key in explanation.mutants()]
    return [key for key in keys if key[0] in looked_at and key not in alive]


def malformed(listed: Iterable[Explanation]) -> list[str]:
    """Entries that explain nothing: of no file that is changed, without a change or a reason, or listed twice."""
    faults, seen = [], set[Key]()
    for explanation in listed:
        name = f"{explanation.file} {explanation.function}"
        if explanation.file not in FILES:
            faults.append(f"{name}: no file of `make mutants`")
        if not explanation.changes:
            faults.append(f"{name}: no change")
        faults += [f"{name}: changes {old} into itself" for old, new in explanation.changes if old == new]
        if len(explanation.why.split()) < 5:
            faults.append(f"{name}: expected a reason of five words or more")
        faults += [f"{name}: {key[2]} -> {key[3]} is listed twice" for key in explanation.mutants() if key in seen]
        seen.update(explanation.mutants())
    return faults
