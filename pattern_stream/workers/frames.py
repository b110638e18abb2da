"""What a worker and who asks it say to each other. Both are this program, so what comes is believed, but for its end.

Requests: a length and a marshalled value each; a bare number is a slot that is free again. Answers: frames, each a
kind, the slot where its bytes are (NO_SLOT: behind it), two lengths, a marshalled value and bytes.
"""

from __future__ import annotations

import marshal
import struct
from typing import Any, Final

LENGTH: Final = struct.Struct(">I")
FRAME: Final = struct.Struct(">ciII")
NO_SLOT: Final = -1
READY: Final = b"r"
"""The kind of a worker's first frame, once it has opened what it was told to open."""


def request(value: Any) -> bytes:
    """A request as it is sent."""
    body = marshal.dumps(value)
    return LENGTH.pack(len(body)) + body
