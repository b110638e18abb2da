"""Records of versions 1 and 2 as rows of the present schema: one function a type, pure but for the report.

What a row has no column for goes into one of its JSON columns under EXTENSION_KEY, so nothing of a record is lost.
Source: docs/coming-from.md#versions-1-and-2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Final
from uuid import UUID

from blake3 import blake3

from pattern_stream.errors import MalformedSource, Where
from pattern_stream.format import EXTENSION_KEY, MAX_BLOCK_BYTES, SNOWFLAKE_COUNTER_BITS, SNOWFLAKE_EPOCH_MS
from pattern_stream.items import Row
from pattern_stream.legacy.conversion import Conversion, Issue, Provenance
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.ids.snowflakes import parse_snowflake
from pattern_stream.schema.mapping.instants import instant_sort_key, instant_to_column, parse_instant
from pattern_stream.schema.mapping.json_values import write_json
from pattern_stream.schema.model.records import (
    PERMISSIONS,
    Agent,
    ArchivalEntry,
    ArchiveSummary,
    Group,
    Member,
    MemoryBlock,
    Message,
    Record,
    SharedAttachment,
)

NIL_ID: Final = "0" * 32
"""The id of relations that an old program made up on the spot."""

DEFAULT_CHAR_LIMIT: Final = 5000
"""`memory_char_limit` of agents from before the field: the original's own default."""

DEFAULT_MODEL: Final = ("anthropic", "claude-3-5-sonnet")
"""Provider and model of an agent that names none, as the original's converter has them."""

PROVIDERS: Final = (
    (re.compile("claude"), "anthropic"),
    (re.compile(r"gpt|o[0-9]|chatgpt"), "openai"),
    (re.compile("gemini"), "gemini"),
)
UNKNOWN_PROVIDER: Final = "unknown"

LONGEST_RECORD_BYTES: Final = MAX_BLOCK_BYTES - 20_000
"""A message of fewer bytes fits into a block of its own for sure, fields and heads included."""

PATTERNS: Final = frozenset({"round_robin", "dynamic", "pipeline", "supervisor", "voting", "sleeptime"})
BATCH_TYPES: Final = frozenset({"user_request", "agent_to_agent", "system_trigger", "continuation"})
MEMORY_TYPES: Final = frozenset({"core", "working", "archival"})
ROLES: Final = frozenset({"system", "user", "assistant", "tool"})
_BLOCK_REF_KEYS: Final = ("label", "block_id", "agent_id")
_CONTEXT_KEYS: Final = (
    "max_messages", "max_message_age_hours", "compression_threshold", "memory_char_limit", "enable_thinking",
)  # fmt: skip
_AGENT_COLUMNS: Final = frozenset(
    {"id", "name", "base_instructions", "tool_rules", "created_at", "updated_at", "message_summary", *_CONTEXT_KEYS}
)
"""Fields of an old agent that have a place of their own; all others go into the extension."""

_BASE32_TEXT: Final = re.compile(r"[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{13}").fullmatch

Fields = Mapping[str, Any]


def column_row(record: type[Record], cells: Mapping[str, Any]) -> Row:
    """A row of the type from its cells by column."""
    return tuple(cells[column] for column in record.columns)


def json_text(value: Any) -> str:
    """JSON text of a value; integers beyond 64 bits as they are, byte strings as the UUIDs that they are."""
    try:
        return write_json(value)
    except (ValueError, TypeError):
        return json.dumps(_jsonable(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_jsonable(inner) for inner in value]
    if isinstance(value, bytes) and len(value) == 16:
        return str(UUID(bytes=value))
    if isinstance(value, str | int | float | None):
        return value
    raise MalformedSource(f"found {type(value).__name__} in JSON, expected text, a number, an array or a map")


@dataclass(slots=True)
class Mapper:
    """Old records to rows. Knows no disk; `conversion` is told what is changed and dropped.

    `newest`: the latest time that a program wrote into a record when it ran.
    """

    conversion: Conversion
    newest: str = ""
    _minted: int = 0
    _names: dict[str, set[str]] = field(default_factory=dict)

    # --- typed fields ------------------------------------------------------------------------------------------------

    def text(self, fields: Fields, key: str, kind: str) -> str:
        """A field that must be text. Raises MalformedSource."""
        return str(self._typed(fields, key, kind, str, "text"))

    def _typed(self, fields: Fields, key: str, kind: str, wanted: Any, noun: str, default: Any = ...) -> Any:
        value = fields.get(key, default)
        is_number = wanted is int and type(value) is int
        if value is ... or not isinstance(value, wanted) or (wanted is int and not (is_number and abs(value) < 2**63)):
            found = "nothing" if value is ... else "a number beyond 64 bits" if is_number else type(value).__name__
            where = Where("convert", table=kind, row_id=_id_of(fields), field=key)
            raise MalformedSource(f"found {found} in {key} of an old record, expected {noun}", where=where)
        return value

    def instant(self, fields: Fields, key: str, kind: str) -> str:
        """A time, as columns spell it. Raises MalformedSource."""
        value = self.text(fields, key, kind)
        try:
            return instant_to_column(value)
        except ValueError as error:
            where = Where("convert", table=kind, row_id=_id_of(fields), field=key)
            raise MalformedSource(f"found {value[:60]!r} in {key} of an old record: {error}", where=where) from None

    def note_time(self, column: str) -> None:
        """A time that a program wrote when it ran."""
        self.newest = max(self.newest, column, key=instant_sort_key)

    def choice(self, fields: Fields, key: str, kind: str, choices: frozenset[str], default: str | None = None) -> str:
        """One of an enum's spellings, in any of its cases. Raises MalformedSource."""
        value = fields.get(key, default)
        if value in choices:
            return str(value)
        spelled = snake_case(value) if isinstance(value, str) else ""
        if spelled not in choices:
            where = Where("convert", table=kind, row_id=_id_of(fields), field=key)
            expected = ", ".join(sorted(choices))
            raise MalformedSource(f"found {str(value)[:60]!r} in {key}, expected one of {expected}", where=where)
        return spelled

    def unique_name(self, name: str, space: str, kind: str, entity_id: str) -> str:
        """The name, or with ` (2)` behind it where the space has it already: a name may occur once there."""
        taken = self._names.setdefault(space, set())
        given, number = name, 1
        while given in taken:
            number += 1
            given = f"{name} ({number})"
        taken.add(given)
        if given != name:
            why = "a name or label may occur once in its place"
            self.conversion.change(kind, "renamed", why, entity_id, name, given)
        return given

    def forget_names(self, space: str) -> None:
        """No more names will come for a space."""
        self._names.pop(space, None)

    # --- agents -----------------------------------------------------------------------------------------------------

    def agent(self, fields: Fields, provenance: Provenance, memberships: list[dict[str, Any]]) -> Row:
        """An agent's row. `memberships`: in constellations, which have no table."""
        kind, agent_id = Agent.table, self.text(fields, "id", Agent.table)
        provider, model = self._model(fields.get("model_id"), agent_id)
        context = {key: fields[key] for key in _CONTEXT_KEYS if key in fields}
        context.setdefault("memory_char_limit", DEFAULT_CHAR_LIMIT)
        context.setdefault("enable_thinking", True)
        extension: dict[str, Any] = {
            "source": provenance.as_dict(for_people=False),
            "agent": {key: value for key, value in fields.items() if key not in _AGENT_COLUMNS},
        }
        if memberships:
            extension["constellations"] = memberships
        rules = fields.get("tool_rules")
        return column_row(
            Agent,
            {
                "id": agent_id,
                "name": self.unique_name(self.text(fields, "name", kind), kind, kind, agent_id),
                "description": None,
                "model_provider": provider,
                "model_name": model,
                "system_prompt": self.text(fields, "base_instructions", kind),
                "config": json_text({"context": context, EXTENSION_KEY: extension}),
                "enabled_tools": "[]",
                "tool_rules": json_text(rules) if rules else None,
                "status": "active",
                "created_at": self.instant(fields, "created_at", kind),
                "updated_at": self.instant(fields, "updated_at", kind),
            },
        )

    def note_agent_times(self, fields: Fields) -> None:
        """The times of an agent that its program wrote."""
        for key in ("created_at", "updated_at", "last_active"):
            if isinstance(fields.get(key), str):
                self.note_time(self.instant(fields, key, Agent.table))

    def _model(self, model_id: Any, agent_id: str) -> tuple[str, str]:
        if not isinstance(model_id, str) or not model_id:
            why = "the old agent names no model; the original's converter takes this one"
            self.conversion.change(Agent.table, "model-chosen", why, agent_id, model_id, "/".join(DEFAULT_MODEL))
            return DEFAULT_MODEL
        provider, slash, model = model_id.partition("/")
        if slash and provider and model:
            return provider, model
        provider = next((name for pattern, name in PROVIDERS if pattern.match(model_id.lower())), UNKNOWN_PROVIDER)
        if provider == UNKNOWN_PROVIDER:
            self.conversion.issue(
                Issue(
                    "unknown-model",
                    "warning",
                    Agent.table,
                    agent_id,
                    f"nobody here knows who provides the model {model_id[:100]}",
                    f"the provider is {UNKNOWN_PROVIDER}",
                    ("edit",),
                    {"model_id": model_id},
                )
            )
        return provider, model_id

    def summary(self, fields: Fields) -> Row | None:
        """The one summary of an agent's older messages, where it has one."""
        text = fields.get("message_summary")
        if not isinstance(text, str):
            return None
        agent_id = str(fields["id"])
        return column_row(
            ArchiveSummary,
            {
                "id": f"sum_{agent_id}_0",
                "agent_id": agent_id,
                "summary": text,
                "start_position": "legacy_0_start",
                "end_position": "legacy_0_end",
                "message_count": 0,
                "previous_summary_id": None,
                "depth": 1,
                "created_at": self.instant(fields, "updated_at", Agent.table),
            },
        )

    # --- messages ---------------------------------------------------------------------------------------------------

    def message(self, pair: Any, agent_id: str) -> Row:
        """A message's row from the pair of message and relation. Raises MalformedSource."""
        message, relation = _pair(pair, "message")
        kind, message_id = Message.table, self.text(message, "id", Message.table)
        if "added_at" in relation:
            self.note_time(self.instant(relation, "added_at", kind))
        created_at = self.instant(message, "created_at", kind)
        content = self._typed(message, "content", kind, dict, "a map")
        position = self._position(message, relation, message_id, created_at)
        batch_type = self._batch_type(message, relation, message_id)
        batch_id = _first_text(message.get("batch"), relation.get("batch"))
        counted = next((each for each in (message, relation) if each.get("sequence_num") is not None), None)
        sequence = None if counted is None else self._typed(counted, "sequence_num", kind, int, "an integer")
        metadata, extension = self._metadata(message, message_id)
        written = {"position": position, "batch": batch_id, "sequence_num": sequence, "batch_type": batch_type}
        extension |= _differing(message, written)
        usual = written | {"in_id": agent_id, "out_id": message_id, "id": NIL_ID, "message_type": "active"}
        if kept := _differing(relation, usual | {"added_at": None}):
            extension["relation"] = kept
        for key in ("options", "owner_id", "has_tool_calls", "word_count", "embedding_model"):
            if message.get(key) not in (None, {"cache_control": None}):
                extension[key] = message[key]
        if message.get("embedding") is not None:
            self._drop_embedding(kind, message_id, message["embedding"])
        source = metadata.get("source")
        content_json = json_text(content)
        metadata_json = json_text(metadata | {EXTENSION_KEY: extension} if extension else metadata)
        preview = self._shortened(preview_of(content), len(content_json.encode()) + len(metadata_json), message_id)
        return column_row(
            Message,
            {
                "id": message_id,
                "agent_id": agent_id,
                "position": position,
                "batch_id": batch_id,
                "sequence_in_batch": sequence,
                "role": self.choice(message, "role", kind, ROLES),
                "content_json": content_json,
                "content_preview": preview,
                "batch_type": batch_type,
                "source": source if isinstance(source, str) else None,
                "source_metadata": metadata_json if metadata or extension else None,
                "is_archived": 1 if relation.get("message_type") == "archived" else 0,
                "is_deleted": 0,
                "created_at": created_at,
            },
        )

    def _metadata(self, message: Fields, message_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """A message's metadata as the present program reads it, and what it could not read."""
        metadata = dict(self._typed(message, "metadata", Message.table, dict, "a map", default={}))
        extension: dict[str, Any] = {}
        for key in [EXTENSION_KEY] if EXTENSION_KEY in metadata else []:
            extension[key] = metadata.pop(key)
        references = metadata.get("block_refs")
        if references is not None and not _are_block_references(references):
            why = "Pattern would refuse a message with references of another shape than its own"
            self.conversion.change(Message.table, "block-refs-moved", why, message_id, references)
            extension["block_refs"] = metadata.pop("block_refs")
        return metadata, extension

    def _position(self, message: Fields, relation: Fields, message_id: str, created_at: str) -> str:
        """The relation's position, else the message's own, else a snowflake of the time of creation."""
        for value in (relation.get("position"), message.get("position")):
            if not isinstance(value, str) or (number := parse_snowflake(value)) is None:
                continue
            if value.isascii() and value.isdecimal():
                if len(value) == 13:
                    self._note_misread(message_id, value, number)
                if value != "0" or isinstance(message.get("position"), str):  # else the default of an older relation
                    return value
            elif number:
                why = "a position in base32 is written in decimal"
                self.conversion.change(Message.table, "position-respelled", why, message_id, value, str(number))
                return str(number)
        minted = self._mint(created_at)
        why = "the message has no position that can be read: it is placed by its time of creation"
        self.conversion.change(Message.table, "position-minted", why, message_id, relation.get("position"), minted)
        return minted

    def _note_misread(self, message_id: str, value: str, number: int) -> None:
        self.conversion.issue(
            Issue(
                "misread-position",
                "info",
                Message.table,
                message_id,
                f"position {value} has 13 digits, which Pattern reads as the base32 of {number}",
                "kept as it is",
                (),
                {"position": value},
            )
        )

    def _mint(self, created_at: str) -> str:
        instant = parse_instant(created_at)
        milliseconds = max(0, instant.seconds * 1000 + instant.nanoseconds // 1_000_000 - SNOWFLAKE_EPOCH_MS)
        self._minted += 1
        counter = self._minted % (1 << SNOWFLAKE_COUNTER_BITS)
        return str(min((milliseconds << SNOWFLAKE_COUNTER_BITS) | counter, 2**64 - 1))

    def _batch_type(self, message: Fields, relation: Fields, message_id: str) -> str | None:
        value = _first_text(message.get("batch_type"), relation.get("batch_type"))
        if value is None or value in BATCH_TYPES:
            return value
        spelled = snake_case(value)
        if spelled not in BATCH_TYPES:
            why = "nobody knows this type of batch"
            self.conversion.change(Message.table, "batch-type-unknown", why, message_id, value)
            return None
        why = "an old repair misspelled the type of batch"
        self.conversion.change(Message.table, "batch-type-respelled", why, message_id, value, spelled)
        return spelled

    def _shortened(self, preview: str | None, other_bytes: int, message_id: str) -> str | None:
        """The preview, cut where the record would outgrow a block that readers of version 3 take."""
        if preview is None:
            return None
        encoded = preview.encode()
        if len(encoded) + other_bytes <= LONGEST_RECORD_BYTES:
            return preview
        room = max(0, LONGEST_RECORD_BYTES - other_bytes)
        cut = encoded[:room].decode(errors="ignore")
        why = "the text stands twice, and both would not fit one block: the copy for searching is cut"
        self.conversion.change(Message.table, "preview-cut", why, message_id, f"{len(encoded)} bytes", f"{room} bytes")
        return cut or None

    def _drop_embedding(self, kind: str, entity_id: str, embedding: Any) -> None:
        found = f"{len(embedding)} numbers" if isinstance(embedding, list) else type(embedding).__name__
        why = "embeddings are made again from the text"
        self.conversion.drop(kind, "embedding", why, entity_id, found)

    # --- memory -----------------------------------------------------------------------------------------------------

    def memory_block(self, pair: list[Any], agent: Fields, provenance: Provenance) -> Row:
        """A memory block's row, with an empty document: its text is the preview. `agent`: the owner's old record."""
        owner_id = str(agent["id"])
        limit = self._typed(agent, "memory_char_limit", Agent.table, int, "an integer", DEFAULT_CHAR_LIMIT)
        block, relation = _pair(pair, "memory block")
        kind, block_id = MemoryBlock.table, str(block["id"])
        label = self.text(block, "label", kind)
        value = self.text(block, "value", kind)
        metadata = self._memory_metadata(block, relation, owner_id, provenance)
        own_label = self.unique_name(label, f"label {owner_id}", kind, block_id)
        if own_label != label:
            metadata[EXTENSION_KEY]["label"] = label
        return column_row(
            MemoryBlock,
            {
                "id": block_id,
                "agent_id": owner_id,
                "label": own_label,
                "description": block.get("description") or "",
                "block_type": self.choice(block, "memory_type", kind, MEMORY_TYPES, "core"),
                "char_limit": limit,
                "permission": self.choice(block, "permission", kind, frozenset(PERMISSIONS), "append"),
                "pinned": 1 if block.get("pinned", False) else 0,
                "content_preview": value or None,
                "metadata": json_text(metadata),
                "is_active": 1 if block.get("is_active", True) else 0,
                "created_at": self.instant(block, "created_at", kind),
                "updated_at": self.instant(block, "updated_at", kind),
                "frontier": None,
                "last_seq": 0,
                "loro_snapshot": b"",
            },
        )

    def _memory_metadata(
        self, block: Fields, relation: Fields, agent_id: str, provenance: Provenance
    ) -> dict[str, Any]:
        """The block's metadata with everything of block and relation that has no column."""
        extension: dict[str, Any] = {"source": provenance.as_dict(for_people=False), "owner_id": block.get("owner_id")}
        usual = {"in_id": agent_id, "out_id": block["id"], "id": NIL_ID}
        extension["relation"] = {key: value for key, value in relation.items() if usual.get(key) != value}
        if block.get("description") == "":  # for a column that has no NULL
            extension["description"] = ""
        if block.get("embedding_model") is not None:
            extension["embedding_model"] = block["embedding_model"]
        if block.get("embedding") is not None:
            self._drop_embedding(MemoryBlock.table, str(block["id"]), block["embedding"])
        original = block.get("metadata")
        if not isinstance(original, dict):
            return {EXTENSION_KEY: extension | ({} if original is None else {"metadata": original})}
        metadata = dict(original)
        for key in ("schema", EXTENSION_KEY):  # words of the present format, which would not mean the same
            if key in metadata:
                extension.setdefault("metadata", {})[key] = metadata.pop(key)
        return metadata | {EXTENSION_KEY: extension}

    def entry(self, pair: list[Any], agent_id: str, provenance: Provenance) -> Row:
        """An archival memory as an entry: label, description and the rest stand in its metadata."""
        block, relation = _pair(pair, "memory block")
        kind = MemoryBlock.table
        metadata = self._memory_metadata(block, relation, agent_id, provenance)
        described = ("label", "description", "permission", "pinned", "is_active", "updated_at")
        metadata[EXTENSION_KEY]["memory_block"] = {key: block[key] for key in described if key in block}
        return column_row(
            ArchivalEntry,
            {
                "id": str(block["id"]),
                "agent_id": agent_id,
                "content": self.text(block, "value", kind),
                "metadata": json_text(metadata),
                "chunk_index": 0,
                "parent_entry_id": None,
                "created_at": self.instant(block, "created_at", kind),
            },
        )

    def attachment(self, block_id: str, agent_id: str, relation: Fields) -> Row:
        """An agent's access to a block that another agent had first."""
        kind = SharedAttachment.table
        for key, usual in (("id", NIL_ID), ("in_id", agent_id)):
            if relation.get(key, usual) != usual:
                why = "an attachment has no field for the id of the old relation, or of the agent as that spells it"
                self.conversion.change(kind, "relation-dropped", why, block_id, relation[key], usual)
        return column_row(
            SharedAttachment,
            {
                "block_id": block_id,
                "agent_id": agent_id,
                "permission": self.choice(relation, "access_level", kind, frozenset(PERMISSIONS), "append"),
                "attached_at": self.instant(relation, "created_at", kind),
            },
        )

    # --- groups -----------------------------------------------------------------------------------------------------

    def group(self, fields: Fields, memberships: Mapping[str, Any], provenance: Provenance) -> Row:
        """A group's row. `memberships`: by agent, what a member's row has no column for."""
        kind, group_id = Group.table, self.text(fields, "id", Group.table)
        pattern = self._typed(fields, "coordination_pattern", kind, dict, "a map")
        own = ("id", "name", "description", "coordination_pattern", "created_at", "updated_at", "members")
        extension = {
            "source": provenance.as_dict(for_people=False),
            "group": {k: v for k, v in fields.items() if k not in own},
        }
        if memberships:
            extension["members"] = dict(memberships)
        name = self.text(fields, "name", kind)
        return column_row(
            Group,
            {
                "id": group_id,
                "name": self.unique_name(name, kind, kind, group_id),
                "description": fields.get("description"),
                "pattern_type": self.choice(pattern, "type", kind, PATTERNS),
                "pattern_config": json_text(pattern | {EXTENSION_KEY: extension}),
                "created_at": self.instant(fields, "created_at", kind),
                "updated_at": self.instant(fields, "updated_at", kind),
            },
        )

    def member(self, fields: Fields, group_id: str, agent_id: str) -> Row:
        """A member's row."""
        role = fields.get("role", "regular")
        if isinstance(role, dict) and len(role) == 1:
            ((name, details),) = role.items()
            role = {"type": name, **(details if isinstance(details, dict) else {})}
        else:
            role = {"type": role}
        return column_row(
            Member,
            {
                "group_id": group_id,
                "agent_id": agent_id,
                "role": json_text(role),
                "joined_at": self.instant(fields, "joined_at", Member.table),
                "capabilities": json_text(self._typed(fields, "capabilities", Member.table, list, "an array", [])),
            },
        )


def preview_of(content: Fields) -> str | None:
    """The text of a message for searching, as the present program writes it. Source: docs/database.md#json-columns."""
    text = content.get("Text")
    if isinstance(text, str):
        return text
    parts: list[str] = []
    for key, find in _TEXTS.items():
        for part in content.get(key) or ():
            if isinstance(found := find(part), str) and found:
                parts.append(found)
    return "\n".join(parts) or None


def _block_text(block: Any) -> Any:
    if not isinstance(block, dict):
        return None
    inner = block.get("Text", block.get("Thinking"))
    return inner.get("text") if isinstance(inner, dict) else None


_TEXTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "Parts": lambda part: part.get("Text") if isinstance(part, dict) else None,
    "ToolResponses": lambda part: part.get("content") if isinstance(part, dict) else None,
    "Blocks": _block_text,
}
"""The text of one part of a message's content, by the variant."""


def snake_case(text: str) -> str:
    """`UserRequest` as `user_request`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()


def shared_message_id(agent_id: str, message_id: str) -> str:
    """Another id for a message that another agent has as well, since an id may occur once."""
    digest = blake3(f"{agent_id}\0{message_id}".encode()).hexdigest()
    return f"msg_{digest[:32]}"


def _first_text(*values: Any) -> str | None:
    return next((value for value in values if isinstance(value, str)), None)


def _differing(fields: Fields, written: Mapping[str, Any]) -> dict[str, Any]:
    """The values of those fields that stand otherwise in the row."""
    return {key: fields[key] for key in written if fields.get(key) is not None and fields[key] != written[key]}


def _are_block_references(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) and all(isinstance(each.get(key), str) for key in _BLOCK_REF_KEYS) for each in value
    )


def _pair(pair: Any, noun: str) -> tuple[dict[str, Any], dict[str, Any]]:
    if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], dict) and isinstance(pair[1], dict):
        return pair[0], pair[1]
    raise MalformedSource(f"found {type(pair).__name__}, expected a {noun} and its relation", where=Where("convert"))


def _id_of(fields: Fields) -> str | None:
    found = fields.get("id")
    return found if isinstance(found, str) else None
