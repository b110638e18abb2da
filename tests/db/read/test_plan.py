"""Plans and their driver: answers, errors, and statements that are closed at once however the reading ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.opening import open_reader
from pattern_stream.db.read.plan import Plan, drive, from_source
from pattern_stream.db.read.scope_reader import read_scope
from pattern_stream.demo.database import make_demo
from pattern_stream.errors import InvalidCell
from pattern_stream.items import Close, Open
from pattern_stream.schema.model.scopes import ResolvedScope, Selection

pytestmark = pytest.mark.anyio


async def numbers(closed: list[int], count: int) -> AsyncGenerator[int]:
    try:
        for number in range(count):
            yield number
        if count == 3:
            raise InvalidCell("three")
    finally:
        closed.append(count)


async def double(number: int) -> int:
    return 2 * number


async def test_a_plan_asks_and_says() -> None:
    """Items, results and None at the end come back in the plan; all else goes out."""

    def plan() -> Plan[object, None]:
        source = numbers([], 2)
        while (number := (yield source)) is not None:
            doubled = yield double(number)
            yield f"{doubled}"
        yield from from_source(numbers([], 1))

    assert ["0", "2", 0] == [event async for event in drive(plan())]


async def test_an_error_is_raised_where_the_plan_asked() -> None:
    """A plan may go on after it; else it is the driver's, and all is closed, the innermost first."""
    closed: list[int] = []

    def plan(*, catches: bool) -> Plan[object, None]:
        outer = numbers(closed, 7)
        yield str((yield outer))
        try:
            yield from from_source(numbers(closed, 3))
        except InvalidCell:
            if not catches:
                raise
        yield str((yield outer))

    assert ["0", 0, 1, 2, "1"] == [event async for event in drive(plan(catches=True))]
    assert [3, 7] == closed
    with pytest.raises(InvalidCell):
        [event async for event in drive(plan(catches=False))]
    assert [3, 7, 3, 7] == closed


async def test_a_plan_that_is_cancelled() -> None:
    """Nothing stays open, and the plan itself has ended."""
    closed: list[int] = []

    def plan() -> Plan[object, None]:
        try:
            yield str((yield numbers(closed, 7)))
            yield anyio.sleep(60)
        finally:
            closed.append(0)

    with anyio.move_on_after(0.01):
        async with aclosing(drive(plan())) as events:
            async for _ in events:
                pass
    assert [0, 7] == closed


class _Watch:
    """The generators of rows that a connection has given."""

    def __init__(self, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[AsyncGenerator[Any]] = []
        rows = connection.rows

        def watched(*arguments: Any, **options: Any) -> AsyncGenerator[Any]:
            self.given.append(rows(*arguments, **options))
            return self.given[-1]

        monkeypatch.setattr(connection, "rows", watched)

    def is_closed(self) -> bool:
        return all(getattr(given, "ag_frame", None) is None for given in self.given)


async def test_an_early_stop_closes_every_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever in the tree a reader stops: no statement goes on, and the connection is of use at once."""
    path = tmp_path / "demo.db"
    await make_demo(path, messages=300, seed=5)
    scope, selection = ResolvedScope("constellation"), Selection(history=True)
    depths = set()
    async with open_reader(path) as connection:
        watch = _Watch(connection, monkeypatch)
        for stop in range(2, 300, 11):
            depth = seen = 0
            async with aclosing(read_scope(connection, scope, selection)) as events:
                async for event in events:
                    depth += isinstance(event, Open) - isinstance(event, Close)
                    seen += 1
                    if seen == stop:
                        break
            depths.add(depth)
            assert watch.given
            assert watch.is_closed()
            assert [(1,)] == await connection.execute("SELECT 1")

    assert {1, 2, 3, 4} <= depths
