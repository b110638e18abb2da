"""Records under new ids: every id and every reference to one, by one pure function."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

from pattern_stream.errors import Finding, Report, Where, ignore_findings
from pattern_stream.items import (
    CELLS_TABLE,
    Cells,
    Open,
    OpenGroupConfig,
    OpenMemoryBlock,
    OpenTable,
    RecordEvent,
    Records,
    Ref,
    Row,
)
from pattern_stream.schema.ids.new_ids import Identity, RowTranslation, require_width
from pattern_stream.schema.ids.snowflakes import is_snowflake
from pattern_stream.schema.model.cells import Large
from pattern_stream.schema.model.fields import Reference
from pattern_stream.schema.model.id_columns import is_known
from pattern_stream.schema.model.nodes import (
    CELL_COLUMNS,
    CELLS_KEY,
    AgentExport,
    MemoryBlockExport,
    NodeType,
)
from pattern_stream.schema.model.records import DECLARED, Message
from pattern_stream.stages.mapping import record_of
from pattern_stream.streams import Events, transform

_KEYS: dict[type[NodeType], Reference] = {AgentExport: "agent", MemoryBlockExport: "memory_block"}
"""What the keys of nodes that are referred to stand for."""


class Translator:
    """Gives the ids in each event their new form. What a table's columns are is known from the Open before its rows."""

    def __init__(self, identity: Identity, report: Report = ignore_findings) -> None:
        self._identity = identity
        self._report = report
        self._columns: dict[str, tuple[str, ...]] = {}

    def translate(self, event: RecordEvent) -> RecordEvent:
        """One event with the ids in it replaced."""
        if isinstance(event, Records):
            return self._records(event)
        if isinstance(event, Cells):
            return Cells(event.table, self._rows(event))
        if isinstance(event, Ref):
            return Ref(event.node, event.field, self._identity.mint(event.key, _KEYS[event.node]))
        if isinstance(event, Open):
            return self._open(event)
        return event

    def _records(self, event: Records) -> Records:
        records = [self._identity.translate(event.record, record) for record in event.records]
        if event.record is Message and records and type(records[0]["source_metadata"]) is Large:
            where = Where(table=Message.table, row_id=records[0]["id"], field="source_metadata")
            self._report(Finding("warning", "id-kept", "too large to look for ids in: left as it is", where))
        return Records(event.record, records)

    def _open(self, event: Open) -> Open:
        if isinstance(event, OpenTable):
            return self._open_table(event)
        if isinstance(event, OpenMemoryBlock) and event.history is not None:
            self._columns = dict(event.history.columns)
        return _translate_open(event, self._identity) if event.record is not None else event

    def _open_table(self, event: OpenTable) -> Open:
        """Rows of a table of which nobody knows where its ids are must not go in beside the others."""
        if event.table is None:
            return event
        self._columns = {event.table: event.column_names}
        return event if is_known(event.table) else replace(event, untranslated=True)

    def _rows(self, event: Cells) -> list[Row]:
        if event.table == CELLS_TABLE:
            return [self._cell(row) for row in event.rows]
        columns = self._columns.get(event.table, ())
        return RowTranslation(self._identity, event.table, columns, self._report).translate(event.rows)

    def _cell(self, row: Row) -> Row:
        """# Trap: whatever an archive may have there; who takes it in refuses what is no text."""
        require_width(row, CELL_COLUMNS, CELLS_KEY)
        table, key, column, value = row
        if not isinstance(table, str) or not isinstance(column, str) or table not in DECLARED:
            return row
        translation = RowTranslation(self._identity, table, (column,), self._report)
        return table, translation.translate_key(key), column, translation.translate_cell(column, value)


def translate(
    events: Events[RecordEvent], identity: Identity, report: Report = ignore_findings
) -> AsyncGenerator[RecordEvent]:
    """Give everything a new id; references go along, those to things outside the archive too.

    In:      records as `unchunk` yields them.
    Out:     the same tree. A thin group's members, which are all outside the archive, come as pairs of (new id, old id)
             under `member_candidates`. A table of which it is not known where its ids are is marked `untranslated`.
    Memory:  one batch.
    Reports: id-kept (warning): a cell that holds ids and is no text, or too large to be looked into.
    Source:  docs/format.md#new-ids.
    """
    return transform(events, Translator(identity, report).translate)


def watch_batch_ids(event: RecordEvent, report: Report, *, minted: bool) -> RecordEvent:
    """Report messages whose batch id is no snowflake: the original cannot load such an agent's messages.

    `minted`: they get snowflakes further down the line.
    """
    if not isinstance(event, Records) or event.record is not Message:
        return event
    batches = {record["batch_id"] for record in event.records} - {None}
    if lossy := {batch for batch in batches if not is_snowflake(batch)}:
        end = (
            "replaced by a snowflake" if minted else "kept, but the original program cannot load this agent's messages"
        )
        first = {record["batch_id"]: record["id"] for record in reversed(event.records) if record["batch_id"] in lossy}
        for batch, message in first.items():
            where = Where(table="messages", row_id=message, field="batch_id")
            report(Finding("warning", "odd-batch-id", f"batch id {batch!r} is no snowflake: {end}", where))
    return event


def _translate_open(event: Open, identity: Identity) -> Open:
    record = identity.translate(record_of(event.node), event.record)
    key = None if event.key is None else identity.mint(event.key, _KEYS[event.node])
    if isinstance(event, OpenGroupConfig):
        candidates = [(identity.mint(member, "agent"), member) for member in event.member_agent_ids]
        event = replace(event, member_candidates=candidates)
    return replace(event, record=record, key=key, archive_id=event.record.get("id"))
