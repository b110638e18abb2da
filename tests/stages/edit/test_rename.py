"""Other names, inside the configuration too, and another owner for what nobody owns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pattern_stream.errors import NotInArchive, UsageError
from pattern_stream.items import Close, Open, OpenConstellation, Piece, RecordEvent
from pattern_stream.schema.model.cells import Large
from pattern_stream.schema.model.nodes import MemoryBlockExport
from pattern_stream.stages.edit.rename import Renamer, reassign, rename
from tests.contracts import check_stage
from tests.db.importing import agent, block, group
from tests.drive import collect, feed

pytestmark = pytest.mark.anyio


def configured(config: Any) -> list[RecordEvent]:
    """A group with a configuration and one agent `Anchor`."""
    opened, *rest = group("Panel", ["a1"], agent("a1", name="Anchor"))
    assert isinstance(opened, Open)
    return [replace(opened, record=opened.record | {"pattern_config": config}), *rest]


def names(events: list[RecordEvent]) -> list[str]:
    """Names of agents and groups."""
    return [event.record["name"] for event in events if isinstance(event, Open) and event.node is not MemoryBlockExport]


async def test_contract() -> None:
    """The stage closes its upstream and lets its errors pass."""
    tree = agent("a", block("x", "a"))
    await check_stage(lambda events: rename(events, Renamer()), tree)


async def test_names_in_the_configuration_follow() -> None:
    """Texts that equal the old name, at any depth; keys and longer texts stay."""
    config = {"leader": "Anchor", "order": ["Anchor", ["x", "Anchor"]], "Anchor": "Anchor's", "n": 1, "none": None}
    found = await collect(rename(feed(configured(config)), Renamer(names={"Anchor": "Keel"})))

    assert ["Panel", "Keel"] == names(found)
    assert isinstance(found[0], Open)
    assert {"leader": "Keel", "order": ["Keel", ["x", "Keel"]], "Anchor": "Anchor's", "n": 1, "none": None} == found[
        0
    ].record["pattern_config"]


async def test_one_name_is_that_of_the_whole() -> None:
    """Of the outermost agent or group, not of an agent inside a group."""
    found = await collect(rename(feed(configured({"me": "Panel"})), Renamer("Board")))

    assert ["Board", "Anchor"] == names(found)
    assert isinstance(found[0], Open)
    assert {"me": "Board"} == found[0].record["pattern_config"]


async def test_a_name_outside_its_record_is_replaced() -> None:
    """The Pieces of the old name go, those of other fields stay."""
    opened, *rest = agent("a")
    assert isinstance(opened, Open)
    large = {"name": Large(5_000_000, text=True), "system_prompt": Large(5_000_000, text=True)}
    tree = [replace(opened, record=opened.record | large), Piece("name", b"x"), Piece("system_prompt", b"y"), *rest]
    found = await collect(rename(feed(tree), Renamer("Keel")))

    assert ["Keel"] == names(found)
    assert Piece("system_prompt", b"y") == found[1]
    assert len(tree) - 1 == len(found)
    assert tree == await collect(rename(feed(tree), Renamer()))


async def test_one_name_for_a_constellation_is_refused() -> None:
    """It has no name of its own."""
    with pytest.raises(UsageError, match="whole constellation"):
        await collect(rename(feed([OpenConstellation(owner_id="me"), Close()]), Renamer("X")))


async def test_a_name_that_nothing_has_is_refused() -> None:
    """Said when everything has passed, so that nothing is kept."""
    with pytest.raises(NotInArchive, match="'Nobody'"):
        await collect(rename(feed(agent("a")), Renamer(names={"Nobody": "X", "a": "b"})))


async def test_the_source_is_not_changed() -> None:
    """Records are the caller's."""
    tree = configured({"leader": "Anchor"})
    await collect(rename(feed(tree), Renamer(names={"Anchor": "Keel"})))

    assert configured({"leader": "Anchor"}) == tree


async def test_reassign() -> None:
    """Blocks of the archive's own, and the constellation's, stay."""
    owners = ("a", "_constellation_", "gone", "g")
    tree = [event for owner in owners for event in block(f"of-{owner}", owner)]
    found = [reassign(event, "me", {"a", "g"}) for event in tree]

    assert ["a", "_constellation_", "me", "g"] == [
        event.record["agent_id"] for event in found if isinstance(event, Open)
    ]


async def test_memory_blocks_by_label_and_anything_by_id() -> None:
    """An id wins over a name; one of two agents of the same name can be named by its id only."""
    tree = [
        OpenConstellation(owner_id="me"),
        *agent("a1", block("x", "a1"), name="Anchor"),
        *agent("a2", block("y", "a2"), name="Anchor"),
        Close(),
    ]
    label = next(event.record["label"] for event in tree if isinstance(event, Open) and event.node is MemoryBlockExport)
    renamer = Renamer(names={"id:a2": "Keel", f"block:{label}": "L", "id:y": "M"})
    found = [made for event in tree if (made := renamer.rename(event)) is not None]

    assert ["Anchor", "Keel"] == [
        event.record["name"] for event in found if isinstance(event, Open) and event.record and "name" in event.record
    ]
    labels = [
        (event.record["id"], event.record["label"])
        for event in found
        if isinstance(event, Open) and event.node is MemoryBlockExport
    ]
    assert ("y", "M") in labels
    assert "L" in {new for _, new in labels} or label not in {new for _, new in labels}


@pytest.mark.parametrize(
    ("old", "words"), [("block:nosuch", "memory block labelled 'nosuch'"), ("id:nosuch", "with the id 'nosuch'")]
)
async def test_a_label_or_id_that_nothing_has(old: str, words: str) -> None:
    """Refused as a name is."""
    with pytest.raises(NotInArchive, match=words):
        await collect(rename(feed(agent("a1", name="Anchor")), Renamer(names={old: "x"})))
