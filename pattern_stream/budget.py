"""Sizes that this program chooses for itself: how much waits in memory, and from what size on helpers start.

The numbers of the format are in `format.py`: those decide the bytes of an archive, these only time and memory. A stage
takes its budget as a parameter, so a test gives it a small one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """Each field says what it bounds and in which unit."""

    spool_memory_bytes: int = 4 * 1024 * 1024
    """Archive bytes kept in memory before the spool goes to disk."""

    spool_reserve_bytes: int = 16 * 1024 * 1024
    """Free bytes that the spool leaves on its disk for others."""

    shelf_memory_bytes: int = 8 * 1024 * 1024
    """Blocks that came before they were wanted, kept in memory before they go to disk."""

    shelf_reserve_bytes: int = 32 * 1024 * 1024
    """Free bytes below which nothing more is put on the shelf."""

    met_log_bytes: int = 1024 * 1024
    """CIDs of blocks handed on that are logged in memory before they go to the shelf."""


BUDGET = Budget()
"""What every run uses unless its caller says otherwise."""
