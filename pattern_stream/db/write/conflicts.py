"""The rules of an import, and all that it finds in its way: gathered whole, so that one run names everything."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final, Literal

from pattern_stream.errors import Finding, NameConflict, Report, UnknownContent, Where
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.records import Agent, Group

OnConflict = Literal["fail", "skip", "replace"]
"""What happens to an agent, group or unowned memory block whose id is there already, and to all that it owns."""

Orphans = Literal["keep", "drop"]
"""What happens to rows of an archive that refer to rows which are nowhere."""

Resolution = Literal["add", "replace", "skip", "conflict"]
"""What an import does with a row, and with all that the row owns."""

_EXAMPLES: Final = 20
"""Rows that are named one by one, where they are no agents, groups or memory blocks."""

SAME_ID: Final = "--on-conflict skip or --on-conflict replace acts where the id is equal"
OTHER_OWNER: Final = "--new-ids goes round ids that belong to another agent here"
ONLY_SKIP: Final = "--on-conflict skip leaves out rows that exclude one of the database"
NEW_DATABASE: Final = "import into a new database, by a --db that is missing"
"""Ways round conflicts."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to meet what is there. `batch_key`: 32 bytes from which batch ids are made where one must change.

    `drop_unknown`: tables and columns that the database lacks are left out and reported, not refused. `partial`: only a
    part of an archive comes, so cells of rows outside that part are no finding. `new_ids`: a block is never the
    one that is there, so a taken label of the constellation's gets a number. `into_empty`: the database was missing
    or had no rows. `orphans`: what happens to rows that refer to nothing; None refuses them, but for those of a whole
    backup that comes into an empty database. `kept_edits`: memory blocks that come without a history, by their ids the
    digest of the stored document here that shows the same.
    """

    on_conflict: OnConflict = "fail"
    batch_key: bytes = bytes(32)
    drop_unknown: bool = False
    partial: bool = False
    new_ids: bool = False
    into_empty: bool = False
    orphans: Orphans | None = None
    kept_edits: Mapping[str, bytes] = field(default_factory=dict)

    def resolve(self, *, exists: bool, same_owner: bool = True) -> Resolution:
        """The decision about a row whose key the database had, or had not. An owner never changes."""
        if not exists:
            return "add"
        return "conflict" if self.on_conflict == "fail" or not same_owner else self.on_conflict


@dataclass(slots=True)
class Conflicts:
    """Agents, groups and memory blocks in full, other rows counted, the first of them named. False while empty.

    `ways`: round them, as options; those of names are ready to be pasted.
    """

    named: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    renames: dict[str, None] = field(default_factory=dict)
    ways: dict[str, None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.named or self.counts)

    def add(self, message: str, way: str) -> None:
        """An agent, group, memory block or name that is taken, and the way round it."""
        self.named.append(message)
        self.ways[way] = None

    def add_name(self, message: str, old: str, free: str) -> None:
        """A name that is taken. `old`: what --rename knows its row by; `free`: a name that nobody has."""
        self.named.append(message)
        self.renames[f"--rename {shlex.quote(f'{_escaped(old)}={free}')}"] = None

    def add_row(self, table: str, row_id: str, way: str = SAME_ID) -> None:
        """Any row that is no agent, group or memory block."""
        self.counts[table] += 1
        self.ways[way] = None
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
        renames = " ".join(self.renames)
        by_name = f"{renames} (--rename OLD=NEW and --rename block:LABEL=NEW go by name)"
        return NameConflict("\n".join(lines), hint="; ".join([*([by_name] if renames else []), *self.ways]))


def _escaped(old: str) -> str:
    return old.replace("=", "\\=")


@dataclass(slots=True)
class UnknownTables:
    """Tables and columns that the database lacks, by the number of rows that have them. False while empty."""

    counts: Counter[str] = field(default_factory=Counter)
    _messages: dict[str, tuple[str, Where]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add_table(self, table: str, rows: int, reason: str = "no such table here") -> None:
        """Rows of a table that cannot come in, for a reason."""
        self._add(table, rows, f"table {table!r}: {reason}", Where(table=table))

    def add_column(self, table: str, column: str, rows: int) -> None:
        """Cells of a column that a table lacks."""
        where = Where(table=table, field=column)
        self._add(f"{table}.{column}", rows, f"column {column!r} of {table}: no such column here", where)

    def settle(self, options: LoadOptions, report: Report) -> None:
        """Report each as left out. Raises UnknownContent with all of them, unless they are to be dropped."""
        lines = {name: f"{self.counts[name]} row{'' if self.counts[name] == 1 else 's'}" for name in self._messages}
        if self.counts and not options.drop_unknown:
            found = f"found {len(self.counts)} tables or columns that the database has no place for, expected none"
            listed = (f"{message} ({lines[name]})" for name, (message, _) in self._messages.items())
            raise UnknownContent("\n".join([f"{found}; nothing was written", *listed]))
        for name, (message, where) in self._messages.items():
            report(Finding("warning", "unknown-dropped", f"{message}: {lines[name]} left out", where))

    def _add(self, name: str, rows: int, message: str, where: Where) -> None:
        self.counts[name] += rows
        self._messages.setdefault(name, (message, where))


@dataclass(slots=True)
class Loaded:
    """Counts of an import, by table. `replaced`: those of `rows` that took the place of a row that was there.
    `resolutions`: of each agent and group, by table and id. `dropped`: rows of tables, and of columns as
    `table.column`, that the database has no place for. `whole`: the archive is a whole backup, whose rows come as they
    were."""

    rows: Counter[str] = field(default_factory=Counter)
    replaced: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    resolutions: dict[tuple[str, str], Resolution] = field(default_factory=dict)
    conflicts: Conflicts = field(default_factory=Conflicts)
    dropped: Counter[str] = field(default_factory=Counter)
    whole: bool = False

    def resolution_of_owner(self, owner: Any) -> Resolution | None:
        """The resolution of an agent or group; None where the archive has none of that id."""
        if not isinstance(owner, str):
            return None
        return self.resolutions.get((Agent.table, owner)) or self.resolutions.get((Group.table, owner))
