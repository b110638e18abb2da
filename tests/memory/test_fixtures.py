"""Memory documents of the real program: folded here, they are what it reads itself."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pattern_stream.memory.sandbox import Sandbox

pytestmark = pytest.mark.anyio

FOLDERS = ("family", "quiet", "edges", "many", "oversize")
SNAPSHOT = "SELECT loro_snapshot, metadata FROM memory_blocks WHERE id = ?"
UPDATES = "SELECT seq, update_blob FROM memory_block_updates WHERE block_id = ? AND is_active = 1 ORDER BY seq"


def plain(path: Path) -> bytes:
    """The bytes of a file that may be gzipped, named without that ending."""
    return path.read_bytes() if path.exists() else gzip.decompress(path.with_name(path.name + ".gz").read_bytes())


def blocks(folder: Path) -> Iterator[dict[str, Any]]:
    """Memory blocks as the real program reads them back."""
    for line in plain(folder / "view.jsonl").splitlines():
        if b'"block"' in line[:40] and (seen := json.loads(line))["k"] == "block":
            yield seen["v"]


def version(frontier: bytes) -> list[list[object]]:
    """A version vector as the view has it: peer as text, end counter; sorted by peer."""
    numbers, value, shift = [], 0, 0
    for byte in frontier:
        value, shift = value | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            numbers.append(value)
            value = shift = 0
    return [[str(peer), counter // 2] for peer, counter in zip(numbers[1::2], numbers[2::2], strict=True)]


@pytest.mark.parametrize("name", FOLDERS)
async def test_folded_documents_are_what_the_original_reads(shared: Path, tmp_path: Path, name: str) -> None:
    """Values, text and version of every block; an absent container and an empty one are the same."""
    folder, copy = shared / "fixtures" / name, tmp_path / "constellation.db"
    copy.write_bytes(plain(folder / "constellation.db"))
    connection = sqlite3.connect(copy)
    async with Sandbox() as sandbox:
        for block in blocks(folder):
            snapshot, metadata = connection.execute(SNAPSHOT, (block["id"],)).fetchone()
            updates = connection.execute(UPDATES, (block["id"],)).fetchall()

            folded = await sandbox.fold(snapshot, updates, metadata)
            shown = await sandbox.show(snapshot, updates, metadata)
            checked = await sandbox.check(folded.snapshot, metadata)

            assert block["rendered"] == folded.rendered == checked.rendered, block["label"]
            assert sorted(block["vv"], key=lambda pair: int(pair[0])) == version(folded.frontier)
            assert folded.frontier == checked.frontier
            assert full(block["deep"]) == full(shown.values)
    connection.close()


def full(values: dict[str, Any]) -> dict[str, Any]:
    """The containers with something in them."""
    return {name: value for name, value in values.items() if value}
