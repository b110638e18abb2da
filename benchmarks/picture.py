"""The figures as one picture: whole lines, stages beside their floors, time and memory as work grows.

The same figures give the same file: no date, no random ids, text as text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.growth import FAR
from benchmarks.lines import CONTENDERS, named
from benchmarks.results import Results, to_json
from benchmarks.stages import STAGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, THEIRS, FLOOR = "#2f6f9f", "#b9b9b9", "#e0a458"
PEERS = frozenset(
    (
        "select", "vacuum", "rowwise", "encode", "gzip-alone", "zstd-alone", "insert", "insert-living", "strict",
        "plain", "decode_car", "node-frame", "node-decode", "go",
    )
)  # fmt: skip
STYLE: Any = {"svg.hashsalt": "pattern-stream", "svg.fonttype": "none", "font.size": 8, "axes.titlesize": 9}


def mark_of(results: Results) -> str:
    """A name for the figures that a picture shows."""
    return f"sha256:{hashlib.sha256(to_json(results, []).encode()).hexdigest()}"


def require_matplotlib() -> None:
    """Raises SystemExit where nothing can be drawn: before minutes are spent on measuring."""
    if find_spec("matplotlib") is None:
        raise SystemExit(
            "error: matplotlib is not installed, and there is no picture without it\n"
            "hint: `make bench` runs in an environment that has it"
        )


def draw(results: Results, path: Path) -> None:
    """Draw everything that was measured into an SVG file."""
    import matplotlib
    from matplotlib.figure import Figure as Sheet

    with matplotlib.rc_context(STYLE):
        sheet = Sheet(figsize=(11, 9), layout="constrained")
        axes: Any = sheet.subplots(2, 2)
        for drawing, where in zip(DRAWINGS, axes.flat, strict=True):
            drawing(results, where)
        sheet.savefig(path, format="svg", metadata={"Date": None, "Creator": None, "Identifier": mark_of(results)})


def _bars(axes: Axes, labels: Sequence[str], values: Sequence[float], colours: Sequence[str]) -> None:
    places = range(len(labels))
    axes.barh(places, values, color=colours)
    axes.set_yticks(places, labels)
    axes.invert_yaxis()


def _draw_lines(results: Results, axes: Axes) -> None:
    found = [(each, figure) for each in CONTENDERS if (figure := results.figure("lines", each.name)) is not None]
    colours = [THEIRS if each.name in PEERS else OURS for each, _ in found]
    _bars(axes, [each.name for each, _ in found], [figure.seconds for _, figure in found], colours)
    low = [figure.seconds - figure.least_seconds for _, figure in found]
    high = [figure.most_seconds - figure.seconds for _, figure in found]
    axes.errorbar([figure.seconds for _, figure in found], range(len(found)), xerr=[low, high], fmt="none", ecolor="k")
    axes.set_title("whole lines, seconds (grey: peers; line: least to most)")


def _draw_stages(results: Results, axes: Axes) -> None:
    found = [(stage, figure) for stage in STAGES if (figure := results.figure("stages", stage.name)) is not None]
    per_message = [figure.seconds * 1_000_000 / figure.messages for _, figure in found]
    _bars(axes, [stage.label.strip("`") for stage, _ in found], per_message, [OURS] * len(found))
    floors = [results.figure("stages", f"{stage.name}-floor") for stage, _ in found]
    under = [floor.seconds * 1_000_000 / floor.messages if floor is not None else 0.0 for floor in floors]
    axes.barh(range(len(found)), under, height=0.3, color=FLOOR)
    axes.set_title("stages alone, µs a message (yellow: the plain way)")


def _draw_growth(of: str, title: str, scale: str) -> Callable[[Results, Axes], None]:
    def drawing(results: Results, axes: Axes) -> None:
        part = results.parts.get("growth")
        for line in FAR:
            own = sorted((f.messages, getattr(f, of)) for f in (part.figures if part else ()) if f.name == line)
            fit = results.fits().get(line, {}).get(of)
            power = f", n^{fit.exponent:.2f}" if fit is not None else ""
            label = f"{named(line).label}{power}"
            axes.plot([size for size, _ in own], [value for _, value in own], marker="o", markersize=3, label=label)
        axes.set_title(title)
        if part is not None:
            axes.set(xscale="log", xlabel="messages", yscale=scale)
            axes.legend(fontsize=7)
        if scale == "linear":
            axes.set_ylim(bottom=0)

    return drawing


DRAWINGS = (
    _draw_lines,
    _draw_stages,
    _draw_growth("seconds", "time as work grows, seconds", "log"),
    _draw_growth("peak_mb", "peak memory of the largest process, MB", "linear"),
)
