"""An archive of any scope and any section order, taken apart into flat records by kind.

The same shape is computed from a database by `oracle.py`, so that both can be laid side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.car import Archive, Link, must

Wire = dict[str, Any]

MANIFEST_KEYS = {"stats", "version", "data_cid", "export_type", "exported_at"}
MANIFEST_EXTRAS = {"created_by", "source_schema", "loro_version", "section_count"}
STATS_KEYS = {
    "agent_count", "chunk_count", "group_count", "total_bytes", "total_blocks", "message_count", "memory_block_count",
    "archival_entry_count", "archive_summary_count",
}  # fmt: skip
AGENT_LISTS = {"memory_block_cids", "message_chunk_cids", "archival_entry_cids", "archive_summary_cids"}
CONSTELLATION_KEYS = {
    "version", "owner_id", "exported_at", "agent_exports", "group_exports", "shared_attachments",
    "all_memory_block_cids", "standalone_agent_cids",
}  # fmt: skip
CONSTELLATION_EXTRAS = {"cells_beyond_version_3", "tables_beyond_version_3"}
GROUP_KEYS = {"group", "members", "shared_memory_cids", "shared_attachment_exports"}


@dataclass
class Chunk:
    """A message chunk: its envelope and its messages."""

    index: int
    start: str
    end: str
    count: int
    messages: list[Wire]


@dataclass
class AgentPart:
    """An agent and what is its own."""

    record: Wire
    memory: list[str] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    entries: list[Wire] = field(default_factory=list)
    summaries: list[Wire] = field(default_factory=list)

    @property
    def messages(self) -> list[Wire]:
        return [message for chunk in self.chunks for message in chunk.messages]


@dataclass
class GroupPart:
    """A group; `thin_members` is all a thin export has instead of the other lists."""

    record: Wire
    members: list[Wire] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    attachments: list[Wire] = field(default_factory=list)
    thin_members: list[str] | None = None


@dataclass
class MemoryPart:
    """A memory block without its links, and its document with the pieces joined."""

    record: Wire
    snapshot: bytes
    piece_bytes: list[int] = field(default_factory=list)


@dataclass
class History:
    """What a memory block was made of: the stored document (None: the one that travels), version and rows."""

    base: bytes | None
    frontier: bytes | None
    updates: list[list[Any]]
    checkpoints: list[list[Any]]


@dataclass
class Table:
    """Rows beyond version 3: column names with declared types, and the rows in their order."""

    columns: list[tuple[str, str]]
    rows: list[list[Any]] = field(default_factory=list)


@dataclass
class Flat:
    """Everything an archive says, whatever its scope."""

    type: str
    agents: dict[str, AgentPart] = field(default_factory=dict)
    groups: dict[str, GroupPart] = field(default_factory=dict)
    memory: dict[str, MemoryPart] = field(default_factory=dict)
    attachments: list[Wire] = field(default_factory=list)
    leftover: list[str] = field(default_factory=list)
    standalone: list[str] = field(default_factory=list)
    owner: str | None = None
    history: dict[str, History] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    cells: Table | None = None


class _Loader:
    def __init__(self, archive: Archive) -> None:
        self.archive, self.flat = archive, Flat(archive.manifest["export_type"])
        self.agent_of: dict[Link, str] = {}

    def load(self) -> Flat:
        data = self.archive.data
        if self.flat.type == "Agent":
            self.agent(data)
        elif self.flat.type == "Constellation":
            self.constellation(data)
        elif "member_agent_ids" in data:
            must(set(data) == {"group", "member_agent_ids"}, f"keys of a thin group: {sorted(data)}")
            group = data["group"]
            self.flat.groups[group["id"]] = GroupPart(group, thin_members=data["member_agent_ids"])
        else:
            must(set(data) == GROUP_KEYS | {"agent_exports"}, f"keys of a group: {sorted(data)}")
            self.group(data, [self.agent(item) for item in data["agent_exports"]])
        return self.flat

    def constellation(self, data: Wire) -> None:
        must(set(data) - CONSTELLATION_EXTRAS == CONSTELLATION_KEYS, f"keys of a constellation: {sorted(data)}")
        must(data["version"] == 3, f"version {data['version']}")
        must(data["exported_at"] == self.archive.manifest["exported_at"], "two different exported_at")
        for key, link in data["agent_exports"].items():
            must(self.agent(self.archive.node(link)) == key, f"agent_exports[{key}] leads to another agent")
            self.agent_of[link] = key
        for item in data["group_exports"]:
            must(set(item) == GROUP_KEYS | {"agent_cids"}, f"keys of a group: {sorted(item)}")
            self.group(item, [self.agent_of[link] for link in item["agent_cids"]])
        self.flat.attachments, self.flat.owner = data["shared_attachments"], data["owner_id"]
        self.flat.leftover = [self.memory(link) for link in data["all_memory_block_cids"]]
        self.flat.standalone = [self.agent_of[link] for link in data["standalone_agent_cids"]]
        if "cells_beyond_version_3" in data:
            self.flat.cells = self.table(data["cells_beyond_version_3"], "")
        for name, part in data.get("tables_beyond_version_3", {}).items():
            self.flat.tables[name] = self.table(part, name)

    def table(self, part: Wire, name: str) -> Table:
        must(set(part) == {"columns", "count", "chunks"}, f"keys of table {name}: {sorted(part)}")
        found = Table([(column["name"], column["type"]) for column in part["columns"]])
        numbered = 0
        for link in part["chunks"]:
            chunk = self.archive.node(link)
            must(set(chunk) == {"index", "rows", "table"}, f"keys of a table chunk: {sorted(chunk)}")
            numbered += chunk["index"] != 0
            must((chunk["index"], chunk["table"]) in ((0, name), (numbered, name)), f"a chunk of {name} is out of line")
            found.rows += [list(map(self.cell, row)) for row in chunk["rows"]]
        must(len(found.rows) == part["count"], f"table {name} says {part['count']} rows, has {len(found.rows)}")
        must(all(len(row) == len(found.columns) for row in found.rows), f"rows of table {name} have other widths")
        return found

    def group(self, item: Wire, agents: list[str]) -> None:
        shared = [self.memory(link) for link in item["shared_memory_cids"]]
        part = GroupPart(item["group"], item["members"], agents, shared, item["shared_attachment_exports"])
        self.flat.groups[part.record["id"]] = part

    def agent(self, item: Wire) -> str:
        must(set(item) == AGENT_LISTS | {"agent"}, f"keys of an agent: {sorted(item)}")
        part = AgentPart(item["agent"])
        part.memory = [self.memory(link) for link in item["memory_block_cids"]]
        part.chunks = [self.chunk(link) for link in item["message_chunk_cids"]]
        part.entries = [self.archive.node(link) for link in item["archival_entry_cids"]]
        part.summaries = [self.archive.node(link) for link in item["archive_summary_cids"]]
        name: str = part.record["id"]
        must(name not in self.flat.agents, f"agent {name} stands twice")
        self.flat.agents[name] = part
        return name

    def chunk(self, link: Link) -> Chunk:
        node = self.archive.node(link)
        must(set(node) == {"messages", "chunk_index", "end_position", "message_count", "start_position"}, "chunk keys")
        return Chunk(
            node["chunk_index"], node["start_position"], node["end_position"], node["message_count"], node["messages"],
        )  # fmt: skip

    def memory(self, link: Link) -> str:
        node = dict(self.archive.node(link))
        links, total = node.pop("snapshot_chunk_cids"), node.pop("total_snapshot_bytes")
        history = node.pop("history", None)
        data, sizes = self.joined(links)
        must(len(data) == total, f"total_snapshot_bytes {total}, found {len(data)}")
        known = self.flat.memory.setdefault(node["id"], MemoryPart(node, data, sizes))
        must(known.record == node and known.snapshot == data, f"memory block {node['id']} stands in two forms")
        if history is not None:
            self.flat.history[node["id"]] = self.past(history)
        return str(node["id"])

    def past(self, part: Wire) -> History:
        must(set(part) <= {"base", "frontier", "updates", "checkpoints", "columns"}, f"history keys: {sorted(part)}")
        base = None if part["base"] is None else self.joined(part["base"])[0]
        return History(base, part["frontier"], self.rows(part["updates"]), self.rows(part["checkpoints"]))

    def rows(self, links: list[Link]) -> list[list[Any]]:
        found = []
        for link in links:
            chunk = self.archive.node(link)
            must(set(chunk) == {"index", "rows"} and chunk["index"] == 0, "a history chunk is out of line")
            found += [list(map(self.cell, row)) for row in chunk["rows"]]
        return found

    def cell(self, value: Any) -> Any:
        """A cell with the pieces joined that were moved out of it."""
        if not isinstance(value, dict) or "external" not in value:
            return value
        moved = value["external"]
        pieces = [self.archive.node(link) for link in moved["chunks"]]
        must([piece["index"] for piece in pieces] == list(range(len(pieces))), "pieces of a cell are out of line")
        data = b"".join(piece["data"] for piece in pieces)
        must(len(data) == moved["bytes"], f"a cell of {moved['bytes']} bytes has {len(data)}")
        return data.decode() if moved["text"] else data

    def joined(self, links: list[Link]) -> tuple[bytes, list[int]]:
        pieces = [self.archive.node(piece) for piece in links]
        for index, piece in enumerate(pieces):
            after = links[index + 1] if index + 1 < len(links) else None
            must(set(piece) == {"data", "index", "next_cid"} and type(piece["data"]) is bytes, "snapshot piece keys")
            must(piece["index"] == index and piece["next_cid"] == after, f"snapshot piece {index} is out of line")
        return b"".join(piece["data"] for piece in pieces), [len(piece["data"]) for piece in pieces]


def flatten(archive: Archive) -> Flat:
    """Take an archive apart, checking its manifest and the key sets of its nodes on the way."""
    manifest = archive.manifest
    must(set(manifest) >= MANIFEST_KEYS, f"keys of the manifest: {sorted(manifest)}")
    must(set(manifest) <= MANIFEST_KEYS | MANIFEST_EXTRAS, f"keys of the manifest: {sorted(manifest)}")
    must(manifest["version"] == 3, f"version {manifest['version']}")
    must(set(manifest["stats"]) == STATS_KEYS, f"statistics: {sorted(manifest['stats'])}")
    return _Loader(archive).load()
