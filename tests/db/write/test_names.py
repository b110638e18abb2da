"""Names and labels are decided alike in whatever order an archive brings its rows."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from pattern_stream.db.write.sink import LoadOptions
from pattern_stream.errors import NameConflict
from pattern_stream.items import RecordEvent
from tests.db.importing import agent, assert_sound, block, flat, group, load, query, single_cells, table
from tests.db.worlds import build
from tests.db.write.test_table_rows import FOLDER, folder

pytestmark = pytest.mark.anyio

REPLACE = LoadOptions("replace")
AT = "2026-01-02T03:04:05+00:00"
BLOCK = ("id", "agent_id", "label", "description", "block_type", "loro_snapshot", "content_preview", "is_active",
         "created_at", "updated_at")  # fmt: skip


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A constellation with one agent `a`."""
    return build(tmp_path / "c.db")


def named(kind: str, one: str, name: str) -> list[RecordEvent]:
    """An agent, a group, or a memory block of agent `z`, with that name; an inactive block comes as a row."""
    if kind == "agents":
        return agent(one, name=name)
    if kind == "agent_groups":
        return group(one, [], name=name)
    if kind == "memory_blocks":
        return block(one, "z", name)
    row = (one, "z", name, "d", "core", b"", f"text of {one}", 0, AT, AT)
    return table("memory_blocks", BLOCK, row)


KINDS = [("agents", "name"), ("agent_groups", "name"), ("memory_blocks", "label"), ("rows", "label")]


def around(kind: str, parts: list[list[RecordEvent]]) -> list[RecordEvent]:
    """The parts, inside of the agent that owns them where they are blocks."""
    if kind == "memory_blocks":
        return agent("z", *parts)
    return [*(agent("z") if kind == "rows" else []), *flat(parts)]


async def names_of(db: Path, kind: str, column: str) -> list[tuple[str, str]]:
    """Names by id, of all but what the database had from the start."""
    source = "memory_blocks" if kind == "rows" else kind
    return query(db, f"SELECT id, {column} FROM {source} WHERE id NOT IN ('a', 'z') ORDER BY id")


@pytest.mark.parametrize(("kind", "column"), KINDS)
@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_names_that_go_round(db: Path, kind: str, column: str, order: tuple[int, ...]) -> None:
    """p, q and r take each other's names; the index has the new ones."""
    await load(db, around(kind, [named(kind, one, f"{one}name") for one in "pqr"]))
    parts = [named(kind, "p", "qname"), named(kind, "q", "rname"), named(kind, "r", "pname")]
    _, found = await load(db, around(kind, [parts[at] for at in order]), REPLACE)

    assert [("p", "qname"), ("q", "rname"), ("r", "pname")] == await names_of(db, kind, column)
    assert [] == found
    if column == "label":
        words = "SELECT b.id FROM memory_blocks_fts f JOIN memory_blocks b ON b.rowid = f.rowid"
        assert [("p",)] == query(db, f"{words} WHERE memory_blocks_fts MATCH 'qname'")
    assert_sound(db)


@pytest.mark.parametrize(("kind", "column"), KINDS)
@pytest.mark.parametrize("order", list(permutations(range(2))))
async def test_a_new_row_takes_the_name_that_a_replaced_one_leaves(
    db: Path, kind: str, column: str, order: tuple[int, ...]
) -> None:
    """The new one comes first or last."""
    await load(db, around(kind, [named(kind, "q", "tern")]))
    parts = [named(kind, "p", "tern"), named(kind, "q", "wren")]
    await load(db, around(kind, [parts[at] for at in order]), REPLACE)

    assert [("p", "tern"), ("q", "wren")] == await names_of(db, kind, column)
    assert_sound(db)


@pytest.mark.parametrize(("kind", "column"), KINDS)
@pytest.mark.parametrize("order", list(permutations(range(2))))
async def test_a_name_of_a_row_outside_the_archive_is_taken(
    db: Path, kind: str, column: str, order: tuple[int, ...]
) -> None:
    """Though another one is freed; nothing is kept."""
    await load(db, around(kind, [named(kind, "q", "tern"), named(kind, "r", "wren")]))
    parts = [named(kind, "p", "tern"), named(kind, "q", "wren")]
    with pytest.raises(NameConflict, match=r"q: its (name|label) 'wren'.* is that of .* r"):
        await load(db, around(kind, [parts[at] for at in order]), REPLACE)

    assert [("q", "tern"), ("r", "wren")] == await names_of(db, kind, column)


@pytest.mark.parametrize("order", list(permutations(range(2))))
async def test_two_agents_of_one_name(db: Path, order: tuple[int, ...]) -> None:
    """A conflict, also where one of the archive has it already in the database."""
    await load(db, agent("q", name="tern"))
    parts = [agent("p", name="tern"), agent("q", name="tern")]
    with pytest.raises(NameConflict, match="p: its name 'tern' is that of agent q of the archive"):
        await load(db, flat(parts[at] for at in order), REPLACE)


@pytest.mark.parametrize("order", list(permutations(range(2))))
async def test_two_blocks_of_one_label(db: Path, order: tuple[int, ...]) -> None:
    """The one that has it in the database keeps it, the new one gets a number."""
    await load(db, agent("z", block("q", "z", "tern")))
    parts = [block("p", "z", "tern"), block("q", "z", "tern")]
    _, found = await load(db, agent("z", *(parts[at] for at in order)), REPLACE)

    assert [("p", "tern (2)"), ("q", "tern")] == query(db, "SELECT id, label FROM memory_blocks ORDER BY id")
    assert ["label-twice"] == [finding.code for finding in found]
    assert_sound(db)


@pytest.mark.parametrize("order", list(permutations(range(2))))
async def test_the_name_of_a_skipped_agent_is_nobodys(db: Path, order: tuple[int, ...]) -> None:
    """It stays as it is in the database; a new agent may have the name that the archive gives it."""
    await load(db, agent("q", name="tern"))
    parts = [agent("p", name="wren"), agent("q", name="wren")]
    await load(db, flat(parts[at] for at in order), LoadOptions("skip"))

    assert [("p", "wren"), ("q", "tern")] == query(db, "SELECT id, name FROM agents WHERE id <> 'a' ORDER BY id")


async def test_a_cell_that_changes_a_name_which_waits(db: Path) -> None:
    """The cell counts, and its row's name in the record is nobody's."""
    await load(db, agent("q", name="tern"))
    await load(db, [*agent("p", name="tern"), *single_cells(("agents", "p", "name", "true name"))], REPLACE)

    assert [("p", "true name"), ("q", "tern")] == query(db, "SELECT id, name FROM agents WHERE id <> 'a' ORDER BY id")


async def test_with_new_ids_a_taken_label_of_the_constellation_makes_way(db: Path) -> None:
    """A number and a warning; without new ids, or of an agent of the database, it is a conflict with a way round."""
    await load(db, block("q", "_constellation_", "weather"))
    with pytest.raises(NameConflict, match="weather") as caught:
        await load(db, block("p", "_constellation_", "weather"))
    _, found = await load(db, block("p", "_constellation_", "weather"), LoadOptions(new_ids=True))

    assert "--rename block:LABEL=NEW" in str(caught.value.hint)
    assert [("p", "weather (2)"), ("q", "weather")] == query(db, "SELECT id, label FROM memory_blocks ORDER BY id")
    assert ["label-twice"] == [finding.code for finding in found]


async def test_with_new_ids_names_of_other_tables_get_numbers(db: Path) -> None:
    """One that nobody has, here or in the archive, whatever comes first."""
    await load(db, table("folders", FOLDER, folder("f1", "docs"), folder("f2", "docs (2)")))
    rows = [folder("g1", "docs"), folder("g2", "docs (3)"), folder("g3", "other"), folder("g4", "docs (2)")]
    _, found = await load(db, table("folders", FOLDER, *rows), LoadOptions(new_ids=True))

    assert ["docs", "docs (2)", "docs (3)", "docs (3) (2)", "other", "docs (2) (2)"] == [
        name for (name,) in query(db, "SELECT name FROM folders ORDER BY id")
    ]
    assert ["name-twice"] * 3 == [one.code for one in found]


@pytest.mark.parametrize("kind", ["agent", "folder"])
async def test_a_long_name_is_cut_in_the_hint(db: Path, kind: str) -> None:
    """A command line has no room for five million characters; messages neither."""
    long = "x" * 5_000_000

    def tree(row_id: str) -> list[RecordEvent]:
        return agent(row_id, name=long) if kind == "agent" else table("folders", FOLDER, folder(row_id, long))

    await load(db, tree("p"))
    with pytest.raises(NameConflict) as caught:
        await load(db, tree("q"))

    assert len(caught.value.message) < 400
    assert f"--rename 'id:q={'x' * 80} (2)'" in str(caught.value.hint)
