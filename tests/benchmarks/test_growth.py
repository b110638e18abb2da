"""What is measured as work grows, and how lines that end early are shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import growth, rendering
from benchmarks.lines import named
from benchmarks.results import Results
from tests.benchmarks.figures import figure, part


def test_every_line_at_one_ten_and_hundred_times() -> None:
    """Some go further; no name is that of no line."""
    sizes = growth.sizes(growth.STEPS[-1])
    lines = [name for name in growth.LINES if named(name).missing() is None]

    assert {*growth.FAR} <= {*lines}
    assert all(growth.is_measured(name, size) for name in lines for size in (1_000, 10_000, 100_000))
    assert [*growth.FAR] == [name for name in lines if growth.is_measured(name, sizes[-1])]


def test_what_cannot_run_here_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """At no size."""
    monkeypatch.setattr(growth, "named", lambda name: replace(named(name), missing=lambda: "not here"))

    assert not any(growth.is_measured(name, 1_000) for name in growth.LINES)


def test_a_line_that_ends_early_has_its_own_most() -> None:
    """Where it was not measured there is a dash, not a figure of another size."""
    near = growth.NEAR[0]
    figures = [figure(near, 1_000, peak_mb=50.0), figure(near, 10_000, peak_mb=60.0)]
    far = [figure(growth.FAR[0], size, peak_mb=70.0) for size in (1_000, 10_000, 100_000)]
    text = rendering.all_tables(Results({"growth": part(*figures, *far)}))
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {named(near).label} |")]

    assert "| 2.00 s | 2.00 s | - |" in row
    assert "50 MB and 60 MB" in row
