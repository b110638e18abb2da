"""From sections in any order to the tree they form: depth first, whole or refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Container, Iterator, MutableMapping
from typing import Any

from pattern_stream.codec.cid import cid_text
from pattern_stream.errors import (
    ArchiveError,
    Finding,
    HostileShape,
    MissingBlock,
    Report,
    Where,
    ignore_findings,
)
from pattern_stream.items import Close, MadeRows, Node, Ref, Section, WalkEvent
from pattern_stream.schema.checks.version_4 import REPEATABLE, collection_edge
from pattern_stream.schema.model.nodes import (
    EXTENSIONS,
    AgentExport,
    ExportManifest,
    MemoryBlockExport,
    NodeType,
    SnapshotChunk,
    ValueChunk,
)
from pattern_stream.stages.statistics import ArchiveStatistics
from pattern_stream.stages.walk.block_decoder import TOP, BlockDecoder
from pattern_stream.stages.walk.pending_links import CLOSE, Finish, Inline, Links, Task, children_of, has_more
from pattern_stream.stages.walk.shelf_protocol import ShelfProtocol, WalkLimits
from pattern_stream.streams import Events, closing

_NAMED: dict[type[NodeType], Callable[[dict[str, Any]], str]] = {
    AgentExport: lambda value: str(value["agent"]["id"]),
    MemoryBlockExport: lambda value: str(value["id"]),
}
"""Nodes that may be linked from several places, and the id by which later links name them."""

_REPEATED: dict[type[NodeType], str] = {SnapshotChunk: "memory documents", ValueChunk: "values"}

_REMEMBERED_BYTES = 4096
"""A piece of a document up to this size is kept decoded: untouched memory blocks share one empty document."""


_MISSES_LOOKED_UP = 20
"""Missing blocks that are looked up in the log of those met, which takes reading all of it."""


class Walker:
    """The open nodes from the root down, and what is wanted next. Feed it sections with `add`, then `finish`.

    `damage`: where faults go that do not stop the walk, which then goes round what is damaged; None raises the first.
    `drop_unknown`: keys of a later version are left behind with what they lead to, and said, instead of refused.
    `made`, `with_rows`: what others made of chunks of messages, and how the rest is made, see BlockDecoder.
    `only_counted`: types of leaves that are counted instead of decoded, see Counted.
    """

    def __init__(
        self,
        root: bytes,
        shelf: ShelfProtocol,
        *,
        limits: WalkLimits = WalkLimits(),  # noqa: B008  frozen
        report: Report = ignore_findings,
        damage: Report | None = None,
        drop_unknown: bool = False,
        made: MutableMapping[bytes, MadeRows] | None = None,
        with_rows: bool = True,
        only_counted: Container[type[NodeType]] = (),
    ) -> None:
        self.statistics = ArchiveStatistics()
        self.manifest: dict[str, Any] | None = None
        self._shelf = shelf
        self._limits = limits
        self._report = report
        self._damage = damage
        self._decoder = BlockDecoder(
            report, drop_unknown=drop_unknown, made=made, with_rows=with_rows, only_counted=only_counted
        )
        self._tasks: list[Task] = [Links(ExportManifest, "roots", [root], "header")]
        self._wanted: bytes | None = root
        self._ended = False
        self._damaged = False
        self._missed = 0
        self._repeated_links = 0
        self._repeated_bytes = 0
        self._paged_links = 0
        self._small: Node | None = None
        self._when_met: Callable[[Section], None] | None = None

    def when_met(self, take: Callable[[Section], None]) -> None:
        """Hand every block to `take` where the walk comes to it for the first time."""
        self._when_met = take

    @property
    def depth_first(self) -> bool:
        """Whether no block came before it was wanted."""
        return self._shelf.early_count == 0

    def add(self, section: Section) -> Iterator[WalkEvent]:
        """The events that follow from one more section."""
        return iter(()) if self.set_aside(section) else self.take_wanted(section)

    def set_aside(self, section: Section) -> bool:
        """Count one more section; lay it on the shelf, and say so, unless it is the one that is wanted."""
        self.statistics.count_section(len(section.data))
        if section.cid == self._wanted:
            return False
        self._shelf.put(section, data=bool(self._tasks))
        return True

    def take_wanted(self, section: Section) -> Iterator[WalkEvent]:
        """The events that follow from the section that is wanted."""
        links = self._tasks[-1]
        if isinstance(links, Links):  # always: a wanted CID is one of the innermost links
            if links.node in REPEATABLE:
                self._shelf.put(section, kept=True)
            links.at += 1
            self._meet(section)
            yield from self._hand_on(links, section, first=True)
        yield from self._go_on()

    def finish(self) -> Iterator[WalkEvent]:
        """The events left when no more sections come. Raises, or reports as damage, what is missing."""
        self._ended = True
        yield from self._go_on()
        left = self._shelf.leftovers()
        self.statistics.finish(left.unreferenced)
        if left.unreferenced and not self._damaged:
            where = Where(stage="walk", offset=left.first_offset)
            message = f"{left.unreferenced} blocks are linked from nowhere and were ignored; the first is at the offset"
            self._report(Finding("warning", "unreferenced-blocks", message, where))
        if self.manifest is not None and not self._damaged:
            self._compare(self.manifest)

    def _compare(self, manifest: dict[str, Any]) -> None:
        for difference in self.statistics.compare(manifest):
            if isinstance(difference, ArchiveError):
                self._fail(difference)
            else:
                self._report(difference)

    # --- what is wanted next ------------------------------------------------------------------------------------

    def _go_on(self) -> Iterator[WalkEvent]:
        """Everything that can be handed on before another section is needed."""
        self._wanted = None
        while self._tasks:
            task = self._tasks[-1]
            if isinstance(task, Close):
                yield self._tasks.pop()  # type: ignore[misc]  # a Close
            elif isinstance(task, Finish):
                self._tasks.pop()
                self._finish(task)
            elif task.at >= len(task.values if isinstance(task, Inline) else task.cids):
                self._tasks.pop()
            elif isinstance(task, Inline):
                task.at += 1
                yield from self._open(Node(task.node, task.values[task.at - 1], task.cid, task.offset))
            else:
                cid = task.cids[task.at]
                if not (yield from self._follow(task, cid)):
                    self._wanted = cid
                    return

    def _follow(self, links: Links, cid: bytes) -> Any:
        """Hand on what a link leads to, if it is here. Returns whether the next link can be looked at."""
        if links.node in _NAMED and (name := self._shelf.recall(cid)) is not None:
            links.at += 1
            yield self._again(links, cid, name)
            return True
        repeated = links.node in REPEATABLE
        if links.node is SnapshotChunk and self._small is not None and self._small.cid == cid:
            links.at += 1
            yield self._repeat(self._small)
            return True
        early = self._shelf.early_count
        section = self._shelf.take(cid, keep=repeated)
        if section is not None:
            links.at += 1
            yield from self._taken(links, section, first=self._shelf.early_count > early)
            return True
        if self._ended:
            links.at += 1
            self._miss(links, cid)
        return self._ended

    def _taken(self, links: Links, section: Section, *, first: bool) -> Iterator[WalkEvent]:
        if first:
            self._meet(section)
        else:
            self._spend(len(section.data), _REPEATED.get(links.node, "pages"))
        yield from self._hand_on(links, section, first=first)

    def _meet(self, section: Section) -> None:
        self._shelf.met(section.cid)
        self.statistics.count_met(len(section.data))
        if self._when_met is not None:
            self._when_met(section)

    def _again(self, links: Links, cid: bytes, name: str) -> Ref:
        self._repeated_links += 1
        if self._repeated_links > self._limits.repeated_links + self._paged_links:
            raise HostileShape(
                f"more than {self._limits.repeated_links} links lead to blocks already met",
                where=Where(stage="walk", cid=cid_text(cid), field=links.field),
            )
        self.statistics.count_again(links.node)
        return Ref(links.node, links.field, name)

    def _repeat(self, node: Node) -> Node:
        self._spend(node.size_bytes, "memory documents")
        return node

    def _spend(self, size: int, what: str) -> None:
        self._repeated_bytes += size
        if self._repeated_bytes > self._limits.repeated_bytes + 16 * self.statistics.data_bytes:
            message = f"{what} repeat {self._repeated_bytes} bytes of an archive of {self.statistics.data_bytes}"
            raise HostileShape(message, where=Where(stage="walk"))

    def _finish(self, task: Finish) -> None:
        """Whether all that a key promised has come. What was damaged on the way was told already."""
        if task.expected.broken:
            return
        try:
            task.expected.finish()
        except ArchiveError as error:
            error.at(stage="walk", offset=task.node.offset, cid=cid_text(task.node.cid))
            self._fail(error)

    def _miss(self, links: Links, cid: bytes) -> None:
        where = Where(stage="walk", cid=cid_text(cid), field=links.field)
        error: ArchiveError
        self._missed += 1
        if self._missed <= _MISSES_LOOKED_UP and self._shelf.was_met(cid):
            message = f"block is linked again by {links.parent}: only memory blocks, agents and documents may be shared"
            error = HostileShape(message, where=where)
        else:
            error = MissingBlock(f"block is not in the archive, but {links.parent} links to it", where=where)
        self._fail(error, links)

    def _fail(self, error: ArchiveError, links: Links | None = None) -> None:
        if self._damage is None:
            raise error
        self._damaged = True
        for expected in (links.expected, links.within) if links is not None else ():
            if expected is not None:
                expected.broken = True
        self._damage(Finding.of(error))

    # --- what a block is ----------------------------------------------------------------------------------------

    def _hand_on(self, links: Links, section: Section, *, first: bool) -> Iterator[WalkEvent]:
        try:
            node = self._decoder.read(links, section)
        except ArchiveError as error:
            error.at(stage="walk", offset=section.offset, cid=cid_text(section.cid), field=links.field)
            self._fail(error, links)
            return
        if node.node in _NAMED:
            self._shelf.remember(node.cid, _NAMED[node.node](node.value))
        elif node.node is SnapshotChunk and node.size_bytes <= _REMEMBERED_BYTES:
            self._small = node
        if links.pages_of is not None:
            yield from self._open_page(links, node, first=first)
        else:
            yield from self._open(node)

    def _open(self, node: Node) -> Iterator[WalkEvent]:
        """Hand a node on, and want its children."""
        self.statistics.count(node)
        if node.node is ExportManifest:
            self.manifest = node.value
            self._tasks += [CLOSE, Links(NodeType, "data_cid", [node.value["data_cid"]], TOP)]
        elif node.node.branches:
            self._tasks.append(CLOSE)
            self._tasks += reversed(list(children_of(node)))
        elif (self._decoder.is_version_4 or node.node in EXTENSIONS) and has_more(node):
            self._tasks += reversed(list(children_of(node)))
        yield node

    def _open_page(self, links: Links, page: Node, *, first: bool) -> Iterator[WalkEvent]:
        """Want what a page leads to, as if it were in its node; records in it are handed on with the page."""
        edge = collection_edge(page.node)
        elements: Any = page.value[edge.name]
        of: Any = links.pages_of.of if links.pages_of is not None else None
        if edge.kind == "inline":
            self._tasks.append(Inline(of, elements, page.cid, page.offset or 0))
        elif edge.kind in ("links", "link_map"):
            cids = elements if edge.kind == "links" else list(elements.values())
            self._paged_links += len(cids) if first else 0
            self._tasks.append(Links(of, links.field, cids, links.parent, expected=links.within))
        else:
            yield page


async def walk(
    sections: Events[Section], root: bytes | Walker, shelf: ShelfProtocol, *, report: Report = ignore_findings
) -> AsyncGenerator[WalkEvent]:
    """Follow every link from the root; yield the tree depth first, in the order of the bytes, whatever the sections'.

    In:      sections of an archive whose digests have been compared, in any order, with any repetition; its root.
    Out:     Node(ExportManifest), inside it the data node, inside that its children, key by key, parts last. A node
             whose type has links, inline nodes or parts (the manifest too) is followed by what is inside it and by
             Close; any other node has no Close. A memory block or agent that is linked again is Ref(node type, key of
             the link, its id). Parts (History, TableExport) are inline nodes; a TableExport's value has its name under
             `table`, None for the cells. Collections in pages look as if they were not, but pages of records are nodes
             themselves (MemberPage, AttachmentPage, MemberIdPage). Values outside their record or row are External in
             their node; their ValueChunks come right after it, with the key or column under `of`, but after the
             history of a memory block and the pages of a thin group.
    Memory:  links of the open nodes. Blocks that come too early lie on the shelf; pieces of documents and values, and
             pages, stay there.
    Raises:  UnsupportedVersion, UnknownLink, MalformedBlock, MalformedNode (field, CID, offset), MissingBlock (CID,
             field, parent), HostileShape, StatsMismatch.
    Source:  docs/format.md#older-versions, #nodes, #version-4.
    """
    walker = root if isinstance(root, Walker) else Walker(root, shelf, report=report)
    async with closing(sections):
        async for section in sections:
            if walker.set_aside(section):
                continue  # the usual case of a shuffled archive
            for event in walker.take_wanted(section):
                yield event
    for event in walker.finish():
        yield event
