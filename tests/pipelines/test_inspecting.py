"""Inspection says what is in an archive and what looks wrong about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pattern_stream.codec.cid import cid_text
from pattern_stream.demo.database import make_demo
from pattern_stream.errors import MalformedNode, MissingBlock, StatsMismatch
from pattern_stream.pipelines.dumping import dump_archive
from pattern_stream.pipelines.exporting import export_archive
from pattern_stream.pipelines.inspecting import inspect_archive
from pattern_stream.pipelines.listing import list_database
from tests.archives import (
    AT,
    Archive,
    agent_archive,
    agent_record,
    attachment_record,
    constellation_archive,
    group_archive,
    memory_record,
    message_chunk,
    message_record,
    thin_archive,
)
from tests.drive import dribble

pytestmark = pytest.mark.anyio


async def test_an_agent() -> None:
    """Counts, times and memory blocks with the first line of their text."""
    archive = agent_archive()

    found = (await inspect_archive(dribble(archive.to_bytes(), 500))).as_dict()

    assert ("Agent", 3, cid_text(archive.root), AT) == tuple(
        found[key] for key in ("type", "version", "root", "exported_at")
    )
    block = {"block_type": "core", "permission": "read_write", "preview": "first line"}
    assert [
        {
            "id": "a1",
            "name": "agent a1",
            "status": "active",
            "model": "p/m",
            "messages": 3,
            "deleted_messages": 0,
            "first_message_at": AT,
            "last_message_at": AT,
            "chunks": 2,
            "archival_entries": 2,
            "archive_summaries": 1,
            "memory_blocks": [
                {"id": "b1", "label": "label b1", **block, "snapshot_bytes": 25},
                {"id": "b2", "label": "label b2", **block, "snapshot_bytes": 17},
            ],
        }
    ] == found["agents"]


async def test_a_group() -> None:
    """Members with roles; blocks from outside are nobody's in this archive."""
    found = await inspect_archive(dribble(group_archive().to_bytes(), 500))

    members = [{"agent_id": "a1", "role": {"type": "specialist", "domain": "tea"}}, {"agent_id": "a2", "role": None}]
    assert [
        {"id": "g1", "name": "group g1", "pattern_type": "round_robin", "members": members, "shared_blocks": 1}
    ] == found.groups
    assert [("b9", "a9")] == [(block["id"], block["owner_id"]) for block in found.unowned_blocks]
    assert 1 == found.attachments


async def test_a_thin_group() -> None:
    """Only ids of members, which are elsewhere on purpose."""
    found = await inspect_archive(dribble(thin_archive().to_bytes(), 500))

    assert [{"agent_id": "a1", "role": None}, {"agent_id": "a2", "role": None}] == found.groups[0]["members"]
    assert [] == found.agents


async def test_a_constellation() -> None:
    """Attachments that groups repeat are counted once."""
    found = await inspect_archive(dribble(constellation_archive().to_bytes(), 500))

    assert ["a1", "a2", "a3"] == [agent["id"] for agent in found.agents]
    assert (2, [2, 2]) == (found.attachments, [group["shared_blocks"] for group in found.groups])
    assert ["b8", "b7"] == [block["id"] for block in found.unowned_blocks]


async def test_times_of_messages_are_compared_as_instants() -> None:
    """Fractions of a second and years with a sign sort as what they mean."""
    times = ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.100Z", "2026-01-02T03:04:04.999999999Z"]
    far = ["+10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z"]
    for instants, first, last in ((times, times[2], times[1]), (times + far, far[1], far[0])):
        archive = Archive()
        messages = [message_record(number, created_at=instant) for number, instant in enumerate(instants)]
        archive.finish("Agent", archive.agent(chunks=[messages]))

        agent = (await inspect_archive(dribble(archive.to_bytes()), full=True)).agents[0]

        assert (first, last) == (agent["first_message_at"], agent["last_message_at"])


async def test_long_and_odd_previews_are_shortened() -> None:
    """The first line that holds anything, and not all of a long one."""
    archive = Archive()
    blocks = [
        (memory_record("b1", content_preview="\n\n  \n word  \nnext"), [b"x" * 100]),
        (memory_record("b2", content_preview="w" * 5000), [b"x" * 100]),
        (memory_record("b3", content_preview=""), [b"x" * 100]),
    ]
    archive.finish("Agent", archive.agent(memory=blocks))

    agent = (await inspect_archive(dribble(archive.to_bytes(), 99))).agents[0]

    assert ["word", "w" * 199 + "…", ""] == [block["preview"] for block in agent["memory_blocks"]]


async def test_dangling_references_are_named() -> None:
    """An attachment of a block or an agent that is not there is a finding."""
    archive = Archive()
    node = {
        "version": 3,
        "owner_id": "x",
        "exported_at": AT,
        "agent_exports": {"a1": archive.agent(agent_record("a1"))},
        "group_exports": [],
        "shared_attachments": [attachment_record("gone", "a1"), attachment_record("gone", "left")],
        "all_memory_block_cids": [],
        "standalone_agent_cids": [],
    }
    archive.finish("Constellation", archive.put_before(0, node))

    found = await inspect_archive(dribble(archive.to_bytes(), 99))

    dangling = [finding for finding in found.findings if finding.code == "dangling-reference"]
    assert 3 == len(dangling)
    assert "'left' is named, but is not in the archive" == dangling[1].message


async def test_damage_is_raised() -> None:
    """Inspection reads the whole archive and stops at damage."""
    archive = agent_archive()

    with pytest.raises(MissingBlock):
        await inspect_archive(dribble(archive.to_bytes(archive.blocks[:-1])))


async def test_emptied_documents_of_real_archives_are_named(shared: Path) -> None:
    """The real program exports documents without their edits; its previews tell."""
    found = await inspect_archive(shared / "fixtures/family/agent-1.car")

    emptied = [finding for finding in found.findings if finding.code == "emptied-document"]
    assert emptied
    assert all(finding.where.table == "memory_blocks" for finding in emptied)
    assert 173 == found.agents[0]["messages"]


async def test_messages_are_counted_as_list_counts_them(tmp_path: Path) -> None:
    """Those that are there, and the deleted ones of a whole backup beside them: the same numbers for each agent."""
    await make_demo(tmp_path / "d.db", messages=400)
    await export_archive(tmp_path / "d.db", tmp_path / "a.car")
    listed, found = await list_database(tmp_path / "d.db", "agents"), await inspect_archive(tmp_path / "a.car")
    keys = ("id", "messages", "deleted_messages")

    counts = sorted(tuple(agent[key] for key in keys) for agent in found.agents)
    assert counts == sorted(tuple(agent[key] for key in keys) for agent in listed.agents or [])
    assert 400 == sum(there + deleted for _, there, deleted in counts)
    assert any(deleted for _, _, deleted in counts)


async def test_first_lines_are_those_of_the_documents(tmp_path: Path) -> None:
    """A stored preview may be old: inspect shows the text that dump shows, and blames nobody else."""
    await make_demo(tmp_path / "d.db", messages=40)
    await export_archive(tmp_path / "d.db", tmp_path / "a.car")
    texts = {
        record["id"]: record["text"] or ""
        async for record in dump_archive(tmp_path / "a.car", "blocks")
        if record["kind"] == "memory_block"
    }

    found = await inspect_archive(tmp_path / "a.car")

    blocks = [block for agent in found.agents for block in agent["memory_blocks"]] + found.unowned_blocks
    first = {id: next((line.strip() for line in text.split("\n") if line.strip()), "") for id, text in texts.items()}
    assert {block["id"]: block["preview"] for block in blocks} == {
        id: line if len(line) <= 200 else line[:199] + "…" for id, line in first.items()
    }
    assert "emptied-document" not in {finding.code for finding in found.findings}


# --- what is shown, without the rest -----------------------------------------------------------------------------


async def _both(archive: Archive) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two inspections of an archive: what is shown, and all."""
    data = archive.to_bytes()
    return (await inspect_archive(dribble(data, 999))).as_dict(), (
        await inspect_archive(dribble(data, 999), full=True)
    ).as_dict()


@pytest.mark.parametrize("make", [agent_archive, group_archive, thin_archive, constellation_archive])
async def test_shown_or_all_is_the_same_of_a_sound_archive(make: Callable[[], Archive]) -> None:
    """Counting gives what decoding gives, and the document says which was done."""
    shown, whole = await _both(make())

    assert ("shown", "all") == (shown.pop("decoded"), whole.pop("decoded"))
    assert whole == shown


async def test_shown_or_all_of_a_whole_backup(tmp_path: Path) -> None:
    """Rows beyond version 3, cells, memory history and deleted messages too."""
    await make_demo(tmp_path / "d.db", messages=3000)
    await export_archive(tmp_path / "d.db", tmp_path / "a.car")
    shown, whole = [(await inspect_archive(tmp_path / "a.car", full=full)).as_dict() for full in (False, True)]

    assert ("shown", "all") == (shown.pop("decoded"), whole.pop("decoded"))
    assert any(agent["deleted_messages"] for agent in shown["agents"])
    assert any("history" in block for agent in shown["agents"] for block in agent["memory_blocks"])
    assert whole == shown


async def test_times_are_those_of_the_ends_of_each_chunk() -> None:
    """Between the first and the last message of a chunk nothing is decoded."""
    archive = Archive()
    times = [["2026-01-02T00:00:00Z", "2030-01-01T00:00:00Z", "2026-01-03T00:00:00Z"], ["2026-01-05T00:00:00Z"]]
    chunks = [[message_record(number, created_at=at) for number, at in enumerate(chunk)] for chunk in times]
    shown, whole = await _both(archive.finish("Agent", archive.agent(chunks=chunks)))

    assert ["2026-01-05T00:00:00Z", "2030-01-01T00:00:00Z"] == [
        found["agents"][0]["last_message_at"] for found in (shown, whole)
    ]


def _with_chunk(chunk: dict[str, Any], stated: int, **manifest: Any) -> Archive:
    archive = Archive()
    link = archive.add(
        {"agent": agent_record(), "memory_block_cids": [], "message_chunk_cids": [archive.add(chunk)]}
        | {"archival_entry_cids": [], "archive_summary_cids": []}
    )
    counts = {"agent_count": 1, "chunk_count": 1, "message_count": stated}
    return archive.finish("Agent", link, stats=counts, **manifest)


OURS = {"created_by": "pattern-stream 0"}


async def test_faults_inside_what_is_only_counted_are_for_full() -> None:
    """A message in the middle that is none: counted, and refused where all is decoded."""
    chunk = message_chunk(0, [message_record(number) for number in range(3)])
    chunk["messages"][1]["role"] = 7
    data = _with_chunk(chunk, 3).to_bytes()

    assert 3 == (await inspect_archive(dribble(data))).agents[0]["messages"]
    with pytest.raises(MalformedNode):
        await inspect_archive(dribble(data), full=True)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"chunk_index": -1}, MalformedNode),
        ({"end_position": 5}, MalformedNode),
        ({"message_count": "3"}, MalformedNode),
        ({"start_position": None}, MalformedNode),
        ({"messages": "none"}, MalformedNode),
        ({"messages": [7, 8, 9]}, MalformedNode),
    ],
)
async def test_hostile_tails(change: dict[str, Any], error: type[Exception]) -> None:
    """What is shown is checked as strictly as ever, and what is not plainly a chunk is decoded."""
    chunk = message_chunk(0, [message_record(number) for number in range(3)]) | change

    for full in (False, True):
        with pytest.raises(error):
            await inspect_archive(dribble(_with_chunk(chunk, 3).to_bytes()), full=full)


@pytest.mark.parametrize("place", [0, -1])
async def test_the_messages_at_the_ends_are_checked(place: int) -> None:
    """The first and the last one are decoded, so their faults are found."""
    chunk = message_chunk(0, [message_record(number) for number in range(3)])
    chunk["messages"][place]["created_at"] = "yesterday"

    with pytest.raises(MalformedNode):
        await inspect_archive(dribble(_with_chunk(chunk, 3).to_bytes()))


async def test_a_tail_that_counts_otherwise_is_not_believed() -> None:
    """The chunk says 1,000 messages and has three: three are counted, as by who decodes it."""
    chunk = message_chunk(0, [message_record(number) for number in range(3)]) | {"message_count": 1000}
    shown, whole = await _both(_with_chunk(chunk, 3))

    assert [3, 3] == [found["agents"][0]["messages"] for found in (shown, whole)]


@pytest.mark.parametrize("full", [False, True])
async def test_sums_are_compared_with_the_manifest(full: bool) -> None:
    """A head that promises fewer messages than the manifest does not pass as whole."""
    chunk = message_chunk(0, [message_record(number) for number in range(3)])

    with pytest.raises(StatsMismatch, match="message_count is 4, found 3"):
        await inspect_archive(dribble(_with_chunk(chunk, 4, **OURS).to_bytes()), full=full)
