"""The worker that decodes chunks of messages ahead of the walk.

A request names a chunk in a slot of shared memory. The answer has the chunk's own fields, the number of messages, and
the lengths of the marshalled batches that took the chunk's place, see `make_rows`; or REST, where the walk has to
decode the chunk, or its rows do not fit there.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable

from pattern_stream.schema.checks.message_chunks import make_rows
from pattern_stream.workers.serving import LAST, REST, Send, serve
from pattern_stream.workers.slots import Slots


def prepare(slots: Slots) -> Callable[..., None]:
    """What answers requests for the chunks in these slots."""

    def answer(send: Send, slot: int, size: int, with_rows: bool) -> None:
        made = make_rows(slots.get(slot, size), with_rows=with_rows)
        parts = list(map(marshal.dumps, made.batches)) if made is not None else []
        if made is None or sum(map(len, parts)) > slots.size_bytes:
            send(REST, None, ())
            return
        offset = 0
        for part in parts:
            slots.put(slot, part, offset)
            offset += len(part)
        send(LAST, (made.fields, made.message_count, list(map(len, parts))), ())

    return answer


def main() -> None:
    """Serve, as `workers.serving` says."""
    serve(prepare)
