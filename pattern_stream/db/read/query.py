"""A SELECT of one table's rows, kept in parts: so that the same rows can also be found first and read one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from pattern_stream.db.catalog.catalog import Catalog, Table
from pattern_stream.db.connection.sql_text import quoted
from pattern_stream.format import MAX_PENDING_BYTES
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.records import MemoryBlock, MemoryUpdate, Record

Address = tuple[Any, ...]
"""What finds one row: its rowid, or the cells of its primary key, each as bytes where it is text, and its type."""

READ_WHOLE: Final = frozenset({"loro_snapshot", "frontier", "update_blob"})
"""Columns that go into a memory document, which is put together before it goes out: never read in pieces."""


@dataclass(frozen=True, slots=True)
class Query:
    """Rows of a table. `body`: all that comes after FROM, with the table under `alias` and `parameters` in it.

    `expressions`: the SELECT list, `names` the columns that they stand for, `key_column` the index of the one that
    names a row in messages. `whole`: columns that are never read in pieces; no cell
    of them may be longer than `longest_whole` bytes.
    """

    table: Table
    alias: str
    names: tuple[str, ...]
    expressions: tuple[str, ...]
    body: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    key_column: int = 0
    longest_whole: int = MAX_PENDING_BYTES

    @property
    def sql(self) -> str:
        """The statement."""
        return f"SELECT {', '.join(self.expressions)} FROM {self.body}"

    @property
    def addresses_sql(self) -> str:
        """The same rows in the same order, but only where they are."""
        cells = [f"{self.alias}.{quoted(column)}" for column in self.table.address]
        if self.table.rowid is None:  # a key may hold text that is no UTF-8
            cells = [
                part
                for cell in cells
                for part in (f"iif(typeof({cell}) = 'text', CAST({cell} AS BLOB), {cell})", f"typeof({cell})")
            ]
        return f"SELECT {', '.join(cells)} FROM {self.body}"

    def one(self, expressions: Sequence[str], address: Address) -> tuple[str, dict[str, Any]]:
        """Something of the one row at an address: a statement and its parameters."""
        parameters = {f"p{index}": part for index, part in enumerate(address)}
        cells = [f"{self.alias}.{quoted(column)}" for column in self.table.address]
        found = [
            f"{cell} = iif(:p{2 * index + 1} = 'text', CAST(:p{2 * index} AS TEXT), :p{2 * index})"
            for index, cell in enumerate(cells)
        ]
        where = " AND ".join(found) if self.table.rowid is None else f"{cells[0]} = :p0"
        body = f"{quoted(self.table.name)} {self.alias} WHERE {where}"
        return f"SELECT {', '.join(expressions)} FROM {body}", parameters

    def is_stored(self, index: int) -> bool:
        """Whether an expression is a column as it is stored, and the row has a rowid."""
        return self.table.rowid is not None and self.expressions[index] == f"{self.alias}.{quoted(self.names[index])}"


def record_query(
    catalog: Catalog,
    record: type[Record],
    tail: str,
    subject: str | None = None,
    extra: Sequence[str] = (),
) -> Query:
    """Rows of a record type in `record.columns` order, then the `extra` expressions.

    `tail`: the SQL after the alias (`b` for memory blocks, else `t`), with `subject` as `:id`.
    Raises UnsupportedSchema.
    """
    alias = "b" if record is MemoryBlock else "t"
    table = catalog.find(record.table)
    expressions = (*catalog.expressions(record, alias), *extra)
    body, parameters = f"{quoted(record.table)} {alias} {tail}", {"id": subject}
    whole = READ_WHOLE if record in (MemoryBlock, MemoryUpdate) else frozenset[str]()
    return Query(table, alias, (*record.columns, *extra), expressions, body, parameters, whole, record.key_column)


def table_query(table: Table, body: str, subject: str | None = None, extra: Sequence[str] = ()) -> Query:
    """Rows of a table with all its stored columns, under the alias `t`, then the `extra` expressions.

    `body`: all that comes after FROM, with `subject` as `:id`.
    """
    key = table.names.index(table.key[0]) if table.key and table.key[0] in table.names else 0
    return Query(
        table, "t", (*table.names, *extra), (*table.select("t"), *extra), body, {"id": subject}, key_column=key
    )


def active_updates_tail(catalog: Catalog) -> str:
    """The tail of a query for the updates of a memory block that are to be in its document, by seq."""
    active = "AND t.is_active = 1" if catalog.has(MemoryUpdate.table, "is_active") else ""
    return f"WHERE t.block_id = :id {active} ORDER BY t.seq"
