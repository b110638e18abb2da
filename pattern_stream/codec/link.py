"""Links as decoded values: a type of its own, so that neither bytes nor text can pass for one."""

from __future__ import annotations


class Link:
    """A link to the block of a CID. Equal and hashed by it, never equal to the bare bytes."""

    __slots__ = ("cid",)

    cid: bytes

    def __init__(self, cid: bytes) -> None:
        self.cid = cid

    def __eq__(self, other: object) -> bool:
        return self.cid == other.cid if isinstance(other, Link) else NotImplemented

    def __hash__(self) -> int:
        return hash((Link, self.cid))

    def __repr__(self) -> str:
        return f"Link({self.cid.hex()})"
