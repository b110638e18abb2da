"""Every record that an archive carries against the row of a database that it stands for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import Any, Final

from pattern_stream.db.catalog.catalog import Catalog, Table, read_catalog
from pattern_stream.db.catalog.sequences import SEQUENCES, high_water_marks
from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.opening import open_reader
from pattern_stream.db.read.by_key import active_updates, rows_by_key, table_rows_by_key
from pattern_stream.db.read.census import take_census
from pattern_stream.errors import (
    DamagedMemory,
    DocumentTooLarge,
    Finding,
    InvalidCell,
    LimitExceeded,
    Where,
    ignore_findings,
)
from pattern_stream.items import (
    CELLS_TABLE,
    Cells,
    Close,
    Fold,
    Folded,
    MemoryHistory,
    Open,
    OpenMemoryBlock,
    OpenTable,
    Piece,
    RecordDict,
    RecordEvent,
    Records,
    Row,
)
from pattern_stream.pipelines.comparing_pieces import PieceComparison
from pattern_stream.pipelines.results import FindingLog
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.json_values import comes_back, describe, equal_json, read_json, write_json
from pattern_stream.schema.mapping.roundtrip import PARENTS, neutral_row
from pattern_stream.schema.mapping.row_to_record import row_mapper
from pattern_stream.schema.mapping.wire_values import describe_value
from pattern_stream.schema.model.cells import Large, StoredText
from pattern_stream.schema.model.nodes import (
    AgentExport,
    ConstellationExport,
    GroupConfigExport,
    GroupExport,
    NodeType,
)
from pattern_stream.schema.model.records import MemoryBlock, Record, SharedAttachment
from pattern_stream.schema.model.scopes import ResolvedScope, ScopeKind, Selection
from pattern_stream.stages.edit.check_documents import metadata_text
from pattern_stream.stages.mapping import record_of

_KINDS: Final[dict[type[NodeType], ScopeKind]] = {
    ConstellationExport: "constellation",
    GroupExport: "group",
    GroupConfigExport: "group",
    AgentExport: "agent",
}
_NAMED: Final = 10_000
"""Cells that are kept by name until the archive carries them, or does not."""

_NOT_COMPARED: Final[dict[type[Record], frozenset[str]]] = {MemoryBlock: frozenset({"frontier", "content_preview"})}
"""The stored frontier is of no use and is made anew on export; what it stands for is compared with the document. A
preview is compared by itself: in an archive that is not a whole backup it is the text of its document."""


@dataclass(slots=True)
class Comparison:
    """A comparison under way, and its result: how many records were looked at, in how many something differs.

    `only_in_database`: rows by table that the archive's scope has in the database, and the archive does not carry;
    with `both_ways` they are differences too. Rows of a table without a primary key are compared by their rowids; of an
    archive that has none they are counted, as nothing tells them apart; so are rows with NULL in their key. `ours`:
    whether this program made the archive, asked when the manifest has been read.
    """

    path: Path
    connection: Connection
    catalog: Catalog
    fold: Fold
    both_ways: bool = False
    ours: Callable[[], bool] = lambda: True
    records: int = 0
    count: int = 0
    only_in_database: dict[str, int] = field(default_factory=dict)
    log: FindingLog = field(default_factory=FindingLog)
    _scope: ResolvedScope | None = None
    _open_nodes: list[type[NodeType]] = field(default_factory=list)
    _met: Counter[str] = field(default_factory=Counter)
    _told: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    _keyed: Table | None = None
    _unsettled: UnsettledCells = field(default_factory=lambda: UnsettledCells())
    _pieces: PieceComparison | None = None

    @property
    def differs(self) -> bool:
        """Whether archive and database differ, as far as was asked."""
        return bool(self.count) or (self.both_ways and bool(self.only_in_database))

    def as_dict(self) -> dict[str, Any]:
        """As in the summary of `verify --against`."""
        return {
            "db": str(self.path),
            "records": self.records,
            "differing": self.count,
            "only_in_database": self.only_in_database,
            "differences": [finding.as_dict() for finding in self.log.findings()],
        }

    async def add(self, event: RecordEvent) -> None:
        """Compare what one more event carries."""
        if isinstance(event, Piece):
            if self._pieces is not None:
                await self._pieces.add(event)
            return
        await self._end_pieces()
        if isinstance(event, Records):
            await self._compare(event.record, event.records)
        elif isinstance(event, Cells):
            await self._compare_cells(event)
        elif isinstance(event, Open):
            await self._open(event)
            self._open_nodes.append(event.node)
        elif isinstance(event, Close):
            self._open_nodes.pop()

    async def _open(self, event: Open) -> None:
        if self._scope is None and event.node in _KINDS:
            id = event.record["id"] if event.record is not None else None
            self._scope = ResolvedScope(_KINDS[event.node], id, thin=event.node is GroupConfigExport)
        if isinstance(event, OpenTable):
            self._open_table(event)
        if event.record is None:
            return
        row = await self._compare(record_of(event.node), [event.record])
        if not isinstance(event, OpenMemoryBlock):
            return
        if row is not None and event.document is not None:
            await self._compare_preview(event, event.document, row)
            await self._compare_document(event, event.document, row)
        if event.history is not None:
            self._told = event.history.columns
            await self._compare_stored(event.record["id"], event.history)

    def _open_table(self, event: OpenTable) -> None:
        """Rows of a table come; rowids among them are the key where the database's table has no other, else nothing."""
        table, names = self.catalog.tables.get(event.cells_table), list[str | None](event.column_names)
        self._keyed = table
        if event.rowid_at is not None and table is not None:
            self._keyed = table.keyed
            names[event.rowid_at] = None if self._keyed is table else self._keyed.rowid
        self._told = {event.cells_table: names}

    def _table(self, name: str) -> Table | None:
        """A table of the database; the open one with its rowid as its key, where that is so."""
        return self._keyed if self._keyed is not None and self._keyed.name == name else self.catalog.tables.get(name)

    # --- declared records -------------------------------------------------------------------------------------------

    async def _compare(self, record: type[Record], records: Sequence[RecordDict]) -> Row | None:
        """Compare records with their rows. Returns the row of the last record, where there is one."""
        names = record.key
        keys = [tuple(carried[name] for name in names) for carried in records]
        rows = await rows_by_key(self.connection, self.catalog, record, keys)
        places = [record.index(name) for name in names]
        stored = {tuple(row[place] for place in places): row for row in rows}
        self.records += len(records)
        if not (
            record is SharedAttachment and ConstellationExport in self._open_nodes[:-1]
        ):  # which has them once more
            self._met[record.table] += len(stored)
        for key, carried in zip(keys, records, strict=True):
            await self._compare_one(record, key, carried, stored.get(key))
        return stored.get(keys[-1]) if keys else None

    async def _compare_one(
        self, record: type[Record], key: tuple[str, ...], carried: RecordDict, row: Row | None
    ) -> None:
        where = Where(table=record.table, row_id=" ".join(key))
        if row is None:
            self._differs("not-in-database", f"{record.noun} is in the archive, but not in the database", where)
            return
        found = self._mapped(record, row, where)
        if found is None:
            return
        given, carried = (
            carried,
            {name: read_json(str(value)) if type(value) is StoredText else value for name, value in carried.items()},
        )
        self._follow(record.table, key, {name: value for name, value in carried.items() if type(value) is Large}, where)
        skipped, differing = _NOT_COMPARED.get(record, frozenset()), set()
        for name, theirs, ours in self._differing(carried, found, skipped):
            differing.add(name)
            message = f"archive has {describe_value(theirs)}, database has {describe_value(ours)}"
            self._differs("differs", message, where.filled(Where(field=name)))
        for at, column in enumerate(record.fields):
            if column.kind == "json" and column.name not in differing and type(row[at]) is str:
                value = given[column.name]
                if type(value) is StoredText:
                    if not equal_json(str(value), row[at]):
                        message = "archive and database have JSON of other members or numbers"
                        self._differs("differs", message, where.filled(Where(field=column.name)))
                elif not self._comes_back(row[at], found[column.name]):
                    self._unsettled.add((record.table, key, column.column))

    def _comes_back(self, text: str, value: Any) -> bool:
        """Whether JSON text of the database is what the archive's value says."""
        if comes_back(text, value):
            return True
        return not self.ours() and equal_json(text, write_json(value), ulps=1)

    def _differing(
        self, carried: RecordDict, found: RecordDict, skipped: frozenset[str]
    ) -> Iterator[tuple[str, Any, Any]]:
        """# Trap: the original reads float text up to one unit off (docs/format.md#json-values), so its archives do."""
        ulps = 0 if self.ours() else 1
        for name in found:
            if name not in skipped and not _same(carried[name], found[name], ulps):
                yield name, carried[name], found[name]

    def _mapped(self, record: type[Record], row: Row, where: Where) -> RecordDict | None:
        """A row as it goes out; None, and a difference, where none like it could."""
        try:
            if record in PARENTS:
                row, _ = neutral_row(record, row)
            return row_mapper(record).map([row], ignore_findings)[0]
        except (InvalidCell, LimitExceeded) as error:
            message = f"archive has what a record can hold, database has what none can: {error.message}"
            self._differs("differs", message, where)
            return None

    # --- rows of any table ------------------------------------------------------------------------------------------

    async def _compare_cells(self, event: Cells) -> None:
        if event.table == CELLS_TABLE:
            for table, key, column, cell in event.rows:
                keys = _key_of(self.catalog.tables.get(table), key)
                self._unsettled.settle((table, keys, column))
                await self._compare_rows(table, (column,), [(keys, (cell,))])
            return
        if event.table == SEQUENCES:
            await self._compare_marks(event.rows)
            return
        names = self._told[event.table]
        table = self._table(event.table)
        if table is not None and not (set(table.key) <= set(names) and table.key):
            self._met[event.table] += len(event.rows)
            return
        places = [names.index(name) for name in table.key] if table is not None else []
        rows = [(tuple(row[place] for place in places), row) for row in event.rows]
        found = [(key, row) for key, row in rows if None not in key]
        self._met[event.table] += len(rows) - len(found)
        self._met[event.table] += await self._compare_rows(event.table, names, found)

    async def _compare_marks(self, rows: Sequence[Row]) -> None:
        """High-water marks of AUTOINCREMENT: a database that goes on has the same ones, or higher."""
        marks = await self.connection.run(high_water_marks)
        self.records += len(rows)
        self._met[SEQUENCES] += len(rows)
        for name, mark in rows:
            if not isinstance(mark, int) or mark > marks.get(name, 0):
                message = f"archive has the highest id {mark}, database has {marks.get(name, 'none')}"
                self._differs("differs", message, Where(table=SEQUENCES, row_id=str(name)))

    async def _compare_rows(
        self, name: str, columns: Sequence[str | None], carried: Sequence[tuple[tuple[Any, ...], Row]]
    ) -> int:
        """Rows by key against those of a table, cell by cell, in their storage classes. Returns how many are there."""
        self.records += len(carried)
        table = self._table(name)
        if table is None:
            message = f"archive has {len(carried)} rows of a table that the database does not have"
            self._differs("not-in-database", message, Where(table=name))
            return 0
        found = await table_rows_by_key(self.connection, table, [key for key, _ in carried])
        places = [table.names.index(column) for column in table.key]
        stored = {tuple(map(_exactly, (row[place] for place in places))): row for row in found}
        for key, row in carried:
            where = Where(table=name, row_id=" ".join(map(str, key)))
            self._compare_row(table, columns, key, row, stored.get(tuple(map(_exactly, key))), where)
        return len(stored)

    def _compare_row(
        self,
        table: Table,
        columns: Sequence[str | None],
        key: tuple[Any, ...],
        row: Row,
        found: Row | None,
        where: Where,
    ) -> None:
        if found is None:
            self._differs("not-in-database", "row is in the archive, but not in the database", where)
            return
        cells = dict(zip(table.names, found, strict=True))
        carried = {name: cell for name, cell in zip(columns, row, strict=True) if name is not None}
        self._follow(table.name, key, {name: cell for name, cell in carried.items() if type(cell) is Large}, where)
        for name, cell in carried.items():
            if name not in cells or _exactly(cell) != _exactly(cells[name]):
                message = f"archive has {describe(cell)}, database has {describe(cells.get(name))}"
                self._differs("differs", message, where.filled(Where(field=name)))

    def _follow(self, table: str, key: tuple[Any, ...], large: Mapping[str, Large], where: Where) -> None:
        """Cells whose bytes come next are read beside them."""
        if large:
            self._pieces = PieceComparison(
                self.connection, self._table(table) or self.catalog.find(table), key, large, where
            )

    async def _end_pieces(self) -> None:
        pieces, self._pieces = self._pieces, None
        if pieces is not None:
            for name in await pieces.finish():
                where = pieces.where.filled(Where(field=name))
                self._differs("differs", "archive and database have other bytes in a large cell", where)

    async def finish(self) -> None:
        """The end: what is still being compared, and what the archive lacks."""
        await self._end_pieces()
        for where, count in self._unsettled.rest():
            message = "database has JSON with numbers or members that the archive's value lost"
            self._differs("differs", message if count == 1 else f"{message}, in {count} cells", where)
            self.count += count - 1
        if self._scope is None:
            return
        census = await take_census(self.connection, self._scope, Selection())
        for counts in (census.carried, census.not_carried):
            for table, count in counts.items():
                self.only_in_database[table] = self.only_in_database.get(table, 0) + count
        rest = {table: count - self._met[table] for table, count in sorted(self.only_in_database.items())}
        self.only_in_database = {table: count for table, count in rest.items() if count > 0}

    async def _compare_stored(self, block_id: str, history: MemoryHistory) -> None:
        """The stored document and version of a memory block; its rows come as Cells."""
        cells = {"frontier": history.frontier} | ({} if history.base is None else {"loro_snapshot": history.base})
        known = {name: cell for name, cell in cells.items() if self.catalog.has(MemoryBlock.table, name)}
        await self._compare_rows(MemoryBlock.table, list(known), [((block_id,), tuple(known.values()))])

    def _differs(self, code: str, message: str, where: Where) -> None:
        self.count += 1
        self.log.report(Finding("warning", code, message, where))

    async def _compare_preview(self, event: OpenMemoryBlock, document: bytes, row: Row) -> None:
        """The archive's preview is the stored one, or the text of the archive's own document."""
        carried, stored = event.record["content_preview"], row[MemoryBlock.index("content_preview")]
        if carried == stored or type(carried) is Large:
            return
        try:
            found = await self.fold(document, (), metadata_text(event.record["metadata"]))
        except (DamagedMemory, LimitExceeded):
            found = None
        if found is None or (found.rendered or None) != carried:
            where = Where(table=MemoryBlock.table, row_id=event.record["id"], field="content_preview")
            self._differs("differs", f"archive has {describe(carried)}, database has {describe(stored)}", where)

    async def _shown(self, event: OpenMemoryBlock, document: bytes, metadata: str | None) -> Folded | None:
        """The archive's document as it is read; None where a whole backup has one too large to be looked into."""
        try:
            return await self.fold(document, (), metadata)
        except DocumentTooLarge:
            if event.history is None:
                raise
            return None

    async def _compare_document(self, event: OpenMemoryBlock, carried: bytes, row: Row) -> None:
        """The archive's document against the stored one with its active updates, as both are read."""
        block_id = event.record["id"]
        where = Where(table=MemoryBlock.table, row_id=block_id, field="loro_snapshot")
        stored = row[MemoryBlock.index("loro_snapshot")] or b""
        metadata = row[MemoryBlock.index("metadata")]
        text = metadata_text(metadata) if not isinstance(metadata, str) else metadata
        try:
            updates = await active_updates(self.connection, self.catalog, block_id)
            if carried == stored and not updates:
                return
            theirs = await self._shown(event, carried, text)
            if theirs is None:
                return
            ours = await self.fold(stored, updates, text)
        except (DamagedMemory, InvalidCell, LimitExceeded) as error:
            if isinstance(error, DocumentTooLarge) and event.history is not None and carried == stored:
                return  # it is carried as it is stored, since its edits make it too large
            self._differs("differs", f"documents cannot be compared: {error.message}", where)
            return
        if theirs.frontier != ours.frontier:
            self._differs("differs", "archive and database hold other versions of the memory document", where)
        elif theirs.rendered != ours.rendered:
            self._differs("differs", "memory documents of one version show different text", where)


@asynccontextmanager
async def open_comparison(
    path: Path, fold: Fold, *, both_ways: bool = False, ours: Callable[[], bool] = lambda: True
) -> AsyncGenerator[Comparison]:
    """A comparison with a database, read as one moment. Raises DatabaseError as opening does."""
    async with open_reader(path) as connection:
        yield Comparison(path, connection, await read_catalog(connection), fold, both_ways, ours)


class UnsettledCells:
    """Cells of the database that no value of a record equals: each is compared where the archive carries it by itself.

    Memory: names of _NAMED cells, beyond them a count by table.
    """

    def __init__(self) -> None:
        self._named: set[tuple[str, tuple[Any, ...], str]] = set()
        self._counts: Counter[str] = Counter()

    def add(self, cell: tuple[str, tuple[Any, ...], str]) -> None:
        """One more, as table, key and column."""
        if len(self._named) < _NAMED:
            self._named.add(cell)
        else:
            self._counts[cell[0]] += 1

    def settle(self, cell: tuple[str, tuple[Any, ...], str]) -> None:
        """The archive carries this cell."""
        if cell in self._named:
            self._named.remove(cell)
        elif self._counts[cell[0]]:
            self._counts[cell[0]] -= 1

    def rest(self) -> Iterator[tuple[Where, int]]:
        """Those that the archive does not carry, with how many each stands for."""
        for table, key, column in sorted(self._named):
            yield Where(table=table, row_id=" ".join(key), field=column), 1
        for table, count in sorted((+self._counts).items()):
            yield Where(table=table), count


def _key_of(table: Table | None, key: Any) -> tuple[Any, ...]:
    """The key of a single cell: one of several columns is a JSON array. Source: docs/format.md#lossy-cells."""
    if table is None or len(table.key) == 1:
        return (key,)
    with suppress(ValueError, TypeError):
        parts = read_json(key)
        if isinstance(parts, list) and len(parts) == len(table.key):
            return tuple(parts)
    return (None,) * len(table.key)  # no row has it


def _exactly(cell: Any) -> tuple[type, Any]:
    """A cell so that only one of the same storage class equals it."""
    return type(cell), repr(cell) if isinstance(cell, float) else cell


def _same(left: Any, right: Any, ulps: int) -> bool:
    """Equal as JSON, integers apart from floats, and these no more than so many units of the last place apart."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key], ulps) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(_same(one, other, ulps) for one, other in zip(left, right, strict=True))
    if isinstance(left, float):
        near = abs(left - right) <= ulps * math.ulp(max(abs(left), abs(right)))
        return near and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)
