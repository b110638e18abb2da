"""Gzip both ways: in, recognised by its first bytes, in bounded steps, checked as gzip itself checks; and out."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from enum import Enum, auto
from typing import Final

from anyio import to_thread

from pattern_stream.errors import ArchiveError, CorruptStream, TrailingBytes, TruncatedArchive
from pattern_stream.format import COPY_BYTES
from pattern_stream.items import AsyncWriter, BoundedWriter
from pattern_stream.streams import closing

GZIP_MAGIC: Final = b"\x1f\x8b"
"""Starts a gzip member. Source: RFC 1952 2.3.1. No CAR starts so: 1f would be a header of 31 bytes, 8b an array."""

_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
"""zlib: expect a gzip head and check the trailing checksum and length."""

BEST_RATIO: Final = 32
"""No archive is packed better: demonstrations, whose text repeats, come to 8."""

_STEP_BYTES: Final = 64 * 1024
"""Input given to zlib at a time: what it cannot take at once it copies."""


class _GzipState(Enum):
    """Whereabouts in the gzip stream the input stands."""

    MEMBER = auto()
    BETWEEN = auto()
    PADDING = auto()


class Gunzip:
    """Gzip bytes in, their content out, in pieces of at most 1 MiB however well they are packed. Knows no event loop.

    Several members follow each other, zeros may follow the last. Raises CorruptStream, TrailingBytes; at `finish`,
    TruncatedArchive.
    """

    def __init__(self) -> None:
        self.bytes_read = 0
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._state = _GzipState.MEMBER

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unpacks some more input."""
        for start in range(0, len(data), _STEP_BYTES):
            rest = data[start : start + _STEP_BYTES]
            while rest:
                piece, left = self._step(rest)
                self.bytes_read += len(rest) - len(left)
                rest = left
                if piece:
                    yield piece
            yield from self._drain()

    def finish(self) -> None:
        """The input has ended: it must not be inside a member."""
        if self._state is _GzipState.MEMBER:
            raise self._fault(TruncatedArchive, "gzip data ends inside a member")

    def _step(self, data: bytes) -> tuple[bytes, bytes]:
        """One piece of output, and the input that is left."""
        if self._state is _GzipState.BETWEEN and data[0] == GZIP_MAGIC[0]:
            self._member = zlib.decompressobj(_GZIP_WINDOW)
            self._state = _GzipState.MEMBER
        elif self._state is _GzipState.BETWEEN:
            self._state = _GzipState.PADDING
        if self._state is _GzipState.PADDING:
            if data.strip(b"\0"):
                raise self._fault(TrailingBytes, "bytes follow the last gzip member, expected its end or zeros")
            return b"", b""
        return self._unpack(data)

    def _unpack(self, data: bytes) -> tuple[bytes, bytes]:
        try:
            piece = self._member.decompress(data, COPY_BYTES)
        except zlib.error as error:
            raise self._fault(CorruptStream, f"gzip data is damaged: {error}") from error
        if self._member.eof:
            self._state = _GzipState.BETWEEN
            return piece, self._member.unused_data
        return piece, self._member.unconsumed_tail

    def _drain(self) -> Iterator[bytes]:
        """The output beyond the limit of the last call, which zlib keeps back though it has taken all input."""
        while self._state is _GzipState.MEMBER and (piece := self._unpack(b"")[0]):
            yield piece

    def _fault(self, kind: type[ArchiveError], message: str) -> ArchiveError:
        return kind(f"{message}, after {self.bytes_read} bytes of input").at(stage="unwrap")


class GzipOutput:
    """An output that packs what it is given for another one. `finish` must come last, or the file is cut.

    The head has no time and no name, so equal archives give equal files. Memory: one piece.
    """

    def __init__(self, out: AsyncWriter, level: int = zlib.Z_DEFAULT_COMPRESSION) -> None:
        self._out = out
        self._best_ratio = BEST_RATIO if level else 1
        self._packer = zlib.compressobj(level, zlib.DEFLATED, _GZIP_WINDOW)

    async def write(self, data: bytes, /) -> None:
        """Pack some more. Raises as the output behind does."""
        await self._pass_on(await to_thread.run_sync(self._packer.compress, data))

    async def require_room(self, count: int, /) -> None:
        """Look whether the packed form of so many bytes may have room. Raises as the output behind does."""
        if isinstance(self._out, BoundedWriter):
            await self._out.require_room(count // self._best_ratio)

    async def finish(self) -> None:
        """Write what is left, and the checksum."""
        await self._pass_on(self._packer.flush())

    async def _pass_on(self, packed: bytes) -> None:
        if packed:
            await self._out.write(packed)


async def unwrap(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Unwrap gzip, recognised by its first two bytes; anything else passes unchanged.

    In:      bytes in pieces of any size.
    Out:     pieces of at most 1 MiB where it was gzip, else those that came.
    Memory:  one piece in and one out, whatever the ratio.
    Raises:  CorruptStream: damage or a wrong checksum; TruncatedArchive: a cut; TrailingBytes: garbage at the end.
    Source:  RFC 1952.
    """
    async with closing(source):
        head = await _read_head(source)
        if not head.startswith(GZIP_MAGIC):
            if head:
                yield head
            async for piece in source:
                yield piece
            return
        gunzip = Gunzip()
        for piece in gunzip.feed(head):
            yield piece
        async for packed in source:
            for piece in gunzip.feed(packed):
                yield piece
        gunzip.finish()


async def _read_head(source: AsyncIterator[bytes]) -> bytes:
    """The first bytes: enough to recognise gzip, or all there are."""
    head = b""
    while len(head) < len(GZIP_MAGIC) and (piece := await anext(source, None)) is not None:
        head = head + piece if head else piece
    return head
