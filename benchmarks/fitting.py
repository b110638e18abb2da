"""How cost grows with work: exponents by least squares.

Time is fitted as a + b * n^k, not as a power alone: what every run pays (processes started, files opened) would else
make k look smaller than it is, and hide growth that is worse than linear. Errors are relative, so that every size
counts alike. Peak memory is fitted as b * n^k on logarithms: the claim is that the whole of it stays, so nothing of it
is set apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
"""An amount of work, and its cost."""

LEAST_EXPONENT, MOST_EXPONENT, STEPS = 0.0, 3.0, 3_000


@dataclass(frozen=True, slots=True)
class Fit:
    """cost = fixed + factor * n^exponent. `error`: the largest relative distance of a point from it."""

    fixed: float
    factor: float
    exponent: float
    error: float


def fit_power(points: Sequence[Point]) -> Fit:
    """b * n^k through points with different amounts. Raises ValueError where there are fewer than two."""
    if len(points) < 2:
        raise ValueError(f"found {len(points)} points, expected at least 2")
    logs = [(math.log(amount), math.log(cost)) for amount, cost in points]
    middle, height = (sum(column) / len(logs) for column in zip(*logs, strict=True))
    spread = sum((x - middle) ** 2 for x, _ in logs)
    exponent = sum((x - middle) * (y - height) for x, y in logs) / spread
    factor = math.exp(height - exponent * middle)
    return Fit(0.0, factor, exponent, _error(points, 0.0, factor, exponent))


def fit_growth(points: Sequence[Point]) -> Fit:
    """a + b * n^k with a at least 0: for each k the best a and b, and of all k the best."""
    if len(points) < 4:
        return fit_power(points)
    step = (MOST_EXPONENT - LEAST_EXPONENT) / STEPS
    exponents = [LEAST_EXPONENT + step * number for number in range(1, STEPS + 1)]
    _, fixed, factor, exponent = min(_linear(points, exponent) for exponent in exponents)
    return Fit(fixed, factor, exponent, _error(points, fixed, factor, exponent))


def _linear(points: Sequence[Point], exponent: float) -> tuple[float, float, float, float]:
    """(squared error, a, b, k) of the best a and b for one k: a / cost + b * n^k / cost should be 1."""
    columns = [(1 / cost, amount**exponent / cost) for amount, cost in points]
    aa, ab, bb = (sum(c[i] * c[j] for c in columns) for i, j in ((0, 0), (0, 1), (1, 1)))
    a, b = (sum(c[i] for c in columns) for i in (0, 1))
    determinant = aa * bb - ab * ab
    fixed = (a * bb - b * ab) / determinant if determinant > 1e-12 * aa * bb else 0.0
    if fixed <= 0:
        fixed = 0.0
    factor = max((b - fixed * ab) / bb, 0.0)
    wrong = sum((fixed * one + factor * other - 1) ** 2 for one, other in columns)
    return wrong, fixed, factor, exponent


def _error(points: Sequence[Point], fixed: float, factor: float, exponent: float) -> float:
    return max(abs((fixed + factor * math.pow(amount, exponent)) / cost - 1) for amount, cost in points)
