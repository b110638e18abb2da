"""Decoded rows of tables beyond the declared records, and the columns they come with.
Source: docs/format.md#memory-history, #extension-tables."""

from __future__ import annotations

from itertools import chain
from typing import Any, Final

from pattern_stream.errors import MalformedNode, Where
from pattern_stream.schema.checks.version_4 import EXTERNAL, check_external
from pattern_stream.schema.mapping.wire_values import I64, Wrong, describe_value, malformed, strings, typed
from pattern_stream.schema.model.cells import HISTORY_COLUMNS, Row, cell_from_wire

_PLAIN: Final = frozenset({str, bytes, float, type(None)})
_WITH_INTEGERS: Final = _PLAIN | {int}

_NEEDED: Final = {
    "memory_block_updates": {"id", "block_id", "seq", "update_blob"},
    "memory_block_checkpoints": {"id", "block_id", "snapshot", "created_at"},
}
"""Columns of memory history that every schema has, and without which the rows have no meaning."""


def check_rows(value: Any, place: str, *, version_4: bool) -> list[Row]:
    """Arrays of cells as rows, all of one width. Raises MalformedNode naming row and column by number.

    `version_4`: a cell may be External; its row is then alone.
    """
    rows = _arrays(value, place)
    kinds = set(map(type, chain.from_iterable(rows)))
    if kinds <= _WITH_INTEGERS and (
        int not in kinds or all(I64[0] <= cell <= I64[1] for row in rows for cell in row if type(cell) is int)
    ):
        return [tuple(row) for row in rows]
    return [
        tuple(
            _cell(cell, f"{place}[{index}][{column}]", alone=version_4 and len(rows) == 1)
            for column, cell in enumerate(row)
        )
        for index, row in enumerate(rows)
    ]


def _arrays(value: Any, place: str) -> list[list[Any]]:
    rows: list[list[Any]] = typed(value, list)
    for index, row in enumerate(rows):
        if type(row) is not list or len(row) != len(rows[0]):
            found = f"an array of {len(row)} cells" if type(row) is list else describe_value(row)
            expected = f"an array of {len(rows[0])} cells" if type(rows[0]) is list else "an array"
            raise MalformedNode(f"found {found}, expected {expected}", where=Where(field=f"{place}[{index}]"))
    return rows


def _cell(value: Any, place: str, *, alone: bool) -> Any:
    try:
        if alone and type(value) is dict and len(value) == 1 and EXTERNAL in value:
            return check_external(value[EXTERNAL])
        return cell_from_wire(value)
    except ValueError as error:
        raise malformed(error, value, place) from error


def check_columns(value: Any) -> list[dict[str, Any]]:
    """The columns of a table: array of {name, type}, each name once, one with `rowid` true. Raises Wrong."""
    columns: list[dict[str, Any]] = []
    for column in typed(value, list):
        typed(column, dict)
        columns.append({key: typed(column.get(key), str) for key in ("name", "type")})
        if column.get("rowid"):
            columns[-1]["rowid"] = typed(column["rowid"], bool)
    if sum("rowid" in column for column in columns) > 1:
        raise Wrong("found two columns that are the rowid, expected one at most")
    _expect_distinct([column["name"] for column in columns])
    return columns


def check_history_columns(value: Any) -> dict[str, tuple[str, ...]]:
    """The columns of the tables of memory history, where they are others than usual. Raises Wrong."""
    given = typed(value, dict)
    for table in given:
        if table not in HISTORY_COLUMNS:
            raise Wrong(f"found columns of {table!r}, expected those of {' and '.join(HISTORY_COLUMNS)}")
    return {table: _history_columns(table, given.get(table)) for table in HISTORY_COLUMNS}


def _history_columns(table: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return HISTORY_COLUMNS[table]
    names = strings(value)
    _expect_distinct(names)
    if missing := _NEEDED[table] - set(names):
        raise Wrong(f"found no column {', '.join(sorted(missing))} of {table}, which must be there")
    return tuple(names)


def _expect_distinct(names: list[str]) -> None:
    if not names:
        raise Wrong("found no columns, expected one or more")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Wrong(f"found column {name!r} twice, expected each once")
        seen.add(name)
