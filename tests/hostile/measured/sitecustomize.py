"""In a measured child: say at its end what memory it had at most, and its processor time. On PYTHONPATH by `running`.

# Trap: what the system counts for a parent (ru_maxrss) starts from the parent's own size; VmHWM does not.
"""

import atexit
import os
import resource
import sys


def _peak_kb() -> int:
    try:
        with open("/proc/self/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except OSError:  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)


def _tell(path: str) -> None:
    with open(path, "w", encoding="utf-8") as report:
        report.write(f"{_peak_kb()} {sum(os.times()[:4])}")


if path := os.environ.pop("PATTERN_STREAM_MEASURED", None):
    atexit.register(_tell, path)
