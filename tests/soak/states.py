"""Which committed state of the living writer an archive is, and whether it is exactly that one.

The archive is read by the parser of `tests/acceptance`, memory documents by a script beside it: nothing here uses the
package. What transaction k leaves is computed from k alone, not from the writer's own state.
"""

from __future__ import annotations

from typing import Any, Final

from tests.acceptance.car import parse_ours
from tests.acceptance.documents import read_documents
from tests.acceptance.flat import Flat, flatten
from tests.acceptance.oracle import Stored
from tests.soak.writer import AGENTS, BLOCKS, KEPT_ENTRIES, KEPT_MARKS, KEPT_MESSAGES, PREFIX

State = dict[str, Any]

AGENT_IDS: Final = [f"{PREFIX}-agent-{index}" for index in range(AGENTS)]


class Torn(Exception):
    """An archive that is no committed state."""


def committed(k: int) -> State:
    """What an archive says of the writer's rows after transaction k."""
    messages = range(max(1, k - KEPT_MESSAGES + 1), k + 1)
    entries = range(max(1, k - KEPT_ENTRIES + 1), k + 1)
    return {
        "balance": {name: _count(k, index) - _count(k + 2, index) + _count(2, index)
                    for index, name in enumerate(AGENT_IDS)},
        "done": {name: k if index in (0, AGENTS - 1) else 0 for index, name in enumerate(AGENT_IDS)},
        "tick": k,
        "messages": {name: {n: f"said {n}" for n in messages if n % AGENTS == index}
                     for index, name in enumerate(AGENT_IDS)},
        "entries": {name: {n: f"kept {n}" for n in entries if (n + 1) % AGENTS == index}
                    for index, name in enumerate(AGENT_IDS)},
        "documents": {f"{PREFIX}-block-{index}": _document(k, index) for index in range(BLOCKS)},
    }  # fmt: skip


def _count(k: int, index: int) -> int:
    """How many of 1 to k leave this remainder when divided among the agents."""
    return sum(1 for n in range(1, k + 1) if n % AGENTS == index)


def _document(k: int, index: int) -> dict[str, Any]:
    edits = [n for n in range(1, k + 1) if n % BLOCKS == index]
    text = "".join(f"{n};" for n in edits[-KEPT_MARKS:])
    return {"last_seq": len(edits), "text": text, "preview": text if edits else None}


def archived(flat: Flat) -> State:
    """The same, as an archive says it."""
    parts = {name: flat.agents[name] for name in AGENT_IDS}
    memory = {name: part for name, part in flat.memory.items() if name.startswith(PREFIX)}
    read = read_documents([Stored(part.snapshot, []) for part in memory.values()])
    return {
        "balance": {name: part.record["config"]["balance"] for name, part in parts.items()},
        "done": {name: part.record["config"]["done"] for name, part in parts.items()},
        "tick": flat.groups[f"{PREFIX}-group"].record["pattern_config"]["tick"],
        "messages": {name: {_number(row): row["content_json"]["Text"] for row in part.messages}
                     for name, part in parts.items()},
        "entries": {name: {_number(row): row["content"] for row in part.entries} for name, part in parts.items()},
        "documents": {
            name: {"last_seq": part.record["last_seq"], "text": said["deep"].get("content", ""),
                   "preview": part.record["content_preview"]}
            for (name, part), said in zip(memory.items(), read, strict=True)
        },
    }  # fmt: skip


def state_of(raw: bytes) -> int:
    """The number of the committed state that an archive is. Raises Torn; Wrong where it is no sound archive."""
    found = archived(flatten(parse_ours(raw)))
    k: int = found["tick"]
    expected = committed(k)
    for name, value in expected.items():
        if value != found[name]:
            raise Torn(f"tick says {k}; {name}: expected {str(value)[:300]}, found {str(found[name])[:300]}")
    return k


def _number(row: dict[str, Any]) -> int:
    return int(row["id"].rsplit("-", 1)[1])
