"""Findings of a reader while sections wait: never before their turn, however many there are."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from pattern_stream.archive.chunk_prefetch import open_chunk_prefetch
from pattern_stream.errors import Finding
from pattern_stream.items import Section
from tests.archive.decoded import EAGER, chunked, sections_of

pytestmark = pytest.mark.anyio

MANY = 3 * EAGER.most_waiting


@pytest.mark.parametrize("each", [0, 1, MANY])
async def test_findings_wait_too(each: int) -> None:
    """Behind every section come as many findings of two codes: the log has sections and codes in the same order, and
    the first of them in their own words.
    """
    sections = (await sections_of(chunked().to_bytes()))[:12]
    log: list[str] = []
    with open_chunk_prefetch(budget=EAGER) as decoding:
        tell = decoding.in_turn(lambda finding: log.append(f"{finding.code} {finding.message}"))

        async def read() -> AsyncGenerator[Section]:
            for number, section in enumerate(sections):
                yield section
                for one in range(each):
                    tell(Finding("error", "odd" if one % 2 else "even", f"{number}.{one}"))

        async with aclosing(decoding.sections(read())) as stream:
            async for section in stream:
                log.append(f"section {section.offset}")
    starts = [at for at, line in enumerate(log) if line.startswith("section")]
    behind = [log[at + 1 : end] for at, end in zip(starts, [*starts[1:], len(log)], strict=True)]

    assert [f"section {section.offset}" for section in sections] == [log[at] for at in starts]
    assert [each] * 12 == [len(lines) for lines in behind]
    assert all([f"even {at}.0", f"odd {at}.1"] == lines[:2] for at, lines in enumerate(behind) if each > 1)
    assert all(each // 2 == sum(line.startswith("odd") for line in lines) for lines in behind)
    assert decoding.asked_count
