"""Blocks to bytes: a CAR v1 archive, root first and depth first, and nothing emitted before all of it is known."""

from __future__ import annotations

import asyncio
import builtins
from array import array
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from anyio import CancelScope, to_thread

from pattern_stream.archive.spool import Area, Spool, spool_folders
from pattern_stream.codec.car import encode_header, encode_section_head
from pattern_stream.errors import ProtocolError, Where, storage_error
from pattern_stream.format import COPY_BYTES, FORMAT_VERSION
from pattern_stream.items import (
    AsyncWriter,
    Begin,
    Block,
    BlockEvent,
    Progress,
    ProgressCallback,
    RangeWriter,
    Root,
)

_RANGE_BYTES: Final = 256 * 1024
"""Pieces from this size on are copied from file to output without passing through here."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What was written: the CID of the root, the length of the archive, and what the manifest counts."""

    root: builtins.bytes
    bytes: int
    sections: int
    stats: Mapping[str, int]
    version: int = FORMAT_VERSION


class Piece(NamedTuple):
    """Bytes of one area, in output order."""

    is_insert: bool
    offset: int
    byte_count: int


class Layout:
    """Which insert belongs where among the leaves. Nodes are numbered as they begin, which is output order.

    Memory:  24 bytes a node (place among the leaves, offset and length among the inserts) and the open nodes with their
             places. Of a closed node's places the unused ones at its end are forgotten.
    """

    def __init__(self) -> None:
        self._numbers = array("Q")
        self._open: list[int] = []
        self._begun = 0
        self._places: dict[int, int] = {}
        self._kept: list[list[int]] = []

    @property
    def open_count(self) -> int:
        """Nodes that began and have not closed."""
        return len(self._open)

    def begin(self, place: int) -> None:
        """A node starts where the leaves stand at `place` bytes."""
        self._begun += 1
        self._open.append(len(self._numbers))
        self._kept.append([])
        self._numbers.extend((place, 0, 0))

    def keep(self, place: int) -> None:
        """Something of the innermost open node may come to belong where the leaves stand at `place` bytes."""
        if not self._open:
            raise ProtocolError("a place is kept for a page, but no node is open", where=Where(stage="write"))
        self._places[self._begun] = len(self._numbers)
        self._kept[-1].append(self._begun)
        self._begun += 1
        self._numbers.extend((place, 0, 0))

    def put(self, number: int, offset: int, count: int) -> None:
        """A section for a kept place is at `offset` of the inserts; further ones for it follow at once."""
        at = self._places.get(number)
        if at is None:
            raise ProtocolError(f"a block is for place {number}, which no open node kept", where=Where(stage="write"))
        used = self._numbers[at + 2]
        if used and self._numbers[at + 1] + used != offset:
            raise ProtocolError(f"place {number} is used again after something else", where=Where(stage="write"))
        self._numbers[at + 1] = offset - used
        self._numbers[at + 2] = used + count

    def close(self, offset: int, count: int) -> int:
        """The innermost open node's section is at `offset` of the inserts; returns the node's number."""
        if not self._open:
            raise ProtocolError("a block closes a node, but none is open", where=Where(stage="write"))
        at = self._open.pop()
        self._numbers[at + 1] = offset
        self._numbers[at + 2] = count
        for number in reversed(self._kept.pop()):
            self._release(self._places.pop(number))
        return at // 3

    def _release(self, at: int) -> None:
        if at + 3 == len(self._numbers) and not self._numbers[at + 2]:
            del self._numbers[at:]

    def pieces(self, leaf_bytes: int) -> Iterator[Piece]:
        """The archive's body in order, neighbouring leaves as one piece. Nodes must all be closed."""
        numbers, done = self._numbers, 0
        for at in range(0, len(numbers), 3):
            if not numbers[at + 2]:
                continue  # a place for which nothing came
            if numbers[at] > done:
                yield Piece(False, done, numbers[at] - done)
                done = numbers[at]
            yield Piece(True, numbers[at + 1], numbers[at + 2])
        if leaf_bytes > done:
            yield Piece(False, done, leaf_bytes - done)


class CarDraft:
    """An archive being put together: events go in by `add`, sections go to the spool. Knows no event loop.

    Raises:  ProtocolError: unbalanced Begin and closing Block, anything after Root, no Root, a root that is not first.
    """

    def __init__(self, spool: Spool) -> None:
        self.layout = Layout()
        self.sections = 0
        self.root: Root | None = None
        self._spool = spool
        self._first_cid: bytes | None = None

    def add(self, event: BlockEvent) -> None:
        """Take one event of the line."""
        if self.root is not None:
            raise ProtocolError(f"{type(event).__name__} came after Root", where=Where(stage="write"))
        if isinstance(event, Block):
            self._add_block(event)
        elif isinstance(event, Begin):
            note = self.layout.keep if event.page else self.layout.begin
            note(self._spool.leaves.size)
        else:
            self.root = event

    def _add_block(self, block: Block) -> None:
        head = encode_section_head(block.cid, len(block.data))
        self.sections += 1
        inserts = self._spool.inserts
        if block.place is not None:
            self.layout.put(block.place, inserts.size, len(head) + len(block.data))
            inserts.append(head, block.data)
            return
        if not block.closes:
            if self._first_cid is None and self.layout.open_count == 0:
                self._first_cid = block.cid
            self._spool.leaves.append(head, block.data)
            return
        number = self.layout.close(inserts.size, len(head) + len(block.data))
        if self._first_cid is None and number == 0:
            self._first_cid = block.cid
        inserts.append(head, block.data)

    def finish(self) -> Root:
        """The root, once upstream has ended well."""
        if self.root is None:
            raise ProtocolError("the blocks ended without Root", where=Where(stage="write"))
        if self.layout.open_count:
            raise ProtocolError(f"{self.layout.open_count} nodes began and never closed", where=Where(stage="write"))
        if self._first_cid != self.root.cid:
            raise ProtocolError("the root is not the first block of the archive", where=Where(stage="write"))
        return self.root

    def pieces(self) -> Iterator[Piece]:
        """The body of the archive in output order."""
        return self.layout.pieces(self._spool.leaves.size)


async def write_car(
    blocks: AsyncIterator[BlockEvent],
    out: AsyncWriter,
    *,
    spool_dir: Path | None = None,
    near: Path | None = None,
    progress: ProgressCallback | None = None,
) -> WriteResult:
    """Write an archive: header, root, and every block before its children, as the Begins have it.

    `near`: the folder of the output file, where the spool best lies. `out` gets nothing at all before `blocks` has
    ended well; then whole ranges by `copy_range`, where it has that, and pieces of about 1 MiB.

    In:      Begin, Block and last of all one Root.
    Memory:  SPOOL_MEMORY_BYTES until the spool goes to disk, 24 bytes for each node that began, five buffers of 1 MiB.
    Raises:  StorageFull, TransportError: the spool; ProtocolError: events out of order; what `blocks` and `out` raise.
    Source:  v3 1, 6.
    """
    with Spool(spool_folders(spool_dir, near)) as spool:
        draft = CarDraft(spool)
        async with _Spilling(spool) as spilling:
            try:
                async for event in blocks:
                    draft.add(event)
                    if spool.is_due:
                        await spilling.start()
                        _tell(progress, "spool", spool.size, None)
            finally:
                close = getattr(blocks, "aclose", None)
                if close is not None:
                    await close()
            root = draft.finish()
        if spool.is_on_disk:
            await to_thread.run_sync(spool.flush)
        written = await _emit(draft, spool, encode_header(root.cid), out, progress)
    return WriteResult(root.cid, written, draft.sections, root.stats, root.version)


class _Spilling:
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


async def _emit(
    draft: CarDraft, spool: Spool, header: bytes, out: AsyncWriter, progress: ProgressCallback | None
) -> int:
    total = len(header) + spool.size
    emitter = _Emitter(out, total, progress)
    await emitter.put(header)
    for is_insert, offset, count in draft.pieces():
        area = spool.inserts if is_insert else spool.leaves
        if not emitter.gather(area, offset, count):
            await emitter.copy(area, offset, count)
    await emitter.flush()
    return total


class _Emitter:
    """Gathers small pieces to writes of about 1 MiB and hands large ranges on."""

    def __init__(self, out: AsyncWriter, total_bytes: int, progress: ProgressCallback | None) -> None:
        self._out = out
        self._ranges = out if isinstance(out, RangeWriter) else None
        self._pending = bytearray()
        self._done_bytes = 0
        self._total_bytes = total_bytes
        self._progress = progress

    def gather(self, area: Area, offset: int, count: int) -> bool:
        """Take a small piece that is at hand, while there is room: a million small nodes must not cost much."""
        if count >= _RANGE_BYTES or len(self._pending) + count > COPY_BYTES:
            return False
        data = area.peek(offset, count)
        if data is None:
            return False
        self._pending += data
        return True

    async def put(self, data: bytes | bytearray) -> None:
        self._pending += data
        if len(self._pending) >= COPY_BYTES:
            await self.flush()

    async def copy(self, area: Area, offset: int, count: int) -> None:
        descriptor = area.descriptor
        if self._ranges is not None and descriptor is not None and count >= _RANGE_BYTES:
            await self.flush()
            await self._ranges.copy_range(descriptor, offset, count)
            self._advance(count)
            return
        for at in range(offset, offset + count, COPY_BYTES):
            await self.put(await _read(area, at, min(COPY_BYTES, offset + count - at)))

    async def flush(self) -> None:
        if self._pending:
            await self._out.write(bytes(self._pending))  # a copy: the receiver may keep what it gets
            self._advance(len(self._pending))
            self._pending.clear()

    def _advance(self, count: int) -> None:
        self._done_bytes += count
        _tell(self._progress, "write", self._done_bytes, self._total_bytes)


async def _read(area: Area, offset: int, count: int) -> bytes | bytearray:
    piece = area.peek(offset, count)
    if piece is not None:
        return piece
    try:
        return await to_thread.run_sync(area.load, offset, count)
    except OSError as error:
        raise storage_error(error, "reading the spool") from error


def _tell(progress: ProgressCallback | None, stage: str, done_bytes: int, total_bytes: int | None) -> None:
    if progress is not None:
        progress(Progress(stage, done_bytes, total_bytes, "bytes"))
