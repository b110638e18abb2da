"""Results made up for tests: every contender, stage and size has a figure."""

from __future__ import annotations

from benchmarks import corpus, days, extremes, growth, lines, stages
from benchmarks.corpus import DEMO, REAL
from benchmarks.harness import Figure
from benchmarks.provenance import Provenance
from benchmarks.results import Part, Results

MESSAGES, LARGE = 200_000, 1_000_000
PLACE = Provenance("1.0", "abc", "1 x Abacus", "CPython 3.11", {"cbor2": "6"})


def figure(
    name: str, messages: int = MESSAGES, seconds: float = 2.0, peak_mb: float = 50.0, corpus: str = DEMO
) -> Figure:
    """A figure of one contender."""
    spread, counts = (
        (seconds, seconds / 2, seconds * 2),
        {"rows": 10.0, "bytes": 1e6, "blocked": seconds / 4, "new_percent": 1.5},
    )
    return Figure(name, messages, 3, *spread, seconds, peak_mb, peak_mb + 10, counts, corpus)


def part(*figures: Figure, messages: int = MESSAGES, place: Provenance = PLACE, **skipped: str) -> Part:
    """A part with some figures."""
    return Part(place, messages, 3, figures, skipped)


def complete() -> Results:
    """All that a whole run measures."""
    names = [name for stage in stages.STAGES for name in (stage.name, f"{stage.name}-floor")]
    alone = [figure(name, size) for name in names for size in stages.sizes(MESSAGES)]
    grown = [figure(name, size, size / 1_000) for name in growth.LINES for size in growth.STEPS]
    outgrown = corpus.OUTGROWN_MESSAGES
    return Results(
        {
            "lines": part(
                *(figure(each.name, corpus=each_of) for each in lines.CONTENDERS for each_of in (DEMO, REAL))
            ),
            "scripts": part(
                *(figure(n, c.messages, corpus=c.name) for n in lines.SCRIPTS for c in lines.script_corpora(MESSAGES))
            ),
            "small": part(*(figure(name, lines.SMALL_MESSAGES) for name in lines.SMALL), figure("inspect")),
            "stages": part(*alone),
            "growth": part(*grown, messages=LARGE),
            "extremes": part(*(figure(each.name, outgrown) for each in extremes.CONTENDERS), messages=outgrown),
            "days": part(*map(figure, days.LINES)),
        }
    )
