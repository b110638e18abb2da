"""New ids from old ones: a pure function in one id space, so that no map of ids is kept and no link breaks.

The kind of a thing only picks the prefix: an agent, and a text that names that agent as an owner, come out the same.
Batch ids are snowflakes; where one must change, its millisecond stays. Source: v4 6, database 6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from blake3 import blake3

from pattern_stream.errors import UsageError
from pattern_stream.format import CONSTELLATION_OWNER, SNOWFLAKE_COUNTER_BITS
from pattern_stream.schema.mapping.json_values import read_json, write_json
from pattern_stream.schema.model.cells import StoredText
from pattern_stream.schema.model.fields import Reference
from pattern_stream.schema.model.records import Message, Record

KEY_BYTES: Final = 32
"""Length of the key of new ids."""

KEPT_IDS: Final = frozenset({CONSTELLATION_OWNER, "system", "user"})
"""Ids that mean the same in every constellation."""

_PREFIXES: Final[Mapping[Reference, str]] = {"memory_block": "mem_", "message": "msg_", "archival_entry": "arch_"}
_DIGEST_BYTES: Final = 16
_COUNTERS: Final = (1 << SNOWFLAKE_COUNTER_BITS) - 1
_LARGEST_SNOWFLAKE: Final = 2**64 - 1
_FIRST_NATIVE: Final = 10**16
"""From here on snowflakes have 17 digits, as all native ones until 2059, so that text order is numeric order."""

_is_decimal: Final = re.compile(r"\+?[0-9]+", re.ASCII).fullmatch
is_native_snowflake: Final = re.compile(r"[1-9][0-9]{16,18}", re.ASCII).fullmatch
"""Matches what all native snowflakes of these decades look like: the fast path."""

_BASE32: Final = {digit: value for value, digit in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
_BASE32_CHARS: Final = 13


def mint(key: bytes, old: str, kind: Reference) -> str:
    """The new id for an old one: prefix and 32 hex digits. Ids that mean the same everywhere stay."""
    if old in KEPT_IDS:
        return old
    return mint_bytes(key, old.encode(), kind)


def mint_bytes(key: bytes, old: bytes, kind: Reference) -> str:
    """The same of an id by its bytes: text that is no UTF-8 gets a new id too."""
    return _PREFIXES.get(kind, "") + blake3(old, key=key).digest(_DIGEST_BYTES).hex()


def parse_snowflake(text: str) -> int | None:
    """The number of a batch id or position as the original reads it; None where it cannot."""
    if len(text) == _BASE32_CHARS and (number := _from_base32(text)) is not None:
        return number
    if not _is_decimal(text) or len(text.lstrip("+0")) > len(str(_LARGEST_SNOWFLAKE)):
        return None
    number = int(text)
    return number if number <= _LARGEST_SNOWFLAKE else None


def is_snowflake(text: str) -> bool:
    """Whether the original can read it as a batch id or position."""
    return is_native_snowflake(text) is not None or parse_snowflake(text) is not None


def mint_batch(key: bytes, old: str, attempt: int = 0) -> str:
    """Another batch id for an old one, always a valid snowflake, and another one for each `attempt`.

    A snowflake keeps its millisecond and stays distinct from its fellows there, since only a mask is laid over the
    counter; what was none becomes a number of 17 digits.
    """
    number = parse_snowflake(old)
    if number is None:
        digest = blake3(f"{attempt}:{old}".encode(), key=key).digest(8)
        return str(_FIRST_NATIVE + int.from_bytes(digest, "big") % (9 * _FIRST_NATIVE))
    millisecond = number >> SNOWFLAKE_COUNTER_BITS
    digest = blake3(f"{attempt}@{millisecond}".encode(), key=key).digest(8)
    mask = 1 + int.from_bytes(digest, "big") % _COUNTERS  # never zero, so never the old one
    return _spell(number ^ mask)


@dataclass(frozen=True, slots=True)
class Identity:
    """New ids under one key. `kept`: further ids that stay, since they are ids of the target already."""

    key: bytes = field(repr=False)
    kept: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise UsageError(f"key of new ids is {len(self.key)} bytes, expected {KEY_BYTES}")

    def mint(self, old: str, kind: Reference) -> str:
        """The new id of anything but a batch, which stays where it is a snowflake."""
        if kind == "batch":
            return old if parse_snowflake(old) is not None else mint_batch(self.key, old)
        return old if old in self.kept else mint(self.key, old, kind)

    def translate(self, record: type[Record], values: Mapping[str, Any]) -> dict[str, Any]:
        """A record with every id in it, and every reference, replaced."""
        found = dict(values)
        for name, kind in references(record):
            old = found[name]
            if old is not None:
                found[name] = self.mint(old, kind)
        if record is Message:
            found["source_metadata"] = self.translate_refs(found["source_metadata"])
        return found

    def translate_refs(self, metadata: Any) -> Any:
        """A message's metadata with the ids inside its `block_refs` replaced; what has another shape stays."""
        if type(metadata) is StoredText:
            return StoredText(self.translate_text(str(metadata)))  # Trap: orjson takes no subclass of str.
        refs = metadata.get("block_refs") if isinstance(metadata, dict) else None
        if not isinstance(refs, list):
            return metadata
        return metadata | {"block_refs": [self._translate_ref(ref) for ref in refs]}

    def translate_text(self, text: str, *, deep: bool = False) -> str:
        """The same in JSON text, `deep`: at any depth of it. Text stays as it is where nothing in it changes."""
        if not may_hold_refs(text):
            return text
        try:
            before = read_json(text)
            after = self._translate_deep(before) if deep else self.translate_refs(before)
            return text if after == before else write_json(after)
        except ValueError:
            return text

    def _translate_deep(self, value: Any) -> Any:
        """Depth is bounded by `read_json`."""
        if isinstance(value, list):
            return [self._translate_deep(item) for item in value]
        if not isinstance(value, dict):
            return value
        return self.translate_refs({key: self._translate_deep(item) for key, item in value.items()})

    def translate_agents(self, text: str) -> str:
        """JSON text of an array of agents' ids; what has another shape stays."""
        try:
            before = read_json(text)
            if not isinstance(before, list):
                return text
            after = [self.mint(item, "agent") if isinstance(item, str) else item for item in before]
            return text if after == before else write_json(after)
        except ValueError:
            return text

    def _translate_ref(self, ref: Any) -> Any:
        if not isinstance(ref, dict):
            return ref
        kinds: tuple[tuple[str, Reference], ...] = (("block_id", "memory_block"), ("agent_id", "owner"))
        return ref | {name: self.mint(ref[name], kind) for name, kind in kinds if isinstance(ref.get(name), str)}


def may_hold_refs(text: str) -> bool:
    """Whether JSON text may have a member `block_refs`: spelled out, or behind an escape."""
    return "block_refs" in text or "\\u" in text


def references(record: type[Record]) -> tuple[tuple[str, Reference], ...]:
    """The fields of a record that hold ids, and of what."""
    return tuple((found.name, found.names) for found in record.fields if found.names is not None)


def _spell(number: int) -> str:
    """# Trap: text of 13 characters would be read as base32."""
    text = str(number)
    return text.zfill(_BASE32_CHARS + 1) if len(text) == _BASE32_CHARS else text


def _from_base32(text: str) -> int | None:
    number = 0
    for digit in text.upper().replace("O", "0").replace("I", "1").replace("L", "1"):
        value = _BASE32.get(digit)
        if value is None:
            return None
        number = number << 5 | value
    return number if number <= _LARGEST_SNOWFLAKE else None
