"""Documents are looked into once each, and a bad one is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pattern_stream.errors import DamagedDocument
from pattern_stream.items import Open, RecordEvent
from pattern_stream.stages.checking import check_documents
from tests.contracts import check_stage
from tests.db.importing import agent, block
from tests.drive import collect, feed

pytestmark = pytest.mark.anyio


async def refuse_bad(document: bytes, metadata: str | None) -> None:
    """A check that knows good from bad by name."""
    if document == b"bad":
        raise DamagedDocument("bad document")


def with_document(block_id: str, document: bytes) -> list[RecordEvent]:
    """A memory block that has one."""
    opened, *rest = block(block_id, "a", block_id)
    assert isinstance(opened, Open)
    return [replace(opened, extra={"loro_snapshot": document}), *rest]


async def test_contract() -> None:
    """The stage closes its upstream and lets its errors pass."""
    await check_stage(lambda events: check_documents(events, refuse_bad), agent("a", with_document("x", b"good")))


async def test_empty_documents_pass_unseen() -> None:
    """No bytes are no document."""
    seen: list[bytes] = []

    async def note(document: bytes, metadata: str | None) -> None:
        seen.append(document)

    await collect(check_documents(feed([*with_document("x", b""), *with_document("y", b"good")]), note))

    assert [b"good"] == seen


async def test_a_bad_one_is_named() -> None:
    """With table and block."""
    with pytest.raises(DamagedDocument) as caught:
        await collect(check_documents(feed([*with_document("x", b"good"), *with_document("y", b"bad")]), refuse_bad))

    assert ("memory_blocks", "y") == (caught.value.where.table, caught.value.where.row_id)
