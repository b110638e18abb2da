"""The demonstration: every kind of row, valid throughout, and the same for a seed."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pattern_stream.db.ddl import core_tables, extra_tables
from pattern_stream.demo.database import make_demo
from pattern_stream.demo.languages import LANGUAGES, SHARES
from pattern_stream.errors import TargetExists, UsageError
from pattern_stream.format import SNOWFLAKE_EPOCH_MS
from pattern_stream.memory.sandbox import Sandbox
from pattern_stream.schema.mapping.instants import instant_to_column
from pattern_stream.schema.mapping.json_values import json_depth
from pattern_stream.schema.model.records import MemoryBlock, Message

pytestmark = pytest.mark.anyio


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def dump(path: Path) -> list[str]:
    with opened(path) as connection:
        return list(connection.iterdump())


@pytest.fixture
async def demo(tmp_path: Path) -> Path:
    path = tmp_path / "demo.db"
    await make_demo(path, messages=300, seed=5)
    return path


async def test_every_table_has_rows(tmp_path: Path) -> None:
    """All 29 tables of the schema, counted as they are."""
    result = await make_demo(tmp_path / "demo.db", messages=120)

    assert {table.name for table in (*core_tables.TABLES, *extra_tables.TABLES)} - {"_sqlx_migrations"} == set(
        result.rows
    )
    assert 29 == len(result.rows)
    assert 120 == result.rows["messages"]
    with opened(result.path) as connection:
        counted = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in result.rows}
    assert result.rows == counted
    assert result.path.stat().st_size == result.bytes


async def test_database_is_sound(demo: Path) -> None:
    """No damage, no dangling key, full-text indexes and triggers as if every row had come through a trigger."""
    with opened(demo) as connection:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
        assert [] == connection.execute("PRAGMA foreign_key_check").fetchall()
        for index in ("messages_fts", "memory_blocks_fts", "archival_fts"):
            connection.execute(f"INSERT INTO {index}({index}, rank) VALUES ('integrity-check', 1)")
        triggers = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")}
        (found,) = connection.execute("SELECT count(*) FROM messages_fts WHERE messages_fts MATCH 'kettle'").fetchone()
        (there,) = connection.execute("SELECT count(*) FROM messages WHERE content_preview LIKE '%kettle%'").fetchone()

    assert {f"{table}_a{event}" for table in ("messages", "memory_blocks", "archival") for event in "idu"} == triggers
    assert 0 < there == found


async def test_file_is_private_and_nothing_is_left_beside(demo: Path) -> None:
    """Mode 0600, and no partial or journal file."""
    assert 0o600 == stat.S_IMODE(demo.stat().st_mode)
    assert [demo] == list(demo.parent.iterdir())


async def test_seed_decides_every_row(tmp_path: Path) -> None:
    """The same seed gives the same rows, memory documents included; another seed gives others."""
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    for path, seed in ((one, 3), (same, 3), (other, 4)):
        await make_demo(path, messages=60, seed=seed)

    assert dump(one) == dump(same)
    assert dump(one) != dump(other)


async def test_existing_file_is_left_alone(tmp_path: Path) -> None:
    """A file that is there stays as it is, and so does the folder."""
    taken = tmp_path / "taken.db"
    taken.write_text("mine")

    with pytest.raises(TargetExists):
        await make_demo(taken)
    assert "mine" == taken.read_text()
    assert [taken] == list(tmp_path.iterdir())


async def test_negative_number_of_messages_is_refused(tmp_path: Path) -> None:
    """There is no such number of messages."""
    with pytest.raises(UsageError):
        await make_demo(tmp_path / "demo.db", messages=-1)


async def test_unknown_language_is_refused(tmp_path: Path) -> None:
    """Nothing is made in a language that the demonstration does not speak."""
    with pytest.raises(UsageError, match="language is latin, expected one of ascii, english, "):
        await make_demo(tmp_path / "demo.db", language="latin")
    assert [] == list(tmp_path.iterdir())


SIGNS = {
    "ascii": r"^[\x00-\x7f]+$", "english": "[\u2019\u201c\u2014\u2026]", "french": "[\u00e0\u00e9\u00fb]",
    "russian": "[а-яё]", "arabic": "[\u0621-\u064a]", "chinese": "[\u4e00-\u9fff]",
    "japanese": "[\u3040-\u30ff]",
}  # fmt: skip


async def test_people_write_as_people_do(tmp_path: Path) -> None:
    """Several scripts, curly quotes, emoji, code, addresses; floats and deep values in the JSON of tools."""
    path = tmp_path / "demo.db"
    await make_demo(path, messages=1_000)

    with opened(path) as connection:
        texts = [text for (text,) in connection.execute("SELECT content_json FROM messages")]
    values = [json.loads(text) for text in texts]
    shares = {name: sum(bool(re.search(sign, text)) for text in texts) / 1_000 for name, sign in SIGNS.items()}
    others = ("\U0001f469\u200d\U0001f4bb", "```rust\\n", "https://example.org/", '\\"open\\":true')

    assert set(LANGUAGES) == set(SIGNS) == {*SHARES, "ascii"}
    assert all(0.02 < share for share in shares.values())
    assert shares["english"] > 0.3 < 1 - shares["ascii"]
    assert [] == [sign for sign in others if not any(sign in text for text in texts)]
    assert 8 < max(map(json_depth, values))
    assert any(re.search(r'":-?\d+\.\d{5,}', text) for text in texts)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_one_language_alone(tmp_path: Path, language: str) -> None:
    """Its script is in most messages, which are about as long in every language; cast and memory stay as they are."""
    alone, mixed = tmp_path / "alone.db", tmp_path / "mixed.db"
    await make_demo(alone, messages=400, language=language)
    await make_demo(mixed, messages=0)

    with opened(alone) as connection:
        texts = [text for (text,) in connection.execute("SELECT content_json FROM messages")]
        connection.execute("ATTACH ? AS mixed", (str(mixed),))
        for table in ("agents", "memory_blocks", "memory_block_updates"):
            both = f"SELECT * FROM main.{table} INTERSECT SELECT * FROM mixed.{table}"
            (same,), (there,) = (
                connection.execute(f"SELECT count(*) FROM ({sql})").fetchone()
                for sql in (both, f"SELECT * FROM main.{table}")
            )
            assert same == there > 0
    share = sum(bool(re.search(SIGNS[language], text)) for text in texts) / len(texts)

    assert share > (0.4 if language == "english" else 0.99)
    assert 300 < sum(len(text.encode()) for text in texts) / len(texts) < 420


async def test_no_messages_is_a_small_database(tmp_path: Path) -> None:
    """A constellation that never spoke still has its agents and memory."""
    result = await make_demo(tmp_path / "demo.db", messages=0)

    assert "messages" not in result.rows
    assert 0 < result.rows["memory_blocks"]


async def test_positions_are_snowflakes_of_their_moment(demo: Path) -> None:
    """Positions are distinct, in order of time, and hold the message's own millisecond; no two agents share a batch."""
    with opened(demo) as connection:
        rows = connection.execute(
            "SELECT position, created_at, batch_id, agent_id FROM messages ORDER BY rowid"
        ).fetchall()

    positions = [int(position) for position, *_ in rows]
    assert sorted(set(positions)) == positions
    assert {17} == {len(position) for position, *_ in rows}
    for position, created_at, batch, _ in rows:
        moment = datetime.fromisoformat(created_at).astimezone(UTC)
        milliseconds = int(moment.timestamp()) * 1000 + moment.microsecond // 1000
        assert milliseconds == (int(position) >> 16) + SNOWFLAKE_EPOCH_MS
        assert int(batch) < int(position)
    assert len({batch for _, _, batch, _ in rows}) == len({(batch, agent) for _, _, batch, agent in rows})


async def test_moments_are_written_as_the_original_writes_them(demo: Path) -> None:
    """Offset +00:00 and 0, 3, 6 or 9 digits of a fraction; the other form only where the original has it."""
    with opened(demo) as connection:
        moments = [row[0] for row in connection.execute("SELECT created_at FROM messages")]
        moments += [row[0] for row in connection.execute("SELECT created_at FROM memory_block_updates")]
        edited = [row[0] for row in connection.execute("SELECT updated_at FROM memory_blocks WHERE last_seq > 0")]

    assert moments == [instant_to_column(moment) for moment in moments]
    assert all(" " in moment for moment in edited)


async def test_messages_show_every_shape(demo: Path) -> None:
    """All five content shapes, all roles and batch types, archived and deleted ones, and previews by the rules."""
    with opened(demo) as connection:
        rows = connection.execute("SELECT role, content_json, content_preview, batch_type FROM messages").fetchall()
        flags = connection.execute("SELECT sum(is_archived), sum(is_deleted) FROM messages").fetchone()

    shapes = {next(iter(json.loads(content))) for _, content, _, _ in rows}
    assert {"Text", "Parts", "ToolCalls", "ToolResponses", "Blocks"} == shapes
    assert {"user", "assistant", "system", "tool"} == {role for role, *_ in rows}
    assert {"user_request", "agent_to_agent", "system_trigger", "continuation"} == {row[3] for row in rows}
    assert all(flags)
    for _, content, preview, _ in rows:
        assert shown(json.loads(content)) == preview


def shown(content: dict[str, object]) -> str | None:
    """A message's preview by the rules of the original."""
    ((shape, value),) = content.items()
    if isinstance(value, str):
        return value
    assert isinstance(value, list)
    texts = [text for part in value for text in texts_of(shape, part)]
    return "\n".join(texts) or None


def texts_of(shape: str, part: dict[str, dict[str, str]]) -> list[str]:
    if shape == "ToolResponses":
        return [str(part["content"])]
    kinds = {"Parts": ("Text",), "Blocks": ("Text", "Thinking")}.get(shape, ())
    return [str(part[kind] if shape == "Parts" else part[kind]["text"]) for kind in kinds if kind in part]


async def test_summaries_are_chains_over_archived_messages(tmp_path: Path) -> None:
    """Each summary stands for a range of its agent's archived messages, and leads to the one before it."""
    path = tmp_path / "demo.db"
    await make_demo(path, messages=1_000)

    with opened(path) as connection:
        rows = connection.execute(
            "SELECT s.message_count, s.depth, p.depth, p.agent_id = s.agent_id, (SELECT count(*) FROM messages m WHERE"
            " m.agent_id = s.agent_id AND m.is_archived AND m.position BETWEEN s.start_position AND s.end_position)"
            " FROM archive_summaries s LEFT JOIN archive_summaries p ON p.id = s.previous_summary_id"
        ).fetchall()

    assert 2 < max(depth for _, depth, *_ in rows)
    for count, depth, before, same_agent, covered in rows:
        assert covered == count
        assert (None, None) == (before, same_agent) if depth == 0 else (depth - 1, 1) == (before, same_agent)


async def test_every_part_of_memory_is_there(demo: Path) -> None:
    """All schemas, pending and undone edits, a checkpoint, and owners of every kind; the world shares and nests."""
    with opened(demo) as connection:
        metadata = [row[0] for row in connection.execute("SELECT metadata FROM memory_blocks")]
        undone, active = connection.execute(
            "SELECT sum(is_active = 0), sum(is_active = 1) FROM memory_block_updates"
        ).fetchone()
        kinds = [row[0] for row in connection.execute("SELECT DISTINCT block_type FROM memory_blocks ORDER BY 1")]
        hidden, unowned, common = connection.execute(
            "SELECT sum(NOT is_active), sum(agent_id NOT IN (SELECT id FROM agents)), sum(agent_id = '_constellation_')"
            " FROM memory_blocks"
        ).fetchone()
        roles = {
            json.loads(row[0])["type"] for row in connection.execute("SELECT role FROM group_members WHERE role <> ''")
        }
        (nested,) = connection.execute("SELECT count(parent_entry_id) FROM archival_entries").fetchone()

    schemas = {next(iter(json.loads(text)["schema"])) if text else None for text in metadata}
    assert {"Text", "Map", "List", "Log", "Composite", None} == schemas
    assert undone > 5 < active
    assert ["archival", "core", "log", "working"] == kinds
    assert (1, 4, 2) == (hidden, unowned, common)
    assert {"supervisor", "regular", "specialist", "observer"} == roles
    assert nested > 5


async def test_memory_is_left_as_the_original_leaves_it(demo: Path) -> None:
    """Every document folds; its edits are not in the stored snapshot, and only undone blocks have a stale preview."""
    stale, pending = set(), 0
    with opened(demo) as connection:
        blocks = connection.execute("SELECT id, label, loro_snapshot, metadata, content_preview FROM memory_blocks")
        async with Sandbox() as sandbox:
            for identity, label, snapshot, metadata, preview in blocks.fetchall():
                updates = connection.execute(
                    "SELECT seq, update_blob FROM memory_block_updates WHERE block_id = ? AND is_active ORDER BY seq",
                    (identity,),
                ).fetchall()
                folded = await sandbox.fold(snapshot, updates, metadata)
                pending += folded.changed
                stale |= {label} if folded.rendered != (preview or "") else set()

    assert pending > 30
    assert {"partner", "doubts", "notebook"} >= stale >= {"doubts"}


async def test_edits_after_a_checkpoint_are_later_than_it(demo: Path) -> None:
    """The original takes only such edits as are later, compared as text, than the newest checkpoint."""
    with opened(demo) as connection:
        rows = connection.execute(
            "SELECT u.created_at > c.created_at, u.seq > 1 FROM memory_block_updates u"
            " JOIN memory_block_checkpoints c USING (block_id)"
        ).fetchall()

    assert {(1, 1)} == set(rows)


async def test_columns_of_the_demo_are_those_of_the_records(demo: Path) -> None:
    """What the demonstration writes can be read by the record declarations."""
    with opened(demo) as connection:
        for record in (Message, MemoryBlock):
            columns = ", ".join(record.columns)
            assert connection.execute(f"SELECT {columns} FROM {record.table} LIMIT 1").fetchone()
