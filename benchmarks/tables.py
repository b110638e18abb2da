"""Numbers and tables as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def short(value: float) -> str:
    """Three digits or so: 0.0123, 1.23, 12.3, 123."""
    if value >= 99.95:
        return f"{value:,.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def seconds(value: float) -> str:
    """A time."""
    return f"{short(value)} s"


def megabytes(value: float) -> str:
    """A size in memory; a dash where it could not be seen."""
    return f"{value:.0f} MB" if value else "-"


def times(value: float) -> str:
    """A ratio."""
    return f"{value:.2f} x" if value < 99.95 else f"{value:,.0f} x"


def count(value: float) -> str:
    """A number of things."""
    return f"{value:,.0f}"
