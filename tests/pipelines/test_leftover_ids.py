"""An import with new ids says where old ones are left; one that keeps ids has nothing to say."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.demo.database import make_demo
from pattern_stream.pipelines.exporting import export_archive
from pattern_stream.pipelines.importing import ImportOptions, import_archive

pytestmark = pytest.mark.anyio


@pytest.fixture
async def packed(tmp_path: Path) -> tuple[Path, str]:
    """An archive in which text names an agent in a message, an entry and a task."""
    database, archive = tmp_path / "source.db", tmp_path / "archive.car"
    await make_demo(database, messages=40)
    with closing(sqlite3.connect(database)) as connection:
        (agent,) = connection.execute("SELECT id FROM agents ORDER BY id LIMIT 1").fetchone()
        for table, column in (("messages", "content_json"), ("archival_entries", "content"), ("tasks", "description")):
            one = f"(SELECT min(id) FROM {table})"
            text = '{"Text":"ask %s"}' if column == "content_json" else "ask %s"
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE id = {one}", (text % agent,))
        connection.commit()
    await export_archive(database, archive)
    return archive, agent


@pytest.mark.parametrize("dry", [False, True])
async def test_old_ids_in_text_are_listed(packed: tuple[Path, str], tmp_path: Path, dry: bool) -> None:
    """A warning for each column, which names a row as it is called now."""
    archive, agent = packed
    copy = tmp_path / "copy.db"

    result = await import_archive(archive, copy, options=ImportOptions(new_ids=True, dry_run=dry))

    found = [finding for finding in result.findings if finding.code == "ids-in-text"]
    assert {("messages", "content_json"), ("archival_entries", "content"), ("tasks", "description")} == {
        (finding.where.table, finding.where.field) for finding in found
    }
    assert all(agent in finding.message and finding.severity == "warning" for finding in found)
    if not dry:
        with closing(sqlite3.connect(copy)) as connection:
            for finding in found:
                sql = f"SELECT {finding.where.field} FROM {finding.where.table} WHERE id = ?"
                assert agent in connection.execute(sql, (finding.where.row_id,)).fetchone()[0]


async def test_kept_ids_are_no_matter(packed: tuple[Path, str], tmp_path: Path) -> None:
    """They are right as they are."""
    result = await import_archive(packed[0], tmp_path / "copy.db")

    assert [] == [finding for finding in result.findings if finding.code == "ids-in-text"]


async def test_an_id_that_stays_is_none_of_them(tmp_path: Path) -> None:
    """An agent may be called what means the same everywhere, and is a common word."""
    database, archive = tmp_path / "source.db", tmp_path / "archive.car"
    await make_demo(database, messages=40)
    with closing(sqlite3.connect(database)) as connection:
        names = "system_prompt, config, enabled_tools, created_at, updated_at, model_provider, model_name"
        sql = f"INSERT INTO agents (id, name, {names}) SELECT ?, ?, {names} FROM agents LIMIT 1"
        connection.executemany(sql, [("system", "System"), ("agent-7", "Seven")])
        connection.execute("UPDATE archival_entries SET content = 'the system knows agent-7'")
        connection.commit()
    await export_archive(database, archive)

    result = await import_archive(archive, tmp_path / "copy.db", options=ImportOptions(new_ids=True))

    (found,) = [finding for finding in result.findings if finding.code == "ids-in-text"]
    assert "agent-7" in found.message
