"""A CAR and DAG-CBOR reader of its own: slow, short and strict, so that it shares no mistake with the package.

Needs nothing but blake3. Source: docs/format.md#container, #dag-cbor.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

CID_PREFIX = bytes.fromhex("01711e20")
MAX_BLOCK_BYTES = 1_000_000
MAX_SECTION_BYTES = 4 * 1024 * 1024


class Wrong(Exception):
    """The bytes break a rule of the format."""


class Link(bytes):
    """The 36 bytes of a CID, told apart from a byte string."""


def cid_of(data: bytes) -> Link:
    """The only CID a block may have."""
    return Link(CID_PREFIX + blake3(data).digest())


def must(condition: bool, what: str) -> None:
    """Raise `Wrong` unless the condition holds."""
    if not condition:
        raise Wrong(what)


# --- DAG-CBOR ----------------------------------------------------------------------------------------------------


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        must(self.at + count <= len(self.data), f"{count} bytes wanted at {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def head(self) -> tuple[int, int, int]:
        """(major type, low five bits, argument); the argument must have its shortest form, floats aside."""
        first = self.take(1)[0]
        major, low = first >> 5, first & 31
        if low < 24:
            return major, low, low
        must(low < 28, f"head {first:02x}: indefinite or reserved length")
        argument = int.from_bytes(self.take(1 << (low - 24)), "big")
        smallest = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}[low]
        must(major == 7 or argument >= smallest, f"head {first:02x} with {argument}: not the shortest")
        return major, low, argument

    def value(self) -> Any:
        major, low, argument = self.head()
        if major < 2:
            return -1 - argument if major else argument
        if major == 2:
            return self.take(argument)
        if major == 3:
            return self.take(argument).decode("utf-8")
        if major == 4:
            return [self.value() for _ in range(argument)]
        if major == 5:
            return self.map(argument)
        return self.link(argument) if major == 6 else self.simple(low, argument)

    def map(self, count: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        last: tuple[int, bytes] = (-1, b"")
        for _ in range(count):
            key = self.value()
            must(isinstance(key, str), f"map key {key!r} is no text")
            order = (len(key.encode()), key.encode())
            must(order > last, f"map key {key!r} is repeated or out of order")
            found[key], last = self.value(), order
        return found

    def link(self, tag: int) -> Link:
        must(tag == 42, f"tag {tag}")
        raw = self.value()
        must(type(raw) is bytes and len(raw) == 37 and raw[:5] == b"\0" + CID_PREFIX, "tag 42 around no CID of ours")
        return Link(raw[1:])

    def simple(self, low: int, argument: int) -> Any:
        if low == 27:
            number = struct.unpack(">d", argument.to_bytes(8, "big"))[0]
            must(math.isfinite(number), f"float {number}")
            return number
        must(low in (20, 21, 22), f"simple value or short float: low bits {low}")
        return {20: False, 21: True, 22: None}[low]


def decode(data: bytes) -> Any:
    """One value, strictly, with nothing behind it."""
    reader = _Reader(data)
    value = reader.value()
    must(reader.at == len(data), f"{len(data) - reader.at} bytes behind the value")
    return value


def _head(major: int, argument: int) -> bytes:
    for low, width, limit in ((24, 1, 1 << 8), (25, 2, 1 << 16), (26, 4, 1 << 32), (27, 8, 1 << 64)):
        if argument < 24:
            return bytes([major << 5 | argument])
        if argument < limit:
            return bytes([major << 5 | low]) + argument.to_bytes(width, "big")
    raise Wrong(f"{argument} is beyond 64 bits")


def encode(value: Any) -> bytes:
    """The one canonical encoding of a value."""
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value]
    if isinstance(value, int):
        return _head(1, -1 - value) if value < 0 else _head(0, value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    if isinstance(value, Link):
        return b"\xd8\x2a\x58\x25\x00" + value
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, dict):
        pairs = sorted((len(key.encode()), encode(key), encode(item)) for key, item in value.items())
        return _head(5, len(value)) + b"".join(key + item for _, key, item in pairs)
    return _head(4, len(value)) + b"".join(map(encode, value))


def links_in(value: Any) -> Iterator[Link]:
    """Every link, in the order of the bytes (decoded maps keep their order)."""
    if isinstance(value, Link):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from links_in(item)


# --- CAR ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Archive:
    """An archive in memory: the root, and the sections as they stood."""

    root: Link
    sections: list[tuple[Link, bytes]]
    blocks: dict[Link, Any]

    @property
    def manifest(self) -> dict[str, Any]:
        return self.node(self.root)

    @property
    def data(self) -> dict[str, Any]:
        return self.node(self.manifest["data_cid"])

    def node(self, link: Link) -> dict[str, Any]:
        """The decoded block of a link."""
        must(link in self.blocks, f"block {link.hex()} is not in the archive")
        found: dict[str, Any] = self.blocks[link]
        return found


def _uvarint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        must(at < len(data), "the file ends inside a length")
        byte = data[at]
        value, at = value | (byte & 127) << shift, at + 1
        if byte < 128:
            must(byte > 0 or shift == 0, "a length is longer than needed")
            return value, at
        shift += 7


_decoded: dict[bytes, Any] = {}


def _decode_once(data: bytes) -> Any:
    """Archives of one database share most blocks; nobody changes what was decoded."""
    if data not in _decoded:
        _decoded[data] = decode(data)
    return _decoded[data]


def parse(raw: bytes) -> Archive:
    """Header, one root, then sections up to the end; every digest and every block checked."""
    must(raw[:1] == b"\x3a", "the header is not 58 bytes long")
    header = decode(raw[1:59])
    must(set(header) == {"roots", "version"} and header["version"] == 1, f"header {header}")
    must(len(header["roots"]) == 1, f"{len(header['roots'])} roots")
    sections, at = [], 59
    while at < len(raw):
        length, at = _uvarint(raw, at)
        must(36 < length <= MAX_SECTION_BYTES, f"a section of {length} bytes")
        must(at + length <= len(raw), "the file ends inside a section")
        link, data = Link(raw[at : at + 36]), raw[at + 36 : at + length]
        must(cid_of(data) == link, f"block {link.hex()} does not hash to its CID")
        must(len(data) <= MAX_BLOCK_BYTES, f"a block of {len(data)} bytes")
        sections.append((link, data))
        at += length
    return Archive(header["roots"][0], sections, {link: _decode_once(data) for link, data in sections})


def depth_first(archive: Archive) -> list[Link]:
    """Each reachable block once, in the order in which a walk from the root first meets it."""
    seen: dict[Link, None] = {}
    wanted = [archive.root]
    while wanted:
        link = wanted.pop()
        if link not in seen:
            seen[link] = None
            wanted.extend(reversed(list(links_in(archive.node(link)))))
    return list(seen)


def parse_ours(raw: bytes) -> Archive:
    """As `parse`, with what this program promises: no section twice, none unreferenced, depth-first, canonical."""
    archive = parse(raw)
    order = [link for link, _ in archive.sections]
    must(len(set(order)) == len(order), "a section stands twice")
    must(order == depth_first(archive), "sections are not in depth-first order, or some are unreferenced")
    for link, data in archive.sections:
        must(encode(archive.node(link)) == data, f"block {link.hex()} is not canonical")
    return archive
