"""Which messages and rows start a chunk, so that the chunks of an archive recur in the next one.

The key of a message or row decides, whatever stands beside it: a new message changes the chunk that it goes into, not
those after it. Source: docs/format.md#where-chunks-close.
"""

from __future__ import annotations

from collections.abc import Iterable

from blake3 import blake3

from pattern_stream.format import BORDER_HASH


def chunk_borders(keys: Iterable[bytes]) -> list[int]:
    """The places of the keys that start a chunk, counted from 0."""
    return [place for place, key in enumerate(keys) if blake3(key).digest(len(BORDER_HASH)) == BORDER_HASH]
