"""Documents are looked into once each, and a bad one is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from pattern_stream.errors import DamagedDocument, DamagedMemory, Finding
from pattern_stream.items import Cells, MemoryHistory, OpenMemoryBlock, Piece, RecordEvent
from pattern_stream.schema.model.cells import Large
from pattern_stream.stages.edit import check_documents as checking
from pattern_stream.stages.edit.check_documents import check_documents
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
    assert isinstance(opened, OpenMemoryBlock)
    return [replace(opened, document=document), *rest]


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


# --- history -------------------------------------------------------------------------------------------------------

COLUMNS = {"memory_block_updates": ("seq", "update_blob", "is_active"),
           "memory_block_checkpoints": ("id", "snapshot", "created_at")}  # fmt: skip


async def joined(document: bytes, updates: Sequence[tuple[int, bytes]], metadata: str | None) -> object:
    """What a document shows: the bytes of all of it."""
    return document + b"".join(update for _, update in updates)


def with_history(document: bytes, base: bytes | None, *rows: RecordEvent) -> list[RecordEvent]:
    """A memory block that came with its edits."""
    opened, end = with_document("x", document)
    assert isinstance(opened, OpenMemoryBlock)
    return [replace(opened, history=MemoryHistory(base, None, COLUMNS)), *rows, end]


def edits(*rows: tuple[object, object, object]) -> Cells:
    return Cells("memory_block_updates", list(rows))


SOUND = [
    with_history(b"ab", b"a", edits((1, b"b", 1), (2, b"undone", 0))),
    with_history(b"ab", None),
    with_history(b"abc", b"a", edits((1, b"b", 1)), edits((2, b"c", 1))),
    with_history(b"ab", b"a", edits((1, Large(1, text=False), 1)), Piece("update_blob", b"b")),
    with_history(
        b"ab", b"", edits((1, b"b", 1)), Cells("memory_block_checkpoints", [(1, b"a", "t1"), (2, b"z", "t0")])
    ),
    with_history(
        b"abcd",
        b"",
        edits((1, Large(2, text=False), 1)),
        *(Piece("update_blob", b"c"), Piece("update_blob", b"d")),
        edits((2, Large(1, text=False), 0)),
        Piece("update_blob", b"x"),
        Cells("memory_block_checkpoints", [(1, Large(2, text=False), "t1")]),
        *(Piece("snapshot", b"a"), Piece("snapshot", b"b")),
        Cells("memory_block_checkpoints", [(2, Large(1, text=False), "t0")]),
        Piece("snapshot", b"z"),
    ),
    with_history(
        b"a", b"", Cells("memory_block_checkpoints", [(1, Large(1, text=False), "t1")]), Piece("snapshot", b"a")
    ),
]


@pytest.mark.parametrize("events", SOUND)
async def test_a_history_that_leads_to_the_document(events: list[RecordEvent]) -> None:
    """Stored document and active edits give what travels; undone ones do not count; all passes."""
    assert events == await collect(check_documents(feed(events), refuse_bad, joined))


BROKEN = [
    with_history(b"ab", b"a", edits((1, b"c", 1))),
    with_history(b"ab", b"a"),
    with_history(b"ab", None, edits((1, b"b", 1))),
    with_history(b"ab", b"a", edits((1, "b", 1))),
    with_history(
        b"a", b"", Cells("memory_block_checkpoints", [(1, Large(1, text=False), "t1")]), Piece("snapshot", b"z")
    ),
]


@pytest.mark.parametrize("events", BROKEN)
async def test_a_history_that_leads_elsewhere_is_refused(events: list[RecordEvent]) -> None:
    """With table and block."""
    with pytest.raises(DamagedDocument, match="history of the memory block is damaged") as caught:
        await collect(check_documents(feed(events), refuse_bad, joined))

    assert ("memory_blocks", "x", "history") == (
        caught.value.where.table, caught.value.where.row_id, caught.value.where.field,
    )  # fmt: skip


async def test_edits_that_cannot_be_read_are_damage() -> None:
    """Whatever the document worker says of them."""

    async def unreadable(document: bytes, updates: Sequence[tuple[int, bytes]], metadata: str | None) -> object:
        if updates:
            raise DamagedMemory("update with seq 1 cannot be read")
        return document

    with pytest.raises(DamagedDocument, match="update with seq 1 cannot be read"):
        await collect(check_documents(feed(SOUND[0]), refuse_bad, unreadable))


async def test_too_many_edits_are_not_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning says so, and all passes."""
    monkeypatch.setattr(checking, "MAX_REPLAYED_BYTES", 1)
    said: list[Finding] = []
    events = with_history(b"ab", b"a", edits((1, b"bcd", 1)))

    assert events == await collect(check_documents(feed(events), refuse_bad, joined, said.append))
    assert [("warning", "history-unchecked", "x")] == [(f.severity, f.code, f.where.row_id) for f in said]
