"""What looks like an id inside text: the generated forms, and whatever else the agents and groups at hand are called.

Text is looked at as its bytes, JSON as it is written. What it costs depends on the text alone, not on how many ids are
looked for. Source: database 6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

_DIGITS: Final = b"0123456789abcdef"
_AS_DIGITS: Final = bytes(0x30 if byte in _DIGITS else 0x20 for byte in range(256))
_RUN: Final = b"0" * 32

_GENERATED: Final = re.compile(
    rb"(?:(?<![0-9A-Za-z])|(?<=\\[bfnrt]))(?:mem_|msg_|arch_)?[0-9a-f]{32}(?![0-9A-Za-z])"  # or behind an escape
)
_WORD: Final = re.compile(rb"(?:\\[bfnrt])?([0-9A-Za-z_-]{6,})")
"""A word, without the letter of an escape before it. Ours: what is shorter may mean anything."""

_MOST_BYTES: Final = 256
"""What is longer is no name. Ours."""


class IdSearch:
    """Finds ids in text. `odd`: ids of no generated form, of which those are left out that are no word of this kind."""

    def __init__(self, odd: Iterable[str] = ()) -> None:
        self.odd = frozenset(filter(_is_odd, (name.encode(errors="surrogatepass") for name in odd)))

    def find(self, text: bytes) -> Iterator[bytes]:
        """All of them, each as often as it is there."""
        if _RUN in text.translate(_AS_DIGITS):  # many times as fast as looking for the pattern everywhere
            yield from (found[0] for found in _GENERATED.finditer(text))
        if self.odd:
            yield from (word for found in _WORD.finditer(text) if (word := found[1]) in self.odd)


def _is_odd(name: bytes) -> bool:
    return len(name) <= _MOST_BYTES and _WORD.findall(name) == [name] and _GENERATED.fullmatch(name) is None
