"""A dump is one plain dict a record, in the order of the tree."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from pattern_stream.errors import DigestMismatch, Finding
from pattern_stream.pipelines.dumping import DumpKind, dump_archive
from tests.archives import (
    agent_archive,
    constellation_archive,
    group_archive,
    group_record,
    message_record,
    thin_archive,
)
from tests.drive import collect, dribble

pytestmark = pytest.mark.anyio


async def test_every_record_has_its_kind() -> None:
    """All kinds come, the manifest first, each as JSON can hold it."""
    findings: list[Finding] = []

    found = await collect(dump_archive(dribble(constellation_archive().to_bytes(), 999), report=findings.append))

    assert {
        "manifest": 1,
        "agent": 3,
        "memory_block": 5,
        "message": 10,
        "archival_entry": 3,
        "archive_summary": 1,
        "group": 2,
        "member": 4,
        "attachment": 4,
    } == Counter(record["kind"] for record in found)
    assert found == json.loads(json.dumps(found))
    assert ("manifest", 3) == (found[0]["kind"], found[0]["version"])


@pytest.mark.parametrize(
    ("what", "kinds"),
    [
        ("agents", {"agent": 2}),
        ("groups", {"group": 1, "member": 2}),
        ("blocks", {"memory_block": 2, "attachment": 1}),
        ("messages", {"message": 1}),
        ("archival", {}),
        ("summaries", {}),
        ("tables", {}),
    ],
)
async def test_one_sort_alone(what: DumpKind, kinds: dict[str, int]) -> None:
    """Only the sort that was asked for comes."""
    found = await collect(dump_archive(dribble(group_archive().to_bytes(), 999), what))

    assert kinds == Counter(record["kind"] for record in found)


async def test_records_are_those_of_the_wire() -> None:
    """A message is its record with its kind; a thin group has the ids of its members."""
    messages = await collect(dump_archive(dribble(agent_archive().to_bytes(), 999), "messages"))
    groups = await collect(dump_archive(dribble(thin_archive().to_bytes(), 999), "groups"))

    assert [{"kind": "message", **message_record(number)} for number in (4, 3, 2)] == messages
    assert [{"kind": "group", **group_record(), "member_agent_ids": ["a1", "a2"]}] == groups


async def test_unreadable_documents_are_named() -> None:
    """A document that is none has no text, and a finding."""
    findings: list[Finding] = []

    found = await collect(dump_archive(dribble(agent_archive().to_bytes(), 999), "blocks", report=findings.append))

    assert [(25, None), (17, None)] == [(block["snapshot_bytes"], block["text"]) for block in found]
    assert ["b1", "b2"] == [finding.where.row_id for finding in findings]


async def test_damage_is_raised() -> None:
    """Records before the damage come, then the error."""
    raw = agent_archive().to_bytes()
    records = dump_archive(dribble(raw[:-5] + b"?" + raw[-4:], 999))

    assert (await anext(records))["kind"] == "manifest"
    with pytest.raises(DigestMismatch):
        await collect(records)


async def test_memory_blocks_have_their_text(shared: Path) -> None:
    """A document that holds edits shows the text that the real program shows."""
    found = await collect(dump_archive(shared / "fixtures/family/constellation.car.gz", "blocks"))

    texts = [block["text"] for block in found if block["kind"] == "memory_block"]
    assert None not in texts
    assert any(texts)
