"""Memory documents that abort, fill or stall a process that decodes them. Source: docs/memory.md#hostile-documents."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.archives import Archive, memory_record
from tests.hostile.case import SOUND, Case
from tests.memory.forging import ABORTS, forge, forge_bomb, forge_nested, forge_nulls

_TOLD = {"inspect": SOUND, "dump": SOUND}
"""Both show the rest of the archive, and say what is wrong with the document."""


_LIST = {"schema": {"List": {"item_schema": None, "max_items": None}}}


def holding(document: bytes, metadata: dict[str, Any] | None = None) -> bytes:
    """An archive that is sound but for one memory document."""
    archive = Archive()
    pieces = [document[at : at + 900_000] for at in range(0, len(document), 900_000)]
    link = archive.agent(memory=[(memory_record("b1", content_preview=None, metadata=metadata), pieces)])
    return archive.finish("Agent", link, stats={"agent_count": 1, "memory_block_count": 1}).to_bytes()


def honest() -> bytes:
    """A document as any other."""
    (made,) = forge("text.push_str('hello')\nsnapshot()")
    return made


def changed(place: int, value: int) -> bytes:
    """An honest document with one byte set."""
    made = bytearray(honest())
    made[place] = value
    return bytes(made)


def _case(
    name: str, make: Callable[[], bytes], says: str, metadata: dict[str, Any] | None = None, *, large: bool = False
) -> Case:
    return Case(name, lambda: holding(make(), metadata), says, exits=_TOLD, large=large)


DOCUMENTS = [
    Case("document-that-is-honest", lambda: holding(honest()), r"^", SOUND),
    _case("document-that-aborts", lambda: ABORTS, r"cannot be read: (needed more than|crashed)"),
    _case("document-nested-200-deep", partial(forge_nested, 200), r"nested deeper than 128 levels", _LIST),
    _case("document-nested-20-thousand-deep", partial(forge_nested, 20_000), r"nested deeper|crashed", _LIST),
    _case("document-of-2-million-nulls", lambda: forge_nulls(2_000_001)[1], r"limit is 2000000", _LIST, large=True),
    Case("document-of-20-mb-in-160-kb", lambda: holding(forge_bomb(20_000_000)), r"^", SOUND),
    _case("document-of-100-mb-in-785-kb", partial(forge_bomb, 100_000_000), r"100000000 bytes, limit is", large=True),
    _case("document-cut", lambda: honest()[:-3], r"stored snapshot cannot be read"),
    _case("document-flipped", lambda: changed(40, 0xEE), r"stored snapshot cannot be read"),
    _case("document-of-unknown-mode", lambda: changed(21, 0x77), r"stored snapshot cannot be read"),
    _case("document-of-zeros", lambda: bytes(500), r"stored snapshot cannot be read"),
    _case("document-of-another-kind", lambda: b"SQLite format 3\x00" + bytes(500), r"stored snapshot cannot be read"),
]
"""Cases of memory documents."""
