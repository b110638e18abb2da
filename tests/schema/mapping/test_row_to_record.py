"""Rows become records: the compiled path and the careful one agree, and the careful one says what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_stream.errors import Finding, InvalidCell, LimitExceeded, ignore_findings
from pattern_stream.schema.mapping.row_to_record import row_mapper
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
from tests.strategies import rows

TYPES: list[type[Record]] = [
    Agent,
    ArchivalEntry,
    ArchiveSummary,
    Group,
    Member,
    MemoryBlock,
    Message,
    SharedAttachment,
]
GOOD: dict[str, Any] = {
    "id": "m1",
    "role": "user",
    "source": None,
    "agent_id": "a1",
    "batch_id": None,
    "position": "1",
    "batch_type": None,
    "created_at": "2026-01-02 03:04:05",
    "is_deleted": 0,
    "is_archived": 1,
    "content_json": '{"Text":"hi"}',
    "content_preview": "hi",
    "source_metadata": None,
    "sequence_in_batch": 0,
}
BAD_CELLS: list[tuple[str, Any, str]] = [
    ("content_preview", b"\x00\x01", "found a BLOB of 2 bytes, expected text"),
    ("role", "robot", "found text 'robot', expected one of assistant, system, tool, user"),
    ("is_archived", "yes", "found text 'yes', expected 0 or 1"),
    ("sequence_in_batch", 1.5, "found a float (1.5), expected an integer"),
    ("content_json", '{"Text":', "expected JSON"),
    ("content_json", '"\\ud800"', "expected JSON"),
    ("content_json", "NaN", "expected JSON"),
    ("content_json", b"{}", "found a BLOB of 2 bytes, expected JSON text"),
    ("content_json", None, "found NULL, expected JSON text"),
    ("created_at", "yesterday", "found text 'yesterday', expected a date and time"),
    ("agent_id", None, "found NULL, expected text"),
]


def message(**cells: Any) -> tuple[Any, ...]:
    """A message row with some cells changed."""
    return tuple((GOOD | cells)[column] for column in Message.columns)


@pytest.mark.parametrize("record", TYPES)
@given(data=st.data())
def test_compiled_equals_careful(record: type[Record], data: st.DataObject) -> None:
    """The fast form gives what the slow obvious form gives, for any rows of any type."""
    batch = data.draw(st.lists(rows(record), max_size=4))
    mapper = row_mapper(record)

    assert [mapper.map_row(row, ignore_findings) for row in batch] == mapper.map(batch, ignore_findings)


@pytest.mark.parametrize(("column", "cell", "expected"), BAD_CELLS)
def test_bad_cell_is_named(column: str, cell: Any, expected: str) -> None:
    """A cell that its column cannot mean is refused with table, row and column, also in the middle of a batch."""
    batch = [message(id="m0"), message(id="m1", **{column: cell}), message(id="m2")]

    with pytest.raises(InvalidCell) as caught:
        row_mapper(Message).map(batch, ignore_findings)

    assert expected in caught.value.message
    assert ("messages", "m1", column) == (caught.value.where.table, caught.value.where.row_id, caught.value.where.field)


@pytest.mark.parametrize("number", [7, 1.5, -(2**63)])
def test_bare_numbers_are_carried_and_named(number: float) -> None:
    """SQLite turns bare numbers in JSON columns into numbers: they travel as such, with a warning."""
    findings: list[Finding] = []

    records = row_mapper(Message).map([message(content_json=number)], findings.append)

    assert [number] == [record["content_json"] for record in records]
    assert [("bare-number", "m1")] == [(finding.code, finding.where.row_id) for finding in findings]


def test_infinity_cannot_travel() -> None:
    """An infinite number in a JSON column has no place in version 3."""
    with pytest.raises(LimitExceeded, match="inf"):
        row_mapper(Message).map([message(content_json=float("inf"))], ignore_findings)


def test_json_is_read_as_the_original_reads_it() -> None:
    """Integers beyond 64 bits become floats, `-0` is a float, the last of equal keys counts, 1.0 stays a float."""
    text = '{"a":18446744073709551616,"b":-0,"c":1.0,"d":18446744073709551615,"c":2.0,"e":-0.0}'

    (record,) = row_mapper(Message).map([message(content_json=text)], ignore_findings)

    value = record["content_json"]
    assert {"a": 1.8446744073709552e19, "b": 0.0, "c": 2.0, "d": 2**64 - 1, "e": 0.0} == value
    assert ["-0.0", "2.0", "-0.0"] == [str(value[key]) for key in ("b", "c", "e")]


def test_json_nested_too_deep_is_a_limit() -> None:
    """JSON that could not be written back is refused with its depth; what the original reads passes."""
    deep = "[" * 395 + "]" * 395
    fine = "[" * 127 + "]" * 127 + " " * 600
    findings: list[Finding] = []

    with pytest.raises(LimitExceeded, match="395 levels"):
        row_mapper(Message).map([message(content_json=deep)], ignore_findings)

    assert row_mapper(Message).map([message(content_json=fine)], findings.append)
    assert [("deep-json", "m1")] == [(finding.code, finding.where.row_id) for finding in findings]


def test_role_drops_other_members() -> None:
    """Of a role object only type and domain travel; JSON null is no role."""
    cells = {"group_id": "g", "agent_id": "a", "joined_at": "2026-01-02 03:04:05", "capabilities": None}
    stored = ['{"type":"specialist","domain":"x","since":1}', '{"type":"regular","domain":"x"}', "null", None]
    batch = [tuple((cells | {"role": role})[column] for column in Member.columns) for role in stored]

    records = row_mapper(Member).map(batch, ignore_findings)

    assert [{"type": "specialist", "domain": "x"}, {"type": "regular"}, None, None] == [r["role"] for r in records]
    assert [[], [], [], []] == [r["capabilities"] for r in records]


def test_octets_travel_as_integers() -> None:
    """`frontier` is an array of integers on the wire, never a byte string."""
    row = tuple(
        {"frontier": b"\x01\x90\xf1", "metadata": None, "content_preview": None, "loro_snapshot": b"x"}.get(
            column, {"pinned": 0, "is_active": 1, "last_seq": 2, "char_limit": 5000}.get(column, "core")
        )
        for column in MemoryBlock.columns
    )
    row = tuple(
        "2026-01-02 03:04:05" if c.endswith("_at") else v for c, v in zip(MemoryBlock.columns, row, strict=True)
    )
    row = tuple("admin" if c == "permission" else v for c, v in zip(MemoryBlock.columns, row, strict=True))

    (record,) = row_mapper(MemoryBlock).map([row], ignore_findings)

    assert [1, 0x90, 0xF1] == record["frontier"]
    assert "loro_snapshot" not in record
