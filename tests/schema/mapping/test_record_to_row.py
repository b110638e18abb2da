"""Records become rows again: the compiled path and the careful one agree, and both undo `row_mapper`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pattern_stream.errors import Finding, MalformedNode, ignore_findings
from pattern_stream.schema.mapping.json_values import read_json, write_json
from pattern_stream.schema.mapping.record_to_row import record_unmapper
from pattern_stream.schema.mapping.row_to_record import row_mapper
from pattern_stream.schema.model.cells import StoredText
from pattern_stream.schema.model.records import (
    Agent,
    ArchivalEntry,
    ArchiveSummary,
    Group,
    Member,
    MemoryBlock,
    Message,
    Record,
)
from tests.strategies import rows

TYPES: list[type[Record]] = [Agent, ArchivalEntry, ArchiveSummary, Group, Member, MemoryBlock, Message]


def record_of(record: type[Record], row: tuple[Any, ...]) -> dict[str, Any]:
    """The record of a row, with what is not on the wire."""
    mapped = row_mapper(record).map([row], ignore_findings)[0]
    return mapped | {f.column: cell for f, cell in zip(record.fields, row, strict=True) if not f.wire}


@pytest.mark.parametrize("record", TYPES, ids=lambda record: record.__name__)
@given(data=st.data())
def test_rows_come_back(record: type[Record], data: st.DataObject) -> None:
    """unmap(map(rows)) is the same rows: JSON as values, NULL where the wire had null, all else the same cells."""
    row = data.draw(rows(record))
    mapped = record_of(record, row)
    # Text that is such a number cannot lie in a column of NUMERIC affinity: SQLite made a float of it.
    assume(not any(isinstance(value, int) and value >= 2**63 for value in mapped.values()))

    (back,) = record_unmapper(record).unmap([mapped], ignore_findings)
    again = record_of(record, back)

    assert len(row) == len(back)
    assert mapped == again
    for field, before, after in zip(record.fields, row, back, strict=True):
        if field.kind in ("text", "choice", "integer", "flag", "octets", "blob", "instant") and before is not None:
            assert before == after, field.column


@pytest.mark.parametrize("record", TYPES, ids=lambda record: record.__name__)
@given(data=st.data())
def test_fast_and_careful_agree(record: type[Record], data: st.DataObject) -> None:
    """Where the compiled path takes a record, the careful one makes the same row of it."""
    mapped = record_of(record, data.draw(rows(record)))
    unmapper = record_unmapper(record)

    assert unmapper.unmap_one(mapped, ignore_findings) == unmapper.unmap([mapped], ignore_findings)[0]


def record(**cells: Any) -> dict[str, Any]:
    """A message record with some fields changed."""
    plain = {
        "id": "m1", "role": "user", "source": None, "agent_id": "a1", "batch_id": None, "position": "1",
        "batch_type": None, "created_at": "2026-01-02T03:04:05Z", "is_deleted": False, "is_archived": True,
        "content_json": {"Text": "hi"}, "content_preview": None, "source_metadata": None, "sequence_in_batch": None,
    }  # fmt: skip
    return plain | cells


def cell(column: str, **cells: Any) -> Any:
    """One cell of the row that a message record becomes."""
    (row,) = record_unmapper(Message).unmap([record(**cells)], ignore_findings)
    return row[Message.index(column)]


def test_json_null_is_text_where_the_column_takes_no_null() -> None:
    """`content_json` null is stored as the text `null`, `source_metadata` null as SQL NULL."""
    assert "null" == cell("content_json", content_json=None)
    assert cell("source_metadata", source_metadata=None) is None


def test_instants_take_the_column_form() -> None:
    """`+00:00` instead of `Z`, nanoseconds kept."""
    assert "2026-01-02T03:04:05.123456789+00:00" == cell("created_at", created_at="2026-01-02T03:04:05.123456789Z")
    assert "2026-01-02T02:04:05+00:00" == cell("created_at", created_at="2026-01-02T03:04:05+01:00")


@pytest.mark.parametrize(
    ("value", "stored"),
    [(7, 7), (1.5, 1.5), (1e300, 1e300), (2**63 - 1, 2**63 - 1), (2**64 - 1, float(2**64 - 1)), (-(2**63), -(2**63))],
)
def test_bare_numbers_are_carried_and_warned_of(value: float, stored: float) -> None:
    """A number as the whole value is stored as SQLite would have it, and said."""
    found: list[Finding] = []
    (row,) = record_unmapper(Message).unmap([record(content_json=value)], found.append)

    assert (type(stored), stored) == (type(row[Message.index("content_json")]), row[Message.index("content_json")])
    assert ["bare-number"] == [finding.code for finding in found]
    assert ("messages", "m1", "content_json") == (found[0].where.table, found[0].where.row_id, found[0].where.field)


def test_deep_json_is_written() -> None:
    """Nesting beyond what orjson writes has a text all the same."""
    deep: Any = "x"
    for _ in range(380):
        deep = [deep]

    assert "[" * 380 + '"x"' + "]" * 380 == write_json(deep)


def test_text_is_compact_and_unescaped() -> None:
    """As the original writes it: no spaces, no escapes beyond what JSON needs."""
    assert '{"ä":[1.0,1e-6,18446744073709551615,true]}' == cell(
        "content_json", content_json={"ä": [1.0, 1e-6, 2**64 - 1, True]}
    )
    assert {"ä": 1} == read_json(cell("content_json", content_json={"ä": 1}))


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        ({"role": "robot"}, "role"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"created_at": None}, "created_at"),
        ({"content_json": {"b": b"x"}}, "content_json"),
    ],
)
def test_what_no_block_can_hold_is_refused(cells: dict[str, Any], field: str) -> None:
    """A record from a stage of somebody else is checked when it looks odd, and named."""
    with pytest.raises(MalformedNode) as caught:
        record_unmapper(Message).unmap_one(record(**cells), ignore_findings)

    assert ("messages", "m1", field) == (caught.value.where.table, caught.value.where.row_id, caught.value.where.field)


def test_text_that_was_not_parsed_stays_to_the_letter() -> None:
    """JSON that came apart from its record is looked at and stored as it is; what is no JSON is refused."""
    cells: dict[str, Any] = {
        "id": "m", "agent_id": "a", "position": "1", "role": "user", "created_at": "2026-01-02T03:04:05Z",
        "is_archived": False, "is_deleted": False,
    }  # fmt: skip
    record = {field.name: cells.get(field.name) for field in Message.fields}
    text = '{ "Text" : 1.0 }'

    (row,) = record_unmapper(Message).unmap([record | {"content_json": StoredText(text)}], ignore_findings)

    assert (str, text) == (type(row[Message.index("content_json")]), row[Message.index("content_json")])
    with pytest.raises(MalformedNode):
        record_unmapper(Message).unmap([record | {"content_json": StoredText("{")}], ignore_findings)
