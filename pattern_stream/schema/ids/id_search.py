"""Finds ids inside text: those of the generated forms, and further names of agents and groups.

Text is looked at as its bytes, JSON as it is written. The cost depends on the text alone, not on the number of
ids. Source: docs/database.md#identifiers.
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
"""Longer words are no names. Ours."""


class IdSearch:
    """Finds ids in text. `names`: ids of no generated form; those that are no single word are left out."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = frozenset(filter(_is_name, (name.encode(errors="surrogatepass") for name in names)))

    def find(self, text: bytes) -> Iterator[bytes]:
        """All of them, each as often as it is there."""
        if _RUN in text.translate(_AS_DIGITS):  # many times as fast as looking for the pattern everywhere
            yield from (found[0] for found in _GENERATED.finditer(text))
        if self.names:
            yield from (word for found in _WORD.finditer(text) if (word := found[1]) in self.names)


def _is_name(name: bytes) -> bool:
    return len(name) <= _MOST_BYTES and _WORD.findall(name) == [name] and _GENERATED.fullmatch(name) is None
