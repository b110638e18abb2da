"""Row events as bytes and back, for a file of this process that has no name: nobody else can have changed it, so they
are pickled and believed.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import AsyncGenerator
from typing import Final

from pattern_stream.items import RowEvent
from pattern_stream.streams import Events, closing

_LENGTH: Final = struct.Struct(">Q")


def pack_row(event: RowEvent) -> bytes:
    """An event as bytes, their number before them: a step of a `transform`."""
    packed = pickle.dumps(event, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(packed)) + packed


async def unpack_rows(pieces: Events[bytes]) -> AsyncGenerator[RowEvent]:
    """The events again, from bytes in pieces of any size. Memory: one piece and one event, twice."""
    waiting = bytearray()
    async with closing(pieces):
        async for piece in pieces:
            waiting += piece
            start = 0
            while len(waiting) >= (begin := start + _LENGTH.size):
                end = begin + _LENGTH.unpack_from(waiting, start)[0]
                if len(waiting) < end:
                    break
                event: RowEvent = pickle.loads(bytes(waiting[begin:end]))
                start = end
                yield event
                del event  # or two are alive while the next one is unpacked
            del waiting[:start]
