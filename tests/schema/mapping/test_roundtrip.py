"""Which cells of a row would come back as they were from a version 3 record, and which would not."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_stream.errors import InvalidCell, ignore_findings
from pattern_stream.schema.mapping.json_values import read_json
from pattern_stream.schema.mapping.roundtrip import batch_survives, holds, lost_cells, neutral_row
from pattern_stream.schema.mapping.row_to_record import row_mapper
from pattern_stream.schema.model.cells import Large, NotUtf8, Row
from pattern_stream.schema.model.records import (
    Agent,
    ArchivalEntry,
    ArchiveSummary,
    Group,
    Member,
    MemoryBlock,
    Message,
    Record,
    SharedAttachment,
)
from tests import strategies

AT = "2026-01-02T03:04:05.120+00:00"
CELLS: dict[type[Record], dict[str, Any]] = {
    Message: {
        "id": "m", "agent_id": "a", "position": "1", "batch_id": None, "sequence_in_batch": None, "role": "user",
        "content_json": '{"Text":"t"}', "content_preview": "t", "batch_type": None, "source": None,
        "source_metadata": None, "is_archived": 0, "is_deleted": 0, "created_at": AT,
    },
    Member: {
        "group_id": "g", "agent_id": "a", "role": '{"type":"regular"}', "joined_at": AT, "capabilities": "[]",
    },
    ArchivalEntry: {
        "id": "e", "agent_id": "a", "content": "c", "metadata": None, "chunk_index": 0, "parent_entry_id": None,
        "created_at": AT,
    },
    Agent: {
        "id": "a", "name": "n", "description": None, "model_provider": "p", "model_name": "m", "system_prompt": "",
        "config": "{}", "enabled_tools": "[]", "tool_rules": None, "status": "active", "created_at": AT,
        "updated_at": AT,
    },
    MemoryBlock: {
        "id": "b", "agent_id": "a", "label": "l", "description": "d", "block_type": "core", "char_limit": 5000,
        "permission": "admin", "pinned": 0, "content_preview": None, "metadata": None, "is_active": 1,
        "created_at": AT, "updated_at": AT, "frontier": b"", "last_seq": 0, "loro_snapshot": b"",
    },
}  # fmt: skip


def row_of(record: type[Record], **cells: Any) -> Row:
    """A row that survives, but for some cells."""
    known = CELLS[record] | cells
    return tuple(known[column] for column in record.columns)


LOST = [
    (Message, "source_metadata", "null"),
    (Message, "source_metadata", " null\n"),
    (Message, "is_archived", 2),
    (ArchivalEntry, "metadata", "null"),
    (ArchivalEntry, "chunk_index", None),
    (Member, "capabilities", None),
    (Member, "capabilities", "null"),
    (Agent, "enabled_tools", " null "),
    (Member, "role", '{"type":"regular","extra":1}'),
    (Agent, "tool_rules", "null"),
    (MemoryBlock, "metadata", "null"),
    (MemoryBlock, "pinned", -1),
]
SURVIVING = [
    (Message, "content_json", '{ "b" : 1, "a":1.0 }'),
    (Message, "content_json", "null"),
    (Message, "content_json", 7),
    (Message, "created_at", "2026-01-02 03:04:05"),
    (Message, "created_at", "2026-01-02T03:04:05.1234+02:00"),
    (Message, "content_preview", Large(5_000_000, text=True)),
    (ArchivalEntry, "chunk_index", -5),
    (Member, "role", None),
    (Agent, "tool_rules", '{"x":-0.0}'),
    (MemoryBlock, "frontier", None),
]


@pytest.mark.parametrize(("record", "column", "cell"), LOST)
def test_a_cell_that_would_come_back_otherwise_is_named(record: type[Record], column: str, cell: Any) -> None:
    """By column, with the stored cell; the quick look sees that there is something."""
    row = row_of(record, **{column: cell})

    assert [(column, cell)] == lost_cells(record, row)
    assert not batch_survives(record, [row], row_mapper(record).map([row], ignore_findings))


@pytest.mark.parametrize(("record", "column", "cell"), SURVIVING)
def test_a_cell_of_another_form_survives(record: type[Record], column: str, cell: Any) -> None:
    """The same value or instant in other words is no loss."""
    row = row_of(record, **{column: cell})

    assert [] == lost_cells(record, row)
    assert holds(record, row)
    assert batch_survives(record, [row], row_mapper(record).map([row], ignore_findings))


@pytest.mark.parametrize(
    ("column", "cell"),
    [("content_json", "no json"), ("content_json", inf), ("role", "nobody"), ("content_preview", b"blob"),
     ("source", NotUtf8(b"\xff")), ("created_at", "yesterday"), ("id", Large(5_000_000, text=True)),
     ("content_preview", Large(5_000_000, text=False)), ("position", Large(5_000_000, text=True))],
)  # fmt: skip
def test_what_no_record_holds(column: str, cell: Any) -> None:
    """Such a row is not one that version 3 can have."""
    expected = column == "position"

    assert expected == holds(Message, row_of(Message, **{column: cell}))


@pytest.mark.parametrize(
    ("column", "cell", "neutral"),
    [("config", "no json", {}), ("tool_rules", inf, None), ("name", b"blob", "a"), ("status", "odd", "active"),
     ("enabled_tools", NotUtf8(b"\xff"), []), ("created_at", "?", "1970-01-01T00:00:00Z"), ("system_prompt", 3, "")],
)  # fmt: skip
def test_a_parent_goes_out_with_something_in_its_place(column: str, cell: Any, neutral: Any) -> None:
    """A neutral value on the wire, the true cell among those that would be lost."""
    row = row_of(Agent, **{column: cell})

    sent, faults = neutral_row(Agent, row)

    assert [column] == [error.where.field for error in faults]
    assert neutral == row_mapper(Agent).map([sent], ignore_findings)[0][column]
    assert [(column, cell)] == lost_cells(Agent, row)


def test_the_neutral_permission_is_the_least() -> None:
    """A permission that nobody knows must not become a greater one."""
    sent, _ = neutral_row(MemoryBlock, row_of(MemoryBlock, permission="everything"))

    assert "read_only" == sent[MemoryBlock.index("permission")]


def test_an_id_has_no_neutral_value() -> None:
    """What others refer to must be readable."""
    with pytest.raises(InvalidCell) as caught:
        neutral_row(Agent, row_of(Agent, id=b"\x00"))

    assert ("agents", "id") == (caught.value.where.table, caught.value.where.field)


def as_stored(record: type[Record], row: Row) -> Row:
    """# Trap: no text of a bare number stands in a JSON column: SQLite turns it into that number."""
    bare = [
        field.kind == "json" and isinstance(cell, str) and type(read_json(cell)) in (int, float)
        for field, cell in zip(record.fields, row, strict=True)
    ]
    return tuple("{}" if number else cell for number, cell in zip(bare, row, strict=True))


@given(
    st.sampled_from([Agent, Group, Member, MemoryBlock, SharedAttachment, ArchivalEntry, Message, ArchiveSummary]),
    st.data(),
)
def test_the_quick_look_agrees_with_the_slow_one(record: type[Record], data: st.DataObject) -> None:
    """Whatever the rows: where the batch survives no cell is lost, and the other way round."""
    drawn = data.draw(st.lists(strategies.rows(record), min_size=1, max_size=4))
    rows = [as_stored(record, row) for row in drawn]
    records = row_mapper(record).map(rows, ignore_findings)

    lost = [cell for row in rows for cell in lost_cells(record, row)]

    assert (not lost) == batch_survives(record, rows, records)
