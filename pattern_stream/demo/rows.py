"""The other rows of the demonstration: agents, groups, archival entries, and a few in every table besides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pattern_stream.demo.cast import GROUPS, World
from pattern_stream.demo.random_text import START_AT, Dice, plain_moment
from pattern_stream.format import CONSTELLATION_OWNER
from pattern_stream.schema.mapping.json_values import write_json

Cells = dict[str, Any]
TableRow = tuple[str, Cells]
"""A table and one row of it."""

DAY: Final = 24 * 60
_MODELS: Final = ("anthropic", "claude-sonnet-4-5", "openai", "gpt-5-mini", "gemini", "gemini-2.5-flash")


def cast_rows(dice: Dice, world: World) -> Iterator[TableRow]:
    """Agents, groups and memberships."""
    for number, person in enumerate(world.people):
        model = 2 * (number % 3)
        yield "agents", {
            "id": person.id, "name": person.name, "description": person.about if number else None,
            "model_provider": _MODELS[model], "model_name": _MODELS[model + 1],
            "system_prompt": f"You are {person.name}, who {person.about}.\n{dice.lines(12)}",
            "config": write_json({"temperature": 0.5 + number / 8, "max_tokens": 4096, "fallback": None}),
            "enabled_tools": write_json(["context", "recall", "search", "send_message"][: number % 4 + 1]),
            "tool_rules": write_json([{"tool": "recall", "rule": "exit_loop", "priority": 5}]) if number % 2 else None,
            "status": person.status, "created_at": dice.moment(number), "updated_at": plain_moment(DAY + number),
        }  # fmt: skip
    yield from _groups(dice, world)


def _groups(dice: Dice, world: World) -> Iterator[TableRow]:
    for number, (name, pattern) in enumerate(GROUPS.items()):
        config: Cells = _CONFIGS.get(pattern, {})
        yield "agent_groups", {
            "id": world.groups[name], "name": name, "description": dice.text(1) if number % 2 else None,
            "pattern_type": pattern, "pattern_config": write_json(config | {"patience": 0.25 * number}),
            "created_at": dice.moment(30 + number), "updated_at": plain_moment(DAY),
        }  # fmt: skip
    for group, person, role, capabilities in _MEMBERS:
        yield "group_members", {
            "group_id": world.groups[group], "agent_id": world.of(person), "role": role and write_json(role),
            "joined_at": dice.moment(60), "capabilities": write_json(capabilities),
        }  # fmt: skip


_CONFIGS: Final[dict[str, Cells]] = {
    "supervisor": {"leader": "Juniper"},
    "voting": {"quorum": 2, "order": ["Quill", "Tern"]},
}
_REGULAR: Final = {"type": "regular"}
_MEMBERS: Final[tuple[tuple[str, str, dict[str, str] | None, list[str]], ...]] = (
    ("Household", "Juniper", {"type": "supervisor"}, ["delegate", "memory"]),
    ("Household", "Ostler", _REGULAR, []),
    ("Household", "Tern", {"type": "specialist", "domain": "journeys"}, ["maps"]),
    ("Household", "Fen", {"type": "observer"}, []),
    ("Reading room", "Marrow", {"type": "specialist", "domain": "long documents"}, ["search"]),
    ("Reading room", "Quill", None, ["notes"]),
    ("Night watch", "Ostler", {"type": "observer"}, []),
    ("Jury", "Quill", _REGULAR, []),
    ("Jury", "Tern", _REGULAR, []),
    ("Jury", "Marrow", _REGULAR, []),
    ("Press", "Quill", _REGULAR, []),
)
"""Everybody's roles; the salon is empty."""


def shared_rows(dice: Dice, world: World) -> Iterator[TableRow]:
    """Blocks that are open to others than their owner."""
    blocks = {(block.owner, block.label): block.id for block in world.blocks}
    juniper, household = world.of("Juniper"), world.groups["Household"]
    for owner, label, reader, permission in (
        (juniper, "tasks", "Tern", "read_write"),
        (juniper, "tasks", "Ostler", "append"),
        (world.of("Quill"), "observations", "Juniper", "read_only"),
        (household, "shopping", "Ostler", "read_write"),
        (household, "shopping", "Juniper", "admin"),
        (CONSTELLATION_OWNER, "weather", "Tern", "read_only"),
    ):
        yield "shared_block_agents", {
            "block_id": blocks[owner, label], "agent_id": world.of(reader), "permission": permission,
            "attached_at": dice.moment(DAY),
        }  # fmt: skip


def archival_rows(dice: Dice, world: World, count: int) -> Iterator[TableRow]:
    """Long-term notes: each third is one in several pieces, the later ones below the first."""
    owners = [person.id for person in world.people[:-1]] + [CONSTELLATION_OWNER]
    parent: str | None = None
    piece = 0
    for number in range(count):
        piece = piece + 1 if parent is not None and piece < 3 and number % 6 > 3 else 0
        owner = owners[number // 6 % len(owners)]
        identity = "arch_" + dice.hex()
        about = {"source": "recall", "tags": [dice.pick("home", "work", "path")]}
        yield "archival_entries", {
            "id": identity, "agent_id": owner, "content": dice.text(dice.between(4, 14), dice.language()),
            "metadata": write_json(about) if number % 4 else None,
            "chunk_index": piece, "parent_entry_id": parent if piece else None,
            "created_at": dice.moment(number * 200 * DAY / max(count, 1)),
        }  # fmt: skip
        if number % 6 == 3:
            parent = identity


def other_rows(dice: Dice, world: World) -> Iterator[TableRow]:
    """A few rows in each table that a portable archive leaves out."""
    for section in (_happenings, _coordination, _sources, _plans, _calendar, _library, _post):
        yield from section(dice, world)


def _happenings(dice: Dice, world: World) -> Iterator[TableRow]:
    for number, person in enumerate(world.people[:-1]):
        for kind in ("message_sent", "memory_updated", "tool_used"):
            yield "activity_events", {
                "id": dice.hex(), "timestamp": dice.moment(DAY * number), "agent_id": person.id, "event_type": kind,
                "details": write_json({"note": dice.text(1), "weight": number / 4}),
                "importance": dice.pick("low", "medium", "high"),
            }  # fmt: skip
        yield "agent_summaries", {
            "agent_id": person.id, "summary": dice.text(4), "messages_covered": 40 * number,
            "generated_at": dice.moment(9 * DAY), "last_active": dice.moment(10 * DAY),
        }  # fmt: skip
    for week in range(4):
        yield "constellation_summaries", {
            "id": dice.hex(), "period_start": dice.moment(7 * DAY * week),
            "period_end": dice.moment(7 * DAY * (week + 1)), "summary": dice.text(5),
            "key_decisions": write_json([dice.text(1)]) if week else None,
            "open_threads": write_json([dice.text(1)]), "created_at": dice.moment(7 * DAY * (week + 1)),
        }  # fmt: skip
        yield "notable_events", {
            "id": dice.hex(), "timestamp": dice.moment(5 * DAY * week), "event_type": "milestone",
            "description": dice.text(1), "agents_involved": write_json([world.people[week].id]), "importance": "high",
            "created_at": dice.moment(5 * DAY * week),
        }  # fmt: skip


def _coordination(dice: Dice, world: World) -> Iterator[TableRow]:
    for key, value, updated_by in (("turn", {"at": 3}, "system"), ("quiet", True, "user"), ("mood", "mild", None)):
        yield "coordination_state", {
            "key": key, "value": write_json({"v": value}), "updated_at": dice.moment(DAY), "updated_by": updated_by,
        }  # fmt: skip
    for number, status in enumerate(("pending", "in_progress", "completed", "cancelled")):
        yield "coordination_tasks", {
            "id": dice.hex(), "description": dice.text(2), "assigned_to": world.people[number].id if number else None,
            "status": status, "priority": ("low", "medium", "high", "urgent")[number],
            "created_at": dice.moment(DAY), "updated_at": plain_moment(2 * DAY),
        }  # fmt: skip
        yield "handoff_notes", {
            "id": dice.hex(), "from_agent": world.people[number].id,
            "to_agent": world.people[number + 1].id if number % 2 else None, "content": dice.text(3),
            "created_at": dice.moment(3 * DAY), "read_at": plain_moment(4 * DAY) if number % 2 else None,
        }  # fmt: skip


def _sources(dice: Dice, world: World) -> Iterator[TableRow]:
    for number, kind in enumerate(("file", "bluesky", "discord")):
        source = dice.hex()
        yield "data_sources", {
            "id": source, "name": f"{kind} of the house", "source_type": kind,
            "config": write_json({"path": f"/home/juniper/{kind}", "poll": 30.5}),
            "last_sync_at": dice.moment(8 * DAY) if number else None, "sync_cursor": dice.hex(64) if number else None,
            "enabled": int(number != 2), "created_at": dice.moment(DAY), "updated_at": dice.moment(8 * DAY),
        }  # fmt: skip
        yield "agent_data_sources", {
            "agent_id": world.people[number].id, "source_id": source,
            "notification_template": "{{title}}: {{body}}" if number else None,
        }  # fmt: skip


def _plans(dice: Dice, world: World) -> Iterator[TableRow]:
    parent: str | None = None
    for number in range(8):
        identity = dice.hex()
        yield "tasks", {
            "id": identity, "agent_id": world.people[number % 6].id if number else None, "title": dice.text(1),
            "description": dice.text(2) if number % 2 else None,
            "status": ("pending", "in_progress", "completed", "backlog")[number % 4],
            "priority": ("low", "medium", "high", "critical")[number // 2],
            "due_at": dice.moment(20 * DAY) if number % 3 else None, "scheduled_at": None,
            "completed_at": dice.moment(12 * DAY) if number % 4 == 2 else None, "parent_task_id": parent,
            "created_at": dice.moment(number), "updated_at": dice.moment(9 * DAY),
            "tags": write_json(["errand", "indoors"]) if number % 2 else None, "estimated_minutes": 15 * number or None,
            "actual_minutes": 11 * number if number % 4 == 2 else None, "notes": dice.text(1) if number > 5 else None,
        }  # fmt: skip
        parent = identity if number % 3 != 2 else None


def _calendar(dice: Dice, world: World) -> Iterator[TableRow]:
    for number, repeats in enumerate((None, "FREQ=WEEKLY;BYDAY=TU", "FREQ=MONTHLY;BYMONTHDAY=3")):
        event = dice.hex()
        yield "events", {
            "id": event, "agent_id": world.people[number].id if number else None, "title": dice.text(1),
            "description": dice.text(1) if number else None, "starts_at": dice.moment(DAY * (5 + number)),
            "ends_at": dice.moment(DAY * (5 + number) + 45) if number else None, "rrule": repeats,
            "reminder_minutes": 10 * number or None, "created_at": dice.moment(DAY),
            "updated_at": dice.moment(2 * DAY),
            "all_day": int(number == 2), "location": "the old boathouse" if number else None,
            "external_id": dice.hex(64) if number else None, "external_source": "caldav" if number else None,
        }  # fmt: skip
        for week in range(number + 1):
            yield "event_occurrences", {
                "id": dice.hex(), "event_id": event, "starts_at": dice.moment(DAY * (5 + 7 * week)), "ends_at": None,
                "status": ("scheduled", "completed", "cancelled")[week], "notes": dice.text(1) if week else None,
                "created_at": dice.moment(DAY),
            }  # fmt: skip


def _library(dice: Dice, world: World) -> Iterator[TableRow]:
    for number, kind in enumerate(("local", "virtual")):
        folder, file = dice.hex(), dice.hex()
        content = dice.lines(30).encode() if kind == "local" else b"\x89PNG\r\n\x1a\n" + bytes(range(256))
        yield "folders", {
            "id": folder, "name": f"shelf {number + 1}", "description": dice.text(1) if number else None,
            "path_type": kind, "path_value": "/srv/shelf" if number else None, "embedding_model": "bge-small",
            "created_at": dice.moment(DAY),
        }  # fmt: skip
        yield "folder_files", {
            "id": file, "folder_id": folder, "name": ("notes.md", "map.png")[number],
            "content_type": ("text/markdown", "image/png")[number], "size_bytes": len(content), "content": content,
            "uploaded_at": dice.moment(DAY), "indexed_at": None if number else dice.moment(2 * DAY),
        }  # fmt: skip
        for chunk in range(3 - number):
            yield "file_passages", {
                "id": dice.hex(), "file_id": file, "content": dice.lines(10), "start_line": 10 * chunk + 1,
                "end_line": 10 * chunk + 10, "created_at": dice.moment(2 * DAY), "chunk_index": chunk,
            }  # fmt: skip
        yield "folder_attachments", {
            "folder_id": folder, "agent_id": world.people[number].id, "access": ("read", "read_write")[number],
            "attached_at": dice.moment(DAY),
        }  # fmt: skip


def _post(dice: Dice, world: World) -> Iterator[TableRow]:
    for number in range(3):
        text = dice.text(2)
        yield "queued_messages", {
            "id": dice.hex(), "target_agent_id": world.people[number].id,
            "source_agent_id": world.people[number + 1].id if number else None, "content": text,
            "origin_json": write_json({"kind": "cli"}) if number else None,
            "metadata_json": write_json({"hops": number}) if number else None, "priority": number,
            "created_at": dice.moment(20 * DAY), "processed_at": plain_moment(21 * DAY) if number == 1 else None,
            "content_json": write_json({"Text": text}) if number else None, "metadata_json_full": None,
            "batch_id": None, "role": "user",
        }  # fmt: skip
    for owner, kind in (
        (world.of("Juniper"), "bluesky"),
        (CONSTELLATION_OWNER, "bluesky"),
        (world.of("Quill"), "blog"),
    ):
        yield "agent_atproto_endpoints", {
            "agent_id": owner, "did": f"did:plc:{dice.hex(96)}", "endpoint_type": kind,
            "config": write_json({"post": kind == "blog"}), "created_at": START_AT // 1_000_000_000,
            "updated_at": START_AT // 1_000_000_000 + 60,
            "session_id": CONSTELLATION_OWNER if kind == "bluesky" else None,
        }  # fmt: skip
    yield "migration_audit", {
        "id": dice.hex(), "imported_at": dice.moment(0), "source_file": "before.car", "source_version": 2,
        "issues_found": 3, "issues_resolved": 3, "audit_log": write_json({"renamed": ["Fen"], "dropped": []}),
    }  # fmt: skip
