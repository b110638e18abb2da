"""A stage of one's own between two of ours: take e-mail addresses out of messages on their way into an archive.

Usage: python examples/custom_stage.py constellation.db redacted.car
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

from pattern_stream import (
    RecordEvent,
    Records,
    Sandbox,
    Scope,
    chunk,
    encode,
    fold_memory,
    map_rows,
    open_output,
    open_reader,
    read_scope,
    resolve_scope,
    write_car,
)

ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")


def without_addresses(value: Any) -> Any:
    """The same JSON value, addresses replaced in every text of it."""
    if isinstance(value, str):
        return ADDRESS.sub("[address]", value)
    if isinstance(value, dict):
        return {key: without_addresses(inner) for key, inner in value.items()}
    return [without_addresses(inner) for inner in value] if isinstance(value, list) else value


async def redact(events: AsyncGenerator[RecordEvent]) -> AsyncGenerator[RecordEvent]:
    """A stage: takes events, gives events, closes its upstream."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Records) and event.record.table == "messages":
                event = replace(event, records=[without_addresses(record) for record in event.records])
            yield event


async def export_redacted(database: Path, out: Path) -> int:
    """Write a constellation without addresses in its messages; returns the number of sections."""
    async with open_reader(database) as connection, Sandbox() as sandbox, open_output(out, force=False) as target:
        rows = read_scope(connection, await resolve_scope(connection, Scope("constellation")))
        folded = fold_memory(rows, sandbox.fold)
        blocks = encode(chunk(redact(map_rows(folded))), exported_at="2026-01-01T00:00:00Z")
        return (await write_car(blocks, target)).sections


if __name__ == "__main__":
    print(asyncio.run(export_redacted(Path(sys.argv[1]), Path(sys.argv[2]))), "sections")
