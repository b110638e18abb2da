"""An agent's messages: their rows, their order, and their division into ranges of positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from pattern_stream.db.read.fetch import Reading
from pattern_stream.db.read.query import Query
from pattern_stream.db.read.row_selection import where
from pattern_stream.errors import PatternStreamError
from pattern_stream.schema.model.records import Message

_BY_POSITION: Final = "ORDER BY t.position DESC"
TOTAL_ORDER: Final = f"{_BY_POSITION}, t.id"
"""The order of messages on the wire, whatever their positions are."""


async def message_queries(reading: Reading, agent_id: str, range_rows: int = 0) -> Iterator[Query]:
    """The messages of an agent as queries of neighbouring ranges of so many rows, which omit and repeat nothing.

    One query, without a parameter "above", where nothing is to be divided or cannot be. Its order is total, so that
    equal databases give equal bytes: the index has the positions, which rarely tie, and sorting by id as well costs a
    third of the fetch.
    """
    not_deleted = where("t.agent_id = :id", reading.included.not_deleted("t"))
    if range_rows and (bounds := await _range_bounds(reading, agent_id, not_deleted, range_rows)):
        return _ranges(reading, agent_id, not_deleted, bounds)
    tie = "SELECT 1 FROM messages WHERE agent_id = :id GROUP BY position HAVING count(*) > 1 LIMIT 1"
    tied = await reading.connection.execute(tie, {"id": agent_id}, table=Message.table)
    order = TOTAL_ORDER if tied else _BY_POSITION
    return iter([reading.query(Message, f"{not_deleted} {order}", agent_id)])


def by_position(query: Query) -> str:
    """The statement of a query in TOTAL_ORDER without the sorting by id: the same rows as long as no positions tie."""
    return query.sql.removesuffix(TOTAL_ORDER) + _BY_POSITION


async def _range_bounds(reading: Reading, agent_id: str, not_deleted: str, range_rows: int) -> list[Any]:
    """The positions at which ranges end, but for the last; none where it does not pay.

    The index on positions has them, so no message is read. Without that index, or with a position that is none, there
    are no ranges.
    """
    nth = (
        f"SELECT t.position FROM messages t {not_deleted}{{}} ORDER BY t.position DESC LIMIT 1 OFFSET {range_rows - 1}"
    )
    sql = f"""WITH RECURSIVE bound(position) AS (SELECT ({nth.format("")}) UNION ALL
        SELECT ({nth.format(" AND t.position < bound.position")}) FROM bound WHERE bound.position IS NOT NULL)
        SELECT position FROM bound WHERE position IS NOT NULL"""
    no_position = f"SELECT 1 FROM messages t {not_deleted} AND t.position IS NULL LIMIT 1"

    async def execute(statement: str) -> list[Any]:
        return await reading.connection.execute(statement, {"id": agent_id}, table=Message.table)

    try:
        plan = [str(row[3]) for row in await execute(f"EXPLAIN QUERY PLAN {sql}")]
        searches = [step for step in plan if step.startswith("SEARCH t USING")]
        if len(searches) != 2 or any("TEMP B-TREE" in step for step in plan) or await execute(no_position):
            return []
        return [row[0] for row in await execute(sql)]
    except PatternStreamError:
        return []  # reading the messages reports the error


def _ranges(reading: Reading, agent_id: str, not_deleted: str, bounds: Sequence[Any]) -> Iterator[Query]:
    for above, below in zip([None, *bounds], [*bounds, None], strict=True):
        upper = "" if above is None else " AND t.position < :above"
        lower = "" if below is None else " AND t.position >= :below"
        query = reading.query(Message, f"{not_deleted}{upper}{lower} {TOTAL_ORDER}", agent_id)
        yield replace(query, parameters={**query.parameters, "above": above, "below": below})
