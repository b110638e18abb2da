"""`make bench`: measure, keep the figures, draw them, write the README's section on performance.

Usage: python -m benchmarks [--only PART ...] [--messages N] [--large N] [--rounds N]
       python -m benchmarks --quick     all but extremes and days at a small size; nothing of the checkout is touched
       python -m benchmarks --render    from the kept figures, without measuring

lines     whole lines and their peers at --messages, interleaved: in every round what targets hang on, else in half;
          with the demonstration, and with databases of the real program where they are there
scripts   the same in one language after the other, a quarter of --messages
small     commands with 600 messages, beside the start of Python
stages    every stage alone, at 1, 10 and 100 hundredths of --messages, beside its floor
growth    time and peak memory from 1,000 to --large messages, with the exponents of their growth
extremes  a million entries of one agent, a cell of 256 MB
days      the bytes of the next day's archive that are in no earlier one, over ten days
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import days, extremes, growth, lines, stages
from benchmarks.corpus import OUTGROWN_MESSAGES, folder, sweep
from benchmarks.harness import Figure
from benchmarks.picture import draw, require_matplotlib
from benchmarks.provenance import here
from benchmarks.rendering import all_tables, into_readme, section
from benchmarks.results import KEPT, PARTS, Part, Results, load, settled, to_json
from benchmarks.targets import judged

QUICK_MESSAGES, QUICK_LARGE = 5_000, 10_000
QUICK_PARTS = ("lines", "scripts", "small", "stages", "growth")


def given(arguments: list[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    options = argparse.ArgumentParser("python -m benchmarks", description=__doc__, formatter_class=_AsItIs)
    options.add_argument("--only", choices=PARTS, action="append", help="measure this part; repeatable")
    options.add_argument("--messages", type=int, default=200_000, help="size of lines and stages (%(default)s)")
    options.add_argument("--large", type=int, default=1_000_000, help="largest size of growth (%(default)s)")
    options.add_argument("--rounds", type=int, default=5, help="rounds of lines; other parts have fewer (%(default)s)")
    options.add_argument("--quick", action="store_true", help="one small round, kept outside the checkout")
    options.add_argument("--render", action="store_true", help="measure nothing")
    options.add_argument("--results", type=Path, help="keep the figures here instead; the README stays as it is")
    found = options.parse_args(arguments)
    if found.quick:
        found.only, found.rounds = found.only or list(QUICK_PARTS), 1
        found.messages, found.large = min(found.messages, QUICK_MESSAGES), min(found.large, QUICK_LARGE)
        found.results = found.results or folder() / "quick.json"
    return found


_AsItIs = argparse.RawDescriptionHelpFormatter


def measured(name: str, options: argparse.Namespace) -> Part:
    """One part, measured here and now."""
    fewer = max(options.rounds // 2, 1)
    print(f"== bench: {name}", file=sys.stderr)
    if name in lines.PARTS:
        figures, skipped = lines.measure(name, options.messages, options.rounds)
        return Part(here(), options.messages, options.rounds, tuple(figures), skipped)
    parts: dict[str, tuple[int, int, Callable[[], list[Figure]]]] = {
        "stages": (options.messages, fewer, lambda: stages.measure(options.messages, fewer)),
        "growth": (max(growth.sizes(options.large)), fewer, lambda: growth.measure(options.large, fewer)),
        "extremes": (OUTGROWN_MESSAGES, 1, lambda: extremes.measure(1)),
        "days": (options.messages, 1, lambda: days.measure(options.messages)),
    }
    messages, rounds, measure = parts[name]
    return Part(here(), messages, rounds, tuple(measure()))


def keep(results: Results, path: Path) -> Results:
    """Write the figures, and what follows from them; the README only where they are the ones it is made from."""
    results = settled(results)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(results, judged(results)), encoding="utf-8")
    draw(results, path.with_suffix(".svg"))
    path.with_suffix(".md").write_text(all_tables(results), encoding="utf-8")
    if path == KEPT:
        into_readme(section(results))
    return results


def main() -> None:
    """Measure part by part, keeping each as it is done."""
    options = given()
    require_matplotlib()
    path = options.results or KEPT
    results = load(path)
    for name in () if options.render else options.only or PARTS:
        results = keep(results.with_part(name, measured(name, options)), path)
        sweep()
    results = keep(results, path)
    print(section(results), all_tables(results), sep="\n\n")


if __name__ == "__main__":
    main()
