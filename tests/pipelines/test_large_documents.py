"""Memory documents beyond the limit: whole backups carry them, other archives refuse them, and every reader says so."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from pattern_stream import (
    ExportOptions,
    Finding,
    ImportOptions,
    dump_archive,
    export_archive,
    import_archive,
    inspect_archive,
    verify_archive,
)  # fmt: skip
from pattern_stream.demo.database import make_demo
from pattern_stream.errors import LimitExceeded
from pattern_stream.format import LARGE_CELL_BYTES
from pattern_stream.memory.sandbox import Sandbox
from tests.drive import collect
from tests.memory.forging import forge, forge_edits

pytestmark = pytest.mark.anyio

LIMIT: Final = 6000
"""Smaller than what is made here, larger than the documents of the demonstration."""

WHOLE: Final = ExportOptions(exported_at="2026-01-01T00:00:00Z", max_document_bytes=LIMIT)


@pytest.fixture(scope="module")
def edits() -> list[bytes]:
    """Updates that follow each other; together they are beyond the limit, and none of them is."""
    return forge_edits(*(random.Random(number).randbytes(800).hex() for number in range(6)))


@pytest.fixture(params=["stored", "grown"])
async def database(request: pytest.FixtureRequest, tmp_path: Path, edits: list[bytes]) -> Path:
    """A block whose stored document is beyond the limit, or only with the edits that wait for it."""
    path = tmp_path / "large.db"
    await make_demo(path, messages=3, seed=5)
    stored = await joined(edits) if request.param == "stored" else await joined(edits[:1])
    rest = edits[4:] if request.param == "stored" else edits[1:]
    with closing(sqlite3.connect(path)) as connection, connection:
        query = "SELECT id FROM memory_blocks WHERE agent_id IN (SELECT id FROM agents) ORDER BY id LIMIT 1"
        [(taken,)] = connection.execute(query)
        for table in ("memory_block_updates", "memory_block_checkpoints"):
            connection.execute(f"DELETE FROM {table} WHERE block_id = ?", (taken,))
        changes = "loro_snapshot = ?, frontier = NULL, metadata = NULL, content_preview = 'stored preview'"
        connection.execute(f"UPDATE memory_blocks SET {changes} WHERE id = ?", (stored, taken))
        columns = "block_id, seq, update_blob, byte_size, created_at"
        rows = [(taken, seq, blob, len(blob), "2026-01-01T00:00:00+00:00") for seq, blob in enumerate(rest, 1)]
        connection.executemany(f"INSERT INTO memory_block_updates ({columns}) VALUES (?, ?, ?, ?, ?)", rows)
    return path


async def joined(edits: list[bytes]) -> bytes:
    """The document that edits lead to."""
    async with Sandbox() as sandbox:
        return (await sandbox.fold(b"", list(enumerate(edits, 1)), None)).snapshot


def large(database: Path) -> str:
    """The block's id."""
    with closing(sqlite3.connect(database)) as connection:
        [(found,)] = connection.execute("SELECT id FROM memory_blocks WHERE content_preview = 'stored preview'")
    return str(found)


def told(findings: list[Finding]) -> set[tuple[str, str, str | None]]:
    """Severity, code and block of the findings that are about documents."""
    return {(each.severity, each.code, each.where.row_id) for each in findings if each.code.endswith("-unchecked")}


async def test_a_whole_backup_carries_it(database: Path, tmp_path: Path) -> None:
    """Stored bytes and edits come back as they were; export and every reader say that nobody looked into them."""
    archive, back, again = tmp_path / "a.car", tmp_path / "back.db", tmp_path / "b.car"
    block = large(database)

    written = await export_archive(database, archive, options=WHOLE)
    checked = await verify_archive(archive, against=database, both_ways=True, max_document_bytes=LIMIT)
    seen = await inspect_archive(archive, max_document_bytes=LIMIT)
    notes: list[Finding] = []
    dumped = await collect(dump_archive(archive, "blocks", max_document_bytes=LIMIT, report=notes.append))
    taken = await import_archive(archive, back, options=ImportOptions(max_document_bytes=LIMIT))
    await export_archive(back, again, options=WHOLE)

    assert {("warning", "document-unchecked", block)} == told(written.findings)
    assert {block} == {row for severity, _, row in told(checked.findings) if severity == "warning"}
    assert 0 == checked.exit_code, checked.findings
    assert checked.against is not None
    assert 0 == checked.against.count
    assert {block} == {row for _, _, row in told(taken.findings)}
    [entry] = [entry for agent in seen.agents for entry in agent["memory_blocks"] if entry["id"] == block]
    [line] = [line for line in dumped if line["kind"] == "memory_block" and line["id"] == block]
    if len(stored_bytes(database, block)[0]) > LIMIT:
        assert "stored preview" == entry["preview"]
        assert line["text"] is None
        assert {("warning", "document-unchecked", block)} == told(notes) == told(seen.findings)
    assert stored_bytes(database, block) == stored_bytes(back, block)
    assert archive.read_bytes() == again.read_bytes()


def stored_bytes(database: Path, block: str) -> list[bytes]:
    """The stored document and its edits."""
    with closing(sqlite3.connect(database)) as connection:
        [(document,)] = connection.execute("SELECT loro_snapshot FROM memory_blocks WHERE id = ?", (block,))
        query = "SELECT update_blob FROM memory_block_updates WHERE block_id = ? ORDER BY seq"
        return [document, *(blob for (blob,) in connection.execute(query, (block,)))]


async def test_other_archives_refuse_it(database: Path, tmp_path: Path) -> None:
    """Exit 5 that names the block and the option; --salvage sends what is stored; a larger limit all of it."""
    block, out = large(database), tmp_path / "out.car"
    portable = ExportOptions(portable=True)
    limited = replace(portable, max_document_bytes=LIMIT)

    with pytest.raises(LimitExceeded, match="limit is 6000 bytes") as caught:
        await export_archive(database, out, options=limited)
    salvaged = await export_archive(database, out, options=replace(limited, salvage=True))
    sound = await export_archive(database, tmp_path / "sound.car", options=portable)

    assert (block, "--max-document-bytes raises the limit", 5) == (
        caught.value.where.row_id, caught.value.hint, caught.value.exit_code,
    )  # fmt: skip
    assert salvaged.loss
    assert not sound.loss
    [line] = [line for line in await collect(dump_archive(out, "blocks")) if line.get("id") == block]
    assert line["content_preview"] is None
    with pytest.raises(LimitExceeded, match="limit is 6000") as refused:
        await import_archive(tmp_path / "sound.car", tmp_path / "t.db", options=ImportOptions(max_document_bytes=LIMIT))
    assert "--max-document-bytes raises the limit" == refused.value.hint
    assert not (tmp_path / "t.db").exists()


async def test_four_times_the_limit_is_too_much_for_a_whole_backup(database: Path, tmp_path: Path) -> None:
    """Documents are joined in memory, so there is an end; it names the option, and readers have the same one."""
    with pytest.raises(LimitExceeded) as caught:
        await export_archive(database, tmp_path / "a.car", options=ExportOptions(max_document_bytes=LIMIT // 8))
    await export_archive(database, tmp_path / "b.car")
    checked = await verify_archive(tmp_path / "b.car", max_document_bytes=LIMIT // 8)

    assert "--max-document-bytes raises the limit" == caught.value.hint
    assert 5 == checked.exit_code


async def test_an_empty_document_may_start_from_a_large_checkpoint(tmp_path: Path) -> None:
    """One that is too large to travel in its row is where the replay of its edits begins."""
    database, archive, back = tmp_path / "c.db", tmp_path / "c.car", tmp_path / "back.db"
    lines = ["import random", "items.push(random.Random(1).randbytes(4_300_000))", "snapshot()"]
    checkpoint, edit = forge("\n".join([*lines, "since = doc.oplog_vv", "text.push_str('more')", "update(since)"]))
    await make_demo(database, messages=3, seed=5)
    with closing(sqlite3.connect(database)) as connection, connection:
        query = "SELECT id FROM memory_blocks WHERE agent_id IN (SELECT id FROM agents) ORDER BY id LIMIT 1"
        [(block,)] = connection.execute(query)
        for table in ("memory_block_updates", "memory_block_checkpoints"):
            connection.execute(f"DELETE FROM {table} WHERE block_id = ?", (block,))
        connection.execute("UPDATE memory_blocks SET loro_snapshot = x'', frontier = NULL WHERE id = ?", (block,))
        columns = "block_id, seq, update_blob, byte_size, created_at"
        row = (block, 1, edit, len(edit), "2026-01-02")
        connection.execute(f"INSERT INTO memory_block_updates ({columns}) VALUES (?, ?, ?, ?, ?)", row)
        columns = "block_id, snapshot, created_at"
        made = (block, checkpoint, "2026-01-01")
        connection.execute(f"INSERT INTO memory_block_checkpoints ({columns}) VALUES (?, ?, ?)", made)

    await export_archive(database, archive)
    await import_archive(archive, back)

    assert LARGE_CELL_BYTES < len(checkpoint)
    assert (await verify_archive(archive, against=back, both_ways=True)).ok
