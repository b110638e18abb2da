"""The README's section on performance, made from the figures alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.contender import Contender
from benchmarks.corpus import DEMO, REAL, ROOT
from benchmarks.export_lines import CONTENDERS as OUT
from benchmarks.fitting import Fit
from benchmarks.growth import FITTED_FROM, LINES
from benchmarks.harness import Figure
from benchmarks.import_lines import CONTENDERS as IN
from benchmarks.lines import SMALL, SMALL_MESSAGES, named
from benchmarks.read_lines import CONTENDERS as READ
from benchmarks.results import KEPT, Part, Results
from benchmarks.stages import STAGES, Stage, sizes
from benchmarks.tables import count, megabytes, seconds, short, table, times
from benchmarks.targets import TARGETS, Target, in_scripts

README = ROOT / "README.md"
PICTURE = KEPT.with_suffix(".svg")
TABLES = KEPT.with_suffix(".md")
MARKED = re.compile(r"(<!-- bench -->\n).*?(<!-- /bench -->)", re.DOTALL)


def section(results: Results) -> str:
    """What the README shows."""
    picture, tables = (each.relative_to(ROOT).as_posix() for each in (PICTURE, TABLES))
    more = f"[All tables]({tables}): every line and its peers, scripts, small databases, stages, growth."
    return "\n\n".join([f"![Time and memory]({picture})", _targets(results), f"{more} {_where(results)}"])


def all_tables(results: Results) -> str:
    """Everything that was measured."""
    parts = [*_lines(results), _scripts(results), _small(results), _stages(results), _growth(results), _where(results)]
    return "\n\n".join(["# What was measured", *filter(None, parts)]) + "\n"


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
        return f"{value:.{int(unit == '%' and abs(value) < 10)}f} {unit}"
    return f"{value:.3f} {unit}" if unit == "s" else f"{value:.2f} {unit}"


# --- whole lines -------------------------------------------------------------------------------------------------


def _lines(results: Results) -> list[str]:
    part = results.parts.get("lines")
    if part is None:
        return []
    size = f"{count(part.messages)} messages"
    return [
        _against(results, OUT, "select", f"Out, {size}", "`SELECT *`"),
        _against(results, IN, "insert", f"In, {size}", "`INSERT SELECT`"),
        _against(results, READ, "strict", f"Read, {size}", "strict decoding"),
    ]


def _against(results: Results, contenders: Sequence[Contender], base: str, title: str, word: str) -> str:
    """One table; every median as a multiple of the base's, with both corpora."""
    header = [title, "demo", f"x {word}", "real program's", f"x {word}", "processors", "peak memory", "all processes"]
    found = [(each, figure) for each in contenders if (figure := results.figure("lines", each.name)) is not None]
    return table(
        header,
        [
            [
                each.label,
                *(cell for corpus in (DEMO, REAL) for cell in _times(results, "lines", each.name, base, corpus)),
                seconds(figure.cpu_seconds),
                megabytes(figure.peak_mb),
                megabytes(figure.together_mb),
            ]
            for each, figure in found
        ],
    )


def _times(
    results: Results, part: str, name: str, base: str, corpus: str, messages: int | None = None
) -> tuple[str, str]:
    """The median of a line, and as a multiple of another's; dashes where it was not measured."""
    figure, first = (results.figure(part, each, messages, corpus) for each in (name, base))
    if figure is None:
        return "-", "-"
    return seconds(figure.seconds), times(figure.seconds / first.seconds) if first is not None else "-"


def _scripts(results: Results) -> str:
    """One row a language: what it takes, and as a multiple of the peer with the same rows."""
    corpora = in_scripts(results)
    if not corpora:
        return ""
    header = [f"One script, {count(corpora[0].messages)} messages"]
    for word, against in (("export", "`SELECT *`"), ("import", "`INSERT SELECT`"), ("verify", "strict decoding")):
        header += [word, f"x {against}"]
    pairs = (("export-null", "select"), ("import-missing", "insert"), ("verify", "strict"))
    rows = [
        [
            corpus.name,
            *(
                cell
                for own, base in pairs
                for cell in _times(results, "scripts", own, base, corpus.name, corpus.messages)
            ),
        ]
        for corpus in corpora
    ]
    return table(header, rows)


def _small(results: Results) -> str:
    """What each command takes with few messages."""
    base = results.figure("small", "python", SMALL_MESSAGES)
    if base is None:
        return ""
    found = [(named(name), results.figure("small", name, SMALL_MESSAGES)) for name in SMALL]
    rows = [
        [
            each.label,
            *map(seconds, (figure.seconds, figure.seconds - base.seconds, figure.cpu_seconds)),
            megabytes(figure.peak_mb),
        ]
        for each, figure in found
        if figure is not None
    ]
    return table([f"{SMALL_MESSAGES} messages", "median", "above `python -c pass`", "processors", "peak memory"], rows)


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
        "Lines and their peers take turns, each as processes of its own from start to end; a ratio is one of medians "
        "from the same turns. Peak memory is that of the largest process; all processes together count what they share "
        "more than once; processor time is that of all of them. A stage alone is fed from prepared input, in one "
        "process; a large export shares the work of `read_scope`, `map_rows` and `chunk` with others.",
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
