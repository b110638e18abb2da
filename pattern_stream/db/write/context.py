"""What the parts of one import share: where it writes, by what rules, and what has become of the rows so far."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from pattern_stream.db.catalog.catalog import Target
from pattern_stream.db.write.balance import Balance
from pattern_stream.db.write.conflicts import Loaded, LoadOptions, UnknownTables
from pattern_stream.db.write.existing_rows import ExistingRows
from pattern_stream.db.write.foreign_keys import ForeignKeys
from pattern_stream.db.write.fulltext_index import DeferredIndex
from pattern_stream.db.write.memory_blocks import BlockStore
from pattern_stream.db.write.names import Names
from pattern_stream.db.write.staged_cells import PieceStore
from pattern_stream.errors import Report
from pattern_stream.quick_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class ImportContext:
    """One import under way. `populated`: the database had agents, groups or anything of theirs before."""

    connection: sqlite3.Connection
    options: LoadOptions
    report: Report
    balance: Balance
    populated: bool
    loaded: Loaded
    unknown: UnknownTables
    targets: Mapping[str, Target]
    index: DeferredIndex
    blocks: BlockStore
    names: Names
    existing: ExistingRows
    foreign_keys: ForeignKeys
    pieces: PieceStore

    @property
    def stopped(self) -> bool:
        """Whether nothing more is written, as the import will be refused; reading goes on to find all conflicts."""
        return bool(self.loaded.conflicts) or (bool(self.unknown) and not self.options.drop_unknown)
