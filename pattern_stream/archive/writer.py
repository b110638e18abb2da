"""Blocks to bytes: a CAR v1 archive, root first and depth first, and nothing emitted before all of it is known."""

from __future__ import annotations

import asyncio
import builtins
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from anyio import CancelScope, to_thread

from pattern_stream.archive.draining import drain
from pattern_stream.archive.spool import Area, Spool
from pattern_stream.budget import BUDGET, Budget
from pattern_stream.codec.car import encode_header, encode_section_head
from pattern_stream.codec.cid import cid_of
from pattern_stream.errors import ProtocolError, Where
from pattern_stream.files.temporary import temporary_folders
from pattern_stream.format import COPY_BYTES, FORMAT_VERSION
from pattern_stream.items import (
    AsyncWriter,
    Begin,
    Block,
    BlockEvent,
    BoundedWriter,
    PlacedWriter,
    Placement,
    Progress,
    ProgressCallback,
    RangeWriter,
    Root,
)
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.streams import closing

_RANGE_BYTES: Final = 256 * 1024
"""Pieces from this size on are copied from file to output without passing through here."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """An archive that was written: the CID of its root, its length, and the counts of its manifest."""

    root: builtins.bytes
    bytes: int
    sections: int
    stats: Mapping[str, int]
    version: int = FORMAT_VERSION


class CarDraft:
    """An archive being put together: events go in by `add`, sections go to the spool. Knows no event loop.

    Nodes are numbered as they begin, which is output order, together with the places kept for pages.

    Memory:  28 bytes a node (place among the leaves, offset and length among the inserts, and its turn among these) and
             the open nodes with their places. Of a closed node's places the unused ones at its end are forgotten.
    Raises:  ProtocolError: unbalanced Begin and closing Block, anything after Root, no Root, a root that is not first.
    """

    def __init__(self, spool: Spool) -> None:
        self.section_count = 0
        self._spool = spool
        self._root: Root | None = None
        self._first_cid: bytes | None = None
        self._numbers = array("Q")
        self._inserted = array("L")
        self._begun = 0
        self._open: list[int] = []
        self._places: dict[int, int] = {}
        self._kept: list[list[int]] = []

    def add(self, event: BlockEvent) -> None:
        """Take one event of the line."""
        if self._root is not None:
            raise _out_of_order(f"{type(event).__name__} came after Root")
        if isinstance(event, Block):
            self._add_block(event)
        elif isinstance(event, Begin):
            self._begin(event)
        else:
            self._root = event

    def _begin(self, event: Begin) -> None:
        at = len(self._numbers)
        if not event.page:
            self._open.append(at)
            self._kept.append([])
        elif self._open:
            self._places[self._begun] = at
            self._kept[-1].append(self._begun)
        else:
            raise _out_of_order("a place is kept for a page, but no node is open")
        self._begun += 1
        self._numbers.extend((self._spool.leaves.size, 0, 0))

    def _add_block(self, block: Block) -> None:
        head = encode_section_head(block.cid, len(block.data))
        self.section_count += 1
        area, is_first = self._spool.inserts, False
        if block.place is not None:
            self._put(block.place, area.size, len(head) + len(block.data))
        elif block.closes:
            is_first = self._close(area.size, len(head) + len(block.data)) == 0
        else:
            area, is_first = self._spool.leaves, not self._open
        if is_first and self._first_cid is None:
            self._first_cid = block.cid
        area.append(head, block.data)

    def _put(self, number: int, offset: int, count: int) -> None:
        """A section for a kept place is at `offset` of the inserts; further ones for it follow at once."""
        at = self._places.get(number)
        if at is None:
            raise _out_of_order(f"a block is for place {number}, which no open node kept")
        used = self._numbers[at + 2]
        if used and self._numbers[at + 1] + used != offset:
            raise _out_of_order(f"place {number} is used again after something else")
        if not used:
            self._inserted.append(at)
        self._numbers[at + 1] = offset - used
        self._numbers[at + 2] = used + count

    def _close(self, offset: int, count: int) -> int:
        """The innermost open node's section is at `offset` of the inserts; returns where the node's numbers are."""
        if not self._open:
            raise _out_of_order("a block closes a node, but none is open")
        numbers, at = self._numbers, self._open.pop()
        self._inserted.append(at)
        numbers[at + 1] = offset
        numbers[at + 2] = count
        for number in reversed(self._kept.pop()):
            place = self._places.pop(number)
            if place + 3 == len(numbers) and not numbers[place + 2]:
                del numbers[place:]
        return at

    def finish(self) -> Root:
        """The root, once upstream has ended well."""
        if self._root is None:
            raise _out_of_order("the blocks ended without Root")
        if self._open:
            raise _out_of_order(f"{len(self._open)} nodes began and never closed")
        if self._first_cid != self._root.cid:
            raise _out_of_order("the root is not the first block of the archive")
        return self._root

    def append(self, data: bytes) -> None:
        """Take a block that nothing links to and that goes behind all others."""
        cid = cid_of(data)
        self._spool.leaves.append(encode_section_head(cid, len(data)), data)
        self.section_count += 1

    def pieces(self) -> Iterator[tuple[Area, int, int]]:
        """The archive's body in output order as (area, offset, count), neighbouring leaves as one piece."""
        numbers, done, leaves = self._numbers, 0, self._spool.leaves
        for at in range(0, len(numbers), 3):
            if not numbers[at + 2]:
                continue  # a place for which nothing came
            if numbers[at] > done:
                yield leaves, done, numbers[at] - done
                done = numbers[at]
            yield self._spool.inserts, numbers[at + 1], numbers[at + 2]
        if leaves.size > done:
            yield leaves, done, leaves.size - done

    def leaves_from_the_end(self, end: int) -> Iterator[Placement]:
        """The leaves, neighbours as one piece, the last first, with their places in an archive that ends at `end`.

        Each node's place among the leaves gives way to its section's place in the archive.
        """
        numbers, left = self._numbers, self._spool.leaves.size
        for at in range(len(numbers) - 3, -1, -3):
            if not (count := numbers[at + 2]):
                continue
            if run := left - numbers[at]:
                left, end = left - run, end - run
                yield Placement(left, run, end)
            numbers[at] = end = end - count
        if left:
            yield Placement(0, left, end - left)

    def inserts_from_the_end(self) -> Iterator[Placement]:
        """The inserts, the last first, with the places that were found on the way through the leaves."""
        numbers = self._numbers
        for at in reversed(self._inserted):
            yield Placement(numbers[at + 1], numbers[at + 2], numbers[at])


def _out_of_order(message: str) -> ProtocolError:
    return ProtocolError(message, where=Where(stage="write"))


async def write_car(
    blocks: AsyncIterator[BlockEvent],
    out: AsyncWriter,
    *,
    spool_dir: Path | None = None,
    near: Path | None = None,
    progress: ProgressCallback | None = None,
    seal: Callable[[bytes], Awaitable[bytes]] | None = None,
    budget: Budget = BUDGET,
) -> WriteResult:
    """Write an archive: header, root, and every block before its children, as the Begins have it.

    `near`: the folder of the output file, where the spool best lies. `out` gets nothing at all before `blocks` has
    ended well; then whole ranges by `copy_range`, where it has that, and pieces of about 1 MiB. A file on the spool's
    disk is filled from its end by `place`, and the spool is cut meanwhile, see `draining`.

    `seal`: gives one more block about the root, by its CID, which goes last.

    In:      Begin, Block and last of all one Root.
    Memory:  `budget.spool_memory_bytes` until the spool goes to disk, 28 bytes for each node, seven buffers of 1 MiB.
    Raises:  StorageFull, TransportError: the spool; ProtocolError: events out of order; what `blocks` and `out` raise.
    Source:  docs/format.md#container, #rows-and-order.
    """
    with Spool(temporary_folders(spool_dir, near), budget=budget) as spool:
        draft = CarDraft(spool)
        async with _BackgroundFlush(spool) as background:
            async with closing(blocks):
                async for event in blocks:
                    draft.add(event)
                    if spool.is_due:
                        await background.start()
                        _report(progress, "spool", spool.size, None)
            root = draft.finish()
            if seal is not None:
                draft.append(await seal(root.cid))
        if spool.is_on_disk:
            await to_thread.run_sync(spool.flush)
        header = encode_header(root.cid)
        written = len(header) + spool.size
        emitter = _Emitter(out, written, progress)
        if isinstance(out, PlacedWriter) and spool.is_on_disk and out.device == spool.device:
            await drain(spool.leaves, draft.leaves_from_the_end(written), out, emitter.advance)
            await drain(spool.inserts, draft.inserts_from_the_end(), out, emitter.advance)
            await emitter.emit(header, ())
        else:
            if isinstance(out, BoundedWriter):
                await out.require_room(written)
            await emitter.emit(header, draft.pieces())
    return WriteResult(root.cid, written, draft.section_count, root.stats, root.version)


class _BackgroundFlush:
    """Writes to the spool's files while the line goes on: one flush at a time, each waited for before the next."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._flush: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the last flush, for the files are closed next. Its error counts where there is no other."""
        with CancelScope(shield=True), suppress(*() if error is None else (Exception,)):
            await self._finish()

    async def start(self) -> None:
        """Begin to write what is in memory. Raises what the flush before raised."""
        await self._finish()
        self._spool.take()
        self._flush = asyncio.create_task(to_thread.run_sync(self._spool.store))

    async def _finish(self) -> None:
        """Wait until nothing is written any more. Trap: awaiting a task would hand a cancellation on to it, and the
        thread would go on by itself, with a file that is closed under it.
        """
        if self._flush is not None:
            await asyncio.wait({self._flush})
            flush, self._flush = self._flush, None
            flush.result()


class _Emitter:
    """Gathers small pieces to writes of about 1 MiB and hands large ranges on."""

    def __init__(self, out: AsyncWriter, total_bytes: int, progress: ProgressCallback | None) -> None:
        self._out = out
        self._ranges = out if isinstance(out, RangeWriter) else None
        self._pending = bytearray()
        self._done_bytes = 0
        self._total_bytes = total_bytes
        self._progress = progress

    async def emit(self, header: bytes, pieces: Iterable[tuple[Area, int, int]]) -> None:
        self._pending += header
        for area, offset, count in pieces:
            # A small piece at hand goes no further: a million small nodes must not cost much.
            is_small = count < _RANGE_BYTES and len(self._pending) + count <= COPY_BYTES
            if is_small and (data := area.peek(offset, count)) is not None:
                self._pending += data
            elif self._ranges is not None and area.file is not None and count >= _RANGE_BYTES:
                await self._flush()
                await self._ranges.copy_range(area.file.fileno(), offset, count)
                self.advance(count)
            else:
                for at in range(offset, offset + count, COPY_BYTES):
                    self._pending += await area.read(at, min(COPY_BYTES, offset + count - at))
                    if len(self._pending) >= COPY_BYTES:
                        await self._flush()
        await self._flush()

    async def _flush(self) -> None:
        if self._pending:
            await self._out.write(bytes(self._pending))  # a copy: the receiver may keep what it gets
            self.advance(len(self._pending))
            self._pending.clear()

    def advance(self, count: int) -> None:
        """So many bytes more are written."""
        self._done_bytes += count
        _report(self._progress, "write", self._done_bytes, self._total_bytes)


def _report(progress: ProgressCallback | None, stage: str, done_bytes: int, total_bytes: int | None) -> None:
    if progress is not None:
        progress(Progress(stage, done_bytes, total_bytes, "bytes"))
