"""Records of a converted archive back in their old form: the inverse of the conversion, written apart from it."""

from __future__ import annotations

from typing import Any

KEY = "pattern_stream"
NIL = "0" * 32
Record = dict[str, Any]


def old_agent(record: Record) -> Record:
    """An agent of version 2."""
    extension: Record = record["config"][KEY]["agent"]
    old = {
        "id": record["id"],
        "name": record["name"],
        "base_instructions": record["system_prompt"],
        "created_at": record["created_at"],
        "updated_at": record["updated_at"],
        "tool_rules": record["tool_rules"] or [],
    }
    context: Record = record["config"]["context"]
    return extension | context | old


def old_message(record: Record) -> tuple[Record, Record]:
    """A message and its relation."""
    metadata = dict(record["source_metadata"] or {})
    extension = dict(metadata.pop(KEY, {}))
    relation = extension.pop("relation", {})
    if "block_refs" in extension:
        metadata["block_refs"] = extension.pop("block_refs")
    written = {
        "position": record["position"],
        "batch": record["batch_id"],
        "sequence_num": record["sequence_in_batch"],
        "batch_type": record["batch_type"],
    }
    message = {
        "id": record["id"],
        "role": record["role"],
        "content": record["content_json"],
        "metadata": metadata,
        "options": {"cache_control": None},
        "created_at": record["created_at"],
        **written,
    }
    kept = {
        "id": NIL,
        "in_id": record["agent_id"],
        "out_id": extension.get("id", record["id"]),
        "message_type": "archived" if record["is_archived"] else "active",
        **written,
    }
    return message | extension, kept | relation


def old_memory(record: Record, agent_id: str, attachment: Record | None = None) -> tuple[Record, Record]:
    """A memory block, or an archival entry that was one, and the relation of an agent."""
    metadata = dict(record["metadata"])
    extension = dict(metadata.pop(KEY))
    own = extension.get("metadata")
    metadata = metadata | own if isinstance(own, dict) else metadata if own is None else own
    relation = {"id": NIL, "in_id": agent_id, "out_id": record["id"]} | extension["relation"]
    if attachment is not None:
        relation |= {"access_level": attachment["permission"], "created_at": attachment["attached_at"]}
        relation |= {"id": NIL, "in_id": agent_id}
    old = {
        "id": record["id"],
        "owner_id": extension["owner_id"],
        "metadata": metadata,
        "embedding_model": extension.get("embedding_model"),
        "created_at": record["created_at"],
    }
    if record["kind"] == "archival_entry":
        described = {"value": record["content"], "memory_type": "archival", **extension["memory_block"]}
    else:
        described = {
            "label": extension.get("label", record["label"]),
            "value": record["text"],
            "description": record["description"] or extension.get("description"),
            "memory_type": record["block_type"],
            "pinned": record["pinned"],
            "permission": record["permission"],
            "is_active": record["is_active"],
            "updated_at": record["updated_at"],
        }
    return old | described, relation


def old_group(record: Record) -> Record:
    """A group without its members."""
    pattern = dict(record["pattern_config"])
    extension: Record = pattern.pop(KEY)
    own = ("id", "name", "description", "created_at", "updated_at")
    return dict(extension["group"]) | {key: record[key] for key in own} | {"coordination_pattern": pattern}


def old_member(record: Record, group: Record) -> Record:
    """A membership in a group."""
    role = record["role"]
    kind = role.pop("type") if isinstance(role, dict) else role
    kept = group["pattern_config"][KEY].get("members", {}).get(record["agent_id"], {"is_active": True})
    return {
        "id": NIL,
        "in_id": record["agent_id"],
        "out_id": record["group_id"],
        "joined_at": record["joined_at"],
        "role": {kind: role} if role else kind,
        "capabilities": record["capabilities"],
        **kept,
    }
