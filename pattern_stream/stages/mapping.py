"""Rows to records, the same data in archive terms, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import field, replace
from functools import partial

from pattern_stream.errors import Finding, InvalidCell, LimitExceeded, Report, Where, ignore_findings
from pattern_stream.items import (
    MemoryHistory,
    Open,
    OpenMemoryBlock,
    Piece,
    RecordDict,
    RecordEvent,
    Records,
    Row,
    RowEvent,
    Rows,
)
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.json_values import comes_back
from pattern_stream.schema.mapping.lossy_types import LossyTypes
from pattern_stream.schema.mapping.record_to_row import record_unmapper
from pattern_stream.schema.mapping.roundtrip import batch_survives, neutral_row
from pattern_stream.schema.mapping.row_to_record import row_mapper
from pattern_stream.schema.model.nodes import NodeType
from pattern_stream.schema.model.records import MemoryBlock, Record
from pattern_stream.streams import Events, transform


@dataclass(slots=True)
class Mapping:
    """Rows to records. With `oddities`, what version 3 cannot hold is noted there and warned of, else it is refused.

    JSON with numbers or members that only its text has goes out as its value; without `oddities`, with a warning.
    """

    report: Report = ignore_findings
    oddities: LossyTypes | None = None
    _aside: bool = False
    _changed: Counter[str] = field(default_factory=Counter)
    _first_changed: dict[str, Where] = field(default_factory=dict)

    def map(self, event: RowEvent) -> RecordEvent | None:
        """One event of rows to the same event of records, None where nothing of it goes on; the rest passes."""
        if isinstance(event, Piece):
            return None if self._aside else event
        self._aside = False
        if isinstance(event, Rows):
            return self._map_rows(event)
        if isinstance(event, Open) and event.record is not None:
            return self._map_open(event)
        return event

    def _map_rows(self, event: Rows) -> Records | None:
        record, rows = event.record, event.rows
        if self.oddities is None:
            mapped = row_mapper(record).map_counted(rows, self.report)
            self._note_changed(record, rows, mapped[0])
            return Records(record, *mapped)
        most: list[int] | None = None
        try:
            records, most = row_mapper(record).map_counted(rows, self.report)
        except (InvalidCell, LimitExceeded):
            rows = [row for row in rows if self._fits(record, row, self.oddities)]
            records = row_mapper(record).map(rows, ignore_findings)
        if not batch_survives(record, rows, records):
            self.oddities.cells.add(record)
        self._aside = not records
        return Records(record, records, most) if records else None

    def _note_changed(self, record: type[Record], rows: Sequence[Row], records: Sequence[RecordDict]) -> None:
        """Count the JSON cells that would not come back equal."""
        if batch_survives(record, rows, records):
            return
        for at, column in enumerate(record.fields):
            if column.kind == "json":
                for row, mapped in zip(rows, records, strict=True):
                    if not comes_back(row[at], mapped[column.name]):
                        self._changed[record.table] += 1
                        where = Where(table=record.table, row_id=str(row[record.key_column]), field=column.column)
                        self._first_changed.setdefault(record.table, where)

    def finish(self) -> None:
        """Report the JSON cells that go out changed, once a table."""
        for table, count in self._changed.items():
            message = (
                f"{count} cells of JSON have numbers beyond 64 bits or members that stand twice, which only a whole "
                "backup keeps: they go out with the nearest value; the first of them is named here"
            )
            self.report(Finding("warning", "json-changed", message, self._first_changed[table]))

    def _fits(self, record: type[Record], row: Row, oddities: LossyTypes) -> bool:
        try:
            row_mapper(record).map_row(row, self.report)
        except (InvalidCell, LimitExceeded) as error:
            oddities.rows.add(record)
            message = f"{record.noun} stays outside the part that version 3 readers see: {error.message}"
            self.report(Finding("warning", "beyond-version-3", message, error.where))
            return False
        return True

    def _map_open(self, event: Open) -> Open:
        record, row = record_of(event.node), event.record
        if self.oddities is not None:
            row, faults = _neutralised(record, row)
            for error in faults:
                message = f"{record.noun} goes out with another value here, and the true one beside it: {error.message}"
                self.report(Finding("warning", "beyond-version-3", message, error.where))
            if faults:
                self.oddities.cells.add(record)
        mapped = row_mapper(record).map([row], self.report)[0]
        if self.oddities is None:
            self._note_changed(record, [row], [mapped])
        elif not batch_survives(record, [row], [mapped]):
            self.oddities.cells.add(record)
        if isinstance(event, OpenMemoryBlock):
            event = replace(event, document=event.record[MemoryBlock.index("loro_snapshot")])
        return replace(event, record=mapped)


def map_rows(
    events: Events[RowEvent], report: Report = ignore_findings, oddities: LossyTypes | None = None
) -> AsyncGenerator[RecordEvent]:
    """Turn rows into records, checking every cell.

    In:      Open and Rows with rows in `Record.columns` order. Cells of other tables pass as they are.
    Out:     Open and Records keyed by wire names. A memory block's document travels in its OpenMemoryBlock.
    Memory:  one batch.
    Raises:  InvalidCell, LimitExceeded: with table, row and field. With `oddities`, for what is no id: none; a row is
             left out or goes with a neutral value, its type is noted, and a warning says so.
    Source:  docs/format.md#json-values, #timestamps, #enumerations.
    """
    mapping = Mapping(report, oddities)
    return transform(events, mapping.map, finish=mapping.finish)


def _neutralised(record: type[Record], row: Row) -> tuple[Row, list[InvalidCell | LimitExceeded]]:
    """The row as version 3 can hold it; the usual one, which is, is looked at quickly."""
    try:
        row_mapper(record).map([row], ignore_findings)
    except (InvalidCell, LimitExceeded):
        return neutral_row(record, row)
    return row, []


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


def unmap_records(events: Events[RecordEvent], report: Report = ignore_findings) -> AsyncGenerator[RowEvent]:
    """Turn records back into rows: the reverse of `map_rows`.

    In:      Open and Records keyed by wire names, checked as `unchunk` yields them.
    Out:     Open and Rows with rows in `Record.columns` order. A memory block's row has its document.
    Memory:  one batch.
    Raises:  MalformedNode: with table, row and field.
    Source:  docs/format.md#json-values, #timestamps, #enumerations.
    """
    return transform(events, partial(unmap_event, report=report))


def _unmap_open(event: Open, report: Report) -> Open:
    unmapper = record_unmapper(record_of(event.node))
    if not isinstance(event, OpenMemoryBlock):
        return replace(event, record=unmapper.unmap([event.record], report)[0])
    row = unmapper.unmap([event.record | {"loro_snapshot": event.document or b""}], report)[0]
    return replace(event, record=row if event.history is None else _with_stored(row, event.history), document=None)


def _with_stored(row: Row, history: MemoryHistory) -> Row:
    """A memory block as it was stored, its edits apart. Source: docs/format.md#memory-history."""
    cells = list(row)
    if history.base is not None:
        cells[MemoryBlock.index("loro_snapshot")] = history.base
    cells[MemoryBlock.index("frontier")] = history.frontier
    return tuple(cells)
