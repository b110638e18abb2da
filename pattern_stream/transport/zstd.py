"""Zstandard both ways, as independent frames of 1 MiB with a table to find them by."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pattern_stream.errors import ArchiveError, CorruptStream, HostileShape, TrailingBytes, TruncatedArchive
from pattern_stream.format import COPY_BYTES
from pattern_stream.transport.magics import SKIPPABLE_MAGICS, ZSTD_MAGIC

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVELS: Final = range(1, 20)
"""Levels that need no more memory to unpack than any program grants."""

FRAME_BYTES: Final = 1024 * 1024
"""Content of one frame: as small as one large stream in all, and a reader may begin at any of them."""

_DEFAULT_LEVEL: Final = 3
_WINDOW_LOG_MAX: Final = 27
"""128 MiB of memory, the limit of the zstd program itself."""

_SEEK_TABLE: Final = 0x184D2A5E
_SEEKABLE: Final = 0x8F92EAB1
"""Magic numbers of the seek table: a skippable frame of (packed bytes, content bytes) for each frame before it.

Source: the seekable format in the contrib folder of zstd.
"""

BEST_RATIO: Final = 64
"""No archive is packed better: demonstrations, whose text repeats, come to 10."""

_STEP_BYTES: Final = 128 * 1024
"""Input given to zstd at a time: what it cannot take at once it copies."""


class ZstdPacker:
    """Bytes in, frames of 1 MiB and their table out, each frame with its checksum.

    `level`: 1 to 19. `threads`: frames packed at a time. The bytes do not depend on it. Memory: 2 MiB a thread, and 8
    bytes a frame.
    """

    best_ratio: int = BEST_RATIO

    def __init__(self, level: int | None = None, threads: int = 1) -> None:
        parameter = zstd.CompressionParameter
        self._options: dict[int, int] = {
            parameter.compression_level: _DEFAULT_LEVEL if level is None else level,
            parameter.checksum_flag: 1,
        }
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "pattern-stream zstd") if threads > 1 else None
        self._waiting = bytearray()
        self._table = array("I")

    def pack(self, data: bytes, /) -> bytes:
        """Pack some more: frames, as many as there are threads, when their content has come."""
        self._waiting += data
        whole = len(self._waiting) // (FRAME_BYTES * self._threads) * FRAME_BYTES * self._threads
        return self._frames(whole)

    def finish(self) -> bytes:
        """The last frames, and the table."""
        last = self._frames(len(self._waiting))
        if not self._table:  # an empty content is one frame too
            last = self._frame(b"")
        if sys.byteorder == "big":
            self._table.byteswap()
        footer = struct.pack("<IBI", len(self._table) // 2, 0, _SEEKABLE)
        table = self._table.tobytes() + footer
        return last + struct.pack("<II", _SEEK_TABLE, len(table)) + table

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _frames(self, count: int) -> bytes:
        """Frames of the first `count` bytes that wait."""
        contents = [bytes(self._waiting[at : min(at + FRAME_BYTES, count)]) for at in range(0, count, FRAME_BYTES)]
        del self._waiting[:count]
        packed = list(map(self._frame, contents) if self._pool is None else self._pool.map(self._frame, contents))
        for content, frame in zip(contents, packed, strict=True):
            self._table.extend((len(frame), len(content)))
        return b"".join(packed)

    def _frame(self, content: bytes) -> bytes:
        return zstd.ZstdCompressor(options=self._options).compress(content, zstd.ZstdCompressor.FLUSH_FRAME)


class Unzstd:
    """Frames in, their content out, in pieces of at most 1 MiB however well they are packed. Knows no event loop.

    Skippable frames pass unread. Raises CorruptStream, HostileShape (a window beyond 128 MiB), TrailingBytes; at
    `finish`, TruncatedArchive: the library itself is silent at a cut.
    """

    def __init__(self) -> None:
        self.bytes_read = 0
        self._frame = self._next_frame()
        self._head = b""
        self._inside = False
        """Whether a frame has begun and not ended. `_head`: bytes that are too few to begin one."""

    def feed(self, data: bytes, /) -> Iterator[bytes]:
        """Unpacks some more input."""
        for start in range(0, len(data), _STEP_BYTES):
            rest = data[start : start + _STEP_BYTES]
            while rest:
                if not self._inside and not (rest := self._begun(rest)):
                    break
                rest = yield from self._unpack(rest)

    def finish(self) -> Iterator[bytes]:
        """The input has ended: it must not be inside a frame. Nothing is left."""
        if self._inside or self._head:
            raise self._fault(TruncatedArchive, "zstd data ends inside a frame")
        return iter(())

    def close(self) -> None:
        """Nothing is held."""

    def _begun(self, data: bytes) -> bytes:
        """The input from where a frame begins; nothing while too little has come to know that one does."""
        data = self._head + data
        if len(data) < len(ZSTD_MAGIC):
            self._head = data
            return b""
        if not data.startswith((ZSTD_MAGIC, *SKIPPABLE_MAGICS)):
            raise self._fault(TrailingBytes, "bytes follow the last zstd frame, expected its end or another frame")
        self._head, self._inside, self._frame = b"", True, self._next_frame()
        return data

    def _unpack(self, data: bytes) -> Generator[bytes, None, bytes]:
        rest = data
        while True:
            try:
                piece = self._frame.decompress(rest, COPY_BYTES)
            except zstd.ZstdError as error:
                raise self._damage(error) from error
            rest = b""
            if piece:
                yield piece
            if self._frame.eof:
                self._inside = False
                rest = self._frame.unused_data
                break
            if self._frame.needs_input:
                break
        self.bytes_read += len(data) - len(rest)
        return rest

    def _next_frame(self) -> zstd.ZstdDecompressor:
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX})

    def _damage(self, error: Exception) -> ArchiveError:
        if "too much memory" in str(error):
            return self._fault(HostileShape, "zstd data wants a window of more than 128 MiB to be unpacked")
        return self._fault(CorruptStream, f"zstd data is damaged: {error}")

    def _fault(self, kind: type[ArchiveError], message: str) -> ArchiveError:
        return kind(f"{message}, after {self.bytes_read} bytes of input").at(stage="unwrap")
