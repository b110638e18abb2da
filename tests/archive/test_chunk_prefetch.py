"""Chunks decoded ahead by a worker: the same sections, rows, findings and errors, and nobody left behind."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from pattern_stream.archive.chunk_prefetch import ChunkPrefetch, open_chunk_prefetch
from pattern_stream.archive.reader import ArchiveReader
from pattern_stream.archive.shelf import Shelf
from pattern_stream.budget import Budget
from pattern_stream.errors import DigestMismatch, Finding, MalformedBlock, MalformedNode, TruncatedArchive
from pattern_stream.items import MadeRows, Node, Section
from pattern_stream.schema.model.nodes import MessageChunk
from pattern_stream.stages.walk.walker import Walker, walk
from tests.archive.decoded import (
    CHUNKS,
    EACH,
    EAGER,
    Watched,
    chunk_section,
    chunked,
    chunks_of,
    flipped,
    found,
    is_of_a_worker,
    messages,
    sections_of,
    watching,
)
from tests.archives import Archive, message_record
from tests.drive import dribble, feed

pytestmark = pytest.mark.anyio

RAW = chunked().to_bytes()
MESSAGES = CHUNKS * EACH
ODD = 10 * EACH + 7
"""A message in the middle of the chunk in the middle."""


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Every line of a test."""
    with watching(monkeypatch) as found:
        yield found


# --- the same sections -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_rows", [True, False])
@pytest.mark.parametrize("slots", [1, 2, 5, 50])
@pytest.mark.parametrize("waiting_bytes", [1, 30_000, 10**9])
async def test_the_same_sections(watched: Watched, with_rows: bool, slots: int, waiting_bytes: int) -> None:
    """All of them in their order, whatever waits; what is known of one is there while it is looked at, not longer."""
    budget = replace(EAGER, chunk_slots=slots, chunk_slot_bytes=50_000, most_waiting_bytes=waiting_bytes)
    expected, seen, known = await sections_of(RAW), list[Section](), 0
    with open_chunk_prefetch(with_rows=with_rows, budget=budget) as decoding:
        async for section in decoding.sections(feed(expected)):
            seen.append(section)
            assert {section.cid} >= set(decoding.made)
            known += decoding.made.pop(section.cid, None) is not None
        left = dict(decoding.made)

    assert expected == seen
    assert watched.asked == watched.answered == known
    assert known == CHUNKS - 1 if with_rows else 0 < known < CHUNKS
    assert {} == left


async def test_what_needs_no_answer_does_not_wait() -> None:
    """A block behind a chunk is handed on with it, before anything more is read."""
    sections, read = await sections_of(RAW), list[Section]()
    first, second, third, *_ = chunks = chunks_of(sections)

    async def source() -> AsyncGenerator[Section]:
        for section in (first, second, sections[-1], third, *chunks[3:]):
            read.append(section)
            yield section

    with open_chunk_prefetch(budget=replace(EAGER, chunk_slots=2)) as decoding:
        seen = [(section, len(read)) async for section in decoding.sections(source())]

    assert [(first, 1), (second, 4), (sections[-1], 4), (third, 5)] == seen[:4]


async def test_the_same_rows(watched: Watched) -> None:
    """All that an import would get, message by message; all chunks but the first come as rows."""
    result, plain = await found(RAW), await found(RAW, ahead=False)

    assert plain == result
    assert (MESSAGES, None, 0) == (messages(plain), plain.error, plain.made)
    assert CHUNKS - 1 == watched.asked == watched.answered == watched.used == result.made
    assert [] == result.findings


async def test_long_chunks_come_in_batches() -> None:
    """A chunk of more messages than a batch has is handed on in more than one."""
    archive = Archive()
    records = [message_record(number) for number in range(2600)]
    link = archive.agent(chunks=[records[:1300], records[1300:]])
    counts = {"agent_count": 1, "chunk_count": 2, "message_count": 2600}
    raw = archive.finish("Agent", link, stats=counts).to_bytes()
    result = await found(raw)

    assert await found(raw, ahead=False) == result
    assert 2600 == messages(result)
    assert 1 == result.made


# --- what is not plain -------------------------------------------------------------------------------------------


def not_canonical(data: bytes) -> bytes:
    """A number that is longer than it need be."""
    return data.replace(b"\x71sequence_in_batch\x18\xf7", b"\x71sequence_in_batch\x19\x00\xf7")


def wrong_chunk(data: bytes) -> bytes:
    """A chunk that counts its messages wrongly: in words."""
    index = b"\x6bchunk_index\x0a"
    return data.replace(index, index[:-1] + b"\x63ten") if data[1:10] == b"\x68messages" else data


ODD_ONES: dict[str, tuple[dict[int, dict[str, Any]], Callable[[bytes], bytes] | None, Any]] = {
    "a bare number": ({ODD: {"content_json": 17}}, None, "bare-number"),
    "a batch that is no snowflake": ({ODD: {"batch_id": "what"}}, None, "odd-batch-id"),
    "an instant written otherwise": ({ODD: {"created_at": "2026-01-02T03:04:05+00:00"}}, None, None),
    "an unknown key": ({ODD: {"unheard": 1}}, None, None),
    "text of another script": ({ODD: {"content_preview": "don’t — Привет 日本語 😀"}}, None, None),
}
FAULTS: dict[str, tuple[dict[int, dict[str, Any]], Callable[[bytes], bytes] | None, Any]] = {
    "a missing key": ({ODD: {"is_deleted": None}}, None, MalformedNode),
    "a role that is none": ({ODD: {"role": "nobody"}}, None, MalformedNode),
    "bytes in JSON": ({ODD: {"content_json": {"blob": b"x"}}}, None, MalformedNode),
    "not canonical": ({}, not_canonical, MalformedBlock),
    "a chunk of another type": ({}, wrong_chunk, MalformedNode),
}


@pytest.mark.parametrize("name", ODD_ONES)
async def test_what_is_odd_costs_its_message_alone(watched: Watched, name: str) -> None:
    """The worker makes rows of all others of the chunk, too; what is to be reported is, with the same words."""
    odd, _, code = ODD_ONES[name]
    raw = chunked(odd).to_bytes()
    result, plain = await found(raw), await found(raw, ahead=False)

    assert plain == result
    assert [code] * (code is not None) == [finding.code for finding in plain.findings]
    assert CHUNKS - 1 == watched.asked == watched.answered == watched.used
    assert CHUNKS - 1 == result.made
    assert RAW != raw


@pytest.mark.parametrize("name", FAULTS)
async def test_what_is_at_fault_is_decoded_here(watched: Watched, name: str) -> None:
    """The same rows, and the same error with its place."""
    odd, twist, error = FAULTS[name]
    raw = chunked(odd, twist=twist or (lambda data: data)).to_bytes()
    result, plain = await found(raw), await found(raw, ahead=False)

    assert plain == result
    assert plain.error is not None
    assert (error, 9) == (plain.error[0], result.made)
    assert RAW != raw


async def test_rows_that_do_not_fit() -> None:
    """A chunk whose rows are longer than it is, and than a slot: its JSON is full of quotes."""
    odd = {number: {"content_json": {"Text": '"' * 2000}} for number in range(10 * EACH, 11 * EACH)}
    raw = chunked(odd).to_bytes()
    longest = max(len(section.data) for section in await sections_of(raw))
    tight, ample = [
        await found(raw, budget=replace(EAGER, chunk_slots=1, chunk_slot_bytes=size)) for size in (longest, 2 * longest)
    ]

    assert await found(raw, ahead=False) == tight == ample
    assert [CHUNKS - 2, CHUNKS - 1] == [tight.made, ample.made]


@pytest.mark.parametrize("version", [3, 4])
async def test_a_message_with_values_outside_its_block_is_decoded_here(watched: Watched, version: int) -> None:
    """In version 3 it has an unknown key, in version 4 links that nothing keeps; all others come from the worker."""
    raw = chunked({ODD: {"external": {"content_preview": {"cids": [], "bytes": 0}}}}, version=version).to_bytes()
    result, plain = await found(raw), await found(raw, ahead=False)

    assert plain == result
    assert (version == 4) == (plain.error is not None)
    assert (CHUNKS - 2 if version == 3 else 9) == result.made


async def test_archives_of_version_4_are_decoded_ahead(watched: Watched) -> None:
    """Their chunks are as others, but for values outside their block."""
    result = await found(chunked(version=4).to_bytes())

    assert (MESSAGES, None) == (messages(result), result.error)
    assert CHUNKS - 1 == watched.asked == watched.used == result.made


@pytest.mark.parametrize("step", [1, 2, EACH])
async def test_many_odd_ones_do_not_end_it(watched: Watched, step: int) -> None:
    """However many messages are to be reported of, the worker goes on, and all are in their order."""
    raw = chunked({number: {"content_json": 17} for number in range(0, MESSAGES, step)}).to_bytes()
    result = await found(raw)

    assert await found(raw, ahead=False) == result
    assert CHUNKS - 1 == watched.asked == watched.answered == watched.used
    assert MESSAGES // step == [finding.code for finding in result.findings].count("bare-number")


async def test_chunks_in_vain_now_and_then_do_not_end_it() -> None:
    """Rows of every other chunk are too long for a slot: all further ones are asked for all the same."""
    long = {"content_json": {"Text": '"' * 2000}}
    odd = {number: long for number in range(MESSAGES) if number // EACH % 2}
    raw = chunked(odd).to_bytes()
    longest = max(len(section.data) for section in await sections_of(raw))
    budget = replace(EAGER, chunk_slots=1, chunk_slot_bytes=longest, most_useless=2)
    result = await found(raw, budget=budget)

    assert await found(raw, ahead=False) == result
    assert CHUNKS // 2 - 1 == result.made


# --- archives that are bad, or in no order -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 9, CHUNKS - 1])
async def test_a_fault_has_its_turn(number: int) -> None:
    """A bit is flipped in a chunk: what comes before it is handed on first, then the fault comes with its place."""
    raw = flipped(RAW, chunk_section(await sections_of(RAW), number))
    result, plain = await found(raw), await found(raw, ahead=False)

    assert plain == result
    assert plain.error is not None
    assert (DigestMismatch, number * EACH) == (plain.error[0], messages(result))
    assert max(0, number - 1) == result.made


@pytest.mark.parametrize("cut", [1, 5000, 60_000])
async def test_a_cut_has_its_turn(cut: int) -> None:
    """So does the end that comes too early."""
    result, plain = await found(RAW[:-cut]), await found(RAW[:-cut], ahead=False)

    assert plain == result
    assert plain.error is not None
    assert TruncatedArchive is plain.error[0]
    assert result.made


@pytest.mark.parametrize("numbers", [[5], [0, 1, 2], [3, 12, 13, 19], list(range(0, CHUNKS, 2))])
async def test_findings_have_their_turn(watched: Watched, numbers: list[int]) -> None:
    """Where damage does not stop the reading, it is told of between the sections that it lies between."""
    sections = await sections_of(RAW)
    raw = RAW
    for number in numbers:
        raw = flipped(raw, chunk_section(sections, number))

    async def told(decoding: ChunkPrefetch, *, ahead: bool) -> list[Any]:
        log: list[Any] = []
        reader = ArchiveReader(dribble(raw, 4096), damage=decoding.in_turn(log.append) if ahead else log.append)
        source = reader.sections()
        async with aclosing(decoding.sections(source) if ahead else source) as stream:
            async for section in stream:
                log.append(section.cid)
        return [(one.code, one.where) if isinstance(one, Finding) else one for one in log]

    with open_chunk_prefetch(budget=EAGER) as decoding:
        plain = await told(decoding, ahead=False)
        waited = await told(decoding, ahead=True)

    assert plain == waited
    assert len(numbers) == [type(one) for one in waited].count(tuple)
    assert watched.answered


@pytest.mark.parametrize("seed", range(3))
async def test_in_no_order(watched: Watched, seed: int) -> None:
    """The same rows; where what was made is of no use, nobody is asked any more after a while."""
    archive = chunked()
    raw = archive.to_bytes(random.Random(seed).sample(archive.blocks, len(archive.blocks)))
    result = await found(raw)

    assert await found(raw, ahead=False) == result
    assert (await found(RAW)).rows == result.rows


async def test_behind_before(watched: Watched) -> None:
    """All chunks come before they are wanted: most of them are not given away, and nothing that was is used."""
    archive = chunked()
    raw = archive.to_bytes(archive.blocks[::-1])
    result = await found(raw)
    (decoding,) = watched.prefetches

    assert await found(raw, ahead=False) == result
    assert (0, MESSAGES) == (result.made, messages(result))
    assert EAGER.most_useless <= watched.asked < EAGER.most_useless + EAGER.chunk_slots
    assert watched.asked == decoding.useless_count


async def test_repeated_chunks(watched: Watched) -> None:
    """Each chunk twice, one right behind the other: the second one is as little use as without a worker."""
    archive = chunked()
    raw = archive.to_bytes([block for block in archive.blocks for _ in range(2)])
    result = await found(raw)

    assert await found(raw, ahead=False) == result
    assert 0 < result.made < CHUNKS


# --- checks alone ------------------------------------------------------------------------------------------------


async def checked(raw: bytes, budget: Budget) -> list[Node]:
    """The chunks that a walk hands on where nobody wants their rows."""
    nodes = list[Node]()
    with open_chunk_prefetch(with_rows=False, budget=budget) as decoding:
        reader = ArchiveReader(dribble(raw, 4096))
        root = await reader.open()
        with Shelf() as shelf:
            walker = Walker(root, shelf, made=decoding.made, with_rows=False)
            async for event in walk(decoding.sections(reader.sections()), walker, shelf):
                if isinstance(event, Node) and event.node is MessageChunk:
                    found = event.value["messages"]
                    assert not isinstance(found, MadeRows) or [] == list(found.batches())
                    nodes.append(event)
    return nodes


async def test_without_rows(watched: Watched) -> None:
    """Fields and count are known, rows are not made; what finds no slot is decoded here meanwhile."""
    nodes = await checked(RAW, replace(EAGER, chunk_slots=2, most_waiting_bytes=50_000))
    made = list(map(is_of_a_worker, nodes))

    assert [EACH] * CHUNKS == [len(node.value["messages"]) for node in nodes]
    assert list(range(CHUNKS)) == [node.value["chunk_index"] for node in nodes]
    assert [f"{number * EACH:019}" for number in range(CHUNKS)] == [node.value["start_position"] for node in nodes]
    assert [EACH] * CHUNKS == [node.value["message_count"] for node in nodes]
    assert watched.asked == sum(made)
    assert 2 < sum(made) < CHUNKS - 2
