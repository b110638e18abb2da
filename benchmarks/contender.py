"""What takes part in a benchmark: something that gets ready outside the clock, and then does its work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Counts = Mapping[str, float]
"""What a run counted on the way: rows, bytes, seconds of something apart."""

Work = Callable[[], Counts | None]


def nothing_missing() -> None:
    """Everything is there: a contender that needs nothing beside the development environment."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A line, or a peer of one.

    `prepare`: from a number of messages to the work; imports, and a target where one is needed, are paid there.
    `often`: takes part in every round, since a target hangs on it; others in half of them.
    `missing`: why it cannot run on this machine, None where it can.
    `command`: its work is whole programs, whose start counts, and whose memory is theirs and not the runner's.
    """

    name: str
    label: str
    prepare: Callable[[int], Work]
    often: bool = False
    missing: Callable[[], str | None] = nothing_missing
    command: bool = False
