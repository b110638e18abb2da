"""What was measured, as one JSON file: parts that are measured apart, each with where and how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.corpus import DEMO
from benchmarks.fitting import Fit
from benchmarks.growth import fitted
from benchmarks.harness import Figure
from benchmarks.provenance import Provenance

PARTS = ("lines", "scripts", "small", "stages", "growth", "extremes", "days")
KEPT = Path(__file__).with_name("results") / "latest.json"
"""The one that is committed, and that the README is made from."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part: `messages` is its largest size, `skipped` who could not take part, and why."""

    provenance: Provenance
    messages: int
    rounds: int
    figures: tuple[Figure, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Results:
    """All parts that were measured, by name."""

    parts: Mapping[str, Part] = field(default_factory=dict)

    def figure(self, part: str, name: str, messages: int | None = None, corpus: str = DEMO) -> Figure | None:
        """A figure by its name and corpus, at a size or at the part's own, None where it was not measured."""
        found = self.parts.get(part)
        if found is None:
            return None
        size = found.messages if messages is None else messages
        wanted = (name, size, corpus)
        return next((each for each in found.figures if (each.name, each.messages, each.corpus) == wanted), None)

    def fits(self) -> dict[str, dict[str, Fit]]:
        """How cost grows, by line."""
        growth = self.parts.get("growth")
        return fitted(growth.figures) if growth is not None else {}

    def with_part(self, name: str, part: Part) -> Results:
        """The same with one part measured anew."""
        parts = {**self.parts, name: part}
        return Results({each: parts[each] for each in PARTS if each in parts})


def to_json(results: Results, judged: list[dict[str, Any]]) -> str:
    """The file's text: every part, the fits, and what became of each target."""
    told: dict[str, Any] = {name: asdict(part) for name, part in results.parts.items()}
    told["fits"] = {line: {of: asdict(fit) for of, fit in fits.items()} for line, fits in results.fits().items()}
    told["targets"] = judged
    return json.dumps(_rounded(told), indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> Results:
    """The parts of a file; fits and verdicts follow from them."""
    told = json.loads(text)
    return Results({name: _part(told[name]) for name in PARTS if name in told})


def load(path: Path) -> Results:
    """What a file holds, nothing where there is none."""
    return from_json(path.read_text(encoding="utf-8")) if path.exists() else Results()


def settled(results: Results) -> Results:
    """The same as it will be read back, so that what follows from it follows from the file."""
    return from_json(to_json(results, []))


def _part(told: dict[str, Any]) -> Part:
    figures = tuple(Figure(**figure) for figure in told["figures"])
    return Part(**told | {"provenance": Provenance(**told["provenance"]), "figures": figures})


def _rounded(value: Any) -> Any:
    """Numbers to the microsecond and the kilobyte: more was not measured. Factors of fits are left as they are."""
    if isinstance(value, float):
        return round(value, 6) if abs(value) >= 0.001 else float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value
