"""Import from a stream of bytes that a download hands over, as `httpx` does with `response.aiter_bytes()`.

Usage: python examples/import_from_http.py out.car restored.db
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from pattern_stream import ImportResult, import_archive


class Response:
    """Stands for a response of an HTTP client, so that the example needs no network."""

    def __init__(self, body: Path) -> None:
        self._body = body

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The body in pieces, as they arrive."""
        with self._body.open("rb") as file:
            while piece := file.read(16_384):
                await asyncio.sleep(0)
                yield piece


async def restore(response: Response, database: Path) -> ImportResult:
    """Take in what comes, whole or not at all. Nothing is written to the database before it has been checked."""
    return await import_archive(response.aiter_bytes(), database)


if __name__ == "__main__":
    result = asyncio.run(restore(Response(Path(sys.argv[1])), Path(sys.argv[2])))
    print(", ".join(f"{count} {table}" for table, count in result.rows.items()))
