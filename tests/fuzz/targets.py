"""What must hold for any bytes. A target takes them and returns, or raises what is wrong: `Broken`, or a crash.

They know nothing of the fuzzer: the tests replay the kept corpus through them without it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterator
from itertools import chain
from typing import Any, TypeVar

import libipld

from pattern_stream.archive.reader import read_sections
from pattern_stream.archive.shelf import Shelf
from pattern_stream.budget import Budget
from pattern_stream.codec.car import SectionSplitter, encode_header, encode_section_head
from pattern_stream.codec.dagcbor import Link, decode, encode_node
from pattern_stream.codec.diagnostic_decoder import decode_with_diagnosis
from pattern_stream.errors import ArchiveError, LimitExceeded, PatternStreamError
from pattern_stream.items import Section
from pattern_stream.stages.mapping import unmap_records
from pattern_stream.stages.rebuild.records import unchunk
from pattern_stream.stages.walk.walker import walk
from pattern_stream.transport.filters import Unpacker
from pattern_stream.transport.wrapping import unpacker_of, wrapping_kind
from tests.drive import dribble
from tests.fuzz.edits import edited_archive

Result = TypeVar("Result")


MOST_UNPACKED = 4 * 1024 * 1024
"""How much of a bomb is looked at."""


class Broken(Exception):
    """Something that must hold does not."""


def must(condition: object, what: str) -> None:
    """Raise `Broken` unless it holds."""
    if not condition:
        raise Broken(what)


# --- framing -----------------------------------------------------------------------------------------------------


def framing(data: bytes) -> None:
    """The splitter gives the same sections and the same fault however the bytes come, and they frame back to them."""
    for any_roots in (False, True):
        whole = _split([data], any_roots)
        cut = data[0] * len(data) // 256 if data else 0
        must(whole == _split([data[:cut], data[cut:]], any_roots), "sections differ where the bytes come in two pieces")
        if len(data) <= 4096:
            single = _split([data[at : at + 1] for at in range(len(data))], any_roots)
            must(whole == single, "sections differ where the bytes come one by one")
    sections, fault = _split([data], any_roots=False)
    at = sections[0].offset if sections else 0
    for section in sections:
        must(section.offset == at, f"a section at {at} says {section.offset}")
        framed = encode_section_head(section.cid, len(section.data)) + section.data
        must(data[at : at + len(framed)] == framed, f"the section at {at} does not frame back to its bytes")
        at += len(framed)
    must(fault or not data or at == len(data) or not sections, "bytes are left over without a fault")


def _split(pieces: list[bytes], any_roots: bool) -> tuple[list[Section], tuple[str, str, Any] | None]:
    splitter, found = SectionSplitter(any_roots=any_roots), list[Section]()
    try:
        for piece in pieces:
            found += splitter.feed(piece)
        splitter.finish()
    except ArchiveError as error:
        return found, (error.code, error.message, error.where.offset)
    if splitter.header is not None and not any_roots:
        must(b"".join(pieces).startswith(encode_header(splitter.header.roots[0])), "a header that is not canonical")
    return found, None


# --- blocks ------------------------------------------------------------------------------------------------------


def dagcbor(data: bytes) -> None:
    """What decodes encodes to the same bytes; the quick and the careful decoder agree, and libipld where it can."""
    for any_cid in (False, True):
        value, fault = _tried(lambda any_cid=any_cid: decode(data, any_cid=any_cid))  # type: ignore[misc]
        other, again = _tried(lambda any_cid=any_cid: decode_with_diagnosis(data, any_cid=any_cid))  # type: ignore[misc]
        must(fault == again, f"two decoders, two faults: {fault} and {again}")
        if fault is None:
            must(repr(value) == repr(other), "two decoders, two values")
            must(encode_node(value) == data, "what was decoded is encoded otherwise")
            _agree(value, data)
    strict, fault = _tried(lambda: decode(data))
    loose, refused = _tried(lambda: decode(data, strict=False))
    must(fault is not None or refused is None, "what passes strictly does not pass loosely")
    must(fault is not None or repr(strict) == repr(loose), "strictly and loosely decoded to two values")


def _tried(decoding: Callable[[], Any]) -> tuple[Any, str | None]:
    try:
        return decoding(), None
    except ArchiveError as error:
        return None, error.code


def _agree(value: Any, data: bytes) -> None:
    """A second opinion: what we accept libipld accepts, with the same value. It has no -0.0, and no links."""
    if b"\xfb\x80" + bytes(7) in data:
        return
    try:
        other = libipld.decode_dag_cbor(data)
    except ValueError as error:
        raise Broken(f"libipld refuses what was decoded: {error}") from error
    must(repr(_without_links(value)) == repr(other), "libipld decodes another value")


def _without_links(value: Any) -> Any:
    if isinstance(value, Link):
        return value.cid
    if isinstance(value, dict):
        return {key: _without_links(found) for key, found in value.items()}
    return [_without_links(found) for found in value] if isinstance(value, list) else value


# --- whole archives ----------------------------------------------------------------------------------------------


def archive(data: bytes) -> None:
    """An archive under some edits, read to the rows: it comes to its end, or an error of ours says what is wrong."""
    _read(edited_archive(data))


def container(data: bytes) -> None:
    """Any bytes at all as an archive, gzipped or not: the same."""
    _read(data)


def _read(raw: bytes) -> None:
    try:
        _at_once(_rows(raw))
    except PatternStreamError as error:
        must(isinstance(error, ArchiveError | LimitExceeded), f"{error!r} is no fault of the archive")
        must(error.message, f"{type(error).__name__} says nothing")


async def _rows(raw: bytes) -> None:
    root = bytes(36)
    splitter = SectionSplitter()
    async for piece in _content(raw):
        for _ in splitter.feed(piece):
            pass
        if splitter.header is not None:
            root = splitter.header.roots[0]
            break
    with Shelf(budget=Budget(shelf_memory_bytes=20_000)) as shelf:
        sections = read_sections(_content(raw))
        await _exhausted(unmap_records(unchunk(walk(sections, root, shelf))))


async def _content(raw: bytes) -> AsyncGenerator[bytes]:
    """What is compressed, unpacked; as `unwrap` does it, which needs an event loop. A bomb goes off in part."""
    kind = wrapping_kind(raw)
    if kind not in ("compression", "armor"):
        async for piece in dribble(raw, 65_536):
            yield piece
        return
    unpacker, made = unpacker_of(kind, raw), 0
    for piece in chain(unpacker.feed(raw), _finished(unpacker)):
        yield piece
        made += len(piece)
        if made > MOST_UNPACKED:
            return


def _finished(unpacker: Unpacker) -> Iterator[bytes]:
    yield from unpacker.finish()


async def _exhausted(items: AsyncIterable[object]) -> None:
    async for _ in items:
        pass


def _at_once(work: Coroutine[Any, Any, Result]) -> Result:
    """Run what never waits, without an event loop: a hundred thousand of them a minute."""
    try:
        work.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    raise Broken("a stage waits for something while it is fed at once")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "framing": framing,
    "dagcbor": dagcbor,
    "archive": archive,
    "container": container,
}
