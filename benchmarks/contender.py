"""Who takes part in a benchmark: a program that gets ready outside the clock, and then runs from start to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.corpus import Corpus

Counts = Mapping[str, float]
"""What a run counted on the way: rows, seconds of something else."""

Work = Callable[[], Counts | None]


def nothing_missing() -> None:
    """Everything is there: a contender that needs nothing beside the development environment."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A line, or a peer of one: whole processes, whose start counts.

    `prepare`: from a corpus to the work; a target where one is needed is made there.
    `often`: takes part in every round and with every corpus, since a target hangs on it; others in half of the rounds.
    `missing`: why it cannot run on this machine, None where it can.
    """

    name: str
    label: str
    prepare: Callable[[Corpus], Work]
    often: bool = False
    missing: Callable[[], str | None] = nothing_missing
