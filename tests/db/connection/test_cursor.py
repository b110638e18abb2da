"""Cursors: batches are bounded in bytes at little cost, and no failure keeps a file open."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_stream.db.connection.cursor import MAX_PIECE_ROWS, PIECE_BYTES, BoundedConnection, Scale, weigh_cells
from pattern_stream.format import BATCH_ROWS
from tests.db.worlds import build

MIB = 1024 * 1024
COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "
CELLS = st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=20))


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=16))
def test_small_pieces_are_weighed_exactly(piece: list[tuple[object, ...]]) -> None:
    """Up to 16 rows the weight is the sum over all text and BLOB cells, whatever else is among them."""
    slow = sum(len(cell) for row in piece for cell in row if isinstance(cell, str | bytes))

    assert slow == weigh_cells(piece) == Scale().weigh(piece)


def test_pieces_grow_while_rows_are_small() -> None:
    """From 4 rows by doubling to the most."""
    scale = Scale()
    sizes = [scale.piece_rows]
    for _ in range(6):
        scale.weigh([("k", 1, "x")] * scale.piece_rows)
        sizes.append(scale.piece_rows)

    assert [4, 8, 16, 32, MAX_PIECE_ROWS, MAX_PIECE_ROWS, MAX_PIECE_ROWS] == sizes


def test_pieces_shrink_to_one_row() -> None:
    """Rows above the size of a piece come one at a time, and grow again when they are small again."""
    scale = Scale()
    scale.weigh([("k", b"x" * PIECE_BYTES)] * 4)
    shrunk = scale.piece_rows
    scale.weigh([("k", b"x")])

    assert (shrunk, scale.piece_rows) == (1, 2)


def test_light_rows_are_estimated() -> None:
    """Of light rows a sample is enough: the estimate is right where rows are alike."""
    for rows in (17, 30, 63, 64):
        assert Scale().weigh([("k", None, "x" * 200)] * rows) == rows * 201


def test_heavy_rows_are_weighed_exactly() -> None:
    """Where the sample is heavy the whole piece is looked at."""
    piece = [("k", i, "x" * (i * 1000)) for i in range(64)]

    assert Scale().weigh(piece) == 64 + 1000 * sum(range(64))


def test_scattered_heavy_rows_are_found() -> None:
    """Heavy cells in one row of eight are found within a few pieces, whichever rows hold them."""
    for phase in range(8):
        scale = Scale()
        piece = [("k", b"x" * 100_000 if row % 8 == phase else b"") for row in range(64)]

        assert 64 + 800_000 in [scale.weigh(piece) for _ in range(200)]


def test_one_column() -> None:
    """Rows of a single cell are weighed like any others."""
    for cell, rows, weight in (("x" * 200, 64, 12_800), ("x", 64, 64), (None, 64, 0), ("x", 3, 3)):
        assert Scale().weigh([(cell,)] * rows) == weight


def test_bounded_cursor_without_an_event_loop() -> None:
    """The cursor is an ordinary one of sqlite3: an early return is not the end, an empty list is."""
    with closing(sqlite3.connect(":memory:", factory=BoundedConnection)) as connection:
        cursor = connection.execute(COUNT.format(rows=40) + "SELECT i, zeroblob(?) FROM n", (MIB,))
        lengths = []
        while rows := cursor.fetchmany(BATCH_ROWS):
            lengths.append(len(rows))

    assert [4] * 10 == lengths


FAILING = {
    "execute": "INSERT INTO agents (id) SELECT id FROM agents",
    "fetchmany": "SELECT json(column1) FROM (VALUES ('1'), ('no JSON'))",
}


@pytest.mark.parametrize("where", FAILING)
def test_a_kept_error_keeps_no_file_open(tmp_path: Path, where: str) -> None:
    """A connection that is closed after a failure is closed, its WAL put away, whoever still looks at the error."""
    path = build(tmp_path / "a.db", journal="WAL")
    connection = sqlite3.connect(path, factory=BoundedConnection, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE UNIQUE INDEX one ON agents (id)")
    with pytest.raises(sqlite3.Error) as kept:
        connection.execute(FAILING[where]).fetchmany()
    connection.close()

    assert kept.traceback
    assert ["a.db"] == [found.name for found in tmp_path.iterdir()]
