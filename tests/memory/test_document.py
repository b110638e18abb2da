"""Schemas and rendering, without Loro: containers come from a dictionary."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pattern_stream.memory import document


class Containers:
    """A reader over plain values."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def read(self, kind: str, name: str) -> Any:
        return self.values.get(name, {"text": "", "map": {}, "list": [], "counter": 0.0}[kind])


def field(name: str, kind: str, **more: object) -> dict[str, object]:
    return {"name": name, "description": "", "field_type": kind, "required": False, "default": None, **more}


def rendered(schema: document.Schema, **values: Any) -> str:
    checked = document.parse_schema(json.dumps({"schema": schema}))
    return document.render(checked, Containers(**values))


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        "",
        "null",
        "7",
        "[]",
        "{}",
        "{",
        '{"schema":null}',
        '{"schema":"Text"}',
        '{"schema":{"text":{}}}',
        '{"schema":{"Text":{},"Map":{}}}',
        '{"schema":{"Text":[]}}',
        '{"schema":{"Text":{"viewport":{"start_line":-1,"display_lines":2}}}}',
        '{"schema":{"Text":{"viewport":{"start_line":1}}}}',
        '{"schema":{"Map":{}}}',
        '{"schema":{"Map":{"fields":[{"name":"x"}]}}}',
        '{"schema":{"List":{"max_items":"many"}}}',
        '{"schema":{"Log":{"display_limit":1,"entry_schema":{"timestamp":1,"agent_id":true,"fields":[]}}}}',
        '{"schema":{"Composite":{"sections":[{"name":"x","schema":{"Text":{}},"description":3}]}}}',
        '{"schema":' + '{"List":{"item_schema":' * 5_000 + "null" + "}}" * 5_000 + "}",
    ],
)
def test_unreadable_schema_is_text(metadata: str | None) -> None:
    """Metadata without a schema that can be read means a text document."""
    assert document.TEXT == document.parse_schema(metadata)


@pytest.mark.parametrize(
    "schema",
    [
        {"Text": {"viewport": None}},
        {"Text": {"viewport": {"start_line": 1, "display_lines": 2}}, },
        {"Map": {"fields": [field("x", "Counter", read_only=True, unknown=1)]}},
        {"List": {}},
        {"List": {"item_schema": {"Text": {}}, "max_items": 3}},
        {"Log": {"display_limit": 0, "entry_schema": {"timestamp": True, "agent_id": False, "fields": []}}},
        {"Composite": {"sections": [{"name": "x", "schema": {"Text": {}}}]}},
    ],
)  # fmt: skip
def test_schema_may_leave_out_what_has_a_default(schema: document.Schema) -> None:
    """Optional keys may be missing, unknown ones are ignored."""
    assert schema == document.parse_schema(json.dumps({"schema": schema, "other": 1}))


@pytest.mark.parametrize(
    ("start", "shown", "expected"),
    [
        (2, 2, "[Showing lines 2-3 of 4]\ntwo\nthree\rstill"),
        (0, 1, "[Showing lines 1-1 of 4]\none"),
        (4, 9, "[Showing lines 4-4 of 4]\nfour"),
        (5, 3, "[Viewport: lines 5-7 of 4 (past end of content)]"),
    ],
)
def test_viewport_counts_lines_by_lf_alone(start: int, shown: int, expected: str) -> None:
    """Lines end at LF or CR LF; other separators belong to the line, and there is no empty last line."""
    schema = {"Text": {"viewport": {"start_line": start, "display_lines": shown}}}

    assert expected == rendered(schema, content="one\r\ntwo\nthree\rstill\nfour\n")


def test_map_shows_fields_in_schema_order() -> None:
    """Absent values and empty lists are skipped, counters are always shown, as whole numbers."""
    fields = [
        field("mood", "Text", read_only=True),
        field("gone", "Text"),
        field("habits", "List"),
        field("empty", "List"),
        field("visits", "Counter"),
        field("none", "Counter"),
        field("nothing", "Text"),
    ]
    values = {"mood": "calm", "nothing": None, "not in the schema": 1}
    expected = "mood [read-only]: calm\nhabits:\n- tea\n- 2.5\nvisits: -3\nnone: 0\nnothing: null"

    assert expected == rendered(
        {"Map": {"fields": fields}}, fields=values, list_habits=["tea", 2.5], counter_visits=-3.9
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [(float("nan"), "0"), (float("inf"), str(2**63 - 1)), (-1e300, str(-(2**63))), (2.0**62, str(2**62))],
)
def test_counters_are_cast_as_rust_casts(value: float, expected: str) -> None:
    """A counter's float becomes a 64-bit integer, held at the ends."""
    assert f"n: {expected}" == rendered({"Map": {"fields": [field("n", "Counter")]}}, counter_n=value)


def test_list_numbers_items_and_ticks_boxes() -> None:
    """Objects with a boolean `done` show a box instead of their number."""
    items = ["a", {"done": True, "text": "b"}, {"done": False}, {"done": 1}, None]
    expected = "1. a\n[x] {done: true, text: b}\n[ ] {done: false}\n4. {done: 1}\n5. null"

    assert expected == rendered({"List": {"item_schema": None, "max_items": None}}, items=items)


def test_log_shows_the_newest_first() -> None:
    """The newest entries up to the limit; a timestamp or agent that is no text is not shown."""
    entry_schema = {
        "timestamp": True,
        "agent_id": True,
        "fields": [field("noticed", "Text"), field("weight", "Number")],
    }
    entries = [
        {"timestamp": "t0", "agent_id": "a", "noticed": "forgotten"},
        {"timestamp": "t1", "agent_id": "a", "weight": 1.0, "noticed": "rain"},
        {"timestamp": 5, "noticed": "sun"},
        "plain",
    ]
    expected = "plain\nsun\n[t1] (a) rain 1.0"

    assert expected == rendered({"Log": {"display_limit": 3, "entry_schema": entry_schema}}, entries=entries)


def test_composite_shows_what_the_original_shows() -> None:
    """Sections are rendered from the containers of their schema, not from those that hold their data."""
    sections = [
        {"name": "today", "schema": {"Map": {"fields": [field("mood", "Text")]}}},
        {"name": "rules", "schema": {"Text": {}}, "read_only": True, "description": None},
    ]
    values = {"section_rules_content": "unseen", "section_today_fields": {"mood": "unseen"}}

    assert "=== today ===\n\n=== rules [read-only] ===" == rendered({"Composite": {"sections": sections}}, **values)
    assert "=== today ===\n\n=== rules [read-only] ===\nseen" == rendered(
        {"Composite": {"sections": sections}}, content="seen"
    )


def test_composite_cannot_repeat_a_text_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short document with many sections does not render into a long text."""
    monkeypatch.setattr(document, "MAX_RENDERED_CHARS", 1_000)
    sections = [{"name": str(number), "schema": {"Text": {}}} for number in range(100)]

    with pytest.raises(document.RenderedTooLong):
        rendered({"Composite": {"sections": sections}}, content="x" * 50)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.00001, "0.00001"),
        (-1.25e-05, "-0.0000125"),
        (1e-6, "1e-6"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (6.02e23, "6.02e+23"),
        (float("inf"), "null"),
        (2**63 - 1, "9223372036854775807"),
        (True, "true"),
        (None, "null"),
        (b"\x01\xff", "[1, 255]"),
        (["a", {"b": ["c", 1.5]}], "[a, {b: [c, 1.5]}]"),
    ],
)
def test_values_show_as_in_the_original(value: object, expected: str) -> None:
    """Strings bare, numbers as the original's JSON prints them, arrays and objects in its own form."""
    assert expected == document.display(value)


def test_names_no_container_can_bear_are_left_out() -> None:
    """A field or section whose container Loro would refuse with a panic is read as empty."""
    schema = {
        "Composite": {"sections": [{"name": "a/b", "schema": {"Text": {}}}, {"name": "ok", "schema": {"Text": {}}}]}
    }

    assert [("map", "section_ok_fields"), ("text", "section_ok_content")] == list(document.containers(schema))
