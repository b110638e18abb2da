"""The mutants that may survive, each with the reason: explained.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutation.planning import Mutant

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
