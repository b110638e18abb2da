"""Part "growth": cost as work grows, a thousand times from the first size to the last; time and peak memory fitted."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.corpus import DEMO, Corpus, living
from benchmarks.fitting import Fit, fit_growth, fit_power
from benchmarks.harness import Figure, Task, interleaved
from benchmarks.lines import named

FAR = ("export-null", "import-missing", "import-shuffled", "verify", "inspect")
"""By their names among the whole lines: what is measured up to the largest size, and drawn."""

NEAR = ("export-file", "export-gzip", "export-zstd", "import-empty", "import-living")
"""What differs from those by a cost of its own, up to NEAR_LARGEST messages."""

LINES = FAR + NEAR
NEAR_LARGEST = 300_000

STEPS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
FITTED_FROM = 10_000
"""Below, a run is mostly what every run pays."""


def sizes(largest: int) -> list[int]:
    """The sizes up to the largest."""
    return [size for size in STEPS if size <= largest]


def measure(largest: int, rounds: int) -> list[Figure]:
    """Every line that can run here, at every size of its own."""
    living()
    corpora = [Corpus(DEMO, size) for size in sizes(largest)]
    for corpus in corpora:
        corpus.shuffled()
    tasks = [
        Task("lines", name, corpus, rounds)
        for corpus in corpora
        for name in LINES
        if is_measured(name, corpus.messages)
    ]
    return interleaved(tasks, warm_up=False)


def is_measured(name: str, size: int) -> bool:
    """Whether a line runs at a size."""
    return (name in FAR or size <= NEAR_LARGEST) and named(name).missing() is None


def fitted(figures: Iterable[Figure]) -> dict[str, dict[str, Fit]]:
    """For each line that was measured at enough sizes: the fits of seconds and of peak memory."""
    found: dict[str, dict[str, Fit]] = {}
    figures = [figure for figure in figures if figure.messages >= FITTED_FROM]
    for name in LINES:
        own = [figure for figure in figures if figure.name == name]
        if len(own) >= 2:
            seconds = [(float(figure.messages), figure.seconds) for figure in own]
            peaks = [(float(figure.messages), figure.peak_mb) for figure in own]
            found[name] = {"seconds": fit_growth(seconds), "peak_mb": fit_power(peaks)}
    return found
