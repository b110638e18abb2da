"""Record types with rows or cells that version 3 cannot hold: noted while rows are mapped, read again at the end.

Only the types are noted, so that memory does not grow; the export of the extension reads those tables once more. A
database that the original made has none. Source: docs/format.md#extension-tables, #lossy-cells.
"""

from __future__ import annotations

from dataclasses import field

from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.records import Record


@dataclass(slots=True)
class LossyTypes:
    """Record types that were met with rows that version 3 cannot hold, and with cells that would not come back equal.

    Rows of agents, groups and memory blocks always go out, with another value in place of a lossy cell.
    """

    rows: set[type[Record]] = field(default_factory=set)
    cells: set[type[Record]] = field(default_factory=set)
