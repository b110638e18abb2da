"""Cells of the database as values of the wire, written a second time and as plainly as possible.

Source: docs/format.md#json-values, #timestamps, docs/database.md#json-columns.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

Row = dict[str, Any]
Wire = dict[str, Any]
ReadFloat = Callable[[str], float]


def real_program_float(text: str) -> float:
    """Float text as the real program rounds it: twice. Source: docs/format.md#json-values."""
    found = re.fullmatch(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?", text)
    assert found is not None
    sign, whole, fraction, power = found.groups()
    fraction = fraction or ""
    exponent, number, full = int(power or 0) - len(fraction), 0, False
    for digit in whole + fraction:
        full = full or number * 10 + int(digit) >= 1 << 64
        number, exponent = (number, exponent + 1) if full else (number * 10 + int(digit), exponent)
    value = float(number)
    while exponent < -308 and value:
        value, exponent = value / 1e308, exponent + 308
    value = value / 10.0**-exponent if exponent < 0 else value * 10.0**exponent if value else value
    return -value if sign else value


def _integer(text: str, read_float: ReadFloat) -> int | float:
    number = int(text)
    if text == "-0" or not -(1 << 63) <= number < 1 << 64:
        return read_float(text)
    return number


def json_value(cell: Any, read_float: ReadFloat = float) -> Any:
    """A JSON column: text as JSON, a number that SQLite made of the text as that number."""
    if not isinstance(cell, str):
        return cell
    return json.loads(cell, parse_float=read_float, parse_int=lambda text: _integer(text, read_float))


_STAMP = re.compile(
    r"([+-]?\d{4,})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?\s*(?:([Zz]|UTC)|([+-])(\d\d):?(\d\d))?"
)


def moment(text: str) -> tuple[datetime, int]:
    """(UTC to the second, nanoseconds) of a timestamp in either form of the database."""
    found = _STAMP.fullmatch(text)
    assert found is not None, text
    year, month, day, hour, minute, second, fraction, _, sign, off_hours, off_minutes = found.groups()
    offset = timedelta(hours=int(off_hours or 0), minutes=int(off_minutes or 0)) * (-1 if sign == "-" else 1)
    zone = timezone(offset) if offset else UTC
    whole = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=zone)
    return whole.astimezone(UTC), int(((fraction or "") + "0" * 9)[:9])


def instant(text: str) -> str:
    """A timestamp on the wire: T, Z, and 0, 3, 6 or 9 digits."""
    whole, nanos = moment(text)
    digits = f"{nanos:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return (
        whole.strftime("%Y").rjust(4, "0") + whole.strftime("-%m-%dT%H:%M:%S") + ("." + digits if digits else "") + "Z"
    )


def role(cell: Any, read_float: ReadFloat) -> Wire | None:
    """A member's role: only `type`, and `domain` of a specialist."""
    value = json_value(cell, read_float)
    return None if value is None else {key: value[key] for key in ("type", "domain") if key in value}


AS_IT_IS, JSON, ROLE, INSTANT, FLAG = "as it is", "json", "role", "instant", "flag"

WIRE_TEXT = """
agents: id name description model_provider model_name system_prompt config:json enabled_tools:json tool_rules:json
    status created_at:instant updated_at:instant
agent_groups: id name description pattern_type pattern_config:json created_at:instant updated_at:instant
group_members: group_id agent_id role:role joined_at:instant capabilities:json
memory_blocks: id agent_id label description block_type char_limit permission pinned:flag content_preview metadata:json
    is_active:flag created_at:instant updated_at:instant last_seq
shared_block_agents: block_id agent_id permission attached_at:instant
archival_entries: id agent_id content metadata:json chunk_index parent_entry_id created_at:instant
messages: id agent_id position batch_id sequence_in_batch role content_json:json content_preview batch_type source
    source_metadata:json is_archived:flag is_deleted:flag created_at:instant
archive_summaries: id agent_id summary start_position end_position message_count previous_summary_id depth
    created_at:instant
"""
"""Wire columns of each table and what becomes of a cell; `frontier` is not among them, since it is recomputed."""


def _columns() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for table, columns in re.findall(r"^(\w+):((?: .*|\n +.*)+)", WIRE_TEXT, re.MULTILINE):
        pairs = (word.partition(":") for word in columns.split())
        found[table] = {name: kind or AS_IT_IS for name, _, kind in pairs}
    return found


COLUMNS = _columns()
WHEN_MISSING = {"capabilities": "[]", "last_seq": 0, "is_deleted": 0}
WHEN_NULL = {("group_members", "capabilities"): "[]", ("archival_entries", "chunk_index"): 0}


READERS: dict[str, Callable[[Any, ReadFloat], Any]] = {JSON: json_value, ROLE: role}


def record(table: str, row: Row, read_float: ReadFloat = float) -> Wire:
    """A row as the record that an archive must hold."""
    made: Wire = {}
    for column, kind in COLUMNS[table].items():
        cell = row.get(column, WHEN_MISSING.get(column))
        cell = WHEN_NULL.get((table, column), cell) if cell is None else cell
        if cell is None or kind == AS_IT_IS:
            made[column] = cell
        elif kind == FLAG:
            made[column] = bool(cell)
        else:
            made[column] = instant(str(cell)) if kind == INSTANT else READERS[kind](cell, read_float)
    return made


def difference(expected: Any, found: Any, at: str = "", ulps: int = 0) -> str | None:
    """Where two values first differ in type or content (1 is not 1.0 is not true, 0.0 is not -0.0); None if nowhere."""
    if type(expected) is not type(found):
        return f"{at}: {expected!r} became {found!r}"
    if isinstance(expected, dict):
        if set(expected) != set(found):
            return f"{at}: keys {sorted(set(expected) ^ set(found))} on one side only"
        return _first(difference(expected[key], found[key], f"{at}.{key}", ulps) for key in expected)
    if isinstance(expected, list):
        if len(expected) != len(found):
            return f"{at}: {len(expected)} items became {len(found)}"
        pairs = enumerate(zip(expected, found, strict=True))
        return _first(difference(*pair, f"{at}[{index}]", ulps) for index, pair in pairs)
    same = _close(expected, found, ulps) if isinstance(expected, float) else expected == found
    return None if same else f"{at}: {expected!r} became {found!r}"


def _first(found: Iterable[str | None]) -> str | None:
    return next((each for each in found if each), None)


def _close(expected: float, found: float, ulps: int) -> bool:
    same_sign = math.copysign(1, expected) == math.copysign(1, found)
    return same_sign and abs(expected - found) <= ulps * math.ulp(expected)
