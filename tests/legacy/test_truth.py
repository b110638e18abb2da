"""Archives that the old programs themselves wrote: all of them, and of the records behind them, is in the result.

Three things are held against each other: the truth file (the records that the old program was given), the old archive
as the tests' own reader finds it, and the converted archive turned back by the tests' own inverse. Where the result
differs from the truth, the old archive must differ from it in just the same way: then the old program is at fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from pattern_stream.pipelines.converting import ConversionResult, ConvertOptions, convert_archive
from pattern_stream.pipelines.dumping import dump_archive
from tests.drive import collect, dribble
from tests.legacy.old_archives import Found, content, same
from tests.legacy.undoing import KEY, old_agent, old_group, old_member, old_memory, old_message

pytestmark = pytest.mark.anyio

FIXTURES = Path(__file__).resolve().parents[3] / "shared/fixtures/legacy"
VARIANTS = ("1a", "1b-0730", "1b-0818", "1b-0821", "1b-0825", "2a", "2b-0825", "2b-1015", "2b-compat")
Records = dict[str, list[dict[str, Any]]]

OLD_FAULTS = Counter[str]()


class Kept:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.data = b""

    async def write(self, data: bytes, /) -> None:
        self.data += data


async def converted(data: bytes, options: ConvertOptions = ConvertOptions()) -> tuple[ConversionResult, Records]:  # noqa: B008
    """The report, and the records of the new archive by kind."""
    out = Kept()
    result = await convert_archive(dribble(data, 1 << 16), out, options=options)
    assert isinstance(result, ConversionResult)
    records: Records = {}
    for record in await collect(dump_archive(dribble(out.data, 1 << 16))):
        records.setdefault(record["kind"], []).append(record)
    return result, records


def archives(variant: str) -> list[Path]:
    """The old archives of a folder, not what a converter made of them."""
    return [path for path in sorted((FIXTURES / variant).glob("*.car*")) if ".converted-v3." not in path.name]


def truth_of(archive: Path) -> dict[str, Any] | None:
    """The records that the old program was given; None for archives that have no such file."""
    name = archive.name.split(".car")[0]
    for path in archive.parent.glob(f"{name}.truth.json*"):
        truth = orjson.loads(content(path))
        if "same_as" in truth:
            found = truth_of(archive.parent / f"{truth['same_as'].split('.')[0]}.car")
            assert found is not None
            return found | {key: value for key, value in truth.items() if key != "same_as"}
        return dict(truth)
    return None


@dataclass
class Walk:
    """One archive held against its truth. `faults`: what is nowhere, in words."""

    found: Found
    result: ConversionResult
    faults: list[str] = field(default_factory=list)

    def hold(self, place: str, new: dict[str, Any], forms: list[dict[str, Any]], truth: dict[str, Any] | None) -> None:
        """A record turned back, the forms of it in the old archive, and the truth about it."""
        known = _defaults(place) | new
        for key in sorted({*forms[0], *(truth or {})} - _ELSEWHERE[place]):
            value, old = known.get(key), [form.get(key, known.get(key)) for form in forms]
            if place == "relation" and key in _SAID_TWICE and old[0] is None:
                continue  # the message says it itself
            if not any(same(value, each) for each in old):
                self.faults.append(f"{place} {new['id']}: {key} is {value!r:.80}, the archive has {old[0]!r:.80}")
            elif truth is not None and key in truth and not same(value, truth[key]):
                OLD_FAULTS[f"{place}.{key}"] += 1  # and the old archive has what the result has


_ELSEWHERE = {
    "agent": {"memories", "messages", "message_chunks", "memory_chunks", "message_summary"},
    "message": {"embedding"},
    "relation": set[str](),
    "memory": {"embedding"},
    "group": {"members"},
    "member": set[str](),
}
"""What is held against its truth apart, or is no part of it: lists of records, the summary, embeddings."""


_SAID_TWICE = {"position", "batch", "sequence_num", "batch_type"}
"""What a message and its relation may both say."""


def _defaults(place: str) -> dict[str, Any]:
    """What a reader takes for a key that is absent."""
    absent: dict[str, dict[str, Any]] = {"agent": {"tool_rules": []}, "memory": {"pinned": False}}
    return absent.get(place, {})


def held_against(found: Found, result: ConversionResult, records: Records, truth: dict[str, Any]) -> list[str]:
    """What of the old archive is not in the new one, or otherwise there than it should be; in words."""
    walk = Walk(found, result)
    _agents(walk, records, {agent["id"]: agent for agent in truth.get("agents", [])})
    _messages(walk, records, truth)
    _memories(walk, records, truth)
    _groups(walk, records, truth)
    _constellations(walk, records)
    return walk.faults


def _agents(walk: Walk, records: Records, truth: dict[str, Any]) -> None:
    new = {record["id"]: record for record in records.get("agent", [])}
    summaries = {record["agent_id"]: record["summary"] for record in records.get("archive_summary", [])}
    _all_there(walk, "agent", set(walk.found.agents), set(new))
    for agent_id in walk.found.agents.keys() & new.keys():
        forms = walk.found.agents[agent_id]
        walk.hold("agent", old_agent(new[agent_id]), forms, truth.get(agent_id))
        if summaries.get(agent_id) != forms[0].get("message_summary"):
            walk.faults.append(f"agent {agent_id}: the summary is {summaries.get(agent_id)!r:.80}")


def _messages(walk: Walk, records: Records, truth: dict[str, Any]) -> None:
    facts = dict(_pairs(truth.get("messages", {})))
    new = {_ends(pair): pair for pair in map(old_message, records.get("message", []))}
    _all_there(walk, "message", set(walk.found.messages), set(new))
    for key in walk.found.messages.keys() & new.keys():
        (message, relation), pairs = new[key], walk.found.messages[key]
        fact = facts.get(key, (None, None))
        walk.hold("message", message, [pair[0] for pair in pairs], fact[0])
        walk.hold("relation", relation, [pair[1] for pair in pairs], fact[1])


def _memories(walk: Walk, records: Records, truth: dict[str, Any]) -> None:
    facts = dict(_pairs(truth.get("memories", {})))
    kept = [*records.get("memory_block", []), *records.get("archival_entry", [])]
    new = {_ends(pair): pair for pair in (old_memory(record, record["agent_id"]) for record in kept)}
    by_id = {record["id"]: record for record in kept}
    for attached in records.get("attachment", []):
        pair = old_memory(by_id[attached["block_id"]], attached["agent_id"], attached)
        new[_ends(pair)] = pair
    respelled = [c for c in walk.result.report.changed if c.code == "relation-dropped"]
    for example in (example for change in respelled for example in change.examples):
        if (named := new.pop((str(example.now), example.entity_id), None)) is not None:
            new[str(example.found), example.entity_id] = (named[0], named[1] | {"in_id": example.found})
    _all_there(walk, "memory", set(walk.found.memories), set(new))
    for key in walk.found.memories.keys() & new.keys():
        (memory, relation), pairs = new[key], walk.found.memories[key]
        fact = facts.get(key, (None, None))
        walk.hold("memory", memory, [pair[0] for pair in pairs], fact[0])
        walk.hold("relation", relation, [pair[1] for pair in pairs], fact[1])


def _groups(walk: Walk, records: Records, truth: dict[str, Any]) -> None:
    facts = {group["id"]: group for group in truth.get("groups", [])}
    memberships = {(g, m["in_id"]): m for g, members in truth.get("members", {}).items() for m in members}
    new = {record["id"]: record for record in records.get("group", [])}
    _all_there(walk, "group", set(walk.found.groups), set(new))
    for group_id in walk.found.groups.keys() & new.keys():
        walk.hold("group", old_group(new[group_id]), walk.found.groups[group_id], facts.get(group_id))
    members = {(m["group_id"], m["agent_id"]): m for m in records.get("member", [])}
    _all_there(walk, "member", set(walk.found.members), set(members))
    for key in walk.found.members.keys() & members.keys():
        old = old_member(members[key], new[key[0]])
        walk.hold("member", old, walk.found.members[key], memberships.get(key))


def _constellations(walk: Walk, records: Records) -> None:
    told = walk.result.report.facts.get("constellation", {})
    for forms in walk.found.constellations.values():
        expected = {key: value for key, value in forms[0].items() if key not in ("agents", "groups")}
        if not same(told, expected):
            walk.faults.append(f"constellation is {told!r:.200}")
    told_members = {
        (own["id"], agent["id"]): own["membership"]
        for agent in records.get("agent", [])
        for own in agent["config"][KEY].get("constellations", ())
    }
    _all_there(walk, "constellation member", set(walk.found.agent_members), set(told_members))
    for key in walk.found.agent_members.keys() & told_members.keys():
        if not same(told_members[key], walk.found.agent_members[key][0]):
            walk.faults.append(f"membership is {told_members[key]!r:.200}")


def _all_there(walk: Walk, noun: str, old: set[Any], new: set[Any]) -> None:
    walk.faults += [f"{noun} {missing} is not in the result" for missing in sorted(old - new)]
    walk.faults += [f"{noun} {made} was never in the old archive" for made in sorted(new - old)]


def _ends(pair: tuple[dict[str, Any], dict[str, Any]]) -> tuple[str, str]:
    return pair[1]["in_id"].replace("-", ""), pair[1]["out_id"]


def _pairs(by_agent: dict[str, list[Any]]) -> Iterator[tuple[tuple[str, str], Any]]:
    for agent_id, pairs in by_agent.items():
        for first, second in pairs:
            yield (agent_id.replace("-", ""), first["id"]), (first, second)


@pytest.mark.parametrize("variant", VARIANTS)
async def test_every_fact_of_every_archive_is_in_the_result(variant: str) -> None:
    """Each old record comes back equal, and nothing else came; what differs from the truth, differed before."""
    if not FIXTURES.is_dir():
        pytest.skip("the archives of the old programs are not here")
    faults, known = list[str](), 0
    for path in archives(variant):
        data = content(path)
        truth = truth_of(path)
        known += truth is not None
        result, records = await converted(data)
        faults += [f"{path.name}: {fault}" for fault in held_against(Found.of(data), result, records, truth or {})]

    assert not faults, "\n".join(faults[:40])
    assert known > 30
