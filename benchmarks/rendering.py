"""The README's section on performance, made from the figures alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.contender import Contender
from benchmarks.corpus import ROOT
from benchmarks.export_lines import CONTENDERS as OUT
from benchmarks.fitting import Fit
from benchmarks.growth import FITTED_FROM, LINES
from benchmarks.harness import Figure
from benchmarks.import_lines import CONTENDERS as IN
from benchmarks.lines import named
from benchmarks.read_lines import CONTENDERS as READ
from benchmarks.results import KEPT, Part, Results
from benchmarks.stages import STAGES, Stage, sizes
from benchmarks.tables import count, megabytes, seconds, short, table, times
from benchmarks.targets import TARGETS, Target

README = ROOT / "README.md"
PICTURE = KEPT.with_suffix(".svg")
MARKED = re.compile(r"(<!-- bench -->\n).*?(<!-- /bench -->)", re.DOTALL)
HEADS = ("", "median", "least to most", "peak memory", "all processes")


def section(results: Results) -> str:
    """All of it."""
    parts = [_targets(results), *_lines(results), _stages(results), _growth(results), _where(results)]
    return "\n\n".join([f"![Time and memory]({PICTURE.relative_to(ROOT).as_posix()})", *filter(None, parts)])


def into_readme(text: str, path: Path = README) -> None:
    """Put the section where it belongs. Raises SystemExit where the README has no place for it."""
    whole = path.read_text(encoding="utf-8")
    if not MARKED.search(whole):
        raise SystemExit(f"error: {path} has no place marked <!-- bench -->")
    path.write_text(MARKED.sub(lambda marks: f"{marks[1]}{text}\n{marks[2]}", whole), encoding="utf-8")


# --- targets -----------------------------------------------------------------------------------------------------


def _targets(results: Results) -> str:
    rows = [[target.text, *_judged(target, results)] for target in TARGETS]
    return table(["target", "found", "expected", "verdict"], rows)


def _judged(target: Target, results: Results) -> list[str]:
    found = target.found(results)
    expected = f"{'at least' if target.at_least else 'at most'} {short_unit(target.limit, target.unit)}"
    return ["-" if found is None else short_unit(found, target.unit), expected, target.verdict(results)]


def short_unit(value: float, unit: str) -> str:
    """A number with its unit, with as many digits as the unit is worth."""
    if unit in ("MB", "%"):
        return f"{value:.0f} {unit}"
    return f"{value:.3f} {unit}" if unit == "s" else f"{value:.2f} {unit}"


# --- whole lines -------------------------------------------------------------------------------------------------


def _lines(results: Results) -> list[str]:
    part = results.parts.get("lines")
    if part is None:
        return []
    size = f"{count(part.messages)} messages"
    return [
        _against(results, OUT, "raw", f"Out, {size}", "raw"),
        _against(results, IN, "insert-select", f"In, {size}", "`INSERT SELECT`"),
        _against(results, READ, "verify", f"Read, {size}", "verify"),
    ]


def _against(results: Results, contenders: Sequence[Contender], base: str, title: str, word: str) -> str:
    """One table; every median as a multiple of the base's."""
    first = results.figure("lines", base)
    found = [(each, figure) for each in contenders if (figure := results.figure("lines", each.name)) is not None]
    header = [title, "median", "least to most", f"against {word}", "peak memory", "all processes"]
    return table(header, [_line(each.label, figure, first) for each, figure in found])


def _line(label: str, figure: Figure, base: Figure | None) -> list[str]:
    spread = f"{short(figure.least_seconds)} to {short(figure.most_seconds)}"
    against = times(figure.seconds / base.seconds) if base is not None else "-"
    return [
        label, seconds(figure.seconds), spread, against, megabytes(figure.peak_mb), megabytes(figure.together_mb),
    ]  # fmt: skip


# --- stages ------------------------------------------------------------------------------------------------------


def _stages(results: Results) -> str:
    part = results.parts.get("stages")
    if part is None:
        return ""
    at = sizes(part.messages)
    header = ["stage alone, µs a message", *(f"of {count(size)}" for size in at), "MB/s", "against", "the plain way"]
    return table(header, [_stage(results, stage, at) for stage in STAGES])


def _stage(results: Results, stage: Stage, at: Sequence[int]) -> list[str]:
    figures = [results.figure("stages", stage.name, size) for size in at]
    floor, largest = results.figure("stages", f"{stage.name}-floor"), figures[-1]
    if largest is None:
        return [stage.label, *["-"] * (len(at) + 2), stage.floor]
    mb = largest.counts.get("bytes", 0) / largest.seconds / 1_000_000
    over = times(largest.seconds / floor.seconds) if floor is not None else ""
    label = f"{stage.label}, a document" if "documents" in largest.counts else stage.label
    return [label, *map(_per_item, figures), count(mb) if mb else "", over, stage.floor]


def _per_item(figure: Figure | None) -> str:
    """Microseconds a message, or a memory document where a stage does little else."""
    if figure is None:
        return "-"
    return short(figure.seconds * 1_000_000 / figure.counts.get("documents", figure.messages))


# --- growth ------------------------------------------------------------------------------------------------------


def _growth(results: Results) -> str:
    part = results.parts.get("growth")
    if part is None:
        return ""
    decades = [size for size in sorted({figure.messages for figure in part.figures}) if str(size).strip("0") == "1"]
    header = ["as work grows", *map(count, decades), "time grows as", "peak of least and most", "peak grows as"]
    return table(header, [_grown(results, line, decades) for line in LINES])


def _grown(results: Results, line: str, decades: Sequence[int]) -> list[str]:
    figures = [results.figure("growth", line, size) for size in decades]
    cells = [seconds(figure.seconds) if figure is not None else "-" for figure in figures]
    measured = [figure for figure in figures if figure is not None]
    peaks = [megabytes(figure.peak_mb) for figure in (measured[:1] + measured[1:][-1:])]
    fits = results.fits().get(line, {})
    return [named(line).label, *cells, _power(fits.get("seconds")), " and ".join(peaks), _power(fits.get("peak_mb"))]


def _power(fit: Fit | None) -> str:
    return f"n^{fit.exponent:.2f}" if fit is not None else "-"


# --- where and how -----------------------------------------------------------------------------------------------


def _where(results: Results) -> str:
    """How it was measured, and on what; parts that were measured elsewhere by name."""
    sentences = [
        "Contenders take turns, each run in a process of its own; a ratio is one of medians from the same turns. What "
        "is written as a command line is measured as one, from start to end. Peak memory is that of the largest "
        "process; all processes together count what they share more than once. A stage alone is fed from prepared "
        "input, in one process; a large export shares the work of `read_scope`, `map_rows` and `chunk` with others.",
        f"Growth is fitted from {count(FITTED_FROM)} messages on, time as a + b n^k and peak memory as b n^k, by least "
        "squares of relative errors.",
        *_provenances(results.parts.items()),
        *(f"Not run: {reason}." for reason in sorted(_skipped(results))),
    ]
    return " ".join(sentences)


def _provenances(parts: Iterable[tuple[str, Part]]) -> list[str]:
    """One sentence for each place where parts were measured."""
    places: dict[str, list[str]] = {}
    for name, part in parts:
        places.setdefault(str(part.provenance), []).append(f"{name} ({_rounds(part)})")
    return [f"Measured on {place}: {', '.join(names)}." for place, names in places.items()]


def _rounds(part: Part) -> str:
    return f"{part.rounds} round{'s' if part.rounds > 1 else ''}"


def _skipped(results: Results) -> set[str]:
    return {reason for part in results.parts.values() for reason in part.skipped.values()}
