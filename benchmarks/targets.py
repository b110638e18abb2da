"""What the lines must reach, and whether they did, from the figures alone.

A ratio is one of medians of the same interleaved run. A target that names a size is judged at that size only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.corpus import LARGE_CELL_BYTES
from benchmarks.harness import Figure
from benchmarks.results import Results

MESSAGES, LARGE = 200_000, 1_000_000
TWO_COPIES_MB = 2 * LARGE_CELL_BYTES / 1_000_000

Found = Callable[[Results], float | None]


@dataclass(frozen=True, slots=True)
class Target:
    """`limit` in `unit`: found may be at most that, or with `at_least` must be that much. `part` tells its size."""

    name: str
    text: str
    limit: float
    unit: str
    found: Found
    at_least: bool = False
    part: str = "lines"

    def verdict(self, results: Results) -> str:
        """ "reached", "missed", or why neither can be said."""
        found, part = self.found(results), results.parts.get(self.part)
        if found is None or part is None:
            return "not measured"
        if self.part == "lines" and part.messages != MESSAGES:
            return "another size"
        reached = found >= self.limit if self.at_least else found <= self.limit
        return "reached" if reached else "missed"


def seconds(name: str) -> Found:
    """The median of a line."""
    return lambda results: _seconds(results.figure("lines", name))


def ratio(name: str, *bases: str) -> Found:
    """A line's median against another's, or against the slower of several."""

    def found(results: Results) -> float | None:
        own, others = seconds(name)(results), [seconds(base)(results) for base in bases]
        known = [other for other in others if other is not None]
        return own / max(known) if own is not None and len(known) == len(bases) else None

    return found


def peak(part: str, *names: str, messages: int | None = None) -> Found:
    """The worst peak of some lines, at a size; of those that were measured, and at least one was."""

    def found(results: Results) -> float | None:
        figures = [results.figure(part, name, messages) for name in names]
        return max((figure.peak_mb for figure in figures if figure is not None), default=None)

    return found


def peak_growth(results: Results) -> float | None:
    """Peak memory of an export of 1,000,000 messages against that of 200,000."""
    small, large = peak("lines", "export-null")(results), peak("growth", "export-null", messages=LARGE)(results)
    return large / small if small and large else None


def beyond_its_rows(whole: str, portable: str) -> Found:
    """How much longer the whole takes than the portable, beyond the share of the rows that it has more, in percent."""

    def found(results: Results) -> float | None:
        more, less = results.figure("lines", whole), results.figure("lines", portable)
        if more is None or less is None:
            return None
        return 100 * (more.seconds / less.seconds - more.counts["rows"] / less.counts["rows"])

    return found


def _seconds(figure: Figure | None) -> float | None:
    return figure.seconds if figure is not None else None


def _wide(kind: str, line: str) -> Found:
    return peak("extremes", f"{kind}-{line}")


EXPORT_MB, IMPORT_MB = 80, 170
ANY_ORDER = ("import-missing", "import-shuffled")

_PORTABLE = ratio("export-portable", "raw")

TARGETS = (
    Target("export-null", "export to /dev/null, against the raw fetch", 2.6, "x", ratio("export-null", "raw")),
    Target("export-portable", "the same of the rows that were fetched alone (`--portable`)", 2.6, "x", _PORTABLE),
    Target("export-file", "export to a file, against the raw fetch", 3.2, "x", ratio("export-file", "raw")),
    Target("portable-file", "the same of the rows that were fetched alone", 3.2, "x", ratio("portable-file", "raw")),
    Target(
        "rowwise", "`json` + `cbor2` row by row, against export", 8, "x", ratio("rowwise", "export-null"), at_least=True
    ),
    Target("export-peak", "export, peak memory", EXPORT_MB, "MB", peak("lines", "export-null", "export-file")),
    Target("export-growth", "export, peak at 1,000,000 against that at 200,000", 1.1, "x", peak_growth),
    Target("help", "`pattern-stream --help`", 0.15, "s", seconds("help")),
    Target(
        "import-missing",
        "import, missing database, against `INSERT SELECT`",
        1,
        "x",
        ratio("import-missing", "insert-select"),
    ),
    Target(
        "import-empty",
        "import, empty database, against `INSERT SELECT`",
        1,
        "x",
        ratio("import-empty", "insert-select"),
    ),
    Target("verify", "verify, against import", 0.5, "x", ratio("verify", "import-missing")),
    Target("import-peak", "import, peak memory, any order", IMPORT_MB, "MB", peak("lines", "import-empty", *ANY_ORDER)),
    Target(
        "import-large",
        "import of 1,000,000, peak memory, any order",
        IMPORT_MB,
        "MB",
        peak("growth", *ANY_ORDER, messages=LARGE),
        part="growth",
    ),
    Target(
        "pipe",
        "export piped into import, against the slower half alone",
        1,
        "x",
        ratio("pipe", "export-half", "import-half"),
    ),
    Target(
        "extensions-out",
        "export, time of a whole backup beyond its share of rows",
        10,
        "%",
        beyond_its_rows("export-null", "export-portable"),
    ),
    Target(
        "extensions-in",
        "import, time of a whole backup beyond its share of rows",
        10,
        "%",
        beyond_its_rows("import-missing", "import-portable"),
    ),
    Target(
        "entries-out",
        "export of a million entries of one agent, peak",
        EXPORT_MB,
        "MB",
        _wide("entries", "export"),
        part="extremes",
    ),
    Target("entries-in", "import of the same, peak", IMPORT_MB, "MB", _wide("entries", "import"), part="extremes"),
    Target(
        "cell-out",
        "export of a cell of 256 MB, peak, two copies of it allowed",
        EXPORT_MB + TWO_COPIES_MB,
        "MB",
        _wide("cell", "export"),
        part="extremes",
    ),
    Target(
        "cell-in", "import of the same, peak", IMPORT_MB + TWO_COPIES_MB, "MB", _wide("cell", "import"), part="extremes"
    ),
)


def judged(results: Results) -> list[dict[str, Any]]:
    """Every target with what was found, as the JSON has it."""
    return [
        {
            "name": target.name,
            "text": target.text,
            "found": target.found(results),
            "at_least" if target.at_least else "at_most": target.limit,
            "unit": target.unit,
            "verdict": target.verdict(results),
        }
        for target in TARGETS
    ]
