"""How heavy the rows are that were just fetched, at little cost.

Looking at every cell takes a fifth of the time of fetching it. So of a larger piece only one row in eight is looked at,
and the rest only where those are heavy. Measured on 200,000 rows of 14 columns and 1.4 kB, against a bare
`fetchmany(512)`: 1.04 x in this way, 1.19 x with every cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import length_hint
from typing import Any, Final

from pattern_stream.format import BATCH_BYTES, BATCH_ROWS

Cells = tuple[Any, ...]

FIRST_PIECE_ROWS: Final = 4
"""Rows fetched before anything is known of their size."""

MAX_PIECE_ROWS: Final = 64
"""Most rows fetched without looking."""

PIECE_BYTES: Final = 256 * 1024
"""What a piece should hold at most, going by the piece before it."""

EXACT_ROWS: Final = 16
"""Pieces up to this many rows are looked at whole."""

SAMPLE_STEP: Final = 8
"""Of a larger piece one row in so many is looked at."""

LIGHT_ROW_BYTES: Final = BATCH_BYTES // BATCH_ROWS
"""Rows up to this on average fill a batch by their number, not their weight."""


def weigh_cells(cells: Sequence[Cells]) -> int:
    """Characters and bytes in all text and BLOB cells."""
    return sum(map(length_hint, chain.from_iterable(cells)))


class Scale:
    """Weighs pieces, and says how many rows the next one may have.

    Which rows are looked at follows from Python's salted hash of text, so no file can be made to slip through: of rows
    that are heavy among light ones, about eight pass unseen before one is found.
    """

    def __init__(self) -> None:
        self.piece_rows = FIRST_PIECE_ROWS
        self._turn = hash(__name__)

    def weigh(self, piece: Sequence[Cells]) -> int:
        """The weight of a piece: exact where it is small or heavy, else an estimate. Sizes the next piece by it."""
        weight = self._weigh(piece)
        fitting = PIECE_BYTES * len(piece) // max(weight, 1)
        self.piece_rows = max(1, min(fitting, 2 * self.piece_rows, MAX_PIECE_ROWS))
        return weight

    def _weigh(self, piece: Sequence[Cells]) -> int:
        if len(piece) <= EXACT_ROWS:
            return weigh_cells(piece)
        self._turn = hash((self._turn, len(piece)))
        sample = piece[self._turn % SAMPLE_STEP :: SAMPLE_STEP]
        estimate = weigh_cells(sample) * len(piece) // len(sample)
        return estimate if estimate <= LIGHT_ROW_BYTES * len(piece) else weigh_cells(piece)
