"""The framing of an old archive: every section found, hashed and remembered, whatever its length up to a gigabyte."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from blake3 import blake3

from pattern_stream.codec.cid import cid_text, require_digest
from pattern_stream.codec.dagcbor import decode
from pattern_stream.errors import ArchiveError, DigestMismatch, MissingBlock, TruncatedArchive, Where
from pattern_stream.format import CID_BYTES, COPY_BYTES, MAX_BLOCK_BYTES, MAX_HEADER_BYTES
from pattern_stream.legacy.pattern_archive.cbor import DecodedItem, Item, StreamedItem, Window
from pattern_stream.legacy.pattern_archive.root import LENGTH_BYTES, read_header, read_section_head
from pattern_stream.legacy.pattern_archive.store import Store, StoredSection


class Sections:
    """All sections of an old archive, by CID. `count`: how many; `repeated`: how many of them came before."""

    def __init__(self, file: IO[bytes], store: Store) -> None:
        self._file, self._store = file, store
        self.root = b""
        self.count = 0
        self.repeated = 0
        self.size = file.seek(0, 2)

    def scan(self) -> Iterator[int]:
        """Hash every section and keep its place. Gives the bytes done, now and then, so that others get their turn.

        Raises:  MalformedHeader, MalformedSection, TruncatedArchive, DigestMismatch, UnsupportedCid: with the offset.
        """
        self._file.seek(0)
        self.root, at = read_header(self._file.read(MAX_HEADER_BYTES + LENGTH_BYTES))
        looked = at
        while at < self.size:
            self._file.seek(at)
            head = self._file.read(LENGTH_BYTES + CID_BYTES)
            try:
                found = read_section_head(head, 0)
            except ArchiveError as error:
                error.where = Where("read", offset=at)
                raise
            if found is None or at + found[1] > self.size:
                found_bytes, where = self.size - at, Where("read", offset=at)
                raise TruncatedArchive(f"archive ends {found_bytes} bytes into a section", where=where)
            start, end, cid = at + found[0], at + found[1], found[2]
            self._file.seek(start)
            hasher, left = blake3(), end - start
            while left:
                data = self._file.read(min(left, COPY_BYTES))
                if not data:
                    raise TruncatedArchive("archive became shorter while it was read", where=Where("read", offset=at))
                hasher.update(data)
                left -= len(data)
                if left:
                    yield end - left
            if hasher.digest() != cid[-32:]:
                raise _changed(cid, at)
            self.count += 1
            self.repeated += not self._store.add_section(cid, start, end - start)
            at = end
            if at - looked >= COPY_BYTES:
                looked = at
                yield at

    def item(self, cid: bytes, linked_from: str) -> Iterator[Item]:
        """The value of a block: used as `for item in sections.item(...)`, which checks it once more at its end.

        Raises:  MissingBlock; DigestMismatch where the file has changed since it was hashed.
        """
        found = self._store.section(cid)
        if found is None:
            message = f"block is not in the archive, expected it for {linked_from}"
            raise MissingBlock(message, where=Where("read", cid=cid_text(cid)))
        return self.item_of(found)

    def item_of(self, section: StoredSection) -> Iterator[Item]:
        """The same for a section whose place is known."""
        where = Where("read", offset=section.offset, cid=cid_text(section.cid))
        try:
            if section.size <= MAX_BLOCK_BYTES:
                self._file.seek(section.offset)
                data = self._file.read(section.size)
                require_digest(section.cid, data, where=where)
                yield DecodedItem(decode(data, strict=False))
                return
            window = Window(self._file, section.offset, section.size, where)
            yield StreamedItem(window)
            if window.digest() != section.cid[-32:]:
                raise _changed(section.cid, section.offset)
        except ArchiveError as error:
            raise error.at(where) from None

    def value(self, cid: bytes, linked_from: str) -> Any:
        """A block that is small enough to be decoded whole. Raises as `item`, LimitExceeded."""
        value = None
        for item in self.item(cid, linked_from):
            value = item.value()
        return value


def _changed(cid: bytes, offset: int) -> DigestMismatch:
    message = "block does not hash to its CID, expected the digest that the CID names"
    return DigestMismatch(message, where=Where("read", offset=offset, cid=cid_text(cid)))
