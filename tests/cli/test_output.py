"""What is printed: harmless text, sizes, tables, JSON, colours."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_stream.cli.output import held, human_bytes, json_text, path_text, plain, table, wants_colour


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Anchor", "Anchor"),
        ("日記 naïve 👩‍🚀", "日記 naïve 👩‍🚀"),
        ("a\u00a0b", "a\u00a0b"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u2066b\u2069", "a\\u2066b\\u2069"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u2028b", "a\\u2028b"),
        ("\ufeffx\u200b", "\\ufeffx\\u200b"),
        ("\ud800", "\\ud800"),
        ("\x00\x7f", "\\x00\\x7f"),
    ],
)
def test_plain(text: str, expected: str) -> None:
    """What moves a cursor, turns text round or is not seen is shown as an escape; letters of every script stay."""
    assert expected == plain(text)


@given(st.text())
def test_plain_is_one_harmless_line(text: str) -> None:
    """Whatever the text: one line, no control character, printable everywhere."""
    shown = plain(text)

    assert 1 >= len(shown.splitlines())
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
    assert shown == shown.encode().decode()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_text_is_json_and_harmless(text: str) -> None:
    """JSON says the same after its control and bidi characters were escaped."""
    shown = json_text({"name": text})

    assert {"name": text} == json.loads(shown)
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u202e\u2066\u2028" for char in shown)


def test_json_text_takes_what_orjson_does_not() -> None:
    """A lone surrogate, an integer beyond 64 bits, a path, bytes."""
    value = {"name": "\ud800", "count": 1 << 70, "db": Path("a/b"), "digest": b"\x01\xff"}

    assert {"name": "\ud800", "count": 1 << 70, "db": "a/b", "digest": "01ff"} == json.loads(json_text(value))


def test_path_text_takes_any_bytes() -> None:
    """A file name that is no UTF-8 is shown, not an error."""
    assert "a\\xff" == path_text(Path("a\udcff"))


@pytest.mark.parametrize(("count", "expected"), [(999, "999 bytes"), (1_234_567, "1.2 MB"), (10**9, "1.0 GB")])
def test_human_bytes(count: int, expected: str) -> None:
    """Sizes in decimal units."""
    assert expected == human_bytes(count)


def test_held() -> None:
    """Statistics in words: one, many, none, and an irregular plural."""
    stats = {"agent_count": 1, "archive_summary_count": 2, "group_count": 0, "message_count": 1200, "total_bytes": 9}

    assert "1 agent, 2 archive summaries, 1,200 messages" == held(stats)


def test_table() -> None:
    """Columns by their width on a terminal, numbers to the right, nothing at line ends, no escapes."""
    rows = [("日記", 5, "x\x1b[2J"), ("b", 1234, None)]

    assert [
        "name  count  note",
        "----  -----  --------",
        "日記      5  x\\x1b[2J",
        "b      1234",
    ] == table(("name", "count", "note"), rows)


@pytest.mark.parametrize(
    ("env", "terminal", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_colours(monkeypatch: pytest.MonkeyPatch, env: dict[str, str], terminal: bool, expected: bool) -> None:
    """NO_COLOR forbids, FORCE_COLOR demands, else a terminal that is not dumb."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)

    assert expected is wants_colour(stream)
