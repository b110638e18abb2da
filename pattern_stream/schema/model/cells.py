"""Cells as SQLite stores them, of any table, and their form on the wire. Source: docs/format.md#cells.

NULL, INTEGER, REAL, TEXT and BLOB are null, integer, float, text and byte string, so the storage class is kept. What
DAG-CBOR has no form for is a map of one key; no cell is a map by itself.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import Any, Final

from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.records import Message, Record, canonical

Row = tuple[Any, ...]
"""Cells as SQLite holds them, in the order of `Record.columns` or of the table."""


class NotUtf8(bytes):
    """Text of a cell that is no UTF-8, as its bytes."""


class StoredText(str):
    """The text of a JSON column as it is stored: too large to be parsed."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Large:
    """A cell too large to travel in its row: `bytes` long, stored as TEXT (UTF-8) or BLOB. Its bytes follow as Pieces.

    A row or record that has one is alone in its batch. After it come Pieces, for each Large in the order of the columns
    (of `Record.columns`, or of the table), each piece but the last of a cell VALUE_PIECE_BYTES long.
    """

    bytes: int
    text: bool


def in_short(value: Any) -> Any:
    """A value for a list or summary: its length in place of one that is too large to travel in its row."""
    return f"({value.bytes} bytes)" if type(value) is Large else value


@dataclass(frozen=True, slots=True)
class External:
    """A cell as a node has it that moved it out: its length in bytes, and the CIDs of its pieces in order.

    `text`: stored as TEXT. There are no pages of pieces: SQLite holds no row of more than 2,387.
    """

    bytes: int
    text: bool
    cids: tuple[builtins.bytes, ...]


_UNBOUNDED: Final[Mapping[str, float]] = {"inf": inf, "-inf": -inf}

HISTORY_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "memory_block_updates": (
        "id", "block_id", "seq", "update_blob", "byte_size", "source", "created_at", "frontier", "is_active",
    ),
    "memory_block_checkpoints": ("id", "block_id", "snapshot", "created_at", "updates_consolidated", "frontier"),
}  # fmt: skip
"""Columns of the tables of memory history in their physical order, after all migrations.
Source: docs/database.md#memory-history-tables."""

HISTORY_KEY: Final = ("id",)
"""The primary key of both tables of memory history."""


def cell_to_wire(cell: Any) -> Any:
    """A cell in its form on the wire; what is too large, and what holds links, is the encoder's to place.

    # Trap: NaN is NULL in SQLite, so no cell is one.
    """
    if type(cell) is float and not isfinite(cell):
        return {"real": "inf" if cell > 0 else "-inf"}
    if type(cell) is NotUtf8:
        return {"text": bytes(cell)}
    return cell


def cell_from_wire(value: Any) -> Any:
    """The cell that a value of a table chunk stands for. Raises ValueError with what was expected.

    `external` maps are not for here.
    """
    if type(value) is not dict:
        if type(value) is bool or type(value) not in _CELL_TYPES:
            raise ValueError("expected null, an integer, a float, text or a byte string")
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise ValueError("expected an integer of 64 bits")
        return value
    (key, content), *more = value.items() or [(None, None)]
    if not more and key == "real" and type(content) is str and content in _UNBOUNDED:
        return _UNBOUNDED[content]
    if not more and key == "text" and type(content) is bytes:
        return NotUtf8(content)
    raise ValueError('expected {"real": "inf" or "-inf"}, {"text": a byte string} or {"external": ...}')


_CELL_TYPES: Final = frozenset({type(None), int, float, str, bytes})

_KEPT_IN: Final[Mapping[type[Record], frozenset[str]]] = {Message: frozenset({"position"})}
"""Fields that stay in their record whatever their size, beside ids: the nodes above name them."""


def movable_fields(record: type[Record]) -> tuple[str, ...]:
    """The fields of a record that may be moved out of a block, in canonical key order: text and JSON, but no ids."""
    kept = _KEPT_IN.get(record, frozenset())
    return tuple(field.name for field in record.wire_fields() if field.may_be_large and field.name not in kept)


def move_order(record: type[Record], sizes: Mapping[str, int]) -> Sequence[str]:
    """The movable fields, the largest first, ties in key order."""
    return sorted(movable_fields(record), key=lambda name: (-sizes[name], canonical(name)))
