"""An embedded pipeline: count messages by role, straight from a database, without making an archive.

Usage: python examples/count_roles.py constellation.db
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path

from pattern_stream import Records, Scope, map_rows, open_reader, read_scope, resolve_scope


async def count_roles(database: Path) -> Counter[str]:
    """Messages by role. Memory: one batch of rows."""
    roles: Counter[str] = Counter()
    async with open_reader(database) as connection:
        scope = await resolve_scope(connection, Scope("constellation"))
        async for event in map_rows(read_scope(connection, scope)):
            if isinstance(event, Records) and event.record.table == "messages":
                roles.update(record["role"] for record in event.records)
    return roles


if __name__ == "__main__":
    for role, count in asyncio.run(count_roles(Path(sys.argv[1]))).most_common():
        print(f"{count:8} {role}")
