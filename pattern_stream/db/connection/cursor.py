"""Fetching rows in batches that are bounded in rows and in bytes where they are fetched.

512 rows of 480 KB are 249 MB, so a plain `fetchmany(512)` is no bound. The cursor here gathers a batch in small pieces,
in one hop to the driver's thread, and stops once a batch is heavy. When reading fails it finds out at which row.
"""

from __future__ import annotations

import sqlite3
from asyncio import CancelledError
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite
import anyio
from sqlalchemy.ext.asyncio import AsyncConnection

from pattern_stream.db.connection.batch_size import Cells, Scale
from pattern_stream.db.connection.cell_limit import NeedsCare, limited, no_text, too_large
from pattern_stream.db.connection.errors import translate
from pattern_stream.errors import InvalidCell, PatternStreamError, Where
from pattern_stream.format import BATCH_BYTES, BATCH_ROWS

Result = TypeVar("Result")
Parameters = Sequence[object] | Mapping[str, object]

FETCH_ROWS: Final = BATCH_ROWS // 4
"""Rows of one hop. With more of them, what is done next to each finds it no longer in the processor's cache: mapping
and encoding messages by 512 takes twice the time of doing it by 64; a hop costs as much as 20 rows."""

PATH_KEY: Final = "pattern_stream.path"
"""Where the `info` of a connection that `open` made keeps the path of its database."""


class FailedFetch(sqlite3.DatabaseError):
    """Fetching failed: the driver's error, the last row before, and the row and column at fault if they can be told."""

    def __init__(self, error: sqlite3.Error, last: Cells | None, bad: Cells | None, column: str | None) -> None:
        super().__init__(*error.args)
        self.sqlite_errorcode = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        self.last, self.bad, self.column = last, bad, column


class _Undecodable(bytes):
    """Text of a cell that is no UTF-8."""


class Batch:
    """A batch being gathered: what it still takes, and whether it is full."""

    def __init__(self, scale: Scale, most_rows: int) -> None:
        self.rows: list[Cells] = []
        self._scale = scale
        self._most_rows = most_rows
        self._weight = 0

    def wanted_rows(self) -> int:
        """How many rows to fetch next; 0 when the batch is full."""
        if self._weight >= BATCH_BYTES:
            return 0
        return min(self._scale.piece_rows, self._most_rows - len(self.rows))

    def add(self, piece: list[Cells], wanted: int) -> bool:
        """Take a piece; false when there were fewer rows than wanted: nothing comes after them."""
        self.rows += piece
        self._weight += self._scale.weigh(piece) if piece else 0
        return len(piece) == wanted


class BoundedCursor(sqlite3.Cursor):
    """A cursor whose `fetchmany` returns early once BATCH_BYTES of text and BLOB cells are there.

    `exhausted`: all rows have been handed out, for sure; an empty list says so too.
    Memory: BATCH_BYTES and about one piece. Raises FailedFetch.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self.exhausted = False
        self._scale = Scale()
        self._statement: tuple[str, Any] = ("", ())

    def execute(self, sql: str, parameters: Any = (), /) -> BoundedCursor:
        """Run a statement, keeping it for the search after a failure."""
        self._statement, self.exhausted = (sql, parameters), False
        super().execute(sql, parameters)
        return self

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """The next rows, at most `size`; an empty list only at the end."""
        batch = Batch(self._scale, self.arraysize if size is None else size)
        fetch = super().fetchmany
        try:
            while not self.exhausted and (wanted := batch.wanted_rows()):
                self.exhausted = not batch.add(fetch(wanted), wanted)
        except sqlite3.Error as error:
            failure = self.failure(error)
            self.close()
            raise failure from error
        return batch.rows

    def failure(self, error: sqlite3.Error) -> FailedFetch:
        """What a failure of `fetchmany` becomes: with the row and column at fault, which are looked for."""
        return _locate(self.connection, *self._statement, error)


class LimitedCursor(BoundedCursor):
    """A cursor that stops before a cell of more than LARGE_CELL_BYTES, without reading it.

    `lenient`: text that is no UTF-8 is not looked for either, as the caller will read it in another way.
    """

    def __init__(self, connection: sqlite3.Connection, *, lenient: bool) -> None:
        super().__init__(connection)
        self._lenient = lenient

    def execute(self, sql: str, parameters: Any = (), /) -> LimitedCursor:
        """Run a statement. # Trap: this reads the first row, and with a sorter all of them."""
        with limited(self.connection):
            super().execute(sql, parameters)
        return self

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """The next rows, at most `size`; an empty list only at the end."""
        with limited(self.connection):
            return super().fetchmany(size)

    def failure(self, error: sqlite3.Error) -> FailedFetch:
        """As it is where the caller reads on with care: finding the place would read the cell."""
        if too_large(error) or (self._lenient and no_text(error)):
            return FailedFetch(error, None, None, None)
        return super().failure(error)


class BoundedConnection(sqlite3.Connection):
    """A connection whose cursors are `BoundedCursor`s."""

    def cursor(self, factory: Any = BoundedCursor) -> Any:
        """A new cursor."""
        return super().cursor(factory)

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        """Run a statement in a new cursor. Trap: the inherited method does not ask `cursor` for it.

        Trap: a statement that failed stays alive as long as its cursor, which the error's traceback holds; and with it
        the connection after its close, locks, WAL and all.
        """
        cursor = self.cursor()
        try:
            return cursor.execute(sql, parameters)
        except sqlite3.Error:
            cursor.close()
            raise


def _text(raw: bytes) -> str | _Undecodable:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return _Undecodable(raw)


def _locate(connection: sqlite3.Connection, sql: str, parameters: Any, error: sqlite3.Error) -> FailedFetch:
    """Run a statement again in the same transaction, row by row, up to where it failed."""
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
        return FailedFetch(error, None, None, None)
    last: Cells | None = None
    usual, connection.text_factory = connection.text_factory, _text
    cursor = sqlite3.Cursor(connection)
    try:
        for row in cursor.execute(sql, parameters):
            for index, cell in enumerate(row):
                if type(cell) is _Undecodable:
                    return FailedFetch(error, last, row, cursor.description[index][0])
            last = row
    except sqlite3.Error:
        pass  # the failure that is being located
    finally:
        connection.text_factory = usual
        cursor.close()
    return FailedFetch(error, last, None, None)


async def batches(
    connection: AsyncConnection,
    sql: str,
    parameters: Parameters = (),
    *,
    table: str,
    key_column: int = 0,
    careful: bool = False,
    lenient: bool = False,
) -> AsyncGenerator[list[Cells]]:
    """The rows of a statement in batches, read inside the connection's own transaction.

    In:      SQL with `?` or `:name` parameters; `table` and `key_column`, the index of the cell
             that names a row, are for messages. `careful`: stop before a cell over LARGE_CELL_BYTES; `lenient`: and at
             text that is no UTF-8.
    Out:     Lists of at most FETCH_ROWS rows, closed early once BATCH_BYTES of text and BLOB cells are in them.
    Memory:  one batch.
    Raises:  InvalidCell (text that is no UTF-8), CorruptDatabase and the other database errors, naming table and row;
             NeedsCare where `careful` or `lenient` say so: the rows before that one may be missing too.
    """
    driver = await _driver(connection)
    path: Path | None = connection.info.get(PATH_KEY)
    found = _ours(driver, sql, parameters, careful, lenient) if careful or path else _theirs(driver, sql, parameters)
    try:
        async with aclosing(found) as fetched:
            async for rows in fetched:
                yield rows
                del rows  # or two batches are alive while the next one is fetched
    except sqlite3.Error as error:
        if (careful and too_large(error)) or (lenient and no_text(error)):
            raise NeedsCare from error
        raise _translated(error, path, table, key_column) from error


async def _ours(
    driver: aiosqlite.Connection, sql: str, parameters: Parameters, careful: bool, lenient: bool
) -> AsyncGenerator[list[Cells]]:
    """Batches of a `BoundedCursor`, each in one hop to the driver's thread, the first together with the start."""
    call = driver._execute(_begun, driver._conn, sql, parameters, careful, lenient)  # type: ignore[no-untyped-call]
    cursor, rows = await _hop(driver, call)
    try:
        while rows:
            yield rows
            del rows
            if cursor.exhausted:
                break
            rows = await _hop(driver, driver._execute(_fetched, cursor))  # type: ignore[no-untyped-call]
    finally:
        if not cursor.exhausted:
            await _close(driver._execute(cursor.close))  # type: ignore[no-untyped-call]


def _begun(
    connection: sqlite3.Connection, sql: str, parameters: Parameters, careful: bool, lenient: bool
) -> tuple[BoundedCursor, list[Cells]]:
    """A statement that has begun, with its first batch; closed where that is all."""
    cursor = LimitedCursor(connection, lenient=lenient) if careful else BoundedCursor(connection)
    try:
        return cursor, _fetched(cursor.execute(sql, parameters))
    except BaseException:
        cursor.close()
        raise


def _fetched(cursor: BoundedCursor) -> list[Cells]:
    rows = cursor.fetchmany(FETCH_ROWS)
    if cursor.exhausted:
        cursor.close()
    return rows


async def _theirs(driver: aiosqlite.Connection, sql: str, parameters: Parameters) -> AsyncGenerator[list[Cells]]:
    """Batches of a cursor of somebody else's engine, with a hop for each piece."""
    cursor = await _hop(driver, driver.execute(sql, parameters))
    scale, more = Scale(), True
    try:
        while more:
            batch = Batch(scale, FETCH_ROWS)
            while more and (wanted := batch.wanted_rows()):
                more = batch.add(list(await _hop(driver, cursor.fetchmany(wanted))), wanted)
            if batch.rows:
                yield batch.rows
            del batch
    finally:
        await _close(cursor.close())


async def on_thread(connection: AsyncConnection, work: Callable[..., Result], *arguments: Any) -> Result:
    """Run a function with the driver's own connection on the thread where that lives.

    aiosqlite has no public way to run more than one statement in one hop; its version is bounded for that reason.
    """
    driver = await _driver(connection)
    try:
        result: Result = await _hop(driver, driver._execute(work, driver._conn, *arguments))  # type: ignore[no-untyped-call]
    except sqlite3.Error as error:
        raise translate(error, path=connection.info.get(PATH_KEY)) from error
    return result


async def _driver(connection: AsyncConnection) -> aiosqlite.Connection:
    raw = await connection.get_raw_connection()
    driver: aiosqlite.Connection | None = raw.driver_connection
    if driver is None:
        raise PatternStreamError("found a connection that has been given back, expected an open one")
    return driver


async def _hop(driver: aiosqlite.Connection, call: Awaitable[Any]) -> Any:
    """Await the driver's thread; when cancelled, stop the statement, or closing would wait for its end."""
    try:
        return await call
    except CancelledError:
        with suppress(ValueError):  # the connection is closed already
            await driver.interrupt()
        raise


async def _close(call: Awaitable[Any]) -> None:
    """Close a cursor, also while being cancelled and after its connection."""
    with anyio.CancelScope(shield=True), suppress(ValueError, sqlite3.Error):
        await call


def _translated(error: sqlite3.Error, path: Path | None, table: str, key_column: int) -> PatternStreamError:
    if not isinstance(error, FailedFetch):
        return translate(error, path=path, table=table)
    if error.bad is not None:
        where = Where(table=table, row_id=_row_id(error.bad[key_column]), field=error.column)
        return InvalidCell("found text that is no UTF-8, expected UTF-8", where=where)
    ours = translate(error, path=path, table=table)
    if error.last is not None:
        ours.message += f", after row {_row_id(error.last[key_column])}"
    return ours


def _row_id(cell: object) -> str:
    return cell.decode(errors="backslashreplace") if isinstance(cell, bytes) else str(cell)
