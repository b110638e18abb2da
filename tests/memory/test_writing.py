"""Documents made from a text: what they show, and that equal requests give equal bytes."""

from __future__ import annotations

import pytest

from pattern_stream.errors import DocumentTooLarge
from pattern_stream.memory.sandbox import Sandbox
from pattern_stream.stages.writing import peer_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("text", ["", "one line", "two\nlines\r\n", "🫖 té\0 ⟨x⟩", "x" * 300_000])
async def test_a_written_document_shows_its_text(text: str) -> None:
    """Written twice by two workers: same bytes, a readable document, the text and nothing else."""
    async with Sandbox() as one, Sandbox() as other:
        made = await one.write([("text", "content", text)], None, peer_of("b", text))
        again = await other.write([("text", "content", text)], None, peer_of("b", text))
        checked = await other.check(made.snapshot, None)

    assert made == again
    assert (text, made.frontier) == (checked.rendered, checked.frontier)
    assert not checked.deleted_text


async def test_a_text_beyond_the_limit_is_refused() -> None:
    """A long one before it is sent anywhere, any other when it is written."""
    async with Sandbox(max_document_bytes=100) as sandbox:
        for length in (90, 300):
            with pytest.raises(DocumentTooLarge, match="limit is 100"):
                await sandbox.write([("text", "content", "x" * length)], None, 1)
