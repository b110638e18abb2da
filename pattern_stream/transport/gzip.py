"""Gzip both ways: in, in bounded steps, checked as gzip itself checks; and out."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from enum import Enum, auto
from typing import Any, Final

from pattern_stream.errors import ArchiveError, CorruptStream, TrailingBytes, TruncatedArchive
from pattern_stream.format import COPY_BYTES
from pattern_stream.transport.magics import GZIP_MAGIC

_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
"""zlib: expect a gzip head and check the trailing checksum and length."""

BEST_RATIO: Final = 32
"""No archive is packed better: demonstrations, whose text repeats, come to 8."""

_ISAL_LEVEL: Final = 2
"""Of isal's 0 to 3: the file is a tenth larger than zlib's, in a third of the time."""

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

    def finish(self) -> Iterator[bytes]:
        """The input has ended: it must not be inside a member. Nothing is left."""
        if self._state is _GzipState.MEMBER:
            raise self._fault(TruncatedArchive, "gzip data ends inside a member")
        return iter(())

    def close(self) -> None:
        """Nothing is held."""

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


class GzipPacker:
    """Bytes in, one gzip member out. Its head has no time and no name, so equal archives give equal files.

    `level`: 0 to 9 of zlib; None for the level that costs least for its size, by `isal` where that is installed.
    """

    def __init__(self, level: int | None = None) -> None:
        self.best_ratio = 1 if level == 0 else BEST_RATIO
        self._packer = _quick_packer() if level is None else zlib.compressobj(level, zlib.DEFLATED, _GZIP_WINDOW)
        self._waiting = bytearray()

    def pack(self, data: bytes, /) -> bytes:
        """Pack some more: in blocks of 1 MiB, since what isal makes depends on how much it gets at once."""
        self._waiting += data
        blocks = range(0, len(self._waiting) - COPY_BYTES + 1, COPY_BYTES)
        packed = [self._packer.compress(self._waiting[at : at + COPY_BYTES]) for at in blocks]
        del self._waiting[: len(blocks) * COPY_BYTES]
        return b"".join(packed)

    def finish(self) -> bytes:
        """What is left, and the checksum."""
        return self._packer.compress(self._waiting) + self._packer.flush()

    def close(self) -> None:
        """Nothing is held."""


def _quick_packer() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, _GZIP_WINDOW)
    return isal_zlib.compressobj(_ISAL_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
