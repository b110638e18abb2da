"""A filter between walk and sink: restore an archive without what the agents said to their tools.

Usage: python examples/filter_stage.py out.car quiet.db
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from pattern_stream import (
    RecordEvent,
    Records,
    create_database,
    open_archive,
    open_writer,
    unchunk,
    unmap_records,
    walk,
    write_rows,
)


async def without_tools(events: AsyncGenerator[RecordEvent]) -> AsyncGenerator[RecordEvent]:
    """A stage: drops messages of role tool, passes everything else."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Records) and event.record.table == "messages":
                event = replace(event, records=[one for one in event.records if one["role"] != "tool"])
            yield event


async def restore_quietly(archive: Path, database: Path) -> int:
    """The import line by hand, with the filter in it; returns the number of messages written."""
    await create_database(database)
    async with open_archive(archive, stage="import") as opened, open_writer(database) as connection:
        root = await opened.reader.open()
        nodes = walk(opened.reader.sections(), root, opened.shelf)
        rows = unmap_records(without_tools(unchunk(nodes)))
        await connection.execute("BEGIN IMMEDIATE")
        await connection.execute("PRAGMA defer_foreign_keys = ON")
        loaded = await write_rows(connection, rows)
        await connection.execute("COMMIT")
    return loaded.rows["messages"]


if __name__ == "__main__":
    print(asyncio.run(restore_quietly(Path(sys.argv[1]), Path(sys.argv[2]))), "messages")
