"""What every stage and transport must pass, whatever it does: it closes its upstream, takes nothing, hides nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Generic, TypeVar

import pytest

from tests.drive import collect

In = TypeVar("In")
Out = TypeVar("Out")
Stage = Callable[[AsyncIterator[In]], AsyncGenerator[Out]]


class UpstreamBroke(Exception):
    """What a broken upstream raises here; no stage knows it."""


class Upstream(Generic[In]):
    """Items to be pulled, which remembers whether it was closed; `breaks`: it raises after the last one."""

    def __init__(self, items: Iterable[In], *, breaks: bool = False) -> None:
        self.closed = False
        self._items = items
        self._breaks = breaks

    async def stream(self) -> AsyncGenerator[In]:
        """The generator to hand to a stage."""
        try:
            for item in self._items:
                yield item
            if self._breaks:
                raise UpstreamBroke("upstream broke")
        finally:
            self.closed = True


async def check_early_stop(stage: Stage[In, Out], items: Iterable[In]) -> None:
    """Who stops after the first item closes the upstream with it. `items` must give at least one item."""
    upstream = Upstream(items)
    async with aclosing(stage(upstream.stream())) as stream:
        await anext(stream)

    assert upstream.closed


async def check_empty(stage: Stage[In, Out], expected: list[Out] | None = None) -> None:
    """No input gives no output, or `expected`, and no error."""
    upstream: Upstream[In] = Upstream([])
    found = await collect(stage(upstream.stream()))

    assert (expected or []) == found
    assert upstream.closed


async def check_errors_pass(stage: Stage[In, Out], items: Iterable[In]) -> None:
    """An error of the upstream comes out as it is, and the upstream is closed."""
    upstream = Upstream(items, breaks=True)
    with pytest.raises(UpstreamBroke, match="upstream broke"):
        await collect(stage(upstream.stream()))

    assert upstream.closed


async def check_stage(stage: Stage[In, Out], items: Iterable[In], *, empty: list[Out] | None = None) -> None:
    """All of it. `items`: a small sound input that gives at least one item."""
    items = list(items)
    await check_early_stop(stage, items)
    await check_empty(stage, empty)
    await check_errors_pass(stage, items)
