"""What the parts of one import share: where it writes, by what rules, and what has become of the rows so far."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pattern_stream.db.catalog.catalog import Target
from pattern_stream.db.write.conflicts import Conflicts, LoadOptions
from pattern_stream.db.write.deferred_fts import DeferredIndex
from pattern_stream.db.write.existing_rows import Sieve
from pattern_stream.db.write.foreign_keys import Dangling
from pattern_stream.db.write.memory_blocks import BlockStore, Fate
from pattern_stream.db.write.staged_cells import PieceStore
from pattern_stream.db.write.unknown_content import Unknown
from pattern_stream.errors import Report
from pattern_stream.schema.model.records import (
    Agent,
    Group,
)


@dataclass(slots=True)
class Loaded:
    """What became of the rows, by table. `fates`: of each agent and group, by table and id. `dropped`: rows of tables,
    and of columns as `table.column`, that the database has no place for."""

    rows: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    fates: dict[tuple[str, str], Fate] = field(default_factory=dict)
    conflicts: Conflicts = field(default_factory=Conflicts)
    dropped: dict[str, int] = field(default_factory=dict)

    def fate_of_owner(self, owner: Any) -> Fate | None:
        """The fate of an agent or group; None of whoever is not in the archive."""
        if not isinstance(owner, str):
            return None
        return self.fates.get((Agent.table, owner)) or self.fates.get((Group.table, owner))


@dataclass(frozen=True, slots=True)
class Import:
    """One import under way. `living`: the database had agents, groups or anything of theirs before."""

    connection: sqlite3.Connection
    options: LoadOptions
    report: Report
    living: bool
    loaded: Loaded
    unknown: Unknown
    targets: Mapping[str, Target]
    index: DeferredIndex
    blocks: BlockStore
    sieve: Sieve
    dangling: Dangling
    pieces: PieceStore

    @property
    def stopped(self) -> bool:
        """Whether nothing more is written, as it will be refused; reading goes on to find what else is in the way."""
        return bool(self.loaded.conflicts) or (bool(self.unknown) and not self.options.drop_unknown)
