"""Cells that cannot mean anything: the export names table, row and column, exits with 4, and leaves no file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.car import parse_ours
from tests.acceptance.documents import make_documents, read_documents
from tests.acceptance.flat import flatten
from tests.acceptance.oracle import Stored
from tests.acceptance.running import run_all
from tests.acceptance.world import making

CELLS: dict[str, tuple[str, str, Any]] = {
    "a BLOB in a text column": ("agents", "system_prompt", b"text"),
    "a BLOB in a JSON column": ("agents", "config", b"{}"),
    "an unknown status": ("agents", "status", "Active"),
    "a tool list that is an object": ("agents", "enabled_tools", "{}"),
    "a tool that is no text": ("agents", "enabled_tools", "[1]"),
    "empty JSON": ("agents", "config", ""),
    "NaN": ("agents", "tool_rules", "[NaN]"),
    "an infinity": ("agents", "config", '{"a":1e400}'),
    "a lone surrogate": ("agents", "config", '"\\ud800"'),
    "two JSON values": ("agents", "config", "{} {}"),
    "a bare date": ("agents", "created_at", "2026-01-02"),
    "a number for a time": ("agents", "updated_at", "1772000000"),
    "a day that is not": ("agents", "created_at", "2026-02-30T00:00:00+00:00"),
    "a message of an unknown role": ("messages", "role", "User"),
    "a batch of an unknown type": ("messages", "batch_type", ""),
    "a message with a broken content": ("messages", "content_json", '{"Text":'),
    "a position that is a BLOB": ("messages", "position", b"1"),
    "a sequence that is text": ("messages", "sequence_in_batch", "first"),
    "an unknown permission": ("memory_blocks", "permission", "write"),
    "an unknown block type": ("memory_blocks", "block_type", "Core"),
    "a limit that is no integer": ("memory_blocks", "char_limit", 1.5),
    "text for a snapshot": ("memory_blocks", "loro_snapshot", "loro"),
    "an entry with broken metadata": ("archival_entries", "metadata", "{"),
    "a depth that is text": ("archive_summaries", "depth", "deep"),
}


def _row(path: Path, table: str, column: str, value: Any) -> None:
    with making(path) as world:
        world.add("agents", id="a")
        if table == "agents":
            world.connection.execute(f"UPDATE agents SET {column} = ?", (value,))
        elif table == "memory_blocks":
            world.block("row", "a", **{column: value})
        else:
            world.add(table, **{"id": "row", "agent_id": "a", column: value})


@pytest.fixture(scope="session")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[int, bytes, str]]]:
    """Each case in a database of its own, exported to a file; in one go."""
    folder = tmp_path_factory.mktemp("refused")
    lines = {}
    for number, (name, cell) in enumerate(CELLS.items()):
        _row(folder / f"{number}.db", *cell)
        lines[name] = ["export", "--db", str(folder / f"{number}.db"), "-o", str(folder / f"{number}.car"), "--json"]
        lines[name] += ["--portable"]
    return folder, run_all(lines)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_without_meaning_is_refused(name: str, refused: tuple[Path, dict[str, tuple[int, bytes, str]]]) -> None:
    """In a portable archive: exit 4; the error names the place, as JSON too; no archive. A whole backup carries it."""
    table, column, _ = CELLS[name]
    code, out, told = refused[1][name]

    assert 4 == code, told
    where = json.loads(out)["error"]["where"]
    assert (table, "a" if table == "agents" else "row", column) == (where["table"], where["row_id"], where["field"])
    assert table in told
    assert [] == list(refused[0].glob("*.car*"))


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    """In a text column and in a JSON column."""
    lines = {}
    for number, (table, column) in enumerate([("agents", "name"), ("messages", "content_json")]):
        path = tmp_path / f"{number}.db"
        _row(path, table, "id", "a" if table == "agents" else "row")
        with making(tmp_path / f"scratch {number}.db") as world:
            world.connection.execute("ATTACH ? AS target", (str(path),))
            world.connection.execute(f"UPDATE target.{table} SET {column} = CAST(x'22FF22' AS TEXT)")
        lines[table] = ["export", "--db", str(path), "-o", str(tmp_path / f"{table}.car"), "--json", "--portable"]
    for table, (code, out, told) in run_all(lines).items():
        assert 4 == code, told
        assert table == json.loads(out)["error"]["where"]["table"]
        assert ("a" if table == "agents" else "row") == json.loads(out)["error"]["where"]["row_id"]
    assert [] == list(tmp_path.glob("*.car*"))


def _damaged(path: Path) -> None:
    """Blocks with an update that is missing, one that is cut, one that kills the reader, and a broken base."""
    gap, cut = make_documents([["base", "one ", "two ", "three "], ["base", "one ", "two "]])
    bomb = bytes.fromhex(
        "6c6f726f0000000000000000000000002ae23d6800043b0001000101100101000000000000000101ffffffff0f0000000005010000"
        "01000601040100000204016b016d000e0104020100f7010002010b0201017b0100"
    )
    with making(path) as world:
        world.add("agents", id="a")
        updates = {"gap": {1: gap.updates[0], 3: gap.updates[2]}, "cut": {1: cut.updates[0], 2: cut.updates[1][:-3]},
                   "bomb": {1: bomb}}  # fmt: skip
        for key, blobs in updates.items():
            world.block(key, "a", loro_snapshot=gap.base if key == "gap" else cut.base, last_seq=max(blobs))
            for seq, blob in blobs.items():
                world.add("memory_block_updates", block_id=key, seq=seq, update_blob=blob)
        world.block("base", "a", loro_snapshot=gap.base[:-1])


def test_damaged_memory_is_refused_or_salvaged(tmp_path: Path) -> None:
    """Exit 4 naming the block; with --salvage each goes out as far as it is good, is listed with its seq, exit 3."""
    _damaged(tmp_path / "damaged.db")
    line = ["export", "--db", str(tmp_path / "damaged.db"), "--json", "-o"]
    runs = run_all(
        {"plain": [*line, str(tmp_path / "plain.car")], "salvage": [*line, str(tmp_path / "good.car"), "--salvage"]},
    )
    code, out, told = runs["plain"]

    assert 4 == code, told
    assert "memory_blocks" in json.loads(out)["error"]["where"]["table"]
    assert not (tmp_path / "plain.car").exists()
    code, out, told = runs["salvage"]
    assert 3 == code, told
    listed = {
        each["where"]["row_id"]: each["message"] for each in json.loads(out)["warnings"] if each["severity"] == "error"
    }
    assert {"gap", "cut", "bomb", "base"} == set(listed)
    assert "seq 3" in listed["gap"]
    assert "seq 2" in listed["cut"]
    parts = flatten(parse_ours((tmp_path / "good.car").read_bytes())).memory
    found = dict(zip(parts, read_documents(Stored(part.snapshot) for part in parts.values()), strict=True))
    texts = {key: document["deep"].get("content") for key, document in found.items()}
    assert {"gap": "one base", "cut": "one base", "bomb": "base", "base": None} == texts
