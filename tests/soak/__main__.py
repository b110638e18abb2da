"""The long form: `python -m tests.soak`, or `make soak`. Minutes, alone on a machine; prints what was found as it goes.

Usage: python -m tests.soak [living] [kills] [faults] [signals] [stops] [--exports N] [--kills N] [--pairs N]
       [--stride N] [--scenes TEXT]
"""

from __future__ import annotations

import argparse
import platform
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.soak.faulting import FAULTS, Tally, break_storage
from tests.soak.kills import calls, kill, moments
from tests.soak.living import live
from tests.soak.runner import compiled, running
from tests.soak.scenes import SCENES, Scene, Stage, furnish
from tests.soak.signals import send_pairs
from tests.soak.stopping import stop_commands

MESSAGES: Final = 3000
CALLS: Final = 25
SHARES: Final = {
    "export over a file": 0.2, "export to a new file": 0.15, "import, missing": 0.2, "import, vacant, stdin": 0.05,
    "import, empty": 0.15, "import, living": 0.25,
}  # fmt: skip
"""How the kills by the clock are divided."""

HARMLESS_STRIDE: Final = 5
"""What must make no difference is met by few loops over calls, each of them many times in a run."""

PARTS: Final = ("living", "kills", "faults", "signals", "stops")


def main() -> int:
    """Run the parts that were asked for, all by default; 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--exports", type=int, default=60, help="how many exports beside the writer")
    parser.add_argument("--kills", type=int, default=200, help="how many kills by the clock")
    parser.add_argument("--pairs", type=int, default=120, help="how many runs get two signals")
    parser.add_argument("--stride", type=int, default=1, help="every how many calls one fails")
    parser.add_argument(
        "--scenes", default="", metavar="TEXT", help="of kills and faults, only scenes so named (a pattern)"
    )
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    say(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.platform()}")
    wrong = 0
    for part in given.parts or PARTS:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="pattern-stream-soak-") as folder:
            wrong += RUNS[part](Path(folder), given)
        say(f"{part}: {time.monotonic() - started:.0f} s\n")
    say(f"{wrong} points broke a promise" if wrong else "every promise was kept")
    return bool(wrong)


def living(folder: Path, given: argparse.Namespace) -> int:
    """Exports beside a living writer. Raises where an archive is no committed state."""
    lived = live(folder, exports=given.exports, messages=MESSAGES)
    say(
        f"living writer: {lived.transactions} transactions in {lived.seconds:.0f} s, {lived.rate:.0f} a second; "
        f"{len(lived.states)} of {given.exports} archives are one committed state each\n"
        f"  an export takes {statistics.median(lived.export_seconds):.2f} s (median), "
        f"{statistics.median(lived.meanwhile):.0f} transactions are committed meanwhile, "
        f"the archive has {statistics.median(lived.bytes) / 1e6:.1f} MB"
    )
    return 0


def kills(folder: Path, given: argparse.Namespace) -> int:
    """Kill -9 by the clock over export and import, then before calls that change the disk over all commands."""
    tallies = []
    with staged(folder) as stage:
        heading("kill -9", "points", "old", "new", "worst")
        for scene in chosen(given):
            if count := round(given.kills * SHARES.get(scene.name, 0)):
                tallies.append(shown(kill(stage, scene, moments(stage, scene, count, seed=1)), "by the clock"))
        clock = sum(tally.points for tally in tallies)
        good = clock - sum(len(tally.wrong) for tally in tallies)
        say(f"{good} of {clock} kills by the clock leave old or new, and the same command again cleans up")
        for scene in chosen(given):
            if scene.target is not None:
                tallies.append(shown(kill(stage, scene, calls(stage, scene, CALLS)), "before a call"))
    return sum(len(tally.wrong) for tally in tallies)


def faults(folder: Path, given: argparse.Namespace) -> int:
    """The Nth call fails, for every N; what must make no difference happens to every fifth."""
    tallies = []
    with staged(folder) as stage:
        heading("fault", "points", "old", "new", "worst")
        for scene in chosen(given):
            stage.rehearse(scene)
            for fault in FAULTS:
                stride = given.stride * (HARMLESS_STRIDE if fault.harmless else 1)
                tallies.append(shown(break_storage(stage, scene, fault, stride=stride)))
    codes = sum((tally.codes for tally in tallies), start=Counter[int]())
    say(f"{sum(tally.points for tally in tallies)} faults; exit codes: " + ", ".join(
        f"{code} {count}x" for code, count in sorted(codes.items())))  # fmt: skip
    for message, count in sum((tally.messages for tally in tallies), start=Counter[str]()).most_common():
        say(f"  {count:5} {message}")
    return sum(len(tally.wrong) for tally in tallies)


def signals(folder: Path, given: argparse.Namespace) -> int:
    """Two signals, close together or more than a second apart."""
    wrong = send_pairs(folder, given.pairs, seed=1)
    say(f"{given.pairs - len(wrong)} of {given.pairs} runs with two signals end as they should")
    for fact in wrong:
        say(f"  WRONG {fact}")
    return len(wrong)


def stops(folder: Path, given: argparse.Namespace) -> int:
    """Commands that are stopped for a minute."""
    wrong = stop_commands(folder)
    say("commands that were stopped and went on: " + (f"{len(wrong)} failed" if wrong else "all ended well"))
    for fact in wrong:
        say(f"  WRONG {fact}")
    return len(wrong)


RUNS: Final[dict[str, Callable[[Path, argparse.Namespace], int]]] = {
    "living": living, "kills": kills, "faults": faults, "signals": signals, "stops": stops,
}  # fmt: skip


def chosen(given: argparse.Namespace) -> list[Scene]:
    """The scenes that were asked for."""
    return [scene for scene in SCENES if re.search(given.scenes, scene.name)]


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """A stage in a folder, with the shim. Raises Unavailable."""
    with running(folder, shim=compiled(folder)) as runner:
        yield furnish(runner, folder / "store")


def heading(what: str, *columns: str) -> None:
    """The first line of a table."""
    points, old, new, worst = columns
    say(f"{what:50} {points:>6} {old:>5} {new:>5}  {worst}")


def shown(tally: Tally, how: str = "") -> Tally:
    """A line of a table, and what was wrong."""
    what = f"{tally.what} {how}".rstrip()
    old, new = (tally.verdicts[word] for word in ("old", "new"))
    say(f"{what:50} {tally.points:6} {old:5} {new:5}  {tally.worst[:120]}")
    for fact in tally.wrong:
        say(f"  WRONG {fact}")
    return tally


def say(line: str) -> None:
    """To stdout, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
