"""What an archive of a database must hold, computed with plain sqlite3 and the slowest obvious code.

Row selection of docs/format.md#rows-and-order, #flaws-of-pattern: parents before children, no dangling attachments,
nothing twice. Documents are not folded here (see `documents.py`); their stored bytes and active updates are handed on.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from tests.acceptance.car import encode
from tests.acceptance.flat import AgentPart, Chunk, Flat, GroupPart, MemoryPart, Wire
from tests.acceptance.wire import ReadFloat, Row, moment, record


@dataclass(frozen=True)
class Options:
    """The switches of an export that change what is in it."""

    messages: bool = True
    archival: bool = True
    chunk_bytes: int = 900_000
    chunk_messages: int = 1_000
    owner: str = "cli-user"
    real_program: bool = False
    """Chunks are to be those of the real program: no borders, and counted."""


DEFAULT = Options()


@dataclass
class Stored:
    """A memory document as the database holds it."""

    base: bytes
    updates: list[bytes] = field(default_factory=list)


class Database:
    """Every carried table, read once into memory as dicts."""

    TABLES = (
        "agents", "agent_groups", "group_members", "memory_blocks", "shared_block_agents", "archival_entries",
        "messages", "archive_summaries", "memory_block_updates", "memory_block_checkpoints",
    )  # fmt: skip

    def __init__(self, path: Path, read_float: ReadFloat = float) -> None:
        self.read_float = read_float
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            self.tables: dict[str, list[Row]] = {
                name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] if name in present else []
                for name in self.TABLES
            }

    def rows(self, table: str, **wanted: Any) -> list[Row]:
        """Rows whose columns have these values."""
        return [row for row in self.tables[table] if all(row[key] == value for key, value in wanted.items())]

    def wire(self, table: str, rows: list[Row]) -> list[Wire]:
        """Rows as records."""
        return [record(table, row, self.read_float) for row in rows]

    def stored(self, block_id: str) -> Stored:
        """Stored snapshot (or the newest checkpoint's where it is empty) and the active updates in order. Loro 3."""
        (row,) = self.rows("memory_blocks", id=block_id)
        checkpoints = sorted(self.rows("memory_block_checkpoints", block_id=block_id), key=lambda c: c["created_at"])
        base = row["loro_snapshot"] or (checkpoints[-1]["snapshot"] if checkpoints else b"")
        updates = sorted(self.rows("memory_block_updates", block_id=block_id), key=lambda update: update["seq"])
        return Stored(base, [update["update_blob"] for update in updates if update.get("is_active", 1)])


def text_key(text: str) -> bytes:
    """SQLite's BINARY collation."""
    return text.encode()


def id_key(text: str) -> tuple[int, bytes]:
    """The order of keys in a canonical map."""
    return len(text.encode()), text.encode()


def descending(text: str) -> tuple[int, ...]:
    """A key that turns text order round."""
    return (*(-byte for byte in text.encode()), 1)


def chunks_of(messages: list[Wire], options: Options) -> list[Chunk]:
    """Message chunks by the rules of docs/format.md#where-chunks-close, or as the real program has them."""
    groups: list[list[Wire]] = []
    total = 0
    for message in messages:
        size = len(encode(message))
        full = groups and (total + size > options.chunk_bytes or len(groups[-1]) >= options.chunk_messages)
        border = int.from_bytes(blake3(message["id"].encode()).digest()[:8], "little") % 256 == 0
        if not groups or full or (border and not options.real_program):
            groups, total = [*groups, []], 0
        groups[-1].append(message)
        total += size
    return [
        Chunk(index * options.real_program, group[0]["position"], group[-1]["position"], len(group), group)
        for index, group in enumerate(groups)
    ]


class Expected:
    """Builds the `Flat` of one scope."""

    def __init__(self, database: Database, options: Options = DEFAULT) -> None:
        self.database, self.options = database, options
        self.agent_ids = {row["id"] for row in database.rows("agents")}

    def agent_scope(self, agent_id: str) -> Flat:
        flat = Flat("Agent")
        self._agent(flat, agent_id)
        return flat

    def thin_scope(self, group_id: str) -> Flat:
        (group,) = self.database.wire("agent_groups", self.database.rows("agent_groups", id=group_id))
        part = GroupPart(group, thin_members=[member["agent_id"] for member in self._members(group_id)])
        return Flat("Group", groups={group_id: part})

    def group_scope(self, group_id: str) -> Flat:
        flat = Flat("Group")
        members = sorted((member["agent_id"] for member in self._members(group_id)), key=id_key)
        for agent_id in members:
            self._agent(flat, agent_id)
        self._group(flat, group_id)
        flat.groups[group_id].agents = members
        self._drop_dangling(flat)
        return flat

    def constellation_scope(self) -> Flat:
        flat = Flat("Constellation", owner=self.options.owner)
        for agent_id in sorted(self.agent_ids, key=id_key):
            self._agent(flat, agent_id)
        for row in sorted(self.database.rows("agent_groups"), key=lambda row: text_key(row["name"])):
            self._group(flat, row["id"])
        self._leftovers(flat)
        attachments = sorted(self.database.rows("shared_block_agents"), key=lambda r: (r["block_id"], r["agent_id"]))
        flat.attachments = self.database.wire("shared_block_agents", attachments)
        grouped = {member["agent_id"] for member in self.database.rows("group_members")}
        flat.standalone = sorted(self.agent_ids - grouped, key=id_key)
        self._drop_dangling(flat)
        return flat

    def _leftovers(self, flat: Flat) -> None:
        rows = [
            row for row in self.database.rows("memory_blocks", is_active=1) if row["agent_id"] not in self.agent_ids
        ]
        rows.sort(key=lambda row: (text_key(row["agent_id"]), text_key(row["label"])))
        flat.leftover = [self._memory(flat, row) for row in rows]

    def _members(self, group_id: str) -> list[Row]:
        rows = self.database.rows("group_members", group_id=group_id)
        return sorted(rows, key=lambda row: text_key(row["agent_id"]))

    def _memory(self, flat: Flat, row: Row) -> str:
        (wire,) = self.database.wire("memory_blocks", [row])
        flat.memory[row["id"]] = MemoryPart(wire, b"")
        return str(row["id"])

    def _agent(self, flat: Flat, agent_id: str) -> None:
        (agent,) = self.database.wire("agents", self.database.rows("agents", id=agent_id))
        part = flat.agents[agent_id] = AgentPart(agent)
        blocks = self.database.rows("memory_blocks", agent_id=agent_id, is_active=1)
        part.memory = [self._memory(flat, row) for row in sorted(blocks, key=lambda row: text_key(row["label"]))]
        if self.options.messages:
            part.chunks = chunks_of(self._messages(agent_id), self.options)
        if self.options.archival:
            rows = parents_first(self.database.rows("archival_entries", agent_id=agent_id))
            part.entries = self.database.wire("archival_entries", rows)
        summaries = predecessors_first(self.database.rows("archive_summaries", agent_id=agent_id))
        part.summaries = self.database.wire("archive_summaries", summaries)

    def _messages(self, agent_id: str) -> list[Wire]:
        rows = [row for row in self.database.rows("messages", agent_id=agent_id) if not row.get("is_deleted", 0)]
        rows.sort(key=lambda row: (descending(row["position"]), text_key(row["id"])))
        return self.database.wire("messages", rows)

    def _group(self, flat: Flat, group_id: str) -> None:
        (group,) = self.database.wire("agent_groups", self.database.rows("agent_groups", id=group_id))
        rows = self._members(group_id)
        members = [row["agent_id"] for row in rows]
        part = GroupPart(group, self.database.wire("group_members", rows), members)
        attachments = [row for row in self.database.rows("shared_block_agents") if row["agent_id"] in members]
        attachments.sort(key=lambda row: (row["block_id"], row["agent_id"]))
        part.attachments = self.database.wire("shared_block_agents", attachments)
        attached = {row["block_id"] for row in attachments}
        shared = [
            r for r in self.database.rows("memory_blocks") if r["id"] in attached and r["agent_id"] not in members
        ]
        owned = self.database.rows("memory_blocks", agent_id=group_id, is_active=1)
        shared.sort(key=lambda row: text_key(row["id"]))
        owned.sort(key=lambda row: text_key(row["label"]))
        part.shared = list(dict.fromkeys(self._memory(flat, row) for row in [*shared, *owned]))
        flat.groups[group_id] = part

    @staticmethod
    def _drop_dangling(flat: Flat) -> None:
        parts: list[Flat | GroupPart] = [flat, *flat.groups.values()]
        for part in parts:
            part.attachments = [each for each in part.attachments if each["block_id"] in flat.memory]


def parents_first(rows: list[Row]) -> list[Row]:
    """Entries in generations (an entry on a cycle or with a foreign parent is in the first that has nobody above it
    left), each generation newest first, then by id."""
    rows = sorted(rows, key=lambda row: (*_newest_first(row["created_at"]), text_key(row["id"])))
    ordered: list[Row] = []
    waiting = {row["id"]: row for row in rows}
    while waiting:
        ready = [row for row in waiting.values() if row["parent_entry_id"] not in waiting]
        for row in ready or list(waiting.values()):
            ordered.append(waiting.pop(row["id"]))
    return ordered


def predecessors_first(rows: list[Row]) -> list[Row]:
    """Summaries by start position, but none before its predecessor, where it has one here and is on no cycle."""
    waiting = {r["id"]: r for r in sorted(rows, key=lambda r: (text_key(r["start_position"]), text_key(r["id"])))}
    ordered: list[Row] = []
    while waiting:
        ready = [row for row in waiting.values() if row["previous_summary_id"] not in waiting]
        for row in ready[:1] or list(waiting.values()):
            ordered.append(waiting.pop(row["id"]))
    return ordered


def _newest_first(text: str) -> tuple[float, int]:
    whole, nanos = moment(text)
    return -whole.timestamp(), -nanos


def statistics(flat: Flat, sections: list[bytes]) -> dict[str, int]:
    """The nine counts of an archive that repeats nothing. `sections`: block data behind manifest and data node."""
    thin = next((part.thin_members for part in flat.groups.values() if part.thin_members is not None), None)
    agents = flat.agents.values()
    return {
        "agent_count": len(flat.agents) if thin is None else len(thin),
        "group_count": len(flat.groups),
        "message_count": sum(len(agent.messages) for agent in agents),
        "memory_block_count": len(flat.memory),
        "archival_entry_count": sum(len(agent.entries) for agent in agents),
        "archive_summary_count": sum(len(agent.summaries) for agent in agents),
        "chunk_count": sum(len(agent.chunks) for agent in agents),
        "total_blocks": len(sections),
        "total_bytes": sum(map(len, sections)),
    }
