"""Names for people: an agent is found by id or name, and text that is no UTF-8 hides nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pattern_stream.db.catalog.scope import list_agents, list_blocks, list_groups, resolve_scope
from pattern_stream.db.connection.opening import open_reader
from pattern_stream.errors import NotInDatabase
from pattern_stream.schema.model.scopes import ResolvedScope, Scope
from tests.acceptance.world import making
from tests.db.read.test_extension import run

pytestmark = pytest.mark.anyio

BAD = "CAST(x'41ff42' AS TEXT)"
SHOWN = "A\\xffB"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database in which names of an agent, a group and a memory block are no UTF-8."""
    path = tmp_path / "a.db"
    with making(path) as world:
        for agent in ("a1", "a2"):
            world.add("agents", id=agent, name=f"name of {agent}")
        for group in ("g1", "g2"):
            world.add("agent_groups", id=group, name=f"name of {group}")
        for agent in ("a1", "a2"):
            world.add("group_members", group_id="g1", agent_id=agent)
        world.add("memory_blocks", id="b1", agent_id="a1", label="l")
    return run(
        path,
        f"UPDATE agents SET name = {BAD} WHERE id = 'a1'",
        f"UPDATE agent_groups SET name = {BAD} WHERE id = 'g1'",
        f"UPDATE memory_blocks SET label = {BAD}",
    )


async def test_lists_show_it_escaped(path: Path) -> None:
    """Every row is there, whatever is in one of them."""
    async with open_reader(path) as connection:
        agents, groups = await list_agents(connection), await list_groups(connection)
        blocks = await list_blocks(connection)

    assert [("a1", SHOWN), ("a2", "name of a2")] == [(one["id"], one["name"]) for one in agents]
    assert [("g1", SHOWN, [SHOWN, "name of a2"]), ("g2", "name of g2", [])] == [
        (one["id"], one["name"], one["members"]) for one in groups
    ]
    assert [("b1", SHOWN, SHOWN)] == [(one["id"], one["label"], one["owner_name"]) for one in blocks]


async def test_a_name_that_is_not_there(path: Path) -> None:
    """It is said so, with the names that are there; by its id the agent is found."""
    async with open_reader(path) as connection:
        with pytest.raises(NotInDatabase, match="no agent or group has the id or name 'nobody'") as caught:
            await resolve_scope(connection, Scope(None, "nobody"))
        found = await resolve_scope(connection, Scope("agent", "a1"))

    assert repr(SHOWN) in str(caught.value.hint)
    assert ResolvedScope("agent", "a1", SHOWN) == found
