"""What of an import is there already: gathered whole, so that one run tells all of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

from pattern_stream.errors import NameConflict

OnConflict = Literal["fail", "skip", "replace"]
"""What happens to an agent, group or unowned memory block whose id is there already, and to all that it owns."""

_EXAMPLES: Final = 20
"""Rows that are named one by one, where they are no agents, groups or memory blocks."""

_HINT: Final = (
    "--on-conflict skip or replace acts where the id is equal; --new-ids goes round taken ids, "
    "--rename OLD=NEW round taken names"
)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to meet what is there. `batch_key`: 32 bytes from which batch ids are made where one must change.

    `drop_unknown`: tables and columns that the database lacks are left out and reported, not refused. `partial`: only a
    part of an archive comes, so cells of rows that do not are nothing to be said.
    """

    on_conflict: OnConflict = "fail"
    batch_key: bytes = bytes(32)
    drop_unknown: bool = False
    partial: bool = False


@dataclass(slots=True)
class Conflicts:
    """Agents, groups and memory blocks in full, other rows counted, the first of them named. False while empty."""

    named: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.named or self.counts)

    def add_named(self, what: str) -> None:
        """An agent, group or memory block."""
        self.named.append(what)

    def add_row(self, table: str, row_id: str) -> None:
        """Any other row."""
        self.counts[table] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{table} {row_id}")

    def error(self) -> NameConflict:
        """All of them as one error, a line each."""
        total = len(self.named) + self.counts.total()
        lines = [
            f"found {total} thing{'s that are' if total != 1 else ' that is'} in the database already, expected none; "
            "nothing was written",
            *self.named,
        ]
        if self.counts:
            lines.append("rows: " + ", ".join(f"{count} in {table}" for table, count in sorted(self.counts.items())))
            lines += self.examples
            if self.counts.total() > len(self.examples):
                lines.append(f"and {self.counts.total() - len(self.examples)} more rows")
        return NameConflict("\n".join(lines), hint=_HINT)
