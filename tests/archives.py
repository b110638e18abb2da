"""Archives for tests, put together by hand with an encoder that is not the package's own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.car import Link, cid_of, encode

Blocks = list[tuple[bytes, bytes]]

AT = "2026-01-02T03:04:05.123456789Z"
NEVER_WRITTEN = b"an empty document"
"""Stands for a document where nobody looks into it."""


def agent_record(agent_id: str = "a1", **changes: Any) -> dict[str, Any]:
    """An agent's record."""
    return {
        "id": agent_id,
        "name": f"agent {agent_id}",
        "config": {"depth": 1.0},
        "status": "active",
        "created_at": AT,
        "model_name": "m",
        "tool_rules": None,
        "updated_at": AT,
        "description": None,
        "enabled_tools": ["search"],
        "system_prompt": "be kind",
        "model_provider": "p",
    } | changes


def message_record(number: int, agent_id: str = "a1", **changes: Any) -> dict[str, Any]:
    """A message's record."""
    return {
        "id": f"{agent_id}-m{number}",
        "role": "user",
        "source": None,
        "agent_id": agent_id,
        "batch_id": None,
        "position": f"{number:019}",
        "batch_type": "user_request",
        "created_at": AT,
        "is_deleted": False,
        "is_archived": False,
        "content_json": {"Text": f"message {number}"},
        "content_preview": None,
        "source_metadata": None,
        "sequence_in_batch": number,
    } | changes


def memory_record(block_id: str = "b1", agent_id: str = "a1", **changes: Any) -> dict[str, Any]:
    """A memory block's record, without its document."""
    return {
        "id": block_id,
        "label": f"label {block_id}",
        "pinned": True,
        "agent_id": agent_id,
        "frontier": [0, 255],
        "last_seq": 3,
        "metadata": {"schema": {"Text": {}}},
        "is_active": True,
        "block_type": "core",
        "char_limit": 5000,
        "created_at": AT,
        "permission": "read_write",
        "updated_at": AT,
        "description": "what",
        "content_preview": "first line\nsecond",
    } | changes


def entry_record(number: int, agent_id: str = "a1", **changes: Any) -> dict[str, Any]:
    """An archival entry's record."""
    return {
        "id": f"{agent_id}-e{number}",
        "content": f"note {number}",
        "agent_id": agent_id,
        "metadata": None,
        "created_at": AT,
        "chunk_index": 0,
        "parent_entry_id": None,
    } | changes


def summary_record(number: int, agent_id: str = "a1", **changes: Any) -> dict[str, Any]:
    """An archive summary's record."""
    return {
        "id": f"{agent_id}-s{number}",
        "depth": 0,
        "summary": "long ago",
        "agent_id": agent_id,
        "created_at": AT,
        "end_position": "2",
        "message_count": 2,
        "start_position": "1",
        "previous_summary_id": None,
    } | changes


def group_record(group_id: str = "g1", **changes: Any) -> dict[str, Any]:
    """A group's record."""
    return {
        "id": group_id,
        "name": f"group {group_id}",
        "created_at": AT,
        "updated_at": AT,
        "description": None,
        "pattern_type": "round_robin",
        "pattern_config": {"turns": 3},
    } | changes


def member_record(agent_id: str = "a1", group_id: str = "g1", **changes: Any) -> dict[str, Any]:
    """A membership's record."""
    return {
        "role": {"type": "specialist", "domain": "tea"},
        "agent_id": agent_id,
        "group_id": group_id,
        "joined_at": AT,
        "capabilities": ["pour"],
    } | changes


def attachment_record(block_id: str = "b1", agent_id: str = "a2", **changes: Any) -> dict[str, Any]:
    """An attachment's record."""
    return {"agent_id": agent_id, "block_id": block_id, "permission": "append", "attached_at": AT} | changes


@dataclass
class Archive:
    """An archive to be: its sections in depth-first order, and its root."""

    blocks: Blocks = field(default_factory=list)
    root: bytes = b""

    def add(self, value: dict[str, Any]) -> Link:
        """One block; put in front of the blocks added since `mark` where a parent goes before its children."""
        data = encode(value)
        cid = cid_of(data)
        self.blocks.append((bytes(cid), data))
        return cid

    def put_before(self, place: int, value: dict[str, Any]) -> Link:
        """One block at a place among the sections: a parent before its children."""
        link = self.add(value)
        self.blocks.insert(place, self.blocks.pop())
        return link

    def memory(self, record: dict[str, Any], pieces: Sequence[bytes] = (NEVER_WRITTEN,), **changes: Any) -> Link:
        """A memory block with its document; pieces that are there already are not added again."""
        place, links, following, made = len(self.blocks), list[Link](), None, Blocks()
        for index in reversed(range(len(pieces))):
            data = encode({"data": pieces[index], "index": index, "next_cid": following})
            following = cid_of(data)
            links.insert(0, following)
            if all(cid != following for cid, _ in self.blocks):
                made.insert(0, (bytes(following), data))
        node = {"snapshot_chunk_cids": links, "total_snapshot_bytes": sum(map(len, pieces))}
        link = self.put_before(place, record | node | changes)
        self.blocks += made
        return link

    def agent(
        self,
        record: dict[str, Any] | None = None,
        *,
        memory: Sequence[tuple[dict[str, Any], Sequence[bytes]]] = (),
        chunks: Sequence[Sequence[dict[str, Any]]] = (),
        entries: Sequence[dict[str, Any]] = (),
        summaries: Sequence[dict[str, Any]] = (),
        inline: bool = False,
    ) -> Any:
        """An agent with all that is its own; inline: its node instead of a link."""
        place = len(self.blocks)
        node = {
            "agent": record if record is not None else agent_record(),
            "memory_block_cids": [self.memory(block, pieces) for block, pieces in memory],
            "message_chunk_cids": [self.add(message_chunk(index, found)) for index, found in enumerate(chunks)],
            "archival_entry_cids": [self.add(entry) for entry in entries],
            "archive_summary_cids": [self.add(summary) for summary in summaries],
        }
        return node if inline else self.put_before(place, node)

    def finish(self, kind: str, data: Link, **manifest: Any) -> Archive:
        """The manifest, with statistics as this program counts."""
        distinct = dict(self.blocks)
        below = [block for cid, block in self.blocks if cid != data]
        stats = dict.fromkeys(STATS, 0) | {"total_blocks": len(below), "total_bytes": sum(map(len, below))}
        value = {
            "stats": stats | manifest.pop("stats", {}),
            "version": 3,
            "data_cid": data,
            "export_type": kind,
            "exported_at": AT,
        } | manifest
        if len(distinct) != len(self.blocks):
            raise ValueError("a block was added twice")
        self.root = bytes(self.put_before(0, value))
        return self

    def copy(self) -> Archive:
        """For tests that shuffle."""
        return copy.deepcopy(self)

    def to_bytes(self, blocks: Blocks | None = None) -> bytes:
        """The archive as a CAR; `blocks` stand instead of its own where given."""
        header = encode({"roots": [Link(self.root)], "version": 1})
        return framed(header) + b"".join(
            framed(cid + data) for cid, data in (self.blocks if blocks is None else blocks)
        )


STATS = (
    "agent_count",
    "chunk_count",
    "group_count",
    "total_bytes",
    "total_blocks",
    "message_count",
    "memory_block_count",
    "archival_entry_count",
    "archive_summary_count",
)


def message_chunk(index: int, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A chunk of messages."""
    return {
        "messages": list(messages),
        "chunk_index": index,
        "end_position": messages[-1]["position"],
        "message_count": len(messages),
        "start_position": messages[0]["position"],
    }


def framed(body: bytes) -> bytes:
    """A body behind its length."""
    length, head = len(body), bytearray()
    while length >= 128:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes([*head, length]) + body


def agent_archive(**manifest: Any) -> Archive:
    """One agent with two memory blocks (one document in two pieces), two chunks, entries and a summary."""
    archive = Archive()
    link = archive.agent(
        memory=[(memory_record("b1"), [b"first piece, ", b"second piece"]), (memory_record("b2"), [NEVER_WRITTEN])],
        chunks=[[message_record(4), message_record(3)], [message_record(2)]],
        entries=[entry_record(1), entry_record(2, parent_entry_id="a1-e1")],
        summaries=[summary_record(1)],
    )
    counts = {
        "agent_count": 1,
        "chunk_count": 2,
        "message_count": 3,
        "memory_block_count": 2,
        "archival_entry_count": 2,
        "archive_summary_count": 1,
    }
    return archive.finish("Agent", link, stats=counts | manifest.pop("stats", {}), **manifest)


def group_archive(**manifest: Any) -> Archive:
    """A group with two agents inline, a shared block from outside, attachments."""
    archive = Archive()
    node = {
        "group": group_record(),
        "members": [member_record("a1"), member_record("a2", role=None)],
        "agent_exports": [
            archive.agent(agent_record("a1"), memory=[(memory_record("b1"), [NEVER_WRITTEN])], inline=True),
            archive.agent(agent_record("a2"), chunks=[[message_record(1, "a2")]], inline=True),
        ],
        "shared_memory_cids": [archive.memory(memory_record("b9", "a9"))],
        "shared_attachment_exports": [attachment_record("b9", "a2")],
    }
    counts = {"agent_count": 2, "group_count": 1, "chunk_count": 1, "message_count": 1, "memory_block_count": 2}
    return archive.finish("Group", archive.put_before(0, node), stats=counts, **manifest)


def thin_archive(**manifest: Any) -> Archive:
    """A group's configuration alone."""
    archive = Archive()
    link = archive.add({"group": group_record(), "member_agent_ids": ["a1", "a2"]})
    return archive.finish("Group", link, stats={"agent_count": 2, "group_count": 1}, **manifest)


def constellation_archive(**manifest: Any) -> Archive:
    """Three agents, two groups that share memory blocks, blocks of nobody, attachments."""
    archive = Archive()
    agents = {
        "a1": archive.agent(
            agent_record("a1"),
            memory=[(memory_record("b1"), [NEVER_WRITTEN]), (memory_record("b2"), [b"x" * 3000, b"y" * 10])],
            chunks=[[message_record(number) for number in range(20, 10, -1)]],
            entries=[entry_record(number) for number in range(3)],
        ),
        "a2": archive.agent(agent_record("a2"), memory=[(memory_record("b3", "a2"), [NEVER_WRITTEN])]),
        "a3": archive.agent(agent_record("a3"), summaries=[summary_record(1, "a3")]),
    }
    shared = archive.memory(memory_record("b8", "_constellation_"), [b"everyone's"])
    b1 = next(Link(cid) for cid, data in archive.blocks if b"label b1" in data)
    groups = [
        {
            "group": group_record(group_id),
            "members": [member_record("a1", group_id), member_record("a2", group_id)],
            "agent_cids": [agents["a1"], agents["a2"]],
            "shared_memory_cids": [shared, b1],
            "shared_attachment_exports": [attachment_record("b8", "a2")],
        }
        for group_id in ("g1", "g2")
    ]
    node = {
        "version": 3,
        "owner_id": "cli-user",
        "exported_at": AT,
        "agent_exports": agents,
        "group_exports": groups,
        "shared_attachments": [attachment_record("b8", "a2"), attachment_record("b1", "a2")],
        "all_memory_block_cids": [shared, archive.memory(memory_record("b7", "gone"), [])],
        "standalone_agent_cids": [agents["a3"]],
    }
    counts = {
        "agent_count": 3,
        "group_count": 2,
        "chunk_count": 1,
        "message_count": 10,
        "memory_block_count": 5,
        "archival_entry_count": 3,
        "archive_summary_count": 1,
    }
    return archive.finish("Constellation", archive.put_before(0, node), stats=counts, **manifest)


ARCHIVES = {
    "agent": agent_archive,
    "group": group_archive,
    "thin": thin_archive,
    "constellation": constellation_archive,
}
