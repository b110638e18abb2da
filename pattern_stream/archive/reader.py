"""Bytes to sections: strict framing, limits before buffering, every block hashed and compared with its CID."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from pattern_stream.codec.car import Header, SectionSplitter, verify_section
from pattern_stream.codec.cid import cid_of, cid_text
from pattern_stream.codec.signature_block import MOST_SIGNATURES, is_signature
from pattern_stream.codec.strangers import HEAD_BYTES, stranger
from pattern_stream.errors import ArchiveError, Finding, MalformedHeader, Report, TruncatedArchive
from pattern_stream.format import CAR_HEADER_BYTES
from pattern_stream.items import Section
from pattern_stream.streams import closing


class ArchiveReader:
    """An archive being read from any iterator of bytes. `open` reads the header, `sections` the rest.

    `damage`: where a fault goes that does not stop the reading; None raises the first. A block that does not hash to
    its CID, or has a CID of another kind, is then left out and reading goes on; a fault of the framing ends it, since
    nothing behind it can be trusted (`failed`).
    `bytes_read` counts what came in so far, `section_count` the sections framed, damaged ones too. `signatures`: the
    blocks of signatures met so far, which nothing links to and which say themselves what they are about.
    """

    def __init__(self, source: AsyncIterator[bytes], *, damage: Report | None = None) -> None:
        self.bytes_read = 0
        self.section_count = 0
        self.failed = False
        self.signatures: list[bytes] = []
        self._source = source
        self._damage = damage
        self._splitter = SectionSplitter()
        self._rest: bytes | memoryview = b""

    @property
    def header(self) -> Header | None:
        """The header, once it has been read."""
        return self._splitter.header

    @property
    def root(self) -> bytes:
        """CID of the manifest. Raises MalformedHeader where the header has not been read."""
        if (header := self._splitter.header) is None:
            raise MalformedHeader("the header has not been read")
        return header.roots[0]

    async def open(self) -> bytes:
        """Read the header and return the root, even where damage is tolerated elsewhere.

        Raises ArchiveError; where the first bytes are those of another kind of file, the error names that kind.
        """
        head = b""
        try:
            while self._splitter.header is None:
                piece = await self._next()
                if piece is None:
                    self._splitter.finish()
                    break
                head += piece[: HEAD_BYTES - len(head)]
                self._feed_header(piece)
        except (MalformedHeader, TruncatedArchive) as error:
            if self.failed:  # the wrapper round the archive is at fault
                raise
            while len(head) < HEAD_BYTES and (piece := await self._next()) is not None:
                head += piece[: HEAD_BYTES - len(head)]
            if (named := stranger(head)) is not None:
                raise named.at(error.where) from error
            raise
        return self.root

    async def sections(self) -> AsyncGenerator[Section]:
        """The sections whose blocks hash to their CIDs, in the archive's order.

        Memory:  one piece of the source and one section.
        Raises:  MalformedHeader, MalformedSection, TruncatedArchive, DigestMismatch, UnsupportedCid,
                 UnsupportedContainer: with offset and CID. Where `damage` takes them, only the header's.
        Source:  docs/format.md#container.
        """
        async with closing(self._source):
            await self.open()
            piece: bytes | memoryview | None = self._rest
            self._rest = b""
            try:
                while piece is not None and not self.failed:
                    for section in self._splitter.feed(piece):
                        self.section_count += 1
                        if cid_of(section.data) != section.cid and not self._reported(section):
                            continue
                        if is_signature(section.data) and len(self.signatures) < MOST_SIGNATURES:
                            self.signatures.append(bytes(section.data))
                        else:
                            yield section
                    piece = await self._next()
                if not self.failed:
                    self._splitter.finish()
            except ArchiveError as error:
                self._fail(error, ends=True)

    async def _next(self) -> bytes | None:
        try:
            piece = await anext(self._source)
        except StopAsyncIteration:
            return None
        except ArchiveError as error:  # of a wrapper round the archive: a cut or damaged gzip member
            self._fail(error, ends=True)
            return None
        self.bytes_read += len(piece)
        return piece

    def _feed_header(self, piece: bytes) -> None:
        """A byte at a time, so that the header is known before anything behind it is looked at."""
        for at in range(len(piece)):
            for _ in self._splitter.feed(piece[at : at + 1]):
                pass  # no section ends inside the header
            if self._splitter.header is not None:
                self._rest = memoryview(piece)[at + 1 :]
                return

    def _reported(self, section: Section) -> bool:
        """Reports the fault of a section whose CID is not that of its data; never true."""
        try:
            verify_section(section)
        except ArchiveError as error:
            self._fail(error.at(offset=section.offset, cid=cid_text(section.cid)))
        return False

    def _fail(self, error: ArchiveError, *, ends: bool = False) -> None:
        self.failed = self.failed or ends
        error.at(stage="read")
        if self._damage is None:
            raise error
        self._damage(Finding.of(error))


async def read_sections(source: AsyncIterator[bytes], *, damage: Report | None = None) -> AsyncGenerator[Section]:
    """The sections of an archive, each hashed and compared with its CID: `ArchiveReader` for who needs no header.

    In:      bytes of a CAR v1 archive in pieces of any size.
    Out:     Section(offset, cid, data) in the archive's order.
    Memory:  one piece of the source and one section.
    Raises:  ArchiveError: the first fault, unless `damage` takes it.
    Source:  docs/format.md#container.
    """
    async with aclosing(ArchiveReader(source, damage=damage).sections()) as sections:
        async for section in sections:
            yield section


def starts_plain(first: bytes) -> bool:
    """Whether a file that starts so is an archive as it is, not wrapped in anything: one root makes it 58 bytes."""
    return first.startswith(bytes([CAR_HEADER_BYTES - 1, 0xA2]))
