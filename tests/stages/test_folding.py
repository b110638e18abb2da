"""The fold stage: one opened block in, one opened block out, with what the fold says about it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pattern_stream.errors import DamagedMemory, DocumentTooLarge, Finding, InvalidCell, Where
from pattern_stream.items import (
    Cells,
    Close,
    Fold,
    Folded,
    MemoryHistory,
    Open,
    OpenHistory,
    OpenMemoryBlock,
    Piece,
    Ref,
    RowEvent,
    Rows,
)
from pattern_stream.schema.model.cells import Large
from pattern_stream.schema.model.nodes import AgentExport, MemoryBlockExport
from pattern_stream.schema.model.records import MemoryBlock, MemoryUpdate, Message
from pattern_stream.stages.folding import Oversized, fold_memory
from tests.drive import collect, feed

pytestmark = pytest.mark.anyio

Asked = list[tuple[bytes, list[tuple[int, bytes]], str | None]]


def block(**cells: Any) -> OpenMemoryBlock:
    known: dict[str, Any] = {"id": "mem_1", "loro_snapshot": b"base", "content_preview": "text", "metadata": "{}"}
    return OpenMemoryBlock(tuple((known | cells).get(column) for column in MemoryBlock.columns), key="mem_1")


def updates(*rows: tuple[Any, Any]) -> Rows:
    columns = MemoryUpdate.columns
    return Rows(MemoryUpdate, [tuple({"seq": seq, "update_blob": data}.get(c) for c in columns) for seq, data in rows])


def cell(event: RowEvent, column: str) -> Any:
    assert isinstance(event, Open)
    return event.record[MemoryBlock.index(column)]


def folding_to(asked: Asked, **result: Any) -> Fold:
    async def fold(snapshot: bytes, given: Sequence[tuple[int, bytes]], metadata: str | None) -> Folded:
        asked.append((snapshot, list(given), metadata))
        return replace(Folded(b"new", b"\1", changed=True, rendered="text"), **result)

    return fold


async def folded(events: list[RowEvent], fold: Fold, findings: list[Finding]) -> list[RowEvent]:
    async def feed() -> AsyncGenerator[RowEvent]:
        for event in events:
            yield event

    return [event async for event in fold_memory(feed(), fold, findings.append)]


async def test_block_goes_out_with_its_current_document() -> None:
    """Updates of all batches reach the fold in order and none leaves; everything else passes untouched."""
    asked: Asked = []
    findings: list[Finding] = []
    around: list[RowEvent] = [Open(AgentExport), Rows(Message, [("m",)])]
    rest: list[RowEvent] = [Ref(MemoryBlockExport, "memory_block_cids", "mem_0"), Close()]
    given = [*around, block(), updates((1, b"a"), (3, b"b")), updates((4, b"c")), Close(), *rest]

    out = await folded(given, folding_to(asked), findings)

    assert [(b"base", [(1, b"a"), (3, b"b"), (4, b"c")], "{}")] == asked
    assert [*around, *rest] == [*out[:2], *out[4:]]
    assert (b"new", b"\1", "text", Close()) == (
        cell(out[2], "loro_snapshot"), cell(out[2], "frontier"), cell(out[2], "content_preview"), out[3],
    )  # fmt: skip
    assert isinstance(out[2], Open)
    assert "mem_1" == out[2].key
    assert [] == findings


async def test_block_without_updates_is_folded_as_well() -> None:
    """Its version must be known, and its document must be readable."""
    asked: Asked = []

    out = await folded([block(), Close(), block(loro_snapshot=None), Close()], folding_to(asked), [])

    assert [(b"base", [], "{}"), (b"", [], "{}")] == asked
    assert 4 == len(out)


@pytest.mark.parametrize(
    ("stored", "rendered", "stale"),
    [("text", "text", False), (None, "", False), ("", "", False), ("old", "new", True), (None, "new", True),
     ("old", "", True), ("old", None, False)],
)  # fmt: skip
async def test_stale_preview_is_said(stored: str | None, rendered: str | None, stale: bool) -> None:
    """A preview that is not the document's text goes out as stored, and is named; NULL is an empty text."""
    findings: list[Finding] = []

    out = await folded([block(content_preview=stored), Close()], folding_to([], rendered=rendered), findings)

    where = Where("fold", table="memory_blocks", row_id="mem_1", field="content_preview")
    assert ([("info", "stale-preview", where)] if stale else []) == [(f.severity, f.code, f.where) for f in findings]
    assert stored == cell(out[0], "content_preview")


@pytest.mark.parametrize(
    ("stored", "rendered", "expected"),
    [("text", "text", "text"), (None, "", None), ("", "", ""), ("undone", "now", "now"), (None, "now", "now"),
     ("undone", "", None), ("undone", None, None)],
)  # fmt: skip
async def test_a_preview_may_be_the_text_that_goes_out(
    stored: str | None, rendered: str | None, expected: str | None
) -> None:
    """For who gives a document away: nothing of the stored preview is left but what the document shows."""
    findings: list[Finding] = []
    given: list[RowEvent] = [block(content_preview=stored), Close()]
    fold = folding_to([], rendered=rendered)

    out = await collect(fold_memory(feed(given), fold, findings.append, stored_previews=False))

    assert expected == cell(out[0], "content_preview")
    assert [] == findings


async def test_a_large_preview_goes_with_its_pieces() -> None:
    """A preview that came in pieces is replaced whole: none of them is left."""
    pieces = [Piece("content_preview", b"undone"), Piece("description", b"kept")]
    given: list[RowEvent] = [block(content_preview=Large(5_000_000, text=True)), *pieces, Close()]

    out = await collect(fold_memory(feed(given), folding_to([], rendered="now"), stored_previews=False))

    assert "now" == cell(out[0], "content_preview")
    assert [pieces[1], Close()] == out[1:]


async def test_salvaged_block_is_reported_as_damage() -> None:
    """What was lost is an error among the findings, so that the work ends with its own exit code."""
    findings: list[Finding] = []
    fold = folding_to([], damage="update with seq 4 cannot be read: broken", damaged_seq=4, rendered="less")

    await folded([block(), Close()], fold, findings)

    assert [("error", "damaged-memory", "mem_1")] == [(f.severity, f.code, f.where.row_id) for f in findings]
    assert "update with seq 4" in findings[0].message


async def test_damage_names_the_block() -> None:
    """An error of the fold leaves with table and row."""

    async def fold(snapshot: bytes, given: Sequence[tuple[int, bytes]], metadata: str | None) -> Folded:
        raise DamagedMemory("update with seq 4 cannot be read: broken", where=Where(field="update_blob"))

    with pytest.raises(DamagedMemory) as caught:
        await folded([block(), Close()], fold, [])

    assert Where("fold", table="memory_blocks", row_id="mem_1", field="update_blob") == caught.value.where


@pytest.mark.parametrize("row", [("1", b"x"), (None, b"x"), (1, "text"), (1, None), (1.5, b"x")])
async def test_strange_updates_are_refused(row: tuple[Any, Any]) -> None:
    """A seq that is no number and an update that is no BLOB name the block."""
    with pytest.raises(InvalidCell) as caught:
        await folded([block(), updates(row), Close()], folding_to([]), [])

    assert "mem_1" == caught.value.where.row_id


async def test_strange_snapshot_is_refused() -> None:
    """Text in the BLOB column is no document."""
    with pytest.raises(InvalidCell, match="found str in loro_snapshot, expected bytes"):
        await folded([block(loro_snapshot="text"), Close()], folding_to([]), [])


async def test_number_as_metadata_names_no_schema() -> None:
    """SQLite turns a bare number in a JSON column into INTEGER; the document is then a text."""
    asked: Asked = []

    await folded([block(metadata=7), Close()], folding_to(asked), [])

    assert [None] == [metadata for _, _, metadata in asked]


GATHERED: list[RowEvent] = [block(), updates((1, bytes(6)), (2, bytes(7))), Close()]


@pytest.mark.parametrize("oversized", ["refuse", "carry"])
async def test_gathered_updates_are_bounded(oversized: Oversized) -> None:
    """A block with more bytes of updates than four times the limit is refused before the rest is read."""
    asked: Asked = []

    with pytest.raises(DocumentTooLarge, match="over 13 bytes, limit is 12 bytes") as caught:
        await collect(fold_memory(feed(GATHERED), folding_to(asked), max_document_bytes=3, oversized=oversized))
    assert "--max-document-bytes raises the limit" == caught.value.hint
    assert [] == asked


async def test_salvage_lets_go_of_more_updates_than_may_be_gathered() -> None:
    """The stored document goes out instead, and the loss is said; no preview that nobody can vouch for."""
    asked: Asked = []
    findings: list[Finding] = []
    stage = fold_memory(
        feed(GATHERED), folding_to(asked), findings.append, stored_previews=False, max_document_bytes=3,
        oversized="salvage",
    )  # fmt: skip

    opened, _ = await collect(stage)

    assert (b"base", None) == (cell(opened, "loro_snapshot"), cell(opened, "content_preview"))
    assert [("error", "damaged-memory")] == [(each.severity, each.code) for each in findings]
    assert [] == asked


async def test_a_document_that_grows_too_large_is_carried_as_it_is_stored() -> None:
    """Beside its history, which has the edits; the warning names the block and the way out."""
    history = OpenHistory(stored=MemoryHistory(b"base", b"7"))
    events: list[RowEvent] = [block(frontier=b"7"), updates((1, b"u")), history, Close(), Close()]
    findings: list[Finding] = []
    fold = folding_to([], snapshot=bytes(100))

    with pytest.raises(DocumentTooLarge, match="grows to 100 bytes, limit is 50 bytes"):
        await collect(fold_memory(feed(events), fold, max_document_bytes=50))
    opened, kept, *_ = await collect(
        fold_memory(feed(events), fold, findings.append, max_document_bytes=50, oversized="carry")
    )

    names = ("loro_snapshot", "frontier", "content_preview")
    assert [b"base", b"7", "text"] == [cell(opened, name) for name in names]
    assert OpenHistory(stored=MemoryHistory(None, b"7")) == kept
    [found] = findings
    assert ("warning", "document-unchecked", "mem_1") == (found.severity, found.code, found.where.row_id)
    assert "--max-document-bytes raises the limit" == found.hint


async def test_early_stop_closes_upstream() -> None:
    """Whoever stops reading leaves no generator open behind."""
    closed = []

    async def feed() -> AsyncGenerator[RowEvent]:
        try:
            while True:
                yield block()
                yield Close()
        finally:
            closed.append(True)

    stage = fold_memory(feed(), folding_to([]))
    await anext(stage)
    await stage.aclose()

    assert [True] == closed


# --- history -------------------------------------------------------------------------------------------------------


def past(base: bytes) -> list[RowEvent]:
    """The history of a block, as the source has it."""
    rows = Cells("memory_block_updates", [("row",)])
    return [OpenHistory(stored=MemoryHistory(base, None, {})), rows, Close()]


async def test_history_follows_the_folded_block() -> None:
    """A stored document that is not the one that goes out stays its base."""
    out = await folded([block(), updates((1, b"a")), *past(b"base"), Close()], folding_to([]), [])

    assert ["OpenMemoryBlock", "OpenHistory", "Cells", "Close", "Close"] == [type(event).__name__ for event in out]
    assert isinstance(out[1], OpenHistory)
    assert b"base" == out[1].stored.base


async def test_a_document_that_went_out_untouched_is_not_told_twice() -> None:
    """Its history has no base."""
    out = await folded([block(), *past(b"base"), Close()], folding_to([], snapshot=b"base"), [])

    assert isinstance(out[1], OpenHistory)
    assert out[1].stored.base is None


async def test_a_damaged_block_has_no_history() -> None:
    """What is good of it is in the document; the next block has its own."""
    events = [block(), *past(b"base"), Close(), block(), *past(b"x"), Close()]

    out = await folded(events, folding_to([], damage="update with seq 3"), [])

    assert ["OpenMemoryBlock", "Close"] * 2 == [type(event).__name__ for event in out]


async def test_pieces_stay_behind_their_block() -> None:
    """They are of the row, and the row waits for its updates."""
    piece = Piece("description", b"long")

    out = await folded([block(), piece, updates((1, b"a")), Close()], folding_to([]), [])

    assert [OpenMemoryBlock, Piece, Close] == [type(event) for event in out]
