"""Every record that an archive carries against the row of a database that it stands for."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from pattern_stream.codec.dagcbor import encode_record
from pattern_stream.db.columns import Columns, read_columns
from pattern_stream.db.lookup import active_updates, key_columns, rows_by_key
from pattern_stream.db.open import open_reader
from pattern_stream.errors import DamagedMemory, Finding, Where, ignore_findings
from pattern_stream.items import Fold, Open, RecordDict, RecordEvent, Records, Row
from pattern_stream.pipelines.results import FindingLog
from pattern_stream.schema.checks import describe_value
from pattern_stream.schema.compile import row_mapper
from pattern_stream.schema.records import MemoryBlock, Record
from pattern_stream.schema.values import write_json
from pattern_stream.stages.mapping import record_of

_NOT_COMPARED: Final[dict[type[Record], frozenset[str]]] = {MemoryBlock: frozenset({"frontier"})}
"""The stored frontier is of no use and is made anew on export; what it stands for is compared with the document."""


@dataclass(slots=True)
class Comparison:
    """A comparison under way, and its result: how many records were looked at, in how many something differs."""

    path: Path
    connection: AsyncConnection
    columns: Columns
    fold: Fold
    records: int = 0
    count: int = 0
    log: FindingLog = field(default_factory=FindingLog)

    def as_dict(self) -> dict[str, Any]:
        """As in the summary of `verify --against`."""
        return {
            "db": str(self.path),
            "records": self.records,
            "differing": self.count,
            "differences": [finding.as_dict() for finding in self.log.findings()],
        }

    async def add(self, event: RecordEvent) -> None:
        """Compare what one more event carries."""
        if isinstance(event, Records):
            await self._compare(event.record, event.records)
        elif isinstance(event, Open) and event.record is not None:
            row = await self._compare(record_of(event.node), [event.record])
            if row is not None and "loro_snapshot" in event.extra:
                await self._compare_document(event, row)

    async def _compare(self, record: type[Record], records: Sequence[RecordDict]) -> Row | None:
        """Compare records with their rows. Returns the row of the last record, where there is one."""
        names = key_columns(record)
        keys = [tuple(carried[name] for name in names) for carried in records]
        rows = await rows_by_key(self.connection, self.columns, record, keys)
        places = [record.index(name) for name in names]
        stored = {tuple(row[place] for place in places): row for row in rows}
        mapped = dict(zip(stored, row_mapper(record).map(list(stored.values()), ignore_findings), strict=True))
        self.records += len(records)
        for key, carried in zip(keys, records, strict=True):
            self._compare_one(record, key, carried, mapped.get(key))
        return stored.get(keys[-1]) if keys else None

    def _compare_one(
        self, record: type[Record], key: tuple[str, ...], carried: RecordDict, found: RecordDict | None
    ) -> None:
        where = Where(table=record.table, row_id=" ".join(key))
        if found is None:
            self._differs("not-in-database", f"{record.noun} is in the archive, but not in the database", where)
        elif encode_record(carried) != encode_record(found):
            skipped = _NOT_COMPARED.get(record, frozenset())
            for name, theirs, ours in _differing(carried, found, skipped):
                message = f"archive has {describe_value(theirs)}, database has {describe_value(ours)}"
                self._differs("differs", message, Where(table=where.table, row_id=where.row_id, field=name))

    def _differs(self, code: str, message: str, where: Where) -> None:
        self.count += 1
        self.log.report(Finding("warning", code, message, where))

    async def _compare_document(self, event: Open, row: Row) -> None:
        """The archive's document against the stored one with its active updates, as both are read."""
        block_id = event.record["id"]
        where = Where(table=MemoryBlock.table, row_id=block_id, field="loro_snapshot")
        carried, stored = event.extra["loro_snapshot"], row[MemoryBlock.index("loro_snapshot")] or b""
        updates = await active_updates(self.connection, self.columns, block_id)
        if carried == stored and not updates:
            return
        metadata = row[MemoryBlock.index("metadata")]
        text = metadata if metadata is None or isinstance(metadata, str) else write_json(metadata)
        try:
            theirs = await self.fold(carried, (), text)
            ours = await self.fold(stored, updates, text)
        except DamagedMemory as error:
            self._differs("differs", f"documents cannot be compared: {error.message}", where)
            return
        if theirs.frontier != ours.frontier:
            self._differs("differs", "archive and database hold other versions of the memory document", where)
        elif theirs.rendered != ours.rendered:
            self._differs("differs", "memory documents of one version show different text", where)


@asynccontextmanager
async def open_comparison(path: Path, fold: Fold) -> AsyncGenerator[Comparison]:
    """A comparison with a database, read as one moment. Raises DatabaseError as opening does."""
    async with open_reader(path) as connection:
        yield Comparison(path, connection, await read_columns(connection), fold)


def _differing(carried: RecordDict, found: RecordDict, skipped: frozenset[str]) -> Iterator[tuple[str, Any, Any]]:
    for name in found:
        if name not in skipped and not _same(carried[name], found[name]):
            yield name, carried[name], found[name]


def _same(left: Any, right: Any) -> bool:
    """Equal as JSON, integers apart from floats. # Trap: the original reads float text up to one unit off (v3 2.2)."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, float):
        near = abs(left - right) <= math.ulp(max(abs(left), abs(right)))
        return near and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)
