"""Exponents of growth."""

from __future__ import annotations

import pytest

from benchmarks.fitting import fit_growth, fit_power

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_a_power_is_found_again(exponent: float) -> None:
    """Points on b * n^k give b and k."""
    fit = fit_power([(size, 3.0 * size**exponent) for size in SIZES])

    assert [0.0, 3.0, exponent] == pytest.approx([fit.fixed, fit.factor, fit.exponent])
    assert fit.error < 1e-9


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.1, 2.0])
def test_what_every_run_pays_is_set_apart(exponent: float) -> None:
    """Points on a + b * n^k give k, though a is most of the first of them; a power alone would not."""
    points = [(float(size), 0.2 + 0.05 * (size / 10_000) ** exponent) for size in SIZES]
    fit = fit_growth(points)

    assert [0.2, exponent] == pytest.approx([fit.fixed, fit.exponent], abs=0.002)
    assert fit_power(points).exponent < exponent - 0.1


def test_nothing_negative_is_set_apart() -> None:
    """Where a below 0 would fit better, it is 0: no run starts with time in hand."""
    fit = fit_growth([(float(size), (size - 5_000) / 1e6) for size in SIZES])

    assert 0.0 == fit.fixed
    assert 1.0 < fit.exponent < 1.3


def test_the_error_is_that_of_the_worst_point() -> None:
    """One point that is off by a half shows."""
    points = [(float(size), 1e-5 * size) for size in SIZES]
    fit = fit_growth([*points[:2], (points[2][0], points[2][1] * 1.5), *points[3:]])

    assert 0.2 < fit.error < 0.5


def test_few_points_are_a_power_and_one_is_nothing() -> None:
    """Three unknowns need more than three points."""
    assert fit_power([(1.0, 2.0), (10.0, 20.0)]) == fit_growth([(1.0, 2.0), (10.0, 20.0)])
    with pytest.raises(ValueError, match="found 1 points, expected at least 2"):
        fit_power([(1.0, 2.0)])
