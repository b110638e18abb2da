"""Other names, inside the configuration too, and another owner for what nobody owns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pattern_stream.errors import NotInArchive, UsageError
from pattern_stream.items import Cells, Close, Open, OpenConstellation, Piece, RecordEvent
from pattern_stream.schema.model.cells import Large, NotUtf8, StoredText
from pattern_stream.schema.model.nodes import MemoryBlockExport
from pattern_stream.stages.edit.reassign import Reassigner
from pattern_stream.stages.edit.rename import Renamer, rename
from tests.contracts import check_stage
from tests.db.importing import agent, block, group, single_cells, table
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


def renamed(tree: list[RecordEvent], **names: str) -> list[RecordEvent]:
    """A tree after its Renamer has been through it once before; `of__x` stands for `of:x`."""
    renamer = Renamer(names={old.replace("__", ":"): new for old, new in names.items()})
    for event in tree:
        renamer.learn(event)
    found = [made for event in tree if (made := renamer.rename(event)) is not None]
    renamer.finish()
    return found


def cells(events: list[RecordEvent]) -> list[Any]:
    """All rows beyond version 3."""
    return [row for event in events if isinstance(event, Cells) for row in event.rows]


async def test_an_id_reaches_the_configuration_that_comes_before_it() -> None:
    """The group of an archive opens before its agents; a prefix is no name, and an id wins over that of the whole."""
    found = renamed(configured({"leader": "Anchor", "x": "id:a1"}), id__a1="Keel", id__Panel="Board")

    assert ["Board", "Keel"] == names(found)
    assert isinstance(found[0], Open)
    assert {"leader": "Keel", "x": "id:a1"} == found[0].record["pattern_config"]
    whole = Renamer("Whole", {"id:Panel": "Board"})
    assert ["Board", "Anchor"] == names([made for event in configured({}) if (made := whole.rename(event))])


BLOCKS = ("id", "agent_id", "label")


async def test_rows_beyond_version_3_are_renamed_too() -> None:
    """Inactive memory blocks by label and id, agents and groups by name, whatever else has a name by its id."""
    config = '{"to": ["Anchor", 1.0000000000000000001], "Anchor": "x Anchor", "n": 1, "n": 2}'
    tree = [
        *table("agents", ("id", "name"), ("a1", "Anchor"), ("a2", NotUtf8(b"\xff"))),
        *table("agent_groups", ("name", "pattern_config", "id"), ("Panel", config, "g"), ("Other", None, "h")),
        *table("memory_blocks", BLOCKS, ("x", "a1", "old"), ("y", "a1", "notes"), ("z", "a2", "old")),
        *table("folders", ("id", "name"), ("f", "Anchor"), ("h", "shelf")),
        *table("plain", ("name",), ("Anchor",)),
    ]
    found = renamed(tree, Anchor="Keel", id__a2="Wren", id__z="Z", block__old="new", id__h="H")

    assert [
        ("a1", "Keel"), ("a2", "Wren"),
        ("Panel", config.replace('["Anchor"', '["Keel"'), "g"), ("H", None, "h"),
        ("x", "a1", "new"), ("y", "a1", "notes"), ("z", "a2", "Z"),
        ("f", "Anchor"), ("h", "H"), ("Anchor",),
    ] == cells(found)  # fmt: skip


async def test_a_label_outside_its_row() -> None:
    """The Pieces of a large label that is replaced go with it."""
    tree = table("memory_blocks", BLOCKS, ("x", "a", Large(5, text=True)), Piece("label", b"12345"), ("y", "a", "old"))
    found = renamed(tree, id__x="new")

    assert [("x", "a", "new"), ("y", "a", "old")] == cells(found)
    assert [] == [event for event in found if isinstance(event, Piece)]


async def test_cells_that_are_written_over_a_new_name_go() -> None:
    """Names that no record can hold; the configuration of a group follows in the form that it is stored in."""
    tree = [
        *agent("a1", name="Anchor"),
        *single_cells(
            ("agents", "a1", "name", NotUtf8(b"\xff")), ("agents", "a1", "status", 7), ("agents", "a2", "name", b"x"),
            ("agent_groups", "g", "pattern_config", '["\\u0041nchor",12345678901234567890123]'),
            ("memory_blocks", "x", "label", Large(3, text=False)), Piece("value", b"abc"), ("odd",),
        ),
    ]  # fmt: skip
    found = renamed([*block("x", "a1"), *tree], id__a1="Keel", id__x="X")

    assert [
        ("agents", "a1", "status", 7), ("agents", "a2", "name", b"x"),
        ("agent_groups", "g", "pattern_config", '["Keel",12345678901234567890123]'), ("odd",),
    ] == cells(found)  # fmt: skip
    assert [] == [event for event in found if isinstance(event, Piece)]


async def test_a_large_configuration_follows_as_text() -> None:
    """JSON too large to be parsed."""
    found = renamed(configured(StoredText('{"a" : "Anchor"}')), Anchor="Keel")

    assert isinstance(found[0], Open)
    assert StoredText('{"a" : "Keel"}') == found[0].record["pattern_config"]


async def test_inactive_blocks_get_another_owner_too() -> None:
    """Rows beyond version 3, and the cell of an owner that no record can hold; all are counted."""
    reassigner = Reassigner("me", {"a"})
    tree = [
        *block("w", "gone"), *block("v", "me"),
        *table("memory_blocks", BLOCKS, ("x", "a", "l"), ("y", "gone", "l"), ("z", NotUtf8(b"\xff"), "l")),
        *table("tasks", ("id", "agent_id"), ("t", "gone")),
        *single_cells(("memory_blocks", "w", "agent_id", b"\xff"), ("agents", "w", "agent_id", b"\xff")),
    ]  # fmt: skip
    found = [reassigner.reassign(event) for event in tree]

    assert [
        ("x", "a", "l"), ("y", "me", "l"), ("z", "me", "l"), ("t", "gone"),
        ("memory_blocks", "w", "agent_id", "me"), ("agents", "w", "agent_id", b"\xff"),
    ] == cells(found)  # fmt: skip
    assert 3 == reassigner.moved


async def test_reassign() -> None:
    """Blocks of the archive's own, and the constellation's, stay."""
    owners = ("a", "_constellation_", "gone", "g")
    tree = [event for owner in owners for event in block(f"of-{owner}", owner)]
    reassigner = Reassigner("me", {"a", "g"})
    found = [reassigner.reassign(event) for event in tree]

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
