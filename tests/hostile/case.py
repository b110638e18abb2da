"""A hostile archive: a name that says its one fault, its bytes, and what the program must make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tests.acceptance.car import Link, cid_of, encode
from tests.archives import Archive, agent_record, entry_record, framed, message_record

COMMANDS = ("verify", "import", "inspect --full", "dump", "inspect")

SOUND, CORRUPT, UNSUPPORTED = 0, 4, 5


@dataclass(frozen=True, slots=True)
class Case:
    """`says`: a pattern that the messages of every command match. `exits`: commands that end otherwise than the rest.

    `large`: takes seconds or tens of megabytes, so it runs with `make hostile` only.
    """

    name: str
    make: Callable[[], bytes | Iterable[bytes]]
    says: str
    exit_code: int = CORRUPT
    exits: Mapping[str, int] = field(default_factory=dict)
    large: bool = False


def sound() -> Archive:
    """An archive with nothing wrong: one agent, messages, notes, no memory documents."""
    archive = Archive()
    link = archive.agent(chunks=[[message_record(2), message_record(1)]], entries=[entry_record(1), entry_record(2)])
    counts = {"agent_count": 1, "chunk_count": 1, "message_count": 2, "archival_entry_count": 2}
    return archive.finish("Agent", link, stats=counts)


def sound_bytes() -> bytes:
    """The same as a CAR."""
    return sound().to_bytes()


def header(*roots: Link, version: int = 1) -> bytes:
    """A CAR header."""
    return framed(encode({"roots": list(roots), "version": version}))


def section(data: bytes) -> bytes:
    """A block as it stands in a CAR, with the CID that it hashes to."""
    return framed(cid_of(data) + data)


def rooted(data: bytes) -> bytes:
    """An archive whose one block, the root, is these bytes."""
    return header(cid_of(data)) + section(data)


def as_note(data: bytes) -> bytes:
    """A sound archive but for one archival entry, which is these bytes."""
    archive = Archive()
    cid = cid_of(data)
    place = {"agent": agent_record(), "memory_block_cids": [], "message_chunk_cids": []}
    link = archive.add(place | {"archival_entry_cids": [cid], "archive_summary_cids": []})
    archive.blocks.append((bytes(cid), data))
    return archive.finish("Agent", link, stats={"agent_count": 1, "archival_entry_count": 1}).to_bytes()
