"""How the event loop's thread and the driver's take turns at Python's global lock while both have work to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_TURN_SECONDS: Final = 0.000_05
"""How long a thread that wants the lock waits before it is given up. Python's own is 5 ms: SQLite, which works without
the lock, would wait for it as long as it worked."""


@contextmanager
def short_turns() -> Iterator[None]:
    """Give up the lock soon, as long as this lasts."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _TURN_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
