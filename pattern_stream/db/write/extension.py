"""What an archive carries beyond the records of version 3, handed to who takes it in: tables, cells, memory history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pattern_stream.db.write.column_mapping import Incoming
from pattern_stream.db.write.history import HistoryRows
from pattern_stream.db.write.import_context import Import
from pattern_stream.db.write.lossy_cells import CellRows
from pattern_stream.db.write.memory_blocks import Fate
from pattern_stream.db.write.tables import TableRows
from pattern_stream.errors import ProtocolError
from pattern_stream.items import CELLS_TABLE, Cells
from pattern_stream.schema.model.cells import HISTORY_COLUMNS
from pattern_stream.schema.model.nodes import CELL_COLUMNS


class Beyond:
    """The open table, or the open memory block and its history."""

    def __init__(self, work: Import) -> None:
        self._work = work
        self._columns: Mapping[str, tuple[str, ...]] = {}
        self._table: TableRows | None = None
        self._cells = CellRows(work)
        self._block: tuple[str, Fate] | None = None
        self._history: dict[str, HistoryRows] = {}

    def columns_of(self, event: Cells) -> tuple[str, ...]:
        """The columns that the archive says these rows have. Raises ProtocolError where it has said nothing."""
        found = self._columns.get(event.table)
        if found is None:
            raise ProtocolError(f"found rows of {event.table!r} outside of the table or memory block they are of")
        return found

    def open_block(self, block_id: str, fate: Fate, extra: Mapping[str, Any]) -> None:
        """A memory block of this fate starts; the rows of its history may follow."""
        history = extra.get("history")
        self._block, self._table, self._history = (block_id, fate), None, {}
        self._columns = history.columns if history is not None else HISTORY_COLUMNS

    def open_table(self, extra: Mapping[str, Any]) -> None:
        """A table starts, or the cells."""
        self._block, table = None, extra["table"]
        if table is None:
            self._columns, self._table = {CELLS_TABLE: CELL_COLUMNS}, None
            return
        columns = tuple(column["name"] for column in extra["columns"])
        self._columns = {table: columns}
        self._table = TableRows(self._work, table, columns, untranslated=bool(extra.get("untranslated")))

    def close(self) -> None:
        """The table or memory block ends."""
        self._columns, self._table, self._block = {}, None, None

    def add(self, event: Cells) -> None:
        """Rows of what is open."""
        columns = self.columns_of(event)
        if self._table is not None:
            self._table.add(event.rows)
        elif self._block is None:
            self._cells.add(event.rows)
        else:
            if event.table not in self._history:
                self._history[event.table] = HistoryRows(self._work, Incoming(self._work, event.table, columns))
            self._history[event.table].add_of_block(event.rows, *self._block)

    def finish(self) -> None:
        """All is in: say what stayed out. Raises UnknownContent."""
        unknown = self._work.unknown
        if unknown and not self._work.options.drop_unknown:
            raise unknown.refused()
        unknown.report(self._work.report)
        self._work.loaded.dropped.update(unknown.counts)
        self._cells.finish()
