"""An agent's messages: which of them, in which order, and how they are divided into ranges of positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from pattern_stream.db.read.included_rows import where
from pattern_stream.db.read.query import Query
from pattern_stream.db.read.reading import Reading
from pattern_stream.errors import PatternStreamError
from pattern_stream.schema.model.records import Message

RANGE_ROWS: Final = 1024
"""Messages of one request."""

_BY_POSITION: Final = "ORDER BY t.position DESC"
TOTAL_ORDER: Final = f"{_BY_POSITION}, t.id"
"""The order of messages on the wire, whatever their positions are."""


async def message_order(reading: Reading, agent_id: str) -> str:
    """The ORDER BY of an agent's messages: total, so that equal databases give equal bytes.

    The index has them by position; sorting by id as well costs a third of the fetch, and positions rarely tie.
    """
    tie = "SELECT 1 FROM messages WHERE agent_id = :id GROUP BY position HAVING count(*) > 1 LIMIT 1"
    return TOTAL_ORDER if await _all(reading, tie, agent_id) else _BY_POSITION


def by_position(query: Query) -> str:
    """The statement of a query in TOTAL_ORDER without the sorting by id: the same rows as long as no positions tie."""
    return query.sql.removesuffix(TOTAL_ORDER) + _BY_POSITION


def living_messages(reading: Reading) -> str:
    """The WHERE of the messages of an agent, `:id`, that are not deleted."""
    return where("t.agent_id = :id", reading.held.living("t"))


async def range_bounds(reading: Reading, agent_id: str) -> list[Any]:
    """The positions at which ranges of RANGE_ROWS messages end, but for the last; none where it does not pay.

    They are found in the index on positions, without a look at the messages. Where there is none, or a position is not
    one, nothing is divided.
    """
    living = living_messages(reading)
    nth = f"SELECT t.position FROM messages t {living}{{}} ORDER BY t.position DESC LIMIT 1 OFFSET {RANGE_ROWS - 1}"
    sql = f"""WITH RECURSIVE bound(position) AS (SELECT ({nth.format("")}) UNION ALL
        SELECT ({nth.format(" AND t.position < bound.position")}) FROM bound WHERE bound.position IS NOT NULL)
        SELECT position FROM bound WHERE position IS NOT NULL"""
    odd = f"SELECT 1 FROM messages t {living} AND t.position IS NULL LIMIT 1"
    try:
        plan = [str(row[3]) for row in await _all(reading, f"EXPLAIN QUERY PLAN {sql}", agent_id)]
        searches = [step for step in plan if step.startswith("SEARCH t USING")]
        if len(searches) != 2 or any("TEMP B-TREE" in step for step in plan) or await _all(reading, odd, agent_id):
            return []
        return [row[0] for row in await _all(reading, sql, agent_id)]
    except PatternStreamError:
        return []  # reading the messages will say more


async def _all(reading: Reading, sql: str, agent_id: str) -> list[Any]:
    async with aclosing(reading.connection.rows(sql, {"id": agent_id}, table=Message.table)) as found:
        return [row async for batch in found for row in batch]


def ranges(reading: Reading, agent_id: str, order: str, bounds: Sequence[Any]) -> Iterator[Query]:
    """The messages of an agent as queries of neighbouring ranges, which leave out and repeat nothing."""
    living = living_messages(reading)
    if not bounds:
        yield reading.query(Message, f"{living} {order}", agent_id)
        return
    for above, below in zip([None, *bounds], [*bounds, None], strict=True):
        upper = "" if above is None else " AND t.position < :above"
        lower = "" if below is None else " AND t.position >= :below"
        query = reading.query(Message, f"{living}{upper}{lower} {order}", agent_id)
        yield replace(query, parameters={**query.parameters, "above": above, "below": below})
