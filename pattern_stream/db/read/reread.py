"""Rows of the declared tables read once more, whole: as they are stored, and as the records that they may be."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from pattern_stream.db.catalog.catalog import Table
from pattern_stream.db.read.query import Query, table_query
from pattern_stream.db.read.reading import Reading
from pattern_stream.db.read.row_order_sql import beyond, in_order
from pattern_stream.items import Row
from pattern_stream.schema.model.records import (
    ArchivalEntry,
    Message,
    Record,
)
from pattern_stream.schema.model.scopes import Selection


def left_out(selection: Selection) -> frozenset[str]:
    """Tables of which nothing is wanted."""
    unwanted = {Message.table: not selection.messages, ArchivalEntry.table: not selection.archival}
    return frozenset(table for table, out in unwanted.items() if out)


def whole_query(reading: Reading, table: Table) -> Query:
    """All rows of a declared table in order; the last cell says whether the version 3 part lacks the row."""
    return table_query(table, in_order(table), extra=(beyond(reading.held, table),))


def as_record(record: type[Record], names: Sequence[str]) -> Callable[[Row], Row]:
    """From rows with these columns to rows in `record.columns` order; what an older schema lacks has its default."""
    defaults = tuple(_default(field.missing) for field in record.fields)
    places = {name: index for index, name in enumerate(names)}
    first = len(names)
    pick = itemgetter(*(places.get(name, first + index) for index, name in enumerate(record.columns)))
    return lambda row: pick((*row[:first], *defaults))


def _default(sql: str | None) -> Any:
    """The value of a default as a field declares it: a literal, or NULL."""
    return None if sql in (None, "NULL") else ast.literal_eval(str(sql))
