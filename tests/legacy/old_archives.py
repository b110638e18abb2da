"""Old archives for tests, both ways, by cbor2 alone: a reader that believes everything, and a writer of small ones."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import cbor2
from blake3 import blake3

from pattern_stream.codec.varint import encode_varint

CID_PREFIX = bytes.fromhex("01711e20")


def encode(value: Any) -> bytes:
    """A block's bytes: keys sorted, floats of 8 bytes. Links are `CBORTag(42, ...)`, see `link`."""
    return cbor2.dumps(_sorted(value))


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value, key=lambda key: (len(key.encode()), key.encode()))}
    if isinstance(value, list | tuple):
        return [_sorted(inner) for inner in value]
    return value


def cid_of(block: bytes) -> bytes:
    """The CID of a block's bytes."""
    return CID_PREFIX + blake3(block).digest()


def link(block: bytes) -> cbor2.CBORTag:
    """A link to a block, as a value to encode."""
    return cbor2.CBORTag(42, b"\0" + cid_of(block))


def archive(root: bytes, *blocks: bytes) -> bytes:
    """The archive of these blocks."""
    header = cbor2.dumps({"roots": [link(root)], "version": 1})
    framed = [encode_varint(36 + len(block)) + cid_of(block) + block for block in (root, *blocks)]
    return encode_varint(len(header)) + header + b"".join(framed)


def blocks_of(data: bytes) -> Iterator[Any]:
    """Every block of an archive, decoded."""
    at = 0
    while at < len(data):
        length = shift = 0
        while True:
            byte, at = data[at], at + 1
            length, shift = length | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                break
        if shift and at + length <= len(data) and data[at : at + 4] == CID_PREFIX:
            yield cbor2.loads(data[at + 36 : at + length])
        at += length


def content(path: Path) -> bytes:
    """A file without gzip."""
    data = path.read_bytes()
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


@dataclass
class Found:
    """What stands anywhere in an old archive, by id; of what stands there more than once, every form."""

    agents: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    messages: dict[tuple[str, str], list[tuple[dict[str, Any], dict[str, Any]]]] = field(default_factory=dict)
    memories: dict[tuple[str, str], list[tuple[dict[str, Any], dict[str, Any]]]] = field(default_factory=dict)
    groups: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    members: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    agent_members: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    constellations: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, data: bytes) -> Found:
        """Look through a whole archive."""
        found = cls()
        for block in blocks_of(data):
            found.look(block)
        return found

    def look(self, value: Any) -> None:
        """Look through one value, whatever the type of its block."""
        if isinstance(value, list):
            if len(value) == 2 and isinstance(value[1], dict) and "out_id" in value[1]:
                self._pair(value[0], value[1])
            for inner in value:
                self.look(inner)
        elif isinstance(value, dict):
            for key, home in (
                ("base_instructions", self.agents),
                ("coordination_pattern", self.groups),
                ("agents", self.constellations),
            ):
                if key in value:
                    home.setdefault(value["id"], []).append(value)
            for inner in value.values():
                self.look(inner)

    def _pair(self, first: Any, second: dict[str, Any]) -> None:
        if "joined_at" in second:
            home = self.members if "role" in second else self.agent_members
            ends = (second["out_id"], second["in_id"])
            home.setdefault(ends if "role" in second else ends[::-1], []).append(second)
        elif "content" in first:
            self.messages.setdefault((second["in_id"].replace("-", ""), first["id"]), []).append((first, second))
        else:
            self.memories.setdefault((second["in_id"].replace("-", ""), first["id"]), []).append((first, second))


def plain(value: Any) -> Any:
    """A value as JSON has it: UUIDs as text, null members of objects gone, as the old database had it."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return str(UUID(bytes=value))
    return value


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal as JSON, where 1 is not 1.0 and true is not 1."""
    left, right = plain(left), plain(right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and bool(left == right)
