"""Records under new ids: every id and every reference to one, by one pure function."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from pattern_stream.errors import Finding, Report, Where, ignore_findings
from pattern_stream.items import Open, RecordEvent, Records, Ref
from pattern_stream.schema.fields import Reference
from pattern_stream.schema.identity import Identity, parse_snowflake
from pattern_stream.schema.nodes import AgentExport, GroupConfigExport, MemoryBlockExport, NodeType
from pattern_stream.schema.records import Message
from pattern_stream.stages.mapping import record_of
from pattern_stream.stages.streams import Events, closing

_KEYS: dict[type[NodeType], Reference] = {AgentExport: "agent", MemoryBlockExport: "memory_block"}
"""What the keys of nodes that are referred to stand for."""


def translate_event(event: RecordEvent, identity: Identity) -> RecordEvent:
    """One event with the ids in it replaced."""
    if isinstance(event, Records):
        return Records(event.record, [identity.translate(event.record, record) for record in event.records])
    if isinstance(event, Ref):
        return Ref(event.node, event.field, identity.mint(event.key, _KEYS[event.node]))
    if isinstance(event, Open) and event.record is not None:
        return _translate_open(event, identity)
    return event


async def translate(events: Events[RecordEvent], identity: Identity) -> AsyncGenerator[RecordEvent]:
    """Give everything a new id; references go along, those to things outside the archive too.

    In:      records as `unchunk` yields them.
    Out:     the same tree. A thin group's members, which are all outside the archive, come as pairs of (new id, old id)
             under `member_candidates`.
    Memory:  one batch.
    Source:  v4 6.
    """
    async with closing(events):
        async for event in events:
            yield translate_event(event, identity)


async def watch_batches(
    events: Events[RecordEvent], report: Report = ignore_findings, *, minted: bool = False
) -> AsyncGenerator[RecordEvent]:
    """Report messages whose batch id is no snowflake: the original cannot load such an agent's messages.

    `minted`: they get snowflakes further down the line.
    """
    fate = "replaced by a snowflake" if minted else "kept, but the original program cannot load this agent's messages"
    async with closing(events):
        async for event in events:
            if isinstance(event, Records) and event.record is Message:
                for batch, message in _odd_batches(event).items():
                    where = Where(table="messages", row_id=message, field="batch_id")
                    report(Finding("warning", "odd-batch-id", f"batch id {batch!r} is no snowflake: {fate}", where))
            yield event


def _odd_batches(event: Records) -> dict[str, str]:
    """Batch ids of one batch of rows that are no snowflakes, with the first message of each."""
    batches = {record["batch_id"] for record in event.records} - {None}
    odd = {batch for batch in batches if parse_snowflake(batch) is None}
    return (
        {record["batch_id"]: record["id"] for record in reversed(event.records) if record["batch_id"] in odd}
        if odd
        else {}
    )


def _translate_open(event: Open, identity: Identity) -> Open:
    record = identity.translate(record_of(event.node), event.record)
    key = None if event.key is None else identity.mint(event.key, _KEYS[event.node])
    extra = dict(event.extra)
    if event.node is GroupConfigExport:
        members = extra["member_agent_ids"]
        extra["member_candidates"] = [(identity.mint(member, "agent"), member) for member in members]
    return Open(event.node, record, key, extra)
