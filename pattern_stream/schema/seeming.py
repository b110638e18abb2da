"""What looks like an id inside text: the generated forms, and whatever else the agents and groups at hand are called.

Text is looked at as its bytes, JSON as it is written. Source: database 6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

LEAST_ODD_BYTES: Final = 6
"""An id of another form is looked for if it has this many bytes. Ours: a shorter one may be any word."""

_DIGITS: Final = b"0123456789abcdef"
_AS_DIGITS: Final = bytes(0x30 if byte in _DIGITS else 0x20 for byte in range(256))
_RUN: Final = b"0" * 32
_START: Final = rb"(?:(?<![0-9A-Za-z])|(?<=\\[bfnrt]))"
"""Where a word starts: in JSON also behind the letter of an escape."""

_GENERATED: Final = re.compile(_START + rb"(?:mem_|msg_|arch_)?[0-9a-f]{32}(?![0-9A-Za-z])")


class IdSearch:
    """Finds ids in text. `odd`: ids of no generated form; those too short to be told from words are left out."""

    def __init__(self, odd: Iterable[str] = ()) -> None:
        found = {name.encode(errors="surrogatepass") for name in odd}
        self.odd = frozenset(
            name for name in found if len(name) >= LEAST_ODD_BYTES and _GENERATED.fullmatch(name) is None
        )
        names = b"|".join(re.escape(name) for name in sorted(self.odd, key=lambda name: (-len(name), name)))
        self._odd = re.compile(_START + rb"(?:" + names + rb")(?![0-9A-Za-z_-])") if names else None

    def find(self, text: bytes) -> Iterator[bytes]:
        """All of them, each as often as it is there."""
        if _RUN in text.translate(_AS_DIGITS):  # many times as fast as looking for the pattern everywhere
            yield from _GENERATED.findall(text)
        if self._odd is not None:
            yield from self._odd.findall(text)
