"""The real command in a process of its own, measured: exit code, seconds, peak memory, what it printed."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests import forked
from tests.hostile.case import SOUND, Case, sound_bytes

LIMIT_SECONDS = 5.0
"""What a case may take on the machine that this was written on."""

BASE_SECONDS = 0.1
"""What looking at a small archive takes there: how much slower another machine is comes from this."""

LIMIT_MB = 64.0
"""What a case may take in memory beyond what the same command takes for a small archive."""

SHOWN_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `exit_code` None: it was stopped. `peak_mb` None: it died before it could tell.

    `cpu_seconds` are those of its own children too: what a busy machine does not change.
    """

    exit_code: int | None
    seconds: float
    cpu_seconds: float
    peak_mb: float | None
    out: str
    err: str
    left: tuple[str, ...]


def run(command: str, archive: Path, folder: Path, *options: str, timeout: float = 60.0) -> Outcome:
    """`pattern-stream COMMAND ARCHIVE`, an import into a database that is to be made in the folder."""
    folder.mkdir()
    peak, out, err = (folder / name for name in ("peak", "out", "err"))
    target = ("--db", str(folder / "new.db")) if command == "import" else ()
    arguments = [*command.split(), str(archive), "--progress", "none", *target, *options]
    started = time.monotonic()
    with open(os.devnull, "rb") as stdin, out.open("wb") as stdout, err.open("wb") as stderr:
        streams = (stdin.fileno(), stdout.fileno(), stderr.fileno())
        exit_code = forked.run(
            arguments, streams, folder=folder, environment=_environment(), seconds=timeout, peak=peak
        )
    seconds = time.monotonic() - started
    told = peak.read_text().split() if peak.exists() else []
    peak_mb, cpu = (int(told[0]) / 1000, float(told[1])) if told else (None, 0.0)
    left = sorted(path.name for path in folder.iterdir() if path not in (peak, out, err))
    return Outcome(exit_code, seconds, cpu, peak_mb, _start(out), _start(err), tuple(left))


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "PATTERN_DB")}
    return kept | {"NO_COLOR": "1"}


def _start(path: Path) -> str:
    with path.open("rb") as printed:
        return printed.read(SHOWN_BYTES).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Base:
    """What a small sound archive takes: seconds and MB for each command."""

    seconds: dict[str, float]
    peak_mb: dict[str, float]

    @property
    def timeout(self) -> float:
        """The limit in seconds for this machine, with room for a neighbour that takes turns."""
        return 4 * LIMIT_SECONDS * max(1.0, max(self.seconds.values()) / BASE_SECONDS)


def base_of(commands: Iterable[str], folder: Path) -> Base:
    """Measure a small sound archive with each command."""
    folder.mkdir()
    archive = folder / "sound.car"
    archive.write_bytes(sound_bytes())
    found = {command: run(command, archive, folder / command) for command in commands}
    for command, outcome in found.items():
        if outcome.exit_code != 0 or outcome.peak_mb is None:
            raise RuntimeError(f"{command} of a sound archive ended with {outcome.exit_code}: {outcome.err}")
    return Base(
        {command: outcome.seconds for command, outcome in found.items()},
        {command: outcome.peak_mb or 0.0 for command, outcome in found.items()},
    )


def write(case: Case, folder: Path) -> Path:
    """The archive of a case in a file."""
    path, made = folder / f"{case.name}.car", case.make()
    with path.open("wb") as out:
        out.writelines([made] if isinstance(made, bytes) else made)
    return path


def faults_of(case: Case, command: str, found: Outcome, base: Base) -> list[str]:
    """Everything in which a run was not what it must be. `inspect` alone may pass over what it only counts."""
    faults = []
    name = command.split()[0]
    expected = case.exits.get(name, case.exit_code)
    overlooked = command == "inspect" and found.exit_code == SOUND
    if found.exit_code is None:
        return [f"was stopped after {found.seconds:.0f} s"]
    if found.exit_code != expected and not overlooked:
        faults.append(f"exit code {found.exit_code}, expected {expected}")
    if not overlooked and not re.search(case.says, found.err + (found.out if name == "inspect" else "")):
        faults.append(f"says nothing of {case.says!r}")
    if "Traceback" in found.err or "internal error" in found.err:
        faults.append("an internal error")
    if found.peak_mb is None or found.peak_mb > base.peak_mb[command] + LIMIT_MB:
        faults.append(f"peak of {found.peak_mb} MB, expected at most {base.peak_mb[command] + LIMIT_MB:.0f}")
    if found.left != (("new.db",) if command == "import" and expected == 0 else ()):
        faults.append(f"left behind: {found.left}")
    return [*faults, f"stderr: {found.err[-1500:]}"] if faults else []
