"""Verdicts follow from figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.results import Results
from benchmarks.targets import TARGETS, Target, above, beyond_its_rows, judged, ratio, slowest_script, value, worst
from tests.benchmarks.figures import complete, figure, part


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_whole_run_answers_each_target(target: Target) -> None:
    """Every contender that a target names exists, so that no target is silently "not measured"."""
    assert target.found(complete()) is not None
    assert target.verdict(complete()) in ("reached", "missed")


def test_names_are_names() -> None:
    """No two targets share one."""
    assert len(TARGETS) == len({target.name for target in TARGETS})


@pytest.mark.parametrize(
    ("at_least", "found", "expected"),
    [
        (False, 1.0, "reached"), (False, 1.001, "missed"), (True, 1.0, "reached"), (True, 0.999, "missed"),
        (False, None, "not measured"),
    ],
)  # fmt: skip
def test_limits_are_met_or_not(at_least: bool, found: float | None, expected: str) -> None:
    """Exactly the limit is reached, anything beyond is not, and nothing is rounded in our favour."""
    target = Target("x", "", 1.0, "x", lambda _: found, at_least=at_least)

    assert expected == target.verdict(complete())


def test_another_size_is_no_answer() -> None:
    """A quick run at another size reaches and misses nothing."""
    small = Results({"lines": part(figure("select", 5), figure("export-null", 5), messages=5)})

    assert {"another size", "not measured"} == {target.verdict(small) for target in TARGETS}


def test_a_ratio_is_against_the_slowest() -> None:
    """Of several bases that all were measured the slowest counts; where one is missing there is no ratio."""
    figures = [figure("pipe", seconds=6.0), figure("out", seconds=2.0), figure("in", seconds=4.0)]
    results = Results({"lines": part(*figures)})

    pipe, out, back, gone = (value("lines", name) for name in ("pipe", "out", "in", "gone"))

    assert 1.5 == ratio(pipe, out, back)(results)
    assert 3.0 == ratio(pipe, out)(results)
    assert 4.0 == above(pipe, out)(results)
    assert (None, None, None) == (
        ratio(pipe, out, gone)(results),
        ratio(gone, out)(results),
        above(pipe, gone)(results),
    )


def test_the_worst_peak_counts() -> None:
    """Of the lines that were measured, at the size that was asked for."""
    results = Results({"growth": part(figure("a", 10, peak_mb=7.0), figure("b", 10, peak_mb=9.0), figure("b", 20))})

    peaks = [value("growth", name, "peak_mb", messages=10) for name in "abc"]

    assert 9.0 == worst(peaks)(results)
    assert worst(peaks[2:])(results) is None


def test_a_script_is_measured_against_ascii() -> None:
    """Not against the quickest of them; figures of other corpora do not count."""
    figures = [
        figure("verify", 50_000, s, corpus=name) for name, s in (("ascii", 2.0), ("russian", 1.0), ("arabic", 3.0))
    ]
    results = Results({"scripts": part(*figures, figure("verify", 50_000, 9.0)), "lines": part(figure("verify"))})

    assert 1.5 == slowest_script("verify")(results)
    assert slowest_script("verify")(Results()) is None


def test_rows_of_the_extensions_may_take_their_time() -> None:
    """A fifth more rows may take a fifth more time; what it takes beyond is the cost, in percent."""
    whole = replace(figure("whole", seconds=3.5), counts={"rows": 120.0})
    portable = replace(figure("portable", seconds=2.5), counts={"rows": 100.0})
    results = Results({"lines": part(whole, portable)})

    assert 20.0 == pytest.approx(beyond_its_rows("whole", "portable")(results))
    assert beyond_its_rows("whole", "gone")(results) is None


def test_what_was_judged_is_told() -> None:
    """Found, limit, unit and verdict of each, in order."""
    told = judged(complete())

    assert [target.name for target in TARGETS] == [one["name"] for one in told]
    of = {one["name"]: one for one in told}
    assert {"at_least": 8, "unit": "x", "verdict": "missed"}.items() <= of["rowwise"].items()
    assert {"at_most": 74, "found": 50.0, "unit": "MB", "verdict": "reached"}.items() <= of["export-peak"].items()
    assert "reached" not in {one["verdict"] for one in judged(Results({"lines": part()}))}
