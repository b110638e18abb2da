"""Which tables and columns a database has, and the SELECT lists that follow: older schemas lack the later ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pattern_stream.db.connection.connection import Connection
from pattern_stream.errors import UnsupportedSchema, Where
from pattern_stream.schema.model.records import MemoryBlock, Record

_NEWEST_CHECKPOINT = """CASE WHEN length({alias}.loro_snapshot) = 0 THEN coalesce((SELECT c.snapshot
    FROM memory_block_checkpoints c WHERE c.block_id = {alias}.id ORDER BY c.created_at DESC, c.id DESC LIMIT 1),
    {alias}.loro_snapshot) ELSE {alias}.loro_snapshot END"""
"""An empty document with a checkpoint starts from the checkpoint."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The tables of a database with their columns, in physical order."""

    tables: Mapping[str, tuple[str, ...]]
    _lists: dict[tuple[type[Record], str], tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)

    def has(self, table: str, column: str | None = None) -> bool:
        """Whether there is such a table, or such a column in it."""
        return table in self.tables and (column is None or column in self.tables[table])

    def select(self, record: type[Record], alias: str) -> str:
        """The SELECT list of a record, in `record.columns` order; a missing column reads as its default.

        Raises UnsupportedSchema where a column is missing that every schema has.
        """
        return ", ".join(self.expressions(record, alias))

    def expressions(self, record: type[Record], alias: str) -> tuple[str, ...]:
        """The parts of `select`. Made once: every agent asks for them."""
        key = record, alias
        if key not in self._lists:
            self._lists[key] = tuple(self._expression(record, column, alias) for column in record.columns)
        return self._lists[key]

    def _expression(self, record: type[Record], column: str, alias: str) -> str:
        if not self.has(record.table, column):
            missing = next(f.missing for f in record.fields if f.column == column)
            if missing is None or not self.has(record.table):
                raise UnsupportedSchema(
                    f"found no column {column}, expected it in every schema of the original program",
                    where=Where(stage="source", table=record.table, field=column),
                )
            return missing
        if record is MemoryBlock and column == "loro_snapshot" and self.has("memory_block_checkpoints"):
            return _NEWEST_CHECKPOINT.format(alias=alias)
        return f'{alias}."{column}"'


async def read_columns(connection: Connection) -> Columns:
    """Read the ordinary tables of a database and their columns, in one statement."""
    found = await connection.execute(
        "SELECT s.name, c.name FROM sqlite_schema s JOIN pragma_table_info(s.name) c "
        "WHERE s.type = 'table' AND s.sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY s.name, c.cid"
    )
    tables: dict[str, tuple[str, ...]] = {}
    for table, column in found:
        tables[table] = (*tables.get(table, ()), column)
    return Columns(tables)
