"""CAR v1: a header, then sections until the end. Framing only, both ways. Source: docs/format.md#container.

Stricter than the format: shortest varints, no empty sections, no padding, exactly one root, no early end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple

from pattern_stream.codec import dagcbor
from pattern_stream.codec.cid import cid_of, require_digest, require_supported, split_cid
from pattern_stream.codec.dagcbor import Link
from pattern_stream.codec.varint import decode_varint, encode_varint
from pattern_stream.errors import (
    ArchiveError,
    MalformedBlock,
    MalformedHeader,
    MalformedSection,
    TruncatedArchive,
    UnsupportedContainer,
    Where,
)
from pattern_stream.format import CID_BYTES, CID_PREFIX, MAX_HEADER_BYTES, MAX_SECTION_BYTES

_CARV2_PRAGMA: Final = bytes.fromhex("0aa16776657273696f6e02")
"""A CAR v1 header that says version 2. Source: the CAR v2 specification."""

_CARV2_HEADER_BYTES: Final = 51
"""Pragma, 16 bytes of flags, then data offset, data size and index offset, each 8 bytes little-endian."""


class Section(NamedTuple):
    """One block as framed: where its section starts in the archive, its CID and its data."""

    offset: int
    cid: bytes
    data: bytes


class Header(NamedTuple):
    """The content of the header: the version (always 1) and the roots."""

    version: int
    roots: tuple[bytes, ...]


def encode_header(root: bytes) -> bytes:
    """The header of an archive with one root: 59 bytes."""
    body = dagcbor.map_head(2) + dagcbor.text("roots") + dagcbor.array_head(1) + dagcbor.link(root)
    body += dagcbor.text("version") + dagcbor.integer(1)
    return encode_varint(len(body)) + body


def encode_section_head(cid: bytes, data_bytes: int) -> bytes:
    """The bytes before a block's data: the length of CID and data, then the CID."""
    return encode_varint(len(cid) + data_bytes) + cid


def verify_section(section: Section) -> None:
    """Pass a section whose CID is ours and whose data hashes to it.

    Raises:  UnsupportedCid: another version, codec or hash, by name.
             DigestMismatch: the data hashes to something else.
    """
    if cid_of(section.data) != section.cid:
        where = Where(offset=section.offset)
        require_supported(section.cid, where=where)
        require_digest(section.cid, section.data, where=where)


class SectionSplitter:
    """Archive bytes in, in pieces of any size; sections out. A fault of the framing ends it.

    `any_roots` also takes headers with no root, several, or CIDs of other kinds.

    Memory:  one section and one piece; lengths are checked before anything is waited for.
    Raises:  MalformedHeader, MalformedSection, TruncatedArchive, UnsupportedContainer, UnsupportedCid; with the offset.
    Source:  docs/format.md#container.
    """

    def __init__(self, *, any_roots: bool = False, max_section_bytes: int = MAX_SECTION_BYTES) -> None:
        self.header: Header | None = None
        self._any_roots = any_roots
        self._max_section_bytes = max_section_bytes
        self._buffer = bytearray()
        self._at = 0  # in the buffer: start of what is not yet split
        self._base = 0  # in the archive: start of the buffer
        self._needed = 1  # bytes from `_at` on without which nothing can be done
        self._fault: ArchiveError | None = None

    @property
    def offset(self) -> int:
        """Bytes of the archive that have been split."""
        return self._base + self._at

    def feed(self, piece: bytes | bytearray | memoryview) -> Iterator[Section]:
        """Take bytes at once; split off the sections they complete while the result is iterated.

        What was not iterated comes first from the next call. A fault of the header is raised at once, one of a section
        after the sections before it, and again from then on.
        """
        if self._fault is None:
            del self._buffer[: self._at]
            self._base += self._at
            self._at = 0
            self._buffer += piece
        if self.header is None:
            with self._kept_fault():
                self._split_header()
        return self._sections()

    def finish(self) -> None:
        """Say that no more bytes come. What `feed` gave must have been iterated.

        Raises:  TruncatedArchive: they end inside the header or a section. A fault found before, again.
        """
        with self._kept_fault():
            found = len(self._buffer) - self._at
            if self.header is None and self._buffer.startswith(_CARV2_PRAGMA):
                raise _carv2(self._buffer)
            if self.header is None:
                raise TruncatedArchive(f"archive ends after {found} bytes, inside its header")
            if found:
                raise TruncatedArchive(f"archive ends {found} bytes into a section, expected {self._needed} or more")

    def _sections(self) -> Iterator[Section]:
        with self._kept_fault():
            yield from self._short_sections()
            while (section := self._split_section()) is not None:
                yield section
                yield from self._short_sections()

    def _short_sections(self) -> Iterator[Section]:
        """The sections that come next as long as they are whole, ours, and their length is one byte.

        Only for speed: an archive may hold a million of them. Whatever else there is, `_split_section` judges.
        """
        if self.header is None or self._max_section_bytes < _SHORT:
            return
        buffer = self._buffer
        while True:
            at = self._at
            if at >= len(buffer) or not CID_BYTES <= buffer[at] < _SHORT:
                return
            end, cid_end = at + 1 + buffer[at], at + 1 + CID_BYTES
            if end > len(buffer) or not buffer.startswith(CID_PREFIX, at + 1):
                return
            self._at, self._needed = end, 1
            yield _section((self._base + at, bytes(buffer[at + 1 : cid_end]), bytes(buffer[cid_end:end])))

    @contextmanager
    def _kept_fault(self) -> Iterator[None]:
        """The first fault gets its offset, is kept, and is all there is from then on."""
        if self._fault is not None:
            raise self._fault
        try:
            yield
        except ArchiveError as error:
            self._fault = error.at(offset=self.offset)
            raise

    def _split_header(self) -> None:
        buffer = self._buffer
        if len(buffer) < self._needed:
            return
        try:
            length, start = self._length("header", MAX_HEADER_BYTES)
        except MalformedSection as error:
            raise MalformedHeader(error.message) from error
        if start == 0 or len(buffer) < self._needed:
            return
        if not buffer.startswith(_CARV2_PRAGMA):
            self.header = _decode_header(bytes(buffer[start : start + length]), any_roots=self._any_roots)
            self._at, self._needed = start + length, 1
        elif len(buffer) >= _CARV2_HEADER_BYTES:
            raise _carv2(buffer)

    def _split_section(self) -> Section | None:
        buffer, at = self._buffer, self._at
        if self.header is None or len(buffer) - at < self._needed:
            return None
        length, start = self._length("section", self._max_section_bytes)
        end = start + length
        if start == 0 or len(buffer) < end:
            return None
        cid_end = start + CID_BYTES
        if cid_end <= end and buffer.startswith(CID_PREFIX, start):
            cid, data = bytes(buffer[start:cid_end]), bytes(memoryview(buffer)[cid_end:end])
        else:
            body = bytes(memoryview(buffer)[start:end])
            cid, cid_bytes = split_cid(body)
            data = body[cid_bytes:]
        self._at, self._needed = end, 1
        return Section(self._base + at, cid, data)

    def _length(self, name: str, limit: int) -> tuple[int, int]:
        """Length of the header or section at `_at`, and where in the buffer it starts: 0 while its varint is cut."""
        found = decode_varint(self._buffer, self._at)
        if found is None:
            self._needed = len(self._buffer) - self._at + 1
            return 0, 0
        length, start = found
        if length == 0:
            raise MalformedSection(f"{name} is 0 bytes, expected a length (padding is not allowed)")
        if length > limit:
            raise MalformedSection(f"{name} is {length} bytes, limit is {limit}")
        self._needed = start - self._at + length
        return length, start


_SHORT: Final = 0x80
_section: Final[Callable[[tuple[int, bytes, bytes]], Section]] = partial(tuple.__new__, Section)
"""Section._make without its check of the length."""


def _carv2(buffer: bytearray) -> UnsupportedContainer:
    """CAR v2 wraps a CAR v1 as it is: its header says where."""
    hint = "unwrap the CAR v1 inside it first"
    if len(buffer) >= _CARV2_HEADER_BYTES:
        offset, size = int.from_bytes(buffer[27:35], "little"), int.from_bytes(buffer[35:43], "little")
        hint += f": tail -c +{offset + 1} FILE | head -c {size} > FILE.v1.car"
    return UnsupportedContainer("CAR version 2, expected version 1", hint=hint)


def _decode_header(data: bytes, *, any_roots: bool) -> Header:
    try:
        value = dagcbor.decode(data, any_cid=any_roots)
    except MalformedBlock as error:
        raise MalformedHeader(f"header is no DAG-CBOR: {error.message}") from error
    if not isinstance(value, dict) or value.keys() != {"roots", "version"}:
        raise MalformedHeader(f"header is {_shape(value)}, expected a map of roots and version")
    version, roots = value["version"], value["roots"]
    if type(version) is not int:
        raise MalformedHeader(f"version in the header is {_shape(version)}, expected 1")
    if version != 1:
        raise UnsupportedContainer(f"CAR version {version}, expected version 1")
    if not isinstance(roots, list) or not all(isinstance(root, Link) for root in roots):
        raise MalformedHeader(f"roots in the header are {_shape(roots)}, expected an array of links")
    if len(roots) != 1 and not any_roots:
        raise MalformedHeader(f"header has {len(roots)} roots, expected exactly 1")
    return Header(version, tuple(root.cid for root in roots))


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        return f"a map of {len(value)} keys"
    if isinstance(value, list):
        return f"an array of {len(value)} values"
    return f"a value of type {type(value).__name__}"
