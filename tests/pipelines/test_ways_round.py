"""Every conflict names a way round that fits it, and the way can be pasted behind the command."""

from __future__ import annotations

import json
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pattern_stream.cli.import_command import renaming
from pattern_stream.demo.database import make_demo
from pattern_stream.errors import NameConflict
from pattern_stream.pipelines.exporting import ExportOptions, export_archive
from pattern_stream.pipelines.importing import ImportOptions, ImportResult, import_archive
from pattern_stream.schema.model.scopes import Scope

pytestmark = pytest.mark.anyio

NAMED = ("agents", "agent_groups", "memory_blocks", "folders", "data_sources")


def run(database: Path, *statements: str) -> list[tuple[Any, ...]]:
    """The rows of the last statement."""
    with closing(sqlite3.connect(database)) as connection, connection:
        return [connection.execute(sql).fetchall() for sql in statements][-1]


def names(database: Path, table: str) -> dict[str, str]:
    """Names or labels by id."""
    return dict(run(database, f"SELECT id, {'label' if table == 'memory_blocks' else 'name'} FROM {table}"))


async def two(folder: Path) -> tuple[Path, Path]:
    """A whole backup, and another constellation in which everything has the same names and other ids."""
    await make_demo(folder / "a.db", messages=5, seed=1)
    await make_demo(folder / "b.db", messages=5, seed=2)
    await export_archive(folder / "a.db", folder / "a.car")
    return folder / "a.car", folder / "b.db"


async def after_hint(archive: Path, database: Path, **given: Any) -> tuple[NameConflict, ImportResult]:
    """The conflict, and what the import does with the options that its hint names."""
    with pytest.raises(NameConflict) as caught:
        await import_archive(archive, database, options=ImportOptions(**given))
    hint = str(caught.value.hint)
    words = shlex.split(hint[: hint.index(" (--rename")])
    found = [renaming(new) for option, new in zip(words[::2], words[1::2], strict=True) if option == "--rename"]
    given |= {"renames": (*given.get("renames", ()), *found), "on_conflict": "skip"}
    return caught.value, await import_archive(archive, database, options=ImportOptions(**given))


async def test_a_whole_constellation_beside_another(tmp_path: Path) -> None:
    """Agents, groups, labels of the constellation, folders and data sources: each by its id, with a free name."""
    archive, database = await two(tmp_path)
    before = {table: names(database, table) for table in NAMED}
    conflict, result = await after_hint(archive, database)

    assert "--on-conflict skip" in str(conflict.hint)
    for table in NAMED:
        came, now = names(tmp_path / "a.db", table), names(database, table)
        assert before[table] == {row_id: now[row_id] for row_id in before[table]}
        taken = set(before[table].values()) if table != "memory_blocks" else {"weather", "house rules"}
        assert {one: f"{name} (2)" if name in taken else name for one, name in came.items()} == {
            one: now[one] for one in came
        }
    assert {"coordination_state", "agent_atproto_endpoints"} == set(result.skipped)


async def test_a_copy_with_new_ids(tmp_path: Path) -> None:
    """The hint names the ids of the archive, which a second run meets again; other things get numbers."""
    archive, database = await two(tmp_path)
    renames = (("Fen", "Juniper"), ("Juniper", "Tern"))
    conflict, result = await after_hint(archive, database, new_ids=True, renames=renames)

    new = {one.name for one in result.agents}
    assert {"Juniper (2)", "Tern (2)", "Tern (3)"} <= new
    assert all(f"id:{one}" in str(conflict.hint) for one in names(tmp_path / "a.db", "agents"))
    assert {"name-twice", "label-twice"} == {one.code for one in result.findings}
    assert "shelf 1 (2)" in names(database, "folders").values()


async def test_a_copy_of_a_group_has_the_new_names_in_its_configuration(tmp_path: Path) -> None:
    """Though the group comes before its agents."""
    await make_demo(tmp_path / "a.db", messages=5)
    archive = tmp_path / "a.car"
    named = "name = 'Household'"
    ((config,),) = run(tmp_path / "a.db", f"UPDATE agent_groups SET pattern_config = json_array('Fen', 'Juniper') "
                       f"WHERE {named}", f"SELECT pattern_config FROM agent_groups WHERE {named}")  # fmt: skip
    await export_archive(tmp_path / "a.db", archive, scope=Scope("group", "Household"))
    _, result = await after_hint(archive, tmp_path / "a.db", new_ids=True)
    ((found,),) = run(tmp_path / "a.db", "SELECT pattern_config FROM agent_groups WHERE name = 'Household (2)'")

    assert [f"{name} (2)" for name in json.loads(config)] == json.loads(found)
    assert "Fen (2)" in {one.name for one in result.agents}


async def test_labels_of_inactive_blocks_and_odd_ids(tmp_path: Path) -> None:
    """An inactive block is renamed by its id like any other; an equals sign and spaces in ids and names are quoted."""
    archive, database = await two(tmp_path)
    label = "UPDATE memory_blocks SET agent_id = '_constellation_', label = 'it''s = \"x\"' WHERE is_active = 0"
    run(tmp_path / "a.db", label, "UPDATE memory_blocks SET id = 'odd=id ' || id WHERE is_active = 0",
        "UPDATE memory_block_updates SET block_id = 'odd=id ' || block_id "
        "WHERE block_id NOT IN (SELECT id FROM memory_blocks)")  # fmt: skip
    run(database, label)
    await export_archive(tmp_path / "a.db", archive, options=ExportOptions(force=True))
    conflict, _ = await after_hint(archive, database)
    found = run(database, "SELECT label FROM memory_blocks WHERE is_active = 0 ORDER BY label")

    assert r"id:odd\=id" in str(conflict.hint)
    assert [('it\'s = "x"',), ('it\'s = "x" (2)',)] == found


async def test_what_owner_moves_is_numbered(tmp_path: Path) -> None:
    """Blocks of owners that are not in the archive, active and inactive ones, under one owner; they are counted."""
    archive, database, target = tmp_path / "a.car", tmp_path / "a.db", tmp_path / "t.db"
    await make_demo(database, messages=5)
    run(database, "CREATE TABLE some AS SELECT id FROM memory_blocks WHERE is_active ORDER BY id LIMIT 3",
        "UPDATE memory_blocks SET agent_id = 'gone ' || id, label = 'left' "
        "WHERE id IN (SELECT id FROM some) OR NOT is_active", "DROP TABLE some")  # fmt: skip
    await export_archive(database, archive)
    result = await import_archive(archive, target, options=ImportOptions(owner="me"))
    found = run(target, "SELECT label, is_active FROM memory_blocks WHERE agent_id = 'me' ORDER BY label")

    assert {("left", 1), ("left (2)", 1), ("left (3)", 1), ("left (4)", 0)} <= set(found)
    assert run(target, "SELECT count(*) FROM memory_blocks WHERE agent_id = 'me'") == [(result.moved_blocks,)]


async def test_a_row_of_another_table_that_cannot_be_renamed(tmp_path: Path) -> None:
    """Unique cells that are no name: --on-conflict skip leaves the row out, as the hint says."""
    archive, database = tmp_path / "a.car", tmp_path / "a.db"
    table = "CREATE TABLE members (id TEXT PRIMARY KEY, mail TEXT UNIQUE)"
    await make_demo(database, messages=5)
    run(database, table, "INSERT INTO members VALUES ('m1', 'x@y')")
    await export_archive(database, archive)
    run(database, "UPDATE members SET id = 'm2'")

    with pytest.raises(NameConflict, match="row m1 of members: its mail 'x@y' is that of row m2") as caught:
        await import_archive(archive, database)
    result = await import_archive(archive, database, options=ImportOptions(on_conflict="skip"))

    assert "--on-conflict skip leaves out rows" in str(caught.value.hint)
    assert 1 == result.skipped["members"]
