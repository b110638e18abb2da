"""Progress on stderr in the form that was asked for: a bar, lines, JSON objects, or nothing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from pattern_stream.cli.output import human_bytes, json_text, tell_line
from pattern_stream.cli.session import ProgressMode, Session
from pattern_stream.items import Progress, ProgressCallback

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

QUIET_SECONDS: Final = 5.0
"""A run that is shorter has no lines of progress: they are for somebody who wonders whether anything goes on."""

LINE_SECONDS: Final = 30.0
"""A line is printed at most this often."""

REFRESH_SECONDS: Final = 0.1
"""A bar is redrawn, and a JSON object printed, at most this often."""


def showing_progress(session: Session) -> AbstractContextManager[ProgressCallback]:
    """A callback that shows progress until the context ends."""
    mode = chosen_mode(session)
    if mode == "bar":
        return _bar()
    if mode == "plain":
        return nullcontext(PlainLines())
    return nullcontext(JsonLines() if mode == "json" else ignore_progress)


def chosen_mode(session: Session) -> ProgressMode:
    """What `auto` means here: a bar on a terminal that can redraw a line, else plain lines; nothing with -q."""
    if session.quiet or sys.stderr is None:
        return "none"
    if session.progress != "auto":
        return session.progress
    return "bar" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"


def ignore_progress(progress: Progress) -> None:
    """The callback that shows nothing."""


class Pace:
    """How fast each stage goes, and when it was last shown."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self.shown: dict[str, float] = {}

    def seconds(self, stage: str) -> float:
        """Seconds since the stage was first heard of."""
        now = time.monotonic()
        return now - self._started.setdefault(stage, now)

    def due(self, progress: Progress, every: float) -> bool:
        """Whether it is time to show the stage again: the first time, `every` seconds later, and at its end."""
        seconds = self.seconds(progress.stage)
        last = self.shown.get(progress.stage)
        finished = progress.total is not None and progress.done >= progress.total
        if last is not None and seconds - last < every and not finished:
            return False
        self.shown[progress.stage] = seconds
        return True


class PlainLines:
    """A line after 5 seconds, then one every 30, whatever stage is under way."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._next_at = time.monotonic() + QUIET_SECONDS

    def __call__(self, progress: Progress) -> None:
        """Print a line if it is time for one."""
        seconds = self._pace.seconds(progress.stage)
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + LINE_SECONDS
            tell_line(progress_line(progress, seconds))


class JsonLines:
    """One object a line."""

    def __init__(self) -> None:
        self._pace = Pace()

    def __call__(self, progress: Progress) -> None:
        """Print an object, at most ten a second for each stage."""
        if self._pace.due(progress, REFRESH_SECONDS):
            seconds = round(self._pace.seconds(progress.stage), 3)
            known = {"stage": progress.stage, "done": progress.done, "total": progress.total, "unit": progress.unit}
            tell_line(json_text(known | {"seconds": seconds}))


def progress_line(progress: Progress, seconds: float) -> str:
    """`export: 120,000 of 200,000 rows (60 %), 85,000 rows/s`."""
    done = f"{progress.stage}: {amount(progress.done, progress.unit, named=progress.total is None)}"
    if progress.total:
        done += f" of {amount(progress.total, progress.unit)} ({100 * progress.done // progress.total} %)"
    rate = f", {amount(int(progress.done / seconds), progress.unit)}/s" if seconds >= REFRESH_SECONDS else ""
    return done + rate


def amount(count: int, unit: str, *, named: bool = True) -> str:
    """A count with its unit; bytes as a size."""
    if unit == "bytes":
        return human_bytes(count)
    return f"{count:,} {unit}" if named else f"{count:,}"


@contextmanager
def _bar() -> Iterator[ProgressCallback]:
    """A bar for each stage. Redrawn from the callback, so no thread of its own goes on while we clean up."""
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        yield _BarCallback(bar)


class _BarCallback:
    def __init__(self, bar: Bar) -> None:
        self._bar, self._pace = bar, Pace()
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._bar.add_task(progress.stage, total=progress.total)
        if self._pace.due(progress, REFRESH_SECONDS):
            line = progress_line(progress, self._pace.seconds(progress.stage))
            task = self._tasks[progress.stage]
            self._bar.update(task, completed=progress.done, total=progress.total, description=line)
            self._bar.refresh()
