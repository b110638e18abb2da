"""Memory of a process and of all it started, looked at from outside, so that the watched one does no more work.

Linux only: elsewhere there is nothing to see, and processes tell their own peak.
"""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

SECONDS_BETWEEN_LOOKS = 0.04
_PEAK = re.compile(r"VmHWM:\s*(\d+) kB")
_RESIDENT = re.compile(r"VmRSS:\s*(\d+) kB")


class Watcher:
    """Looks at the processes that one has started, and those started, until it is left.

    `together_mb`: most memory that was resident at one moment; what processes share counts for each of them.
    `largest_mb`: the peak of the largest process.
    """

    def __init__(self, pid: int) -> None:
        self.together_mb = 0.0
        self.largest_mb = 0.0
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(SECONDS_BETWEEN_LOOKS):
            self.look()

    def look(self) -> None:
        """Look once."""
        found = [memory_mb(pid) for pid in descendants(self._pid)]
        self.together_mb = max(self.together_mb, sum(resident for resident, _ in found))
        self.largest_mb = max([self.largest_mb, *(peak for _, peak in found)])


def descendants(pid: int) -> list[int]:
    """Every process that one started, and that those started."""
    children: list[int] = []
    with suppress(OSError):  # gone meanwhile, or no /proc
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text(encoding="ascii").split())
    return [each for child in children for each in (child, *descendants(child))]


def memory_mb(pid: int | str) -> tuple[float, float]:
    """What a process has resident and its peak of that, in MB; 0 where it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0, 0.0
    resident, peak = _RESIDENT.search(status), _PEAK.search(status)
    return (int(resident[1]) / 1_000 if resident else 0.0), (int(peak[1]) / 1_000 if peak else 0.0)
