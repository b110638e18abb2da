"""The worker that reads messages ahead of an export: it fetches, maps and encodes the messages of whole statements.

The rest of a statement from the first lossy message on is left to its parent, which reports the fault and its
place. Frames have ids, positions, sizes and container counts of messages, column by column, the places of those that
start a chunk, and the bytes of all.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import chain, pairwise
from typing import Any

from pattern_stream.codec.chunk_borders import chunk_borders
from pattern_stream.codec.dagcbor import encode_records
from pattern_stream.db.connection.cursor import Scale
from pattern_stream.schema.mapping.roundtrip import batch_survives
from pattern_stream.schema.mapping.row_to_record import row_mapper
from pattern_stream.schema.model.records import Message
from pattern_stream.workers.serving import LAST, MORE, REST, Send, serve
from pattern_stream.workers.slots import Slots

EncodedBatch = tuple[list[Any], list[Any], list[int], list[int], list[bytes]]
Frame = tuple[bytes, tuple[list[Any], ...], list[bytes]]

_ID, _POSITION = Message.index("id"), Message.index("position")


class MessageEncoder:
    """Messages of a statement on the fast path, ready to be spliced. `longest_bytes`: a longer message is not."""

    def __init__(self, connection: sqlite3.Connection, longest_bytes: int, frame_bytes: int) -> None:
        self._connection = connection
        self._longest_bytes, self._frame_bytes = longest_bytes, frame_bytes
        self._scale, self._mapper = Scale(), row_mapper(Message)

    def answer(self, send: Send, sql: str, total_sql: str, parameters: dict[str, Any]) -> None:
        """Send the frames of a statement."""
        for frame in self.frames(sql, total_sql, parameters):
            send(*frame)

    def frames(self, sql: str, total_sql: str, parameters: dict[str, Any]) -> Generator[Frame]:
        """The messages of a statement, up to the first that is not on the fast path. `sql` has them by position alone,
        which is quick: from where two positions tie on, `total_sql` is read.
        """
        gathered: list[EncodedBatch] = []
        size, kind = 0, LAST
        for batch in self._batches(sql, total_sql, parameters):
            if batch is None:
                kind = REST
                break
            gathered.append(batch)
            if (size := size + sum(batch[2])) >= self._frame_bytes:
                yield (MORE, *_joined(gathered))
                gathered, size = [], 0
        yield (kind, *_joined(gathered))

    def _batches(self, sql: str, total_sql: str, parameters: dict[str, Any]) -> Iterator[EncodedBatch | None]:
        """A few messages at a time; None where one of them is not on the fast path, and the parent will see why."""
        try:
            done = yield from self._untied(sql, parameters)
            if done is not None:
                rest = self._rows(f"{total_sql} LIMIT -1 OFFSET {done}", parameters)
                yield from map(self._encoded, rest)
        except (sqlite3.Error, ValueError, OverflowError):
            yield None

    def _untied(self, sql: str, parameters: dict[str, Any]) -> Generator[EncodedBatch | None, None, int | None]:
        """The messages before the first of those whose positions tie; returns how many, None where none do.

        The last row of each piece waits for the next, which may begin with its position.
        """
        done = 0
        waiting: list[Any] = []
        for piece in self._rows(sql, parameters):
            rows = waiting + piece
            if len({row[_POSITION] for row in rows}) < len(rows):
                positions = [row[_POSITION] for row in rows]
                tie = next(at for at, both in enumerate(pairwise(positions)) if both[0] == both[1])
                if alone := rows[:tie]:
                    yield self._encoded(alone)
                return done + len(alone)
            *rows, last = rows
            waiting = [last]
            done += len(rows)
            if rows:
                yield self._encoded(rows)
        if waiting:
            yield self._encoded(waiting)
        return None

    def _rows(self, sql: str, parameters: dict[str, Any]) -> Iterator[list[Any]]:
        """A few rows, so that they are still in the processor's cache when they are encoded: 64 at a time cost half of
        512.
        """
        with closing(sqlite3.Cursor(self._connection)) as cursor:
            cursor.execute(sql, parameters)
            while rows := cursor.fetchmany(self._scale.piece_rows):
                self._scale.weigh(rows)
                yield rows

    def _encoded(self, rows: list[Any]) -> EncodedBatch | None:
        mapped = self._mapper.map_fast(rows)
        if mapped is None or not batch_survives(Message, rows, mapped[0]):
            return None
        records, containers = mapped
        parts = encode_records(records)
        sizes = list(map(len, parts))
        if max(sizes) > self._longest_bytes:
            return None
        return [row[_ID] for row in rows], [row[_POSITION] for row in rows], sizes, containers, parts


def _joined(batches: list[EncodedBatch]) -> tuple[tuple[list[Any], ...], list[bytes]]:
    """The columns of the messages, the places of those that start a chunk, and their bytes."""
    columns = tuple(list(chain.from_iterable(batch[at] for batch in batches)) for at in range(4))
    borders = chunk_borders(identity.encode() for identity in columns[0])
    return (*columns, borders), list(chain.from_iterable(batch[4] for batch in batches))


def prepare(
    _slots: Slots | None,
    uri: str,
    pragmas: Sequence[str],
    longest_cell_bytes: int,
    longest_bytes: int,
    frame_bytes: int,
) -> Callable[..., None]:
    """Begin a read transaction of the database."""
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest_cell_bytes)
    for pragma in pragmas:
        connection.execute(pragma)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    return MessageEncoder(connection, longest_bytes, frame_bytes).answer


def main() -> None:
    """Serve, as `workers.serving` says."""
    try:
        serve(prepare)
    except sqlite3.Error:
        os._exit(1)
