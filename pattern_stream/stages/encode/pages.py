"""Collections of a node while it is open, and the pages to which one goes that outgrows it.
Source: docs/format.md#pages.

A page belongs before what it leads to, but whether there will be pages is known much later: so where one would start a
place is kept, which costs nothing in the archive if nothing is put there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field

from pattern_stream.codec import dagcbor
from pattern_stream.codec.cid import cid_of
from pattern_stream.format import MAX_BLOCK_BYTES, MAX_PAGE_BYTES, MAX_PAGE_LINKS
from pattern_stream.items import Block
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.checks.version_4 import collection_edge
from pattern_stream.schema.model.nodes import Edge, NodeType
from pattern_stream.schema.model.records import canonical
from pattern_stream.stages.encode.splice import splice

PAGE_ENVELOPE_BYTES = 64
"""More than the map around a page's elements takes: what has no block of its own must fit into a page alone."""


@dataclass(slots=True)
class Run:
    """Elements that would be one page: how many, how many bytes, and the place for the page."""

    place: int | None
    count: int = 0
    size: int = 0


@dataclass(slots=True)
class Collection:
    """Encoded elements of one key of a node. Those that went to pages are links to these from then on.

    `place`: kept for the next run; None where an element came without one. `hidden`: of a node that readers of version
    3 never see.
    """

    edge: Edge
    hidden: bool = False
    count: int = 0
    place: int | None = None
    paged: bool = False
    _elements: bytearray = field(default_factory=bytearray)
    _runs: list[Run] = field(default_factory=list)
    _page_links: bytearray = field(default_factory=bytearray)
    _page_count: int = 0

    @property
    def size(self) -> int:
        """Bytes of the elements that are still here."""
        return len(self._elements)

    @property
    def has_full_page(self) -> bool:
        """Whether it is in pages already and another page is full."""
        return self.paged and len(self._runs) > 1

    def starts_run(self, size: int) -> bool:
        """Whether an element of `size` bytes would start a page."""
        last = self._runs[-1] if self._runs else None
        return last is None or last.count >= MAX_PAGE_LINKS or last.size + size > MAX_PAGE_BYTES

    def add(self, element: bytes) -> None:
        """One more element."""
        if self.starts_run(len(element)):
            self._runs.append(Run(self.place))
        self._elements += element
        self._runs[-1].count += 1
        self._runs[-1].size += len(element)
        self.count += 1

    def encoded(self) -> bytes:
        """What stands in the node: the elements, or how many there are and their pages."""
        if not self.paged:
            return _head(self.edge)(self.count) + self._content(self.count, len(self._elements))
        pages = dagcbor.array_head(self._page_count) + self._page_links
        return splice({"count": dagcbor.integer(self.count), "pages": pages})

    def give(self, *, everything: bool) -> Iterator[Block]:
        """The pages that are full, or all of them; their elements are here no more."""
        self.paged = True
        runs = self._runs if everything else self._runs[:-1]
        self._runs = [] if everything else self._runs[-1:]
        for run in runs:
            yield self._page(run)

    def _page(self, run: Run) -> Block:
        page: type[NodeType] = self.edge.page  # type: ignore[assignment]  # every growing collection has one
        edge = collection_edge(page)
        elements = _head(edge)(run.count) + self._content(run.count, run.size)
        del self._elements[: run.size]
        data = splice({edge.name: elements, "index": dagcbor.integer(self._page_count)})
        block = Block(cid_of(data), data, place=run.place)
        self._page_links += dagcbor.link(block.cid)
        self._page_count += 1
        return block

    def _content(self, count: int, size: int) -> bytes:
        """The first elements, of `size` bytes together, as they stand in a node."""
        return bytes(memoryview(self._elements)[:size])


@dataclass(slots=True)
class LinkMap(Collection):
    """A map id -> link. In order within the node or page, in whatever order they came."""

    _entries: list[tuple[tuple[int, bytes], bytes]] = field(default_factory=list)

    def add_entry(self, key: str, cid: bytes) -> None:
        """One more entry."""
        element = dagcbor.text(key) + dagcbor.link(cid)
        self._entries.append((canonical(key), element))
        self.add(element)

    def _content(self, count: int, size: int) -> bytes:
        return b"".join(element for _, element in sorted(self._entries[:count]))

    def _page(self, run: Run) -> Block:
        block = Collection._page(self, run)
        del self._entries[: run.count]
        return block


def new_collection(edge: Edge, *, hidden: bool = False) -> Collection:
    """An empty collection for a key."""
    return LinkMap(edge) if edge.kind == "link_map" else Collection(edge, hidden)


def _head(edge: Edge) -> Callable[[int], bytes]:
    return dagcbor.map_head if edge.kind == "link_map" else dagcbor.array_head


def outgrows(collection: Collection) -> bool:
    """Whether a collection does not fit a block, whatever else is in it."""
    return collection.size > MAX_BLOCK_BYTES
