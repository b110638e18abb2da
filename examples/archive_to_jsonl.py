"""An archive as JSON Lines on standard output: one object a record, nothing imported, memory blocks with their text.

Usage: python examples/archive_to_jsonl.py out.car
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import aclosing
from pathlib import Path

from pattern_stream import dump_archive


async def print_lines(archive: Path) -> int:
    """Print every record; returns how many there were. Memory: one batch and one memory document."""
    count = 0
    async with aclosing(dump_archive(archive)) as records:
        async for record in records:
            print(json.dumps(record, ensure_ascii=False))
            count += 1
    return count


if __name__ == "__main__":
    print(asyncio.run(print_lines(Path(sys.argv[1]))), "records", file=sys.stderr)
