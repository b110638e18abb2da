"""What may lie round an archive: compression, encryption, both. `wrap` on the way out, `unwrap` on the way in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal

from anyio import to_thread

from pattern_stream.budget import BUDGET
from pattern_stream.errors import HostileShape, KeyMissing, StorageFull, TruncatedArchive
from pattern_stream.items import AsyncWriter
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.streams import closing
from pattern_stream.transport.filters import PackedOutput, Packer, Unpacker
from pattern_stream.transport.gzip import Gunzip, GzipPacker
from pattern_stream.transport.magics import AGE_MAGIC, ARMOR_BEGIN, GZIP_MAGIC, SKIPPABLE_MAGICS, ZSTD_MAGIC

if TYPE_CHECKING:
    from pathlib import Path

    from pattern_stream.transport.age import Recipient

Method = Literal["gzip", "zstd"]

WRAPPING_HEAD_BYTES: Final = len(ARMOR_BEGIN)
"""How much of an input tells what lies round it."""


@dataclass(frozen=True, slots=True)
class Compression:
    """How to compress. `level`: of gzip 0 to 9, of zstd 1 to 19; None: what costs least for its size."""

    method: Method
    level: int | None = None
    threads: int = 1

    def packer(self) -> Packer:
        """The packer. Raises MissingExtra."""
        if self.method == "gzip":
            return GzipPacker(self.level)
        from pattern_stream.transport.zstd import ZstdPacker

        return ZstdPacker(self.level, self.threads)


@dataclass(frozen=True, slots=True)
class Encryption:
    """For whom to encrypt: recipients, or whoever has the passphrase. One of them is given."""

    recipients: Sequence[Recipient] = ()
    passphrase: str | None = None

    def packer(self) -> Packer:
        """The packer. Raises MissingExtra."""
        from pattern_stream.transport.age import AgePacker, PassphrasePacker

        return AgePacker(list(self.recipients)) if self.passphrase is None else PassphrasePacker(self.passphrase)


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What to put round an archive: compression first, then encryption."""

    compression: Compression | None = None
    encryption: Encryption | None = None

    def __bool__(self) -> bool:
        return self.compression is not None or self.encryption is not None


@dataclass(frozen=True, slots=True)
class Unwrapping:
    """What to take off an archive with, and how far.

    `identities`: files of keys, read where an archive wants one. `passphrase`: asks for it, only where an archive wants
    one. `most_ratio`: of the content of compressed data to its packed form, beyond the first 256 MiB.
    `room`: bytes that the content may have at all.
    """

    identities: Sequence[Path] = ()
    passphrase: Callable[[], Awaitable[str]] | None = None
    most_ratio: int = BUDGET.most_ratio
    room: int | None = None


@asynccontextmanager
async def wrap(out: AsyncWriter, wrapping: Wrapping) -> AsyncGenerator[AsyncWriter]:
    """An output that puts the wrapping round what it is given, for another one. Leaving without an error finishes it.

    Raises:  MissingExtra; what the output behind raises.
    """
    packers = [part.packer() for part in (wrapping.encryption, wrapping.compression) if part is not None]
    outputs = list[PackedOutput]()
    try:
        for packer in packers:
            outputs.append(PackedOutput(outputs[-1] if outputs else out, packer))
        yield outputs[-1] if outputs else out
        for output in reversed(outputs):
            await output.finish()
    finally:
        for packer in packers:
            packer.close()


async def unwrap(
    source: AsyncIterator[bytes], unwrapping: Unwrapping = Unwrapping(), taken: frozenset[str] = frozenset()
) -> AsyncGenerator[bytes]:
    """Take off what lies round an archive, recognised by its first bytes; anything else passes unchanged.

    In:      bytes in pieces of any size.
    Out:     pieces of at most 1 MiB where something was taken off, else those that came.
    `taken`: what was taken off already: each kind lies round an archive once.
    Memory:  one piece in and one out of each layer, whatever the ratio.
    Raises:  CorruptStream: damage or a wrong checksum; TruncatedArchive: a cut; TrailingBytes: garbage at the end;
             HostileShape: content beyond what `unwrapping` allows; KeyMissing, WrongKey, MissingExtra.
    Source:  RFC 1952 (gzip), RFC 8878 (zstd), C2SP age.md.
    """
    async with closing(source):
        head = await _read(source, b"", lambda data: len(data) >= WRAPPING_HEAD_BYTES)
        kind = wrapping_kind(head)
        if kind is None or kind in taken:
            if head:
                yield head
            async for piece in source:
                yield piece
            return
        if kind == "encryption":
            head, unpacker = await _encrypted(head, source, unwrapping)
        else:
            unpacker = unpacker_of(kind, head)
        inner = unwrap(_unpacked(unpacker, head, source, unwrapping), unwrapping, taken | {kind})
        async with closing(inner):
            async for piece in inner:
                yield piece


_KINDS: Final = (
    ((GZIP_MAGIC, ZSTD_MAGIC, *SKIPPABLE_MAGICS), "compression"),
    ((ARMOR_BEGIN,), "armor"),
    ((AGE_MAGIC,), "encryption"),
)


def wrapping_kind(head: bytes) -> str | None:
    """What lies round an input with these first WRAPPING_HEAD_BYTES: compression, armor, encryption; or nothing."""
    return next((kind for magics, kind in _KINDS if head.startswith(magics)), None)


def unpacker_of(kind: str, head: bytes) -> Unpacker:
    """What takes off a kind of wrapping that needs no key."""
    if kind == "armor":
        from pattern_stream.transport.age import Unarmor

        return Unarmor()
    if head.startswith(GZIP_MAGIC):
        return Gunzip()
    from pattern_stream.transport.zstd import Unzstd

    return Unzstd()


async def _encrypted(data: bytes, source: AsyncIterator[bytes], unwrapping: Unwrapping) -> tuple[bytes, Unpacker]:
    """What has been read of an encrypted file, its head at least, and what decrypts it."""
    from pattern_stream.transport.age import PassphraseUnpacker, Unage, head_of

    data = await _read(source, data, lambda data: head_of(data) is not None)
    found = head_of(data)
    if found is None:
        raise TruncatedArchive(f"age data ends inside its head, after {len(data)} bytes").at(stage="unwrap")
    head, stanzas = found
    if "scrypt" in stanzas:
        if unwrapping.passphrase is None:
            raise KeyMissing("the archive is encrypted with a passphrase, and none was given").at(stage="unwrap")
        passphrase = await unwrapping.passphrase()
        return data, await to_thread.run_sync(PassphraseUnpacker, head, passphrase)
    if not unwrapping.identities:
        kinds = ", ".join(sorted(set(stanzas)))
        message = f"the archive is encrypted to {len(stanzas)} recipients ({kinds}), and no identity was given"
        raise KeyMissing(message, hint="name one with --identity FILE").at(stage="unwrap")
    from pattern_stream.transport.age_keys import identities

    keys = [key for path in unwrapping.identities for key in await identities(path, unwrapping.passphrase)]
    return data, Unage(keys, stanzas)


async def _unpacked(
    unpacker: Unpacker, head: bytes, source: AsyncIterator[bytes], unwrapping: Unwrapping
) -> AsyncGenerator[bytes]:
    """The content of one layer. Each piece is made in a thread, when it is asked for."""
    came = made = 0
    data: bytes | None = head
    try:
        while data is not None:
            came += len(data)
            pieces = unpacker.feed(data)
            while (piece := await to_thread.run_sync(next, pieces, None)) is not None:
                made += len(piece)
                _require_bounded(made, came, unwrapping)
                yield piece
            data = await anext(source, None)
        for piece in unpacker.finish():
            yield piece
    finally:
        unpacker.close()


def _require_bounded(made: int, came: int, unwrapping: Unwrapping) -> None:
    if made > BUDGET.unpacked_free_bytes and made > came * unwrapping.most_ratio:
        message = f"{made} bytes came out of {came}, expected at most {unwrapping.most_ratio} times as many"
        raise HostileShape(message, hint="--max-expansion allows more, for a file you trust").at(stage="unwrap")
    if unwrapping.room is not None and made > unwrapping.room:
        message = f"more than {unwrapping.room} bytes came out of {came}, and no more are free"
        raise StorageFull(message).at(stage="unwrap")


async def _read(source: AsyncIterator[bytes], data: bytes, enough: Callable[[bytes], bool]) -> bytes:
    """`data` and what follows it, until it is enough or all there is."""
    while not enough(data) and (piece := await anext(source, None)) is not None:
        data = data + piece if data else piece
    return data
