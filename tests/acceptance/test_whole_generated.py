"""Property: for any database of the schema, importing its export gives the same database."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pattern_stream.db.ddl.create import schema_statements
from pattern_stream.demo.database import make_demo
from pattern_stream.pipelines.exporting import ExportOptions, export_archive
from pattern_stream.pipelines.importing import ImportOptions, import_archive
from tests.acceptance.generated import Filling, Life
from tests.acceptance.running import EPOCH_TEXT
from tests.acceptance.test_whole_fixtures import KEY, holds_references, renamed
from tests.acceptance.whole import differences, kept, sound


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> list[Life]:
    """Documents of the demo constellation with their active edits, and one that was never written."""
    path = tmp_path_factory.mktemp("lives") / "demo.db"
    asyncio.run(make_demo(path, messages=20, seed=5))
    with closing(sqlite3.connect(path)) as connection:
        found = [Life(b"", ())]
        for block_id, snapshot in connection.execute("SELECT id, loro_snapshot FROM memory_blocks ORDER BY id LIMIT 8"):
            rows = connection.execute(
                "SELECT seq, update_blob FROM memory_block_updates WHERE block_id = ? AND is_active = 1 ORDER BY seq",
                (block_id,),
            ).fetchall()
            found.append(Life(snapshot, tuple(rows)))
    return found


def fill(path: Path, data: Any, lives: list[Life]) -> None:
    """A database with drawn rows."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        for statement in schema_statements():
            connection.execute(statement)
        Filling(connection, data.draw, lives).fill()


async def round_trip(folder: Path, **terms: Any) -> None:
    """Out and in again, into a new database."""
    archive = folder / "whole.car"
    result = await export_archive(folder / "source.db", archive, options=ExportOptions(exported_at=EPOCH_TEXT))
    assert {} == result.not_carried
    await import_archive(archive, folder / "copy.db", options=ImportOptions(**terms))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), new_ids=st.sampled_from([False, False, True]))
def test_any_database_comes_back(lives: list[Life], data: Any, new_ids: bool) -> None:
    """Cell by cell, odd ones too; with new ids up to the renaming."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        fill(folder / "source.db", data, lives)
        terms = {"new_ids": True, "id_key": KEY} if new_ids else {}

        asyncio.run(round_trip(folder, **terms))

        found = list(differences(folder / "source.db", folder / "copy.db", renamed if new_ids else kept))
        assert [] == [line for line in found if not (new_ids and holds_references(line))]
        assert [] == list(sound(folder / "copy.db"))
