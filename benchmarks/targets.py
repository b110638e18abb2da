"""What the lines must reach, and whether they did, from the figures alone.

A ratio is one of medians of the same interleaved run. A target that names a size is judged at that size only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.corpus import DEMO, LARGE_CELL_BYTES, REAL, Corpus
from benchmarks.lines import PARTS as SIZED
from benchmarks.lines import SMALL_MESSAGES, script_corpora
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
        if self.part in SIZED and part.messages != MESSAGES:
            return "another size"
        reached = found >= self.limit if self.at_least else found <= self.limit
        return "reached" if reached else "missed"


# --- how it is found ---------------------------------------------------------------------------------------------


def value(part: str, name: str, of: str = "seconds", *, corpus: str = DEMO, messages: int | None = None) -> Found:
    """The median seconds, the worst `peak_mb` or a count of a line."""

    def found(results: Results) -> float | None:
        figure = results.figure(part, name, messages, corpus)
        if figure is None:
            return None
        return figure.counts.get(of) if of not in ("seconds", "peak_mb") else float(getattr(figure, of))

    return found


def ratio(own: Found, *bases: Found) -> Found:
    """One figure against another, or against the largest of several."""

    def found(results: Results) -> float | None:
        above, below = own(results), [base(results) for base in bases]
        known = [each for each in below if each]
        return above / max(known) if above is not None and len(known) == len(bases) else None

    return found


def above(own: Found, base: Found) -> Found:
    """One figure beyond another."""

    def found(results: Results) -> float | None:
        more, less = own(results), base(results)
        return more - less if more is not None and less is not None else None

    return found


def worst(found: Sequence[Found]) -> Found:
    """The largest of those that were measured, where one was."""
    return lambda results: max((value for each in found if (value := each(results)) is not None), default=None)


def beyond_its_rows(whole: str, portable: str) -> Found:
    """How much longer the whole takes than the portable, beyond the share of the rows that it has more, in percent."""
    times = ratio(value("lines", whole), value("lines", portable))
    rows = ratio(value("lines", whole, "rows"), value("lines", portable, "rows"))
    beyond = above(times, rows)
    return lambda results: None if (share := beyond(results)) is None else 100 * share


def _peaks(part: str, *names: str, messages: int | None = None) -> Found:
    return worst([value(part, name, "peak_mb", messages=messages) for name in names])


def against(own: str, base: str, of: str = "seconds") -> Callable[[str, str, int | None], Found]:
    """The ratio of two lines, of a part, a corpus and a size."""
    return lambda part, corpus, messages: ratio(
        *(value(part, name, of, corpus=corpus, messages=messages) for name in (own, base))
    )


def in_scripts(results: Results) -> list[Corpus]:
    """The corpora of the part "scripts", ASCII first."""
    part = results.parts.get("scripts")
    return script_corpora(part.messages) if part is not None else []


def worst_script(found: Callable[[str, str, int | None], Found]) -> Found:
    """The worst of all languages."""
    return lambda results: worst([found("scripts", c.name, c.messages) for c in in_scripts(results)])(results)


def slowest_script(name: str) -> Found:
    """The slowest of all languages against ASCII."""

    def found(results: Results) -> float | None:
        times = [value("scripts", name, corpus=c.name, messages=c.messages) for c in in_scripts(results)]
        return ratio(worst(times), times[0])(results) if times else None

    return found


def _begun(name: str) -> Found:
    return above(value("small", name, messages=SMALL_MESSAGES), value("small", "python", messages=SMALL_MESSAGES))


# --- the targets -------------------------------------------------------------------------------------------------

ANY_ORDER = ("import-missing", "import-shuffled")
_LARGER = above(value("small", "inspect"), value("small", "inspect", messages=SMALL_MESSAGES))

RATIOS = (
    ("export-null", "export to /dev/null, against `SELECT *`", 2.8, against("export-null", "select")),
    ("export-file", "export to a file, against `SELECT *`", 3.0, against("export-file", "select")),
    ("import-missing", "import, missing database, against `INSERT SELECT`", 1.05, against("import-missing", "insert")),
    ("import-empty", "import, empty database, against `INSERT SELECT`", 1.05, against("import-empty", "insert")),
    (
        "import-living", "import, living database: how long others cannot write, against `INSERT SELECT`", 1.15,
        against("import-living", "insert-living", "blocked"),
    ),
    ("verify", "verify, against hashing and strict decoding", 0.8, against("verify", "strict")),
)  # fmt: skip
"""For every corpus that they are measured with."""

IN_SCRIPTS = ("export-null", "import-missing", "verify")

BEGINNINGS = (
    ("list", 0.15, _begun("list")), ("inspect", 0.2, _begun("inspect")), ("verify", 0.25, _begun("verify")),
    ("export", 0.25, _begun("export-file")), ("import", 0.4, _begun("import-missing")),
)  # fmt: skip

TARGETS = (
    *(
        Target(f"{name}-{corpus}", f"{text}, {words}", limit, "x", found("lines", corpus, None))
        for name, text, limit, found in RATIOS
        for corpus, words in ((DEMO, "demo"), (REAL, "the real program's databases"))
    ),
    *(
        Target(f"{name}-scripts", f"{text}, worst script", limit, "x", worst_script(found), part="scripts")
        for name, text, limit, found in RATIOS
        if name in IN_SCRIPTS
    ),
    *(
        Target(f"{name}-slowest", f"{name}, slowest script against ASCII", 1.1, "x", found, part="scripts")
        for name, found in (("import", slowest_script("import-missing")), ("verify", slowest_script("verify")))
    ),
    *(
        Target(f"{name}-small", f"`{name}` of 600 messages, above `python -c pass`", limit, "s", found, part="small")
        for name, limit, found in BEGINNINGS
    ),
    Target("inspect-large", "inspect of 200,000 messages, above that of 600", 0.15, "s", _LARGER, part="small"),
    Target("help", "`--help`, above `python -c pass`", 0.15, "s", _begun("help"), part="small"),
    *(
        Target(
            f"file-{name}", f"export to a file, {name}, against plain", limit, "x",
            ratio(value("lines", f"file-{name}"), value("lines", "export-file")),
        )
        for name, limit in (("zstd", 1.35), ("gzip", 1.3), ("age", 1.3), ("zstd-age", 1.6))
    ),
    Target(
        "wrapped-peak", "export compressed and encrypted, peak memory", 95, "MB",
        _peaks("lines", "file-zstd", "file-gzip", "file-age", "file-zstd-age"),
    ),
    Target("export-peak", "export, peak memory", 74, "MB", _peaks("lines", "export-null", "export-file")),
    Target("import-peak", "import, peak memory, any order", 152, "MB", _peaks("lines", "import-empty", *ANY_ORDER)),
    Target(
        "export-growth", "export, peak at 1,000,000 against that at 100,000", 1.1, "x",
        ratio(_peaks("growth", "export-null", messages=LARGE), _peaks("growth", "export-null", messages=LARGE // 10)),
        part="growth",
    ),
    Target(
        "import-growth", "import, any order, peak at 1,000,000 against that at 100,000", 1.1, "x",
        ratio(_peaks("growth", *ANY_ORDER, messages=LARGE), _peaks("growth", *ANY_ORDER, messages=LARGE // 10)),
        part="growth",
    ),
    Target(
        "rowwise", "`json` + `cbor2` row by row, against export", 8, "x",
        ratio(value("lines", "rowwise"), value("lines", "export-null")), at_least=True,
    ),
    Target(
        "pipe", "export piped into import, against the slower half alone", 1, "x",
        ratio(value("lines", "pipe"), value("lines", "export-null"), value("lines", "import-missing")),
    ),
    Target(
        "extensions-out", "export, time of a whole backup beyond its share of rows", 10, "%",
        beyond_its_rows("export-file", "portable-file"),
    ),
    Target(
        "extensions-in", "import, time of a whole backup beyond its share of rows", 10, "%",
        beyond_its_rows("import-missing", "import-portable"),
    ),
    *(
        Target(f"{kind}-{name}", text, limit + more, "MB", _peaks("extremes", f"{kind}-{name}"), part="extremes")
        for kind, name, text, limit, more in (
            ("entries", "export", "export of a million entries of one agent, peak", 80, 0),
            ("entries", "import", "import of the same, peak", 170, 0),
            ("cell", "export", "export of a cell of 256 MB, peak, two copies of it allowed", 80, TWO_COPIES_MB),
            ("cell", "import", "import of the same, peak", 170, TWO_COPIES_MB),
        )
    ),
    *(
        Target(f"days-{name}", f"archive of the next day, bytes in no earlier one: {text}", limit, "%",
               value("days", name, "new_percent"), part="days")
        for name, text, limit in (
            ("append", "1 % new messages", 2.5),
            ("churn", "1 % archived and 20 deleted as well", 12),
        )
    ),
)  # fmt: skip


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
