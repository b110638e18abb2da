"""Garbage collection while rows stream: nothing in the line makes cycles, so looking for them often is wasted."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

FIRST_THRESHOLD: Final = 50_000
"""Containers made before the youngest are looked at. Python's own is 700, which a batch of JSON passes many times."""


@contextmanager
def few_collections() -> Iterator[None]:
    """Look for garbage seldom, and not among what was there before."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(FIRST_THRESHOLD, before[1], before[2])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
