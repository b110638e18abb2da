"""What an archive holds, counted from its bytes without the package: cbor2 and the shape of each block."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2

TABLES = {
    "agents": "SELECT count(*) FROM agents",
    "agent_groups": "SELECT count(*) FROM agent_groups",
    "group_members": "SELECT count(*) FROM group_members",
    "memory_blocks": "SELECT count(*) FROM memory_blocks",
    "messages": "SELECT count(*) FROM messages",
    "archival_entries": "SELECT count(*) FROM archival_entries",
    "archive_summaries": "SELECT count(*) FROM archive_summaries",
}


def archive_bytes(path: Path) -> bytes:
    """An archive, unpacked where it is packed."""
    raw = path.read_bytes()
    return gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw


def blocks_of(raw: bytes) -> Iterator[Any]:
    """The decoded blocks of a CAR, each once."""
    at, seen = 0, set[bytes]()
    while at < len(raw):
        length = shift = 0
        while True:
            byte, at = raw[at], at + 1
            length, shift = length | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        cid, data = raw[at : at + 36], raw[at + 36 : at + length]
        if seen and cid not in seen:
            yield cbor2.loads(data)
        seen.add(cid)
        at += length


def counts_of(raw: bytes) -> dict[str, int]:
    """How many rows of each carried table an archive stands for, by distinct ids."""
    ids: dict[str, set[Any]] = {table: set() for table in TABLES}
    for node in blocks_of(raw):
        _count(node, ids)
    return {table: len(found) for table, found in ids.items()}


def _count(node: dict[str, Any], ids: dict[str, set[Any]]) -> None:
    if "memory_block_cids" in node:
        ids["agents"].add(node["agent"]["id"])
    if "chunk_index" in node and "messages" in node:
        ids["messages"].update(message["id"] for message in node["messages"])
    for key, table in _KEYS.items():
        if key in node:
            ids[table].add(node["id"])
    if "group" in node:
        _count_group(node, ids)
    inline = node.get("agent_exports")
    for inner in [*(inline if isinstance(inline, list) else ()), *node.get("group_exports", ())]:
        _count(inner, ids)


_KEYS = {
    "snapshot_chunk_cids": "memory_blocks",
    "parent_entry_id": "archival_entries",
    "previous_summary_id": "archive_summaries",
}


def _count_group(node: dict[str, Any], ids: dict[str, set[Any]]) -> None:
    ids["agent_groups"].add(node["group"]["id"])
    ids["group_members"].update((member["group_id"], member["agent_id"]) for member in node.get("members", ()))
