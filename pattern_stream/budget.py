"""Sizes that this program chooses for itself: how much waits in memory, and from what size on helpers start.

The numbers of the format are in `format.py`: those decide the bytes of an archive, these only time and memory. A stage
takes its budget as a parameter, so a test gives it a small one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """Each field says what it bounds and in which unit."""


BUDGET = Budget()
"""What every run uses unless its caller says otherwise."""
