"""What of the declared tables version 3 cannot hold as it is: noted while rows are mapped, looked for again at the end.

Only that there is something is remembered, table by table, so that memory does not grow; who carries it reads the table
once more. A database of the original's own making has none of it. Source: v4 3, 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pattern_stream.schema.model.records import Record


@dataclass(slots=True)
class LossyTypes:
    """Record types that were met with rows that version 3 cannot hold, and with cells that would not come back equal.

    Rows of agents, groups and memory blocks always go out, with another value in place of an odd cell.
    """

    rows: set[type[Record]] = field(default_factory=set)
    cells: set[type[Record]] = field(default_factory=set)
