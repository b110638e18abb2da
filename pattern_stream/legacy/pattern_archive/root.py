"""The first bytes of an archive: its header, the head of a section, and whether its root is of an older version."""

from __future__ import annotations

from typing import Any, Final, Literal

from pattern_stream.codec.car import SectionSplitter
from pattern_stream.codec.cid import require_supported
from pattern_stream.codec.dagcbor import decode, text
from pattern_stream.codec.varint import decode_varint
from pattern_stream.errors import ArchiveError, MalformedSection, TruncatedArchive, Where
from pattern_stream.format import CID_BYTES, FORMAT_VERSION, MAX_HEADER_BYTES

MAX_OLD_SECTION_BYTES: Final = 1024 * 1024 * 1024
"""Longest section of an old archive: version 1 had no limit on blocks. Ours."""

_MAP: Final = 5
"""The major type of maps in CBOR."""

LENGTH_BYTES: Final = 10
"""More than the longest varint."""


def read_header(head: bytes) -> tuple[bytes, int]:
    """The root of an archive and where its first section starts. Raises ArchiveError."""
    splitter = SectionSplitter(max_section_bytes=MAX_OLD_SECTION_BYTES)
    for at in range(len(head[: MAX_HEADER_BYTES + LENGTH_BYTES])):
        for _ in splitter.feed(head[at : at + 1]):
            pass
        if splitter.header is not None:
            return splitter.header.roots[0], at + 1
    splitter.finish()
    raise TruncatedArchive(f"archive ends after {len(head)} bytes, inside its header")


def read_section_head(head: bytes, at: int) -> tuple[int, int, bytes] | None:
    """Where the data of the section at `at` starts and ends, and its CID; None where `head` is too short for that.

    Raises:  MalformedSection, UnsupportedCid: with the offset.
    """
    found = decode_varint(head, at)
    if found is None:
        return None
    length, start = found
    where = Where("read", offset=at)
    if not CID_BYTES <= length <= MAX_OLD_SECTION_BYTES:
        limits = f"expected {CID_BYTES} to {MAX_OLD_SECTION_BYTES}"
        raise MalformedSection(f"section is {length} bytes, {limits}", where=where)
    cid = head[start : start + CID_BYTES]
    if len(cid) < CID_BYTES:
        return None
    require_supported(cid, where=where)
    return start + CID_BYTES, start + length, cid


RootKind = Literal["old", "today", "neither"]

_FIRST_KEYS: Final = ("id", "group", "groups", "constellation")
"""The first keys of roots without a manifest: an agent, a group, a constellation."""

_ROOTS: Final = ({"base_instructions"}, {"member_agent_cids", "group"}, {"agent_export_cids", "constellation"})
"""The keys that tell such roots."""


def root_kind(head: bytes) -> RootKind | None:
    """What the root is of an archive that begins so; None where its first bytes do not tell.

    A root that goes beyond the first bytes is judged by its first key alone: no manifest is so large.
    Raises:  ArchiveError where it is no archive.
    """
    root, at = read_header(head)
    while (found := read_section_head(head, at)) is not None:
        start, end, cid = found
        if cid == root and end > len(head):
            is_map = start < len(head) and head[start] >> 5 == _MAP
            return (
                "old" if is_map and any(text(key) in head[start + 1 : start + 30] for key in _FIRST_KEYS) else "neither"
            )
        if cid == root:
            return _kind_of(decode(head[start:end], strict=False))
        if end > len(head):
            return None
        at = end
    return None


def _kind_of(root: Any) -> RootKind:
    if not isinstance(root, dict):
        return "neither"
    version = root.get("version")
    if type(version) is int and "data_cid" in root:
        return "old" if 1 <= version < FORMAT_VERSION else "today" if version >= FORMAT_VERSION else "neither"
    return "old" if any(marks <= root.keys() for marks in _ROOTS) else "neither"


def may_be_of_today(head: bytes) -> bool:
    """Whether what begins so is an archive, and not known to be an old one."""
    try:
        read_header(head)
    except ArchiveError:
        return False
    try:
        return root_kind(head) != "old"
    except ArchiveError:
        return True
