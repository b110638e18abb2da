"""Blocks of exactly the largest size, and one byte more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.car import MAX_BLOCK_BYTES, encode
from tests.acceptance.oracle import Database, Expected
from tests.acceptance.running import export, export_all
from tests.acceptance.world import making


def _sized(path: Path, table: str, column: str, extra: int) -> str:
    """One row whose block has exactly `extra` bytes more than a block may have; its id."""
    with making(path) as world:
        world.add("agents", id="a")
        row = {"id": "row", "agent_id": "a", column: ""}
        if table == "memory_blocks":
            world.block("row", "a", description="")
        else:
            world.add(table, **row)
        world.connection.commit()
        envelope = _encoded_bytes(Database(path), table)
        text = "x" * (MAX_BLOCK_BYTES + extra - envelope - 4)
        world.connection.execute(f"UPDATE {table} SET {column} = ?", (text,))
    return "row"


def _encoded_bytes(rows: Database, table: str) -> int:
    """Bytes of the block of the only row; its long text is empty, or null, as yet."""
    flat = Expected(rows).agent_scope("a")
    if table == "memory_blocks":
        record = {**flat.memory["row"].record, "frontier": [0], "snapshot_chunk_cids": [], "total_snapshot_bytes": 0}
        return len(encode(record))
    (part,) = flat.agents.values()
    if table != "messages":
        return len(encode([*part.entries, *part.summaries][0]))
    chunk = part.chunks[0]
    return len(encode({"messages": chunk.messages, "chunk_index": 0, "end_position": chunk.end, "message_count": 1,
                       "start_position": chunk.start}))  # fmt: skip


LONG = [("messages", "content_preview"), ("archival_entries", "content"), ("archive_summaries", "summary"),
        ("memory_blocks", "description")]  # fmt: skip


@pytest.mark.parametrize(("table", "column"), LONG)
def test_a_block_of_exactly_the_limit_goes_out(table: str, column: str, tmp_path: Path) -> None:
    """1,000,000 bytes of block data are allowed."""
    _sized(tmp_path / "full.db", table, column, 0)
    run = export(tmp_path / "full.db", tmp_path / "out.car", "--portable")

    assert 0 == run.code, run.stderr
    assert MAX_BLOCK_BYTES == max(len(data) for _, data in run.archive.sections)


@pytest.mark.parametrize(("table", "column"), LONG)
def test_a_block_one_byte_larger_is_refused(table: str, column: str, tmp_path: Path) -> None:
    """In version 3: exit 5, naming table, row, size and limit; no file. (A message alone would fit; its chunk not.)"""
    key = _sized(tmp_path / "over.db", table, column, 1)
    run = export(tmp_path / "over.db", tmp_path / "out.car", "--portable", "--format", "3")

    assert 5 == run.code, run.stderr
    for text in (table, key, "1000001", "1000000"):
        assert text in run.stderr.replace(",", "")
    assert ["over.db"] == [path.name for path in tmp_path.iterdir()]


def test_a_chunk_may_fill_its_limits_exactly(tmp_path: Path) -> None:
    """Seven messages of one size: three fit where the limit is three times that size, two where it is a byte less."""
    with making(tmp_path / "seven.db") as world:
        world.add("agents", id="a")
        for n in range(7):
            world.add("messages", id=str(n), agent_id="a", position=str(n))
    size = len(encode(Expected(Database(tmp_path / "seven.db")).agent_scope("a").agents["a"].messages[0]))
    limits = {"exact": ("--max-chunk-bytes", str(3 * size)), "less": ("--max-chunk-bytes", str(3 * size - 1)),
              "count": ("--max-messages-per-chunk", "4")}  # fmt: skip
    runs = export_all(tmp_path / "seven.db", tmp_path, limits)
    found = {name: [chunk.count for chunk in run.flat.agents["a"].chunks] for name, run in runs.items()}

    assert {"exact": [3, 3, 1], "less": [2, 2, 2, 1], "count": [4, 3]} == found
