"""Plans: the order in which a scope is read, without the reading. One driver does the reading, and closes all of it.

A plan is an ordinary generator, so plans are composed by `yield from`, and a batch passes no further generator of the
asynchronous kind however deep they are. It yields

* an event, which goes out;
* an asynchronous generator, for its next item, or None at its end;
* a coroutine, for its result.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Generator
from types import AsyncGeneratorType, CoroutineType
from typing import Any, TypeVar

from pattern_stream.db.connection.cursor import NeedsCare
from pattern_stream.errors import PatternStreamError

Event = TypeVar("Event")
Result = TypeVar("Result")

Request = AsyncGenerator[Any] | Coroutine[Any, Any, Any]
Plan = Generator[Event | Request, Any, Result]


async def drive(plan: Plan[Event, None]) -> AsyncGenerator[Event]:
    """The events of a plan. The error of a request is raised in the plan, at the request.

    Memory:  the generators that the plan has begun and that have not ended.
    """
    begun: dict[AsyncGenerator[Any], None] = {}
    answer, error = None, None
    try:
        while True:
            try:
                step = plan.send(answer) if error is None else plan.throw(error)
            except StopIteration:
                return
            answer, error = None, None
            if not isinstance(step, AsyncGeneratorType | CoroutineType):
                yield step  # type: ignore[misc]  # mypy does not see that no request is left
                continue
            try:
                if isinstance(step, CoroutineType):
                    answer = await step
                else:
                    begun[step] = None
                    if (answer := await anext(step, None)) is None:
                        del begun[step]
            except (NeedsCare, PatternStreamError) as failure:
                error = failure
    finally:
        plan.close()
        for source in reversed(begun):
            await source.aclose()


def from_source(source: AsyncGenerator[Event]) -> Plan[Event, None]:
    """The items of an asynchronous generator as events."""
    while (event := (yield source)) is not None:
        yield event
        del event  # or two batches are alive while the next one is fetched
