"""CBOR of any size read as a tree of items: decoded values, or a range of a file of which a window is in memory.

A section of an old archive may be a gigabyte, with all messages of an agent inline. An `Item` is walked from outside:
maps give their entries and arrays their elements, one after another, and only what `value` asks for is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, Final, Protocol

from blake3 import blake3

from pattern_stream.codec.dagcbor import decode
from pattern_stream.errors import LimitExceeded, MalformedBlock, Where

WINDOW_BYTES: Final = 256 * 1024
"""Bytes of a section that are read at a time."""

MAX_VALUE_BYTES: Final = 32 * 1024 * 1024
"""Longest single value (one message, one memory block, one field) that is decoded. Ours: old programs had no limit."""

_ARRAY: Final = 4
_MAP: Final = 5
_FLOAT_HEAD: Final = 0xFB
_FLOAT_BYTES: Final = 9


class Item(Protocol):
    """A value in an old archive. Exactly one of the three methods is called, once, and its iterator used to its end."""

    def value(self) -> Any:
        """All of it, decoded."""

    def entries(self) -> Iterator[tuple[str, Item]]:
        """The entries of a map. Raises MalformedBlock where it is no map."""

    def elements(self) -> Iterator[Item]:
        """The elements of an array. Raises MalformedBlock where it is no array."""


class DecodedItem:
    """An item that is in memory."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def value(self) -> Any:
        """All of it."""
        return self._value

    def entries(self) -> Iterator[tuple[str, Item]]:
        """The entries of a map."""
        if not isinstance(self._value, dict):
            raise MalformedBlock(f"found a value of type {type(self._value).__name__}, expected a map")
        for key, value in self._value.items():
            yield key, DecodedItem(value)

    def elements(self) -> Iterator[Item]:
        """The elements of an array."""
        if not isinstance(self._value, list):
            raise MalformedBlock(f"found a value of type {type(self._value).__name__}, expected an array")
        for value in self._value:
            yield DecodedItem(value)


class StreamedItem:
    """The next item of a range of a file."""

    def __init__(self, window: Window) -> None:
        self._window = window

    def value(self) -> Any:
        """All of it, decoded."""
        return decode(self._window.take(), strict=False)

    def entries(self) -> Iterator[tuple[str, Item]]:
        """The entries of a map."""
        for _ in range(self._window.head(_MAP)):
            key = decode(self._window.take(), strict=False)
            if not isinstance(key, str):
                raise MalformedBlock(f"found a map key of type {type(key).__name__}, expected text")
            yield key, self

    def elements(self) -> Iterator[Item]:
        """The elements of an array."""
        for _ in range(self._window.head(_ARRAY)):
            yield self


class Window:
    """`size` bytes of a file from `offset` on, of which a window is in memory, hashed as they are read.

    Memory:  WINDOW_BYTES, or the longest value that is taken, at most MAX_VALUE_BYTES.
    Raises:  MalformedBlock with the byte of the block; LimitExceeded.
    """

    def __init__(self, file: IO[bytes], offset: int, size: int, where: Where) -> None:
        self._file, self._offset, self._size, self._where = file, offset, size, where
        self._buffer = bytearray()
        self._at = 0  # in the buffer: start of what was not taken yet
        self._read = 0  # of the range
        self._hash = blake3()

    def digest(self) -> bytes:
        """The hash of the whole range, all of which must have been taken. Raises MalformedBlock where some is left."""
        if self._read - len(self._buffer) + self._at != self._size:
            raise MalformedBlock("bytes follow the value of a block, expected its end", where=self._where)
        return self._hash.digest()

    def head(self, major: int) -> int:
        """The count of the array or map that comes next. Raises MalformedBlock for anything else."""
        while (found := _head(self._buffer, self._at)) is None:
            self._grow()
        kind, count, self._at = found
        if kind != major:
            expected = "an array" if major == _ARRAY else "a map"
            raise MalformedBlock(f"found a value of CBOR type {kind}, expected {expected}", where=self._where)
        return count

    def take(self) -> bytes:
        """The bytes of the item that comes next."""
        while (end := item_end(self._buffer, self._at)) is None:
            self._grow()
        taken = bytes(memoryview(self._buffer)[self._at : end])
        self._at = end
        return taken

    def _grow(self) -> None:
        """Have more of the range in memory: as much again, so that a long item is not looked through too often."""
        del self._buffer[: self._at]
        self._at = 0
        if len(self._buffer) > MAX_VALUE_BYTES:
            raise LimitExceeded(f"a value is more than {MAX_VALUE_BYTES} bytes, which is the limit", where=self._where)
        wanted = min(max(WINDOW_BYTES, len(self._buffer)), self._size - self._read)
        self._file.seek(self._offset + self._read)
        data = self._file.read(wanted) if wanted > 0 else b""
        if not data:
            raise MalformedBlock("a block ends inside a value", where=self._where)
        self._hash.update(data)
        self._read += len(data)
        self._buffer += data


def _head(data: bytes | bytearray, at: int) -> tuple[int, int, int] | None:
    """Major type, argument, and where the head ends; None where the data ends before. Raises MalformedBlock."""
    if at >= len(data):
        return None
    first = data[at]
    short = first & 31
    if short < 24:
        return first >> 5, short, at + 1
    if short > 27:
        raise MalformedBlock(f"found byte {first:02x}, expected a value of definite length")
    end = at + 1 + (1 << (short - 24))
    if end > len(data):
        return None
    return first >> 5, int.from_bytes(data[at + 1 : end], "big"), end


def item_end(data: bytes | bytearray, at: int) -> int | None:
    """Where the item that starts at `at` ends; None where the data ends before. Raises MalformedBlock.

    No recursion: of what is open only the number of items matters.
    """
    left, size = 1, len(data)
    while left:
        if at >= size:
            return None
        first = data[at]
        short = first & 31
        if short < 24:
            at, argument = at + 1, short
        elif first == _FLOAT_HEAD:
            run = 1
            if left > 1 and data[at : at + _FLOAT_BYTES * left : _FLOAT_BYTES].count(_FLOAT_HEAD) == left:
                run = left  # an embedding: nothing but floats to the end of what is open
            at, left = at + _FLOAT_BYTES * run, left - run
            continue
        else:
            if (found := _head(data, at)) is None:
                return None
            _, argument, at = found
        left -= 1
        major = first >> 5
        if major in (2, 3):
            at += argument
        elif major == _ARRAY:
            left += argument
        elif major == _MAP:
            left += 2 * argument
        elif major == 6:
            left += 1
    return at if at <= size else None
