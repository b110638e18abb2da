"""Timestamps keep their instant, to the nanosecond, through every form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_stream.schema.mapping.instants import (
    instant_sort_key,
    instant_to_column,
    instant_to_wire,
    parse_instant,
)

FIRST = datetime.fromisoformat("0001-01-02")
LAST = datetime.fromisoformat("9999-12-30")
PAIRS = [
    ("2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05Z"),
    ("2026-01-02T03:04:05.120+00:00", "2026-01-02T03:04:05.120Z"),
    ("2026-01-02T03:04:05.123456+00:00", "2026-01-02T03:04:05.123456Z"),
    ("2026-01-02T03:04:05.123456789+00:00", "2026-01-02T03:04:05.123456789Z"),
    ("2024-02-29T23:59:59.000000001+00:00", "2024-02-29T23:59:59.000000001Z"),
    ("1969-12-31T23:59:59.999+00:00", "1969-12-31T23:59:59.999Z"),
    ("9999-12-31T23:59:59.999999999+00:00", "9999-12-31T23:59:59.999999999Z"),
    ("0000-01-01T00:00:00+00:00", "0000-01-01T00:00:00Z"),
    ("2016-12-31T23:59:60.250+00:00", "2016-12-31T23:59:60.250Z"),
    ("+10000-01-01T00:00:00+00:00", "+10000-01-01T00:00:00Z"),
    ("-0001-12-31T00:00:00+00:00", "-0001-12-31T00:00:00Z"),
]
ODD_COLUMNS = [
    ("2026-01-02 03:04:05", "2026-01-02T03:04:05Z"),
    ("2026-01-02 03:04", "2026-01-02T03:04:00Z"),
    ("2026-01-02T03:04:05.1+00:00", "2026-01-02T03:04:05.100Z"),
    ("2026-01-02T03:04:05.120000+00:00", "2026-01-02T03:04:05.120Z"),
    ("2026-01-02T03:04:05.000000000+00:00", "2026-01-02T03:04:05Z"),
    ("2026-01-02t03:04:05.1234567899z", "2026-01-02T03:04:05.123456789Z"),
    ("2026-01-02T03:04:05+02:30", "2026-01-02T00:34:05Z"),
    ("2026-03-01T00:30:00+0100", "2026-02-28T23:30:00Z"),
    ("2025-12-31T23:30:00.5-01:00", "2026-01-01T00:30:00.500Z"),
]
REFUSED = [
    "",
    "2026-01-02",
    "7",
    "yesterday",
    "2026-13-01T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "2026-02-30 00:00:00",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:60:00Z",
    "2026-01-01T00:00:61Z",
    "2026-01-01T00:00:00+24:00",
    "2026-01-01T00:00:00 CET",
    "٢٠٢٦-01-01T00:00:00Z",
]


@pytest.mark.parametrize(("column", "wire"), PAIRS)
def test_both_directions(column: str, wire: str) -> None:
    """The usual forms turn into each other, and back into themselves."""

    assert wire == instant_to_wire(column)
    assert column == instant_to_column(wire)


@pytest.mark.parametrize(("column", "wire"), ODD_COLUMNS)
def test_odd_columns(column: str, wire: str) -> None:
    """Every other form that the original reads means the same instant, spelled the one way."""

    assert wire == instant_to_wire(column)


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    """What is no date and time is refused, never guessed."""
    with pytest.raises(ValueError, match="expected"):
        instant_to_wire(text)


def test_the_wire_needs_an_offset() -> None:
    """Without an offset a column means UTC; on the wire it is a fault."""
    assert instant_to_wire("2026-01-02T03:04:05") == "2026-01-02T03:04:05Z"

    with pytest.raises(ValueError, match="RFC 3339"):
        instant_to_column("2026-01-02T03:04:05")


@given(st.datetimes(FIRST, LAST), st.integers(-1439, 1439))
def test_agrees_with_datetime(moment: datetime, offset_minutes: int) -> None:
    """The calendar is Python's own, over its whole range and any offset."""
    offset = timedelta(minutes=offset_minutes)
    spelled = f"{moment.isoformat(timespec='microseconds')}{'-' if offset_minutes < 0 else '+'}"
    spelled += f"{abs(offset_minutes) // 60:02}:{abs(offset_minutes) % 60:02}"
    expected = moment.replace(tzinfo=UTC) - offset - datetime(1970, 1, 1, tzinfo=UTC)

    found = parse_instant(spelled)

    assert (expected.days * 86_400 + expected.seconds, expected.microseconds * 1000) == found


FORMS = ["%Y-%m-%d %H:%M:%S{}", "%Y-%m-%dT%H:%M:%S{}+00:00", "%Y-%m-%dT%H:%M:%S{}Z"]


@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime.fromisoformat("2026-01-01"), datetime.fromisoformat("2026-01-01T00:00:02"))
            | st.datetimes(),
            st.sampled_from(["", ".120", ".120000001", ".120001", ".5", ".500000001"]),
            st.sampled_from(FORMS),
        ),
        min_size=2,
        max_size=5,
    )
)
def test_sort_key_is_time_order(moments: list[tuple[datetime, str, str]]) -> None:
    """Keys sort as instants do, whatever form they are in."""
    spelled = [
        moment.strftime(form.format(fraction).replace("%Y", f"{moment.year:04}")) for moment, fraction, form in moments
    ]

    assert sorted(spelled, key=parse_instant) == sorted(spelled, key=lambda t: (instant_sort_key(t), parse_instant(t)))


def test_sort_key_of_the_odd() -> None:
    """Years with a sign and leap seconds have their place; what is no instant sorts first."""
    spelled = [
        "-0002-01-01T00:00:00Z",
        "-0001-12-31T00:00:00Z",
        "0000-01-01T00:00:00+01:00",
        "0000-01-01T00:00:00Z",
        "2016-12-31T23:59:59.999999999+00:00",
        "2016-12-31T23:59:60.250+00:00",
        "2017-01-01T00:00:00+00:00",
        "9999-12-31T23:59:59.999999999+00:00",
        "+10000-01-01T00:00:00+00:00",
        "+262142-12-31T00:00:00Z",
    ]

    backwards = spelled[::-1]

    assert spelled == sorted(backwards, key=instant_sort_key)
    assert instant_sort_key(None) == "" == instant_sort_key("never")
    assert all(instant_sort_key(text) > "" for text in spelled)
