"""Rows to records, the same data in archive terms, and back."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from pattern_stream.errors import Report, ignore_findings
from pattern_stream.items import Open, RecordEvent, Records, RowEvent, Rows
from pattern_stream.schema.compile import row_mapper
from pattern_stream.schema.nodes import NodeType
from pattern_stream.schema.records import MemoryBlock, Record
from pattern_stream.schema.uncompile import record_unmapper
from pattern_stream.stages.streams import Events, closing


def map_event(event: RowEvent, report: Report) -> RecordEvent:
    """One event of rows to the same event of records; what holds no row passes through."""
    if isinstance(event, Rows):
        return Records(event.record, row_mapper(event.record).map(event.rows, report))
    if isinstance(event, Open) and event.record is not None:
        return _map_open(event, report)
    return event


async def map_rows(events: Events[RowEvent], report: Report = ignore_findings) -> AsyncGenerator[RecordEvent]:
    """Turn rows into records, checking every cell.

    In:      Open and Rows with rows in `Record.columns` order.
    Out:     Open and Records keyed by wire names. A memory block's document travels in `Open.extra`.
    Memory:  one batch.
    Raises:  InvalidCell, LimitExceeded: with table, row and field.
    Source:  v3 2.2, 3, 4.
    """
    async with closing(events):
        async for event in events:
            yield map_event(event, report)


def _map_open(event: Open, report: Report) -> Open:
    record_type = record_of(event.node)
    record = row_mapper(record_type).map([event.record], report)[0]
    extra = dict(event.extra)
    if record_type is MemoryBlock:
        extra["loro_snapshot"] = event.record[MemoryBlock.index("loro_snapshot")]
    return Open(event.node, record, event.key, extra)


def record_of(node: type[NodeType]) -> type[Record]:
    """The record type of a node that has a record, flat or under a key."""
    if node.record is not None:
        return node.record
    edge = node.embedded()
    if edge is None or edge.of is None or not issubclass(edge.of, Record):
        raise TypeError(f"{node.__name__} has no record of its own")
    return edge.of


def unmap_event(event: RecordEvent, report: Report) -> RowEvent:
    """One event of records to the same event of rows; what holds no record passes through."""
    if isinstance(event, Records):
        return Rows(event.record, record_unmapper(event.record).unmap(event.records, report))
    if isinstance(event, Open) and event.record is not None:
        return _unmap_open(event, report)
    return event


async def unmap_records(events: Events[RecordEvent], report: Report = ignore_findings) -> AsyncGenerator[RowEvent]:
    """Turn records back into rows: the reverse of `map_rows`.

    In:      Open and Records keyed by wire names, checked as `unchunk` yields them.
    Out:     Open and Rows with rows in `Record.columns` order. A memory block's row has its document.
    Memory:  one batch.
    Raises:  MalformedNode: with table, row and field.
    Source:  v3 2.2, 3, 4; database 4, 5.
    """
    async with closing(events):
        async for event in events:
            yield unmap_event(event, report)


def _unmap_open(event: Open, report: Report) -> Open:
    record_type, record, extra = record_of(event.node), event.record, dict(event.extra)
    if record_type is MemoryBlock:
        record = record | {"loro_snapshot": extra.pop("loro_snapshot")}
    return Open(event.node, record_unmapper(record_type).unmap([record], report)[0], event.key, extra)
