"""Rows by their keys, and the updates of a memory block: bounded whatever the database has."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from pattern_stream.db.catalog.catalog import read_catalog
from pattern_stream.db.connection.opening import open_reader
from pattern_stream.db.read.by_key import active_updates
from pattern_stream.errors import InvalidCell, LimitExceeded
from tests.db.read.test_extension import block, run
from tests.db.worlds import build

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
UPDATE = "INSERT INTO memory_block_updates VALUES (?, 'b', ?, zeroblob(?), 1, NULL, 'x', NULL, ?)"


def updates(path: Path, *sizes: int, active: int = 1) -> Path:
    rows = enumerate(sizes, start=1)
    return run(build(path), block("b"), *((UPDATE, [number, number, size, active]) for number, size in rows))


async def read(path: Path, **options: int) -> list[tuple[int, bytes]]:
    async with open_reader(path) as connection:
        return await active_updates(connection, await read_catalog(connection), "b", **options)


async def test_active_updates(tmp_path: Path) -> None:
    """In order, and no undone ones."""
    assert [(1, b"\0"), (2, b"\0\0")] == await read(updates(tmp_path / "a.db", 1, 2))
    assert [] == await read(updates(tmp_path / "b.db", 1, 2, active=0))


async def test_updates_without_end_are_refused(tmp_path: Path) -> None:
    """No more is read than the limit and a batch, of many updates as of a large one."""
    path = updates(tmp_path / "a.db", *[MIB] * 40)
    tracemalloc.start()
    with pytest.raises(LimitExceeded, match="limit is 2097152 bytes") as caught:
        await read(path, most_bytes=2 * MIB)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert "b" == caught.value.where.row_id
    assert peak < 12 * MIB
    with pytest.raises(LimitExceeded, match="limit is 67108864 bytes"):
        await read(updates(tmp_path / "b.db", 64 * MIB + 1))


async def test_an_update_that_is_none(tmp_path: Path) -> None:
    """Text in place of bytes is refused, with its table."""
    path = run(updates(tmp_path / "a.db", 1), "UPDATE memory_block_updates SET update_blob = 'text'")

    with pytest.raises(InvalidCell, match="update with str") as caught:
        await read(path)
    assert "memory_block_updates" == caught.value.where.table
