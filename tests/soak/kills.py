"""Commands killed with -9, at moments spread over their whole run and before single calls that change the disk."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pattern_stream.errors import ExitCode
from tests.soak.contents import Damaged
from tests.soak.faulting import FOREVER, Tally
from tests.soak.runner import CHANGES, DROP, End, Fate, How
from tests.soak.scenes import Scene, Stage, Wrong

LATE_CALLS: Final = 8

KILLED: Final = -9
NAMELESS: Final = re.compile(r"\.pattern-stream-\w+(\.shelf)?|\w{8}")
"""A temporary file, or the standard library's trial of a folder, between being made and losing its name: a window that
cannot be closed where a file is made under a name. It is in a folder for such files, and small."""

LATE_SHARE: Final = 0.25
"""This share of the moments lies in the last tenth of the run, where files are synced and named and rows committed."""


@dataclass(frozen=True, slots=True)
class Kill:
    """When a command is killed: after a time, or in place of its Nth call that changes the disk."""

    after: float | None = None
    call: int | None = None

    def play(self, stage: Stage, scene: Scene) -> End:
        """The scene from its beginning, broken off."""
        stage.set(scene)
        if self.call is None:
            return stage.play(scene, kill_after=self.after)
        return stage.play(scene, fate=Fate(self.call, FOREVER, 0, How.KILL, CHANGES | DROP))

    def __str__(self) -> str:
        return f"call {self.call}" if self.after is None else f"{self.after * 1000:.1f} ms"


def moments(stage: Stage, scene: Scene, count: int, seed: int) -> Iterator[Kill]:
    """Moments spread evenly over a run and beyond its end, each by chance within its share."""
    chance = random.Random(seed)
    late = int(count * LATE_SHARE)
    seconds = 0.0
    for index in range(count):
        if index % 10 == 0:  # the machine may be busier now, or less
            seconds = stage.rehearse(scene).seconds
        if index < late:
            share = 0.9 + 0.15 * (index + chance.random()) / late
        else:
            share = (index - late + chance.random()) / (count - late)
        yield Kill(after=seconds * share)


def calls(stage: Stage, scene: Scene, count: int) -> Iterator[Kill]:
    """Calls that change the disk: the last ones, where files are synced and named, others spread over the run."""
    stage.rehearse(scene)
    stage.set(scene)
    seen = stage.play(scene, fate=Fate(FOREVER, FOREVER, 0, How.KILL, CHANGES | DROP)).seen
    late = min(LATE_CALLS, seen, count - 1)
    early, last = count - late, seen - late
    numbers = {1 + round(index * (last - 1) / max(1, early - 1)) for index in range(early)}
    yield from (Kill(call=number) for number in sorted(numbers | set(range(last + 1, seen + 1))) if number > 0)


def kill(stage: Stage, scene: Scene, kills: Iterator[Kill]) -> Tally:
    """Break a scene off at each of some points, and judge what is there, and whether it can be done again."""
    tally = Tally(f"{scene.name}: kill -9")
    for each in kills:
        end = each.play(stage, scene)
        while end.still:
            end = each.play(stage, scene)
        tally.points += 1
        tally.codes[end.code] += 1
        try:
            tally.verdicts[_judged(stage, scene, end, tally)] += 1
        except (Wrong, Damaged) as fact:
            tally.wrong.append(f"{scene.name}, killed at {each}: {fact}")
    return tally


def _judged(stage: Stage, scene: Scene, end: End, tally: Tally) -> str:
    found = stage.verdict(scene)
    if end.code not in (KILLED, 0):
        raise Wrong(f"exit {end.code}: {end.stderr}")
    if end.code == 0 and found != "new":
        raise Wrong("it was done before it was killed, and the target is as it was")
    if end.left:
        raise Wrong(f"{end.left} of its processes went on without it")
    _do_it_again(stage, scene, found, tally)
    return found


def _do_it_again(stage: Stage, scene: Scene, found: str, tally: Tally) -> None:
    """The same command again: done where nothing was, refused where all was, and nothing of the first is left."""
    refuses = found == "new" and not {"--force", "replace"} & set(scene.arguments)
    end = stage.play(scene)
    if end.code != (ExitCode.CONFLICT if refuses else ExitCode.DONE):
        raise Wrong(f"{found}; the same command again: exit {end.code}: {end.stderr}")
    if stage.verdict(scene) != "new":
        raise Wrong(f"{found}; the same command again changed nothing")
    strangers = stage.strangers(scene)
    if len(strangers) == 1 and NAMELESS.fullmatch(strangers[0]):
        tally.messages["a temporary file kept its name"] += 1
    elif strangers:
        raise Wrong(f"{found}; still there after the same command again: {', '.join(strangers)}")
