"""Cells of any table on the wire."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_stream.schema.model.cells import (
    NotUtf8,
    cell_from_wire,
    cell_to_wire,
    movable_fields,
    move_order,
)
from pattern_stream.schema.model.records import Agent, ArchivalEntry, MemoryBlock, Message

cells = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.binary().map(NotUtf8)
)


@given(cells)
def test_every_cell_comes_back(cell: Any) -> None:
    """With its storage class: bytes that are text stay apart from bytes."""
    back = cell_from_wire(cell_to_wire(cell))

    assert (type(cell), repr(cell)) == (type(back), repr(back))


def test_forms() -> None:
    """What DAG-CBOR has no form for is a map of one key."""
    assert [{"real": "inf"}, {"real": "-inf"}, {"text": b"\xff"}] == [
        cell_to_wire(cell) for cell in (inf, -inf, NotUtf8(b"\xff"))
    ]
    assert type(cell_to_wire(NotUtf8(b"\xff"))["text"]) is bytes


@pytest.mark.parametrize(
    "value",
    [True, [], {}, {"real": "nan"}, {"real": 1.0}, {"text": "x"}, {"text": b"", "real": "inf"}, {"odd": 1}, 2**63,
     -(2**63) - 1],
)  # fmt: skip
def test_other_values_are_refused(value: Any) -> None:
    """A bool is no cell, nor is a map of another kind, nor an integer that SQLite cannot hold."""
    with pytest.raises(ValueError, match="expected"):
        cell_from_wire(value)


def test_fields_that_may_move() -> None:
    """Text and JSON, but no ids, and no position, by which chunks are named."""
    assert ("source", "content_json", "content_preview", "source_metadata") == movable_fields(Message)
    assert ("content", "metadata") == movable_fields(ArchivalEntry)
    assert "label" in movable_fields(MemoryBlock)
    assert not {"id", "agent_id", "loro_snapshot"} & {*movable_fields(MemoryBlock), *movable_fields(Agent)}


def test_the_largest_moves_first() -> None:
    """Ties in key order: shorter keys first."""
    assert ["content_preview", "source", "content_json", "source_metadata"] == list(
        move_order(Message, {"source": 5, "content_json": 5, "content_preview": 9, "source_metadata": 1})
    )
