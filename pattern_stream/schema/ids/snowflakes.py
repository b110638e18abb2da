"""Snowflakes, the numbers that name batches and positions of messages, as the original reads them.

Source: docs/database.md#snowflakes.
"""

from __future__ import annotations

import re
from typing import Final

from blake3 import blake3

from pattern_stream.format import SNOWFLAKE_COUNTER_BITS

_COUNTERS: Final = (1 << SNOWFLAKE_COUNTER_BITS) - 1
_LARGEST_SNOWFLAKE: Final = 2**64 - 1
_FIRST_NATIVE: Final = 10**16
"""From here on snowflakes have 17 digits, as all native ones until 2059, so that text order is numeric order."""

_is_decimal: Final = re.compile(r"\+?[0-9]+", re.ASCII).fullmatch
is_native_snowflake: Final = re.compile(r"[1-9][0-9]{16,18}", re.ASCII).fullmatch
"""Matches what all native snowflakes of these decades look like: the fast path."""

_BASE32: Final = {digit: value for value, digit in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
_BASE32_CHARS: Final = 13


def parse_snowflake(text: str) -> int | None:
    """The number of a batch id or position as the original reads it; None where it cannot."""
    if len(text) == _BASE32_CHARS and (number := _from_base32(text)) is not None:
        return number
    if not _is_decimal(text) or len(text.lstrip("+0")) > len(str(_LARGEST_SNOWFLAKE)):
        return None
    number = int(text)
    return number if number <= _LARGEST_SNOWFLAKE else None


def is_snowflake(text: str) -> bool:
    """Whether the original can read it as a batch id or position."""
    return is_native_snowflake(text) is not None or parse_snowflake(text) is not None


def mint_batch(key: bytes, old: str, attempt: int = 0) -> str:
    """Another batch id for an old one, always a valid snowflake, and another one for each `attempt`.

    A snowflake keeps its millisecond and stays distinct from its fellows there, since only a mask is laid over the
    counter; what was none becomes a number of 17 digits.
    """
    number = parse_snowflake(old)
    if number is None:
        digest = blake3(f"{attempt}:{old}".encode(), key=key).digest(8)
        return str(_FIRST_NATIVE + int.from_bytes(digest, "big") % (9 * _FIRST_NATIVE))
    millisecond = number >> SNOWFLAKE_COUNTER_BITS
    digest = blake3(f"{attempt}@{millisecond}".encode(), key=key).digest(8)
    mask = 1 + int.from_bytes(digest, "big") % _COUNTERS  # never zero, so never the old one
    return _spell(number ^ mask)


def _spell(number: int) -> str:
    """# Trap: text of 13 characters would be read as base32."""
    text = str(number)
    return text.zfill(_BASE32_CHARS + 1) if len(text) == _BASE32_CHARS else text


def _from_base32(text: str) -> int | None:
    number = 0
    for digit in text.upper().replace("O", "0").replace("I", "1").replace("L", "1"):
        value = _BASE32.get(digit)
        if value is None:
            return None
        number = number << 5 | value
    return number if number <= _LARGEST_SNOWFLAKE else None
