"""Trees of blocks, as events of the line and as the archive they must become, the obvious way."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

from pattern_stream.codec.car import encode_header
from pattern_stream.codec.cid import cid_of
from pattern_stream.codec.varint import encode_varint
from pattern_stream.items import Begin, Block, BlockEvent, Root


@dataclass(frozen=True)
class Tree:
    """A block with its children, None where it is a leaf."""

    data: bytes
    children: tuple[Tree, ...] | None = None

    def events(self) -> Iterator[BlockEvent]:
        """The block after its children, with a Begin where it belongs."""
        if self.children is None:
            yield Block(cid_of(self.data), self.data)
            return
        yield Begin()
        for child in self.children:
            yield from child.events()
        yield Block(cid_of(self.data), self.data, closes=True)

    def sections(self) -> bytes:
        """The very slow oracle: this block's section, then its children's."""
        section = encode_varint(36 + len(self.data)) + cid_of(self.data) + self.data
        return section + b"".join(child.sections() for child in self.children or ())

    def line(self) -> list[BlockEvent]:
        """All events of an archive with this root."""
        return [*self.events(), Root(cid_of(self.data), {"message_count": 7})]

    def archive(self) -> bytes:
        """The archive that the line must become."""
        return encode_header(cid_of(self.data)) + self.sections()


def leaf(index: int, count: int) -> Tree:
    """A leaf of `count` bytes unlike any other."""
    return Tree((index.to_bytes(8, "big") * (count // 8 + 1))[:count])


def wide(leaf_count: int, leaf_bytes: int, *, agents: int = 3) -> Tree:
    """Manifest, data node and agents with leaves: the shape of a real archive."""
    nodes = [
        Tree(b"agent %d" % agent, tuple(leaf(agent * leaf_count + i, leaf_bytes) for i in range(leaf_count)))
        for agent in range(agents)
    ]
    return Tree(b"manifest", (Tree(b"data", tuple(nodes)),))


async def big_line(leaf_count: int, leaf_bytes: int) -> AsyncGenerator[BlockEvent]:
    """A long archive that is never in memory: one node, its leaves made one at a time."""
    yield Begin()
    for index in range(leaf_count):
        data = index.to_bytes(8, "big") + bytes(leaf_bytes - 8)
        yield Block(cid_of(data), data)
    yield Block(cid_of(b"root"), b"root", closes=True)
    yield Root(cid_of(b"root"), {})


class Sink:
    """A plain writer: only `async write`."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def write(self, data: bytes, /) -> None:
        """Keep it."""
        self.pieces.append(data)

    @property
    def data(self) -> bytes:
        """All that was written."""
        return b"".join(self.pieces)


class RangeSink(Sink):
    """A writer that also takes ranges of files."""

    ranges = 0

    async def copy_range(self, source_fd: int, offset: int, count: int, /) -> None:
        """Read the range and keep it."""
        os.lseek(source_fd, offset, os.SEEK_SET)
        self.pieces.append(os.read(source_fd, count))
        self.ranges += 1
