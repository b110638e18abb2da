"""What lies beyond version 3, read by a parser that knows nothing of the package: all of it, in its place, once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.flat import Flat
from tests.acceptance.running import FOLDERS, Folder, export
from tests.acceptance.whole import VERSION_3, columns_of_text, tables_of

Folders = Callable[[str], Folder]

WHOLE = sorted(name for name, cases in FOLDERS.items() if "constellation" in cases)
HISTORY = ("memory_block_updates", "memory_block_checkpoints")


def stored(path: Path, table: str, order: str = "rowid") -> list[list[Any]]:
    """Rows as SQLite has them."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return [list(row) for row in connection.execute(f'SELECT * FROM "{table}" ORDER BY {order}')]


def declared_ids(flat: Flat) -> dict[str, list[Any]]:
    """Primary keys of the rows that every reader of version 3 sees, by table."""
    agents, groups = flat.agents.values(), flat.groups.values()
    return {
        "agents": [[agent.record["id"]] for agent in agents],
        "agent_groups": [[group.record["id"]] for group in groups],
        "group_members": [[row["group_id"], row["agent_id"]] for group in groups for row in group.members],
        "memory_blocks": [[key] for key in flat.memory],
        "shared_block_agents": [[row["block_id"], row["agent_id"]] for row in flat.attachments],
        "archival_entries": [[entry["id"]] for agent in agents for entry in agent.entries],
        "messages": [[message["id"]] for agent in agents for message in agent.messages],
        "archive_summaries": [[entry["id"]] for agent in agents for entry in agent.summaries],
    }


@pytest.mark.parametrize("name", WHOLE)
def test_every_other_table_is_there_whole(folder: Folders, name: str) -> None:
    """Rows of tables that version 3 has no place for stand as SQLite has them, columns with their declared types."""
    here = folder(name)
    flat = here.exports["constellation"].flat

    others = [table for table in tables_of(here.database) if table not in VERSION_3 and table not in HISTORY]
    for table in others:
        rows = stored(here.database, table)
        found = flat.tables.get(table)
        assert bool(rows) == (found is not None), table
        if found is not None:
            declared = columns_of_text(here.database, table)
            assert [(column, kind) for column, (kind, _) in declared.items()] == found.columns
            assert sorted(map(repr, rows)) == sorted(map(repr, found.rows)), table


@pytest.mark.parametrize("name", WHOLE)
def test_history_is_what_is_stored(folder: Folders, name: str) -> None:
    """Stored document, version and all rows of each memory block; those of others lie among the tables."""
    here = folder(name)
    flat = here.exports["constellation"].flat
    columns = list(columns_of_text(here.database, "memory_blocks"))
    blocks = {row[0]: dict(zip(columns, row, strict=True)) for row in stored(here.database, "memory_blocks")}

    assert set(flat.memory) == set(flat.history)
    for key, history in flat.history.items():
        base = flat.memory[key].snapshot if history.base is None else history.base
        assert (blocks[key]["loro_snapshot"], blocks[key].get("frontier")) == (base, history.frontier)
    for table, rows in zip(HISTORY, ("updates", "checkpoints"), strict=True):
        if table in tables_of(here.database):
            inside = [row for history in flat.history.values() for row in getattr(history, rows)]
            outside = flat.tables[table].rows if table in flat.tables else []
            assert sorted(map(repr, stored(here.database, table))) == sorted(map(repr, inside + outside)), table


@pytest.mark.parametrize("name", WHOLE)
def test_no_row_stands_twice_and_none_is_missing(folder: Folders, name: str) -> None:
    """Each row of the tables that version 3 carries is either in its part or among the tables beyond it."""
    here = folder(name)
    flat = here.exports["constellation"].flat

    for table in sorted(VERSION_3):
        names = [column for column, (_, key) in columns_of_text(here.database, table).items() if key]
        places = [list(columns_of_text(here.database, table)).index(column) for column in names]
        all_keys = [[row[place] for place in places] for row in stored(here.database, table)]
        beyond = [[row[place] for place in places] for row in (flat.tables[table].rows if table in flat.tables else [])]
        assert sorted(map(repr, all_keys)) == sorted(map(repr, declared_ids(flat)[table] + beyond)), table


def test_portable_has_nothing_beyond(folder: Folders, tmp_path: Path) -> None:
    """With --portable there are no keys but those of version 3, and what stays behind is counted."""
    here = folder("family")

    done = export(here.database, tmp_path / "portable.car", "--portable")

    flat = done.flat
    assert (0, {}, {}, None) == (done.code, flat.tables, flat.history, flat.cells)
    assert {} == here.exports["constellation"].summary["not_carried"]
    assert done.summary["not_carried"]["tasks"] == len(stored(here.database, "tasks"))


def test_an_agent_is_portable_unless_history_is_wanted(folder: Folders, tmp_path: Path) -> None:
    """--history adds the memory history of an agent's blocks, and nothing else."""
    here = folder("family")
    agent = here.cases["agent-0"].row_id(here.rows)

    plain = here.exports["agent-0"].flat
    done = export(here.database, tmp_path / "agent.car", "--scope", "agent", "--history", "--", agent)

    assert {} == plain.history
    assert set(plain.memory) == set(done.flat.history)
    assert [] != [row for history in done.flat.history.values() for row in history.updates]
    assert ({}, None) == (done.flat.tables, done.flat.cells)
