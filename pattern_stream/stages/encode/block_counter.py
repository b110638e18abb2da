"""What an encoder has sent out: the places that began, the blocks that were counted, and those that may come again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pattern_stream.codec.cid import cid_of
from pattern_stream.format import CID_BYTES, FORMAT_VERSION, WIDE_VERSION
from pattern_stream.items import Begin, Block
from pattern_stream.schema.model.nodes import STATS_KEYS


class BlockCounter:
    """Counts of the archive so far.

    `stats`: the nine statistics. `version`: of the archive, which is the wide one as soon as anything needs it.
    """

    def __init__(self) -> None:
        self.stats: dict[str, int] = dict.fromkeys(STATS_KEYS, 0)
        self.version = FORMAT_VERSION
        self._begun = 0
        self._sent: set[bytes] = set()

    def begin(self) -> Begin:
        """A block that is made later belongs here."""
        self._begun += 1
        return Begin()

    def keep_place(self) -> tuple[Begin, int]:
        """A page, or values, may come to belong here; the number names the place."""
        self._begun += 1
        return Begin(page=True), self._begun - 1

    def block(self, data: bytes, *, closes: bool = False) -> Block:
        """A finished block below the data node, unlike any other, counted."""
        self.stats["total_blocks"] += 1
        self.stats["total_bytes"] += len(data)
        return Block(cid_of(data), data, closes)

    def once(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Blocks that may be equal to others, as documents are: no section goes out twice."""
        for block in blocks:
            if block.cid not in self._sent:
                self._sent.add(block.cid)
                self.stats["total_blocks"] += 1
                self.stats["total_bytes"] += len(block.data)
                yield block

    def wide(self, blocks: Iterable[Block], *, hidden: bool = False) -> Iterator[Block]:
        """Pages and pieces of values: only version 4 has them, unless readers of version 3 never see them."""
        for block in blocks:
            yield from self.wide_one(block, hidden=hidden)

    def wide_one(self, block: Block, *, hidden: bool) -> Iterator[Block]:
        """One such block."""
        if not hidden:
            self.version = WIDE_VERSION
        return self.once((block,))


class Named:
    """The CIDs of nodes that others refer to, by key. There may be 100,000 of them, so the CIDs are in one piece."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._cids = bytearray()

    def add(self, key: str, cid: bytes) -> None:
        """One more node."""
        self._places[key] = len(self._cids)
        self._cids += cid

    def cid(self, key: str) -> bytes:
        """The CID of the node with that key."""
        place = self._places[key]
        return bytes(self._cids[place : place + CID_BYTES])
