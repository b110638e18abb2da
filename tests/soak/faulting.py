"""The Nth call of a command meets a fault of the storage, for every N until the command comes through without one."""

from __future__ import annotations

import errno
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from pattern_stream.errors import ExitCode
from tests.soak.contents import Damaged
from tests.soak.runner import CHANGES, COPY, READ, WRITE, End, Fate, How
from tests.soak.scenes import Scene, Stage, Wrong

FOREVER: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault. `lasting`: every further call fails as well; `harmless`: a program must take it as normal."""

    name: str
    kinds: int
    error: int = 0
    fate: How = How.FAIL
    lasting: bool = False
    harmless: bool = False

    def at(self, number: int) -> Fate:
        """The fate of the Nth call."""
        return Fate(number, FOREVER if self.lasting else number, self.error, self.fate, self.kinds)


FAULTS: Final = (
    Fault("ENOSPC once", CHANGES, errno.ENOSPC),
    Fault("ENOSPC for good", CHANGES, errno.ENOSPC, lasting=True),
    Fault("EIO once", CHANGES | READ, errno.EIO),
    Fault("EIO for good", CHANGES | READ, errno.EIO, lasting=True),
    Fault("EINTR", READ | WRITE, errno.EINTR, harmless=True),
    Fault("half a transfer", READ | WRITE | COPY, fate=How.HALF, harmless=True),
)
"""Reading never finds a disk full; to be interrupted, or to get half of what was asked, is no fault at all."""

SAID: Final = (
    "no space left on device", "input/output error", "disk i/o error", "database or disk is full",
    "unable to open database file", "disk image is malformed", "vtable constructor failed",
)  # fmt: skip
"""What a message must have of: the system's words, or SQLite's."""

DAMAGED: Final = ("disk image is malformed", "vtable constructor failed")
"""What SQLite says where the system cannot read a page: it takes EIO on a read for damage."""


@dataclass(slots=True)
class Tally:
    """What was counted over many points. `wrong`: every point that broke a promise, in words."""

    what: str
    points: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def worst(self) -> str:
        """What went wrong, else the rarest message."""
        if self.wrong:
            return self.wrong[0]
        return self.messages.most_common()[-1][0] if self.messages else ""


def break_storage(
    stage: Stage, scene: Scene, fault: Fault, *, start: int = 1, stride: int = 1, most: int = FOREVER
) -> Tally:
    """Let the Nth call of a scene fail, for N from `start` on, and judge each end; `most`: how many at most."""
    tally = Tally(f"{scene.name}: {fault.name}")
    try:
        for number, end in islice(_ends(stage, scene, fault, start, stride), most):
            _judge(tally, stage, scene, fault, number, end)
    except Wrong as fact:  # the run without a fault
        tally.wrong.append(str(fact))
    return tally


def _judge(tally: Tally, stage: Stage, scene: Scene, fault: Fault, number: int, end: End) -> None:
    tally.points += 1
    tally.codes[end.code] += 1
    tally.messages.update([_told_shortly(end, stage)] if end.code else [])
    try:
        tally.verdicts[judged(stage, scene, fault, end)] += 1
    except (Wrong, Damaged) as fact:
        tally.wrong.append(f"{scene.name}, {fault.name}, call {number} ({end.what}): {fact}")


def _ends(stage: Stage, scene: Scene, fault: Fault, start: int, stride: int) -> Iterator[tuple[int, End]]:
    number = start
    while True:
        stage.set(scene)
        end = stage.play(scene, fate=fault.at(number))
        if end.still:
            continue
        if not end.hits:
            break
        yield number, end
        number += stride
    if end.code:
        raise Wrong(f"{scene.name}: without a fault, exit {end.code} after {end.seconds:.0f} s: {end.stderr}")


def judged(stage: Stage, scene: Scene, fault: Fault, end: End) -> str:
    """`old` or `new`. Raises Wrong or Damaged where a promise is broken."""
    found = stage.verdict(scene)
    if end.hung or end.left:
        raise Wrong(f"{'it hung' if end.hung else 'it ended'}, {end.left} processes were left: {end.stderr[-3000:]}")
    strangers = stage.strangers(scene)
    if fault.lasting and strangers == [f"{scene.target}-journal"]:
        _recovers(stage, scene)
    elif strangers:
        raise Wrong(f"exit {end.code}, left behind: {', '.join(strangers)}")
    if end.code == 0:
        if scene.target is not None and found != "new":
            raise Wrong("exit 0, and the target is as it was")
        if not stage.is_printed_whole(scene):
            raise Wrong("exit 0, and stdout is not what it is undisturbed")
        return found
    if fault.harmless or found == "new":
        raise Wrong(f"exit {end.code}, the target is {found}: {error_line(end)}")
    _judge_message(end)
    return found


def _recovers(stage: Stage, scene: Scene) -> None:
    """A database that could not even be written back keeps the journal that says how, for whoever opens it next."""
    again = stage.play(scene)
    if again.code or stage.verdict(scene) != "new" or stage.strangers(scene):
        raise Wrong(f"exit {again.code} after a journal was left, {stage.strangers(scene)}: {again.stderr}")


def _judge_message(end: End) -> None:
    line = error_line(end)
    damaged = end.code == ExitCode.CORRUPT and any(words in line for words in DAMAGED)
    if end.code != ExitCode.STORAGE and not damaged:
        raise Wrong(f"exit {end.code}, expected {int(ExitCode.STORAGE)}: {line or end.stderr[-300:]}")
    lines = [each for each in end.stderr.splitlines() if each.startswith("error:")]
    if "Traceback" in end.stderr or len(lines) != 1 or not any(word in line.lower() for word in SAID):
        raise Wrong(f"message: {end.stderr[-300:]}")
    if line.removeprefix("error: ").lower() in SAID:
        raise Wrong(f"the message does not say where: {line}")


def _told_shortly(end: End, stage: Stage) -> str:
    """The message without what differs from run to run."""
    line = error_line(end).replace(f"{stage.runner.folder}/", "")
    return re.sub(r"(?<![\w-])\d+|(?<=\.pattern-stream-)\w+", "N", line)


def error_line(end: End) -> str:
    """The line that says what happened."""
    return next((line for line in end.stderr.splitlines() if line.startswith("error:")), "")
