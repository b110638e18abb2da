"""Export to any object that has `async write(bytes)`: here one that only measures and hashes.

Usage: python examples/export_to_object.py constellation.db
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from pathlib import Path

from pattern_stream import ExportResult, export_archive


class Measure:
    """A target that keeps nothing. An upload to object storage has the same shape."""

    def __init__(self) -> None:
        self.bytes = 0
        self.sha256 = hashlib.sha256()

    async def write(self, data: bytes, /) -> None:
        """Take the next bytes of the archive."""
        self.bytes += len(data)
        self.sha256.update(data)


async def measure(database: Path) -> tuple[ExportResult, Measure]:
    """Export a constellation into a `Measure`."""
    target = Measure()
    return await export_archive(database, target), target


if __name__ == "__main__":
    result, measured = asyncio.run(measure(Path(sys.argv[1])))
    print(f"{measured.bytes} bytes, sha256 {measured.sha256.hexdigest()}, root {result.root}")
