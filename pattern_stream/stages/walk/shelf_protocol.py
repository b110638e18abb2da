"""What a walk needs of the place where blocks wait, and how much of it an archive may ask for."""

from __future__ import annotations

from typing import Protocol

from pattern_stream.format import MAX_REPEATED_BYTES, MAX_REPEATED_LINKS
from pattern_stream.items import Section
from pattern_stream.quick_dataclass import dataclass


class Left(Protocol):
    """What nobody linked to: how many blocks, and the offset of the first of them."""

    @property
    def unreferenced(self) -> int: ...
    @property
    def first_offset(self) -> int | None: ...


class ShelfProtocol(Protocol):
    """Where blocks wait that came before they were wanted: what `archive.shelf.Shelf` is."""

    @property
    def met_count(self) -> int: ...
    @property
    def early_count(self) -> int: ...
    def put(self, section: Section, *, kept: bool = False, data: bool = True) -> None: ...
    def take(self, cid: bytes, *, keep: bool = False) -> Section | None: ...
    def met(self, cid: bytes) -> None: ...
    def was_met(self, cid: bytes) -> bool: ...
    def remember(self, cid: bytes, name: str) -> None: ...
    def recall(self, cid: bytes) -> str | None: ...
    def leftovers(self) -> Left: ...


@dataclass(frozen=True, slots=True)
class WalkLimits:
    """What no honest archive needs more of. `repeated_bytes` is beside 16 x what was read."""

    repeated_bytes: int = MAX_REPEATED_BYTES
    repeated_links: int = MAX_REPEATED_LINKS
