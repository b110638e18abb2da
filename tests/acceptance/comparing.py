"""Two archives, or an archive and the oracle, laid side by side."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from tests.acceptance.flat import AgentPart, Chunk, Flat, GroupPart, Wire
from tests.acceptance.wire import difference


def by_id(records: list[Wire]) -> dict[str, Wire]:
    """Records without their order."""
    return {record["id"]: record for record in records}


def comparable_block(record: Wire, kind: str) -> Wire:
    """A memory block as the oracle knows it: the frontier is judged with the document, and so is the preview in every
    archive that is no whole backup: it is the text of the document."""
    made_anew = {"frontier"} if kind == "Constellation" else {"frontier", "content_preview"}
    return {key: value for key, value in record.items() if key not in made_anew}


def _agent(part: AgentPart) -> dict[str, Any]:
    chunks = [(c.index, c.start, c.end, c.count, c.messages) for c in part.chunks]
    return {
        "record": part.record, "memory": part.memory, "chunks": [list(chunk) for chunk in chunks],
        "entries": part.entries, "summaries": part.summaries,
    }  # fmt: skip


def _group(part: GroupPart) -> dict[str, Any]:
    return dict(vars(part))


def differences(expected: Flat, found: Flat, ulps: int = 0) -> Iterator[str]:
    """Every record and list in which two archives differ, the first place of each."""
    pairs: list[tuple[str, Any, Any]] = [
        ("type", expected.type, found.type),
        ("owner", expected.owner, found.owner),
        ("agents", list(expected.agents), list(found.agents)),
        ("groups", list(expected.groups), list(found.groups)),
        ("memory", sorted(expected.memory), sorted(found.memory)),
        ("attachments", expected.attachments, found.attachments),
        ("leftover", expected.leftover, found.leftover),
        ("standalone", expected.standalone, found.standalone),
    ]
    pairs += [(f"agent {key}", _agent(p), _agent(found.agents[key])) for key, p in expected.agents.items()
              if key in found.agents]  # fmt: skip
    pairs += [(f"group {key}", _group(p), _group(found.groups[key])) for key, p in expected.groups.items()
              if key in found.groups]  # fmt: skip
    kind = found.type
    pairs += [(f"memory block {key}", comparable_block(p.record, kind),
               comparable_block(found.memory[key].record, kind))
              for key, p in expected.memory.items() if key in found.memory]  # fmt: skip
    for name, left, right in pairs:
        told = difference(left, right, name, ulps)
        if told:
            yield told[:500]


def mended(real: Flat, ours: Flat) -> Flat:
    """The real program's archive with its listed faults taken out, so that it can be compared in every field.

    Taken from ours, once it is certain that it is only a reordering or a subset: order of agents, entries, attachments,
    shared blocks and standalone agents; attachments that dangle; shared blocks that stand twice.
    Source: docs/format.md#flaws-of-pattern.
    """
    assert sorted(real.agents) == sorted(ours.agents)
    agents = {key: real.agents[key] for key in ours.agents}
    for key, part in agents.items():
        order = list(by_id(ours.agents[key].entries))
        assert sorted(order) == sorted(by_id(part.entries))
        part.entries = [by_id(part.entries)[entry] for entry in order]
    for key, group in real.groups.items():
        assert sorted(set(group.shared)) == sorted(ours.groups[key].shared)
        assert sorted(group.agents) == sorted(ours.groups[key].agents)
        group.shared, group.agents = ours.groups[key].shared, ours.groups[key].agents
        group.attachments = _held(group.attachments, real)
    assert sorted(real.standalone) == sorted(ours.standalone)
    real.agents, real.standalone, real.attachments = agents, ours.standalone, _held(real.attachments, real)
    return real


def divided(real: Flat, ours: Flat) -> Flat:
    """The same with the messages of each agent, in their order, in chunks of as many messages as ours have."""
    for key, part in real.agents.items():
        chunks, rest = ours.agents[key].chunks, iter(part.messages)
        assert len(part.messages) == sum(chunk.count for chunk in chunks)
        groups = [list(islice(rest, chunk.count)) for chunk in chunks]
        part.chunks = [Chunk(0, one[0]["position"], one[-1]["position"], len(one), one) for one in groups]
    return real


def _held(attachments: list[Wire], real: Flat) -> list[Wire]:
    held = [each for each in attachments if each["block_id"] in real.memory]
    return sorted(held, key=lambda each: (each["block_id"], each["agent_id"]))
