"""New ids in the cells of whole rows: `identity` over the references that `references` names. Source: v4 6."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from pattern_stream.errors import Finding, MalformedNode, Report, Where
from pattern_stream.schema.ids.new_ids import Identity, mint_bytes
from pattern_stream.schema.mapping.json_values import describe
from pattern_stream.schema.model.cells import Large, NotUtf8, Row
from pattern_stream.schema.model.id_columns import AGENT_LISTS, BLOCK_REFS, references_of
from pattern_stream.schema.model.records import DECLARED


@dataclass(frozen=True, slots=True)
class RowTranslation:
    """The rows of one table with these columns, under new ids.

    Memory:  one row. A cell that is no text stays, with a warning, and so does one that is too large for its row.
    """

    identity: Identity
    table: str
    columns: tuple[str, ...]
    report: Report

    def translate(self, rows: Sequence[Row]) -> list[Row]:
        """The rows with every id and every reference in them replaced."""
        changes = [
            (at, change) for at, column in enumerate(self.columns) if (change := self._change(column)) is not None
        ]
        return [self._translated(row, changes) for row in rows] if changes else list(rows)

    def translate_cell(self, column: str, cell: Any) -> Any:
        """One cell of the table."""
        change = self._change(column)
        return cell if change is None else self._changed(column, change, cell)

    def translate_key(self, key: Any) -> Any:
        """The key of a cell: an id, or a JSON array of the ids of a key of several columns."""
        columns, references = DECLARED[self.table].key, references_of(self.table)
        if not isinstance(key, str):
            return key
        if len(columns) == 1:
            return self.identity.mint(key, references[columns[0]]) if columns[0] in references else key
        try:
            parts = orjson.loads(key)
        except ValueError:
            return key
        if not isinstance(parts, list) or len(parts) != len(columns) or not all(isinstance(p, str) for p in parts):
            return key
        minted = [self.identity.mint(part, references[column]) for part, column in zip(parts, columns, strict=True)]
        return orjson.dumps(minted).decode()

    def _change(self, column: str) -> Callable[[str], str] | None:
        """How a text in a column changes."""
        identity = self.identity
        kind = references_of(self.table).get(column)
        if kind is not None:
            found = kind
            return lambda text: identity.mint(text, found)
        if column in AGENT_LISTS.get(self.table, ()):
            return identity.translate_agents
        if column not in BLOCK_REFS.get(self.table, ()):
            return None
        deep = self.table not in DECLARED
        return lambda text: identity.translate_text(text, deep=deep)

    def _translated(self, row: Row, changes: list[tuple[int, Callable[[str], str]]]) -> Row:
        require_width(row, self.columns, self.table)
        cells = list(row)
        for at, change in changes:
            if cells[at] is not None:
                cells[at] = self._changed(self.columns[at], change, cells[at])
        return tuple(cells)

    def _changed(self, column: str, change: Callable[[str], str], cell: Any) -> Any:
        if cell is None or isinstance(cell, str):
            return cell if cell is None else change(cell)
        kind = references_of(self.table).get(column)
        if type(cell) is NotUtf8 and kind is not None and kind != "batch":
            return mint_bytes(self.identity.key, cell, kind)
        where = Where(table=self.table, field=column)
        found = f"a cell of {cell.bytes} bytes" if type(cell) is Large else describe(cell)
        self.report(Finding("warning", "id-kept", f"found {found} where ids are: left as it is", where))
        return cell


def require_width(row: Row, columns: Sequence[str], table: str) -> None:
    """A row has a cell for each column. Raises MalformedNode."""
    if len(row) != len(columns):
        raise MalformedNode(f"row has {len(row)} cells, expected {len(columns)}", where=Where(table=table))
