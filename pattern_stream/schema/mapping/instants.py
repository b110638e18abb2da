"""Timestamps as the database and the wire spell them, to the nanosecond.

A column holds `2026-01-02T03:04:05.120+00:00` (or SQL's `2026-01-02 03:04:05`), the wire `2026-01-02T03:04:05.120Z`.
Nothing here passes through `datetime`, which has microseconds only. Source: docs/format.md#timestamps.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_DATE: Final = r"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_CLOCK: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.(?:[0-9]{3}){0,2}(?!000)[0-9]{3})?"

is_plain_column: Final = re.compile(rf"[0-9]{{4}}-{_DATE}T{_CLOCK}\+00:00").fullmatch
"""Matches the usual column form, in which only the offset differs from the wire: the fast path outwards."""

is_plain_wire: Final = re.compile(rf"[0-9]{{4}}-{_DATE}T{_CLOCK}Z").fullmatch
"""Matches the usual wire form: the fast path inwards."""

_ANY: Final = re.compile(
    r"\s*(?P<year>[+-][0-9]{4,6}|[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})(?:[Tt]|\s+)\s*"
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2})(?::(?P<second>[0-9]{1,2})(?:\.(?P<fraction>[0-9]+))?)?"
    r"\s*(?P<offset>[Zz]|UTC|[+-][0-9]{2}:?[0-9]{2})?\s*",
    re.ASCII,
)
_DAYS_IN_MONTH: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SECONDS_A_DAY: Final = 86_400
_YEAR_0: Final = -62_167_219_200
_YEAR_10000: Final = 253_402_300_800
"""When the years begin that have no sign; seconds since the Unix epoch."""

_AROUND: Final = ("-", "~")
"""Characters that sort before and after all digits."""


class Instant(NamedTuple):
    """A moment: whole seconds since the Unix epoch, and nanoseconds (1e9 or more within a leap second)."""

    seconds: int
    nanoseconds: int


def parse_instant(text: str, *, offset_required: bool = False) -> Instant:
    """Read any form the original reads. Raises ValueError saying what was expected.

    Without `offset_required` a missing offset means UTC, as in columns; the wire must have one.
    """
    match = _ANY.fullmatch(text)
    if match is None or (offset_required and match["offset"] is None):
        raise ValueError("expected a date and time as RFC 3339")
    year, month, day = int(match["year"]), int(match["month"]), int(match["day"])
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    if not (1 <= month <= 12 and 1 <= day <= _month_days(year, month)):
        raise ValueError(f"expected a day of the calendar, found {match['year']}-{month:02}-{day:02}")
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError(f"expected a time of day, found {hour:02}:{minute:02}:{second:02}")
    nanoseconds = int((match["fraction"] or "")[:9].ljust(9, "0"))
    if second == 60:  # a leap second stays one: the original prints it back as :60
        second, nanoseconds = 59, nanoseconds + 1_000_000_000
    seconds = _days(year, month, day) * _SECONDS_A_DAY + hour * 3600 + minute * 60 + second
    return Instant(seconds - _offset_seconds(match["offset"]), nanoseconds)


def instant_to_wire(text: str) -> str:
    """Column form to wire form: same instant, `Z`, fraction of 0, 3, 6 or 9 digits. Raises ValueError."""
    return text[:-6] + "Z" if is_plain_column(text) else _spell(parse_instant(text)) + "Z"


def instant_to_column(text: str) -> str:
    """Wire form to column form: same instant, `+00:00`. Raises ValueError."""
    if is_plain_wire(text):
        return text[:-1] + "+00:00"
    return _spell(parse_instant(text, offset_required=True)) + "+00:00"


def instant_sort_key(text: object) -> str:
    """A text that sorts as the instant does, before all else where `text` is none: used to order rows in SQL.

    The usual form is one but for its offset: a shorter fraction is the beginning of a longer one, and sorts before it.
    """
    if not isinstance(text, str):
        return ""
    if is_plain_column(text):
        return text[:-6]
    try:
        instant = parse_instant(text)
    except ValueError:
        return ""
    if _YEAR_0 <= instant.seconds < _YEAR_10000:
        return _spell(instant)
    return f"{_AROUND[instant.seconds >= 0]}{instant.seconds + 10**16:017d}{instant.nanoseconds:010d}"


def _month_days(year: int, month: int) -> int:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if leap and month == 2 else _DAYS_IN_MONTH[month - 1]


def _offset_seconds(offset: str | None) -> int:
    if offset is None or offset in ("Z", "z", "UTC"):
        return 0
    hours, minutes = int(offset[1:3]), int(offset[-2:])
    if hours > 23 or minutes > 59:
        raise ValueError(f"expected an offset within a day, found {offset}")
    return (hours * 3600 + minutes * 60) * (-1 if offset[0] == "-" else 1)


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar, years counted from March."""
    shifted = year - (month <= 2)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400 + day_of_year - 719_468


def _civil(days: int) -> tuple[int, int, int]:
    """The inverse of `_days`."""
    days += 719_468
    era, day_of_era = divmod(days, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * day_of_year + 2) // 153
    month = shifted_month + (3 if shifted_month < 10 else -9)
    return era * 400 + year_of_era + (month <= 2), month, day_of_year - (153 * shifted_month + 2) // 5 + 1


def _spell(instant: Instant) -> str:
    days, rest = divmod(instant.seconds, _SECONDS_A_DAY)
    year, month, day = _civil(days)
    leap, nanoseconds = divmod(instant.nanoseconds, 1_000_000_000)
    spelled = f"{year:04d}" if 0 <= year <= 9999 else f"{year:+05d}"
    return (
        f"{spelled}-{month:02}-{day:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60 + leap:02}"
        f"{_fraction(nanoseconds)}"
    )


def _fraction(nanoseconds: int) -> str:
    if nanoseconds == 0:
        return ""
    digits = f"{nanoseconds:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return "." + digits
