"""SQL for names and cells. Most cells bind as they are; two kinds need an expression around their parameter.

A text that is no UTF-8 can only be bound as its bytes; a cell that was too large for its row lies in a table of pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final

from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.cells import NotUtf8

Row = tuple[Any, ...]

STAGE: Final = "pattern_stream_pieces"
"""The temporary table of large cells whose rows are not written yet."""

_STAGED: Final = f"(SELECT cell FROM temp.{STAGE} WHERE number = ?)"


@dataclass(frozen=True, slots=True)
class Staged:
    """A large cell that is whole: its number in the temporary table, and whether it is TEXT."""

    number: int
    text: bool


SHOWN_CHARS: Final = 80
"""Characters of a cell that a message shows."""

_ODD: Final = frozenset({NotUtf8, Staged})


def is_odd(rows: Iterable[Row]) -> bool:
    """Whether any cell of these rows needs more than a parameter."""
    return not _ODD.isdisjoint(map(type, chain.from_iterable(rows)))


def has_staged(rows: Sequence[Row]) -> bool:
    """Whether this is a row with a large cell, which is alone in its batch."""
    return len(rows) == 1 and Staged in map(type, rows[0])


def mark(cell: Any) -> str:
    """The SQL for a cell in a statement."""
    if type(cell) is Staged:
        return f"CAST({_STAGED} AS {'TEXT' if cell.text else 'BLOB'})"  # without the cast SQLite makes one copy more
    return "CAST(? AS TEXT)" if type(cell) is NotUtf8 else "?"


def parameters(cells: Iterable[Any]) -> list[Any]:
    """The parameters for the marks of these cells."""
    return [cell.number if type(cell) is Staged else bytes(cell) if type(cell) is NotUtf8 else cell for cell in cells]


def shown(cell: Any) -> str:
    """A cell in a message that names a row by it."""
    if isinstance(cell, bytes):
        cell = cell.decode(errors="backslashreplace")
    text = str(cell)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."


def quoted(name: str) -> str:
    """A name of the database's own as SQL. Names from an archive are never quoted, only compared."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str]) -> str:
    """Names as SQL, separated by commas."""
    return ", ".join(map(quoted, names))


def insert_into(table: str, columns: Sequence[str]) -> str:
    """The statement that inserts one row with these columns."""
    return f"INSERT INTO {quoted(table)} ({listed(columns)}) VALUES ({', '.join('?' * len(columns))})"


def equal(columns: Sequence[str], cells: Sequence[Any]) -> str:
    """The condition that all these columns equal these cells."""
    return " AND ".join(f"{quoted(column)} = {mark(cell)}" for column, cell in zip(columns, cells, strict=True))


def assigned(columns: Sequence[str], cells: Sequence[Any]) -> str:
    """The SQL after SET: these columns get these cells."""
    return ", ".join(f"{quoted(column)} = {mark(cell)}" for column, cell in zip(columns, cells, strict=True))
