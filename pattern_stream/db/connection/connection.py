"""One open database, as the rest of the package sees it: every statement runs on the driver's own thread."""

from __future__ import annotations

import sqlite3
from asyncio import CancelledError
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

import aiosqlite
import anyio

from pattern_stream.db.connection.cursor import (
    BoundedCursor,
    FailedFetch,
    LimitedCursor,
    NeedsCare,
    text_as,
    too_large,
)
from pattern_stream.db.connection.errors import translate, translated
from pattern_stream.errors import InvalidCell, PatternStreamError, Where
from pattern_stream.format import BATCH_ROWS
from pattern_stream.items import Row

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")
Parameters = Sequence[object] | Mapping[str, object]

FETCH_ROWS: Final = BATCH_ROWS // 4
"""Rows of one hop to the driver's thread. A hop costs as much as 20 rows; but mapping and encoding messages by 512
takes twice the time of doing it by 64, as later steps no longer find the rows in the processor's cache."""


class Connection:
    """A borrowed connection to one database. `path` is for messages; None where the database is no file.

    Cancelling any of its calls interrupts the statement that runs, or closing would wait for its end.
    """

    def __init__(self, driver: aiosqlite.Connection, path: Path | None) -> None:
        self.path = path
        self._driver = driver
        self._raw = driver._conn

    @classmethod
    async def of(cls, connection: Connection | AsyncConnection) -> Connection:
        """The same connection where it is one of ours, else one around the driver's connection in SQLAlchemy's.

        Raises PatternStreamError: SQLAlchemy's connection is closed, or its driver is not aiosqlite.
        """
        if isinstance(connection, Connection):
            return connection
        driver = (await connection.get_raw_connection()).driver_connection
        if not isinstance(driver, aiosqlite.Connection):
            raise PatternStreamError(f"connection is {type(driver).__name__}, expected an open one of aiosqlite")
        ours = cls(driver, None)
        files = [file for _, name, file in await ours.execute("PRAGMA database_list") if name == "main" and file]
        ours.path = Path(files[0]) if files else None
        return ours

    async def run(
        self,
        work: Callable[Concatenate[sqlite3.Connection, Arguments], Result],
        *arguments: Arguments.args,
        **options: Arguments.kwargs,
    ) -> Result:
        """Run a function with the raw connection on the thread where that lives, in one hop."""
        with translated(self.path):
            return await self._hop(work, self._raw, *arguments, **options)

    async def execute(
        self, sql: str, parameters: Parameters = (), *, table: str | None = None, escaped: bool = False
    ) -> list[Row]:
        """Run a small statement and return all of its rows.

        `table` is for messages. `escaped`: text that is no UTF-8 is no error, but has its bytes escaped, for people.
        """
        with translated(self.path, table=table):
            return await self._hop(_all_rows, self._raw, sql, parameters, _escaped if escaped else str)

    async def execute_many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Run a statement once for each row of parameters, in one hop."""
        with translated(self.path):
            await self._hop(_run_many, self._raw, sql, rows)

    async def rows(
        self,
        sql: str,
        parameters: Parameters = (),
        *,
        table: str,
        key_column: int = 0,
        careful: bool = False,
        text: Callable[[bytes], object] = str,
    ) -> AsyncGenerator[list[Row]]:
        """The rows of a statement in batches, read inside the connection's own transaction.

        In:      SQL with `?` or `:name` parameters; `table` and `key_column`, the index of the cell that names a row,
                 are for messages. `careful`: stop before a cell over LARGE_CELL_BYTES. `text`: makes cells from
                 the UTF-8 of text; any other than `str` costs a call a cell.
        Out:     Lists of at most FETCH_ROWS rows, closed early once BATCH_BYTES of text and BLOB cells are in them.
        Memory:  one batch.
        Raises:  InvalidCell (text that is no UTF-8), CorruptDatabase and the other database errors, naming table and
                 row; NeedsCare where `careful` says so. The rows just before that one may be missing too.
        """
        try:
            cursor, batch = await self._hop(_begun, self._raw, sql, parameters, careful, text)
            try:
                while batch:
                    yield batch
                    del batch  # or two batches are alive while the next one is fetched
                    if cursor.exhausted:
                        break
                    batch = await self._hop(_fetched, cursor, text)
            finally:
                if not cursor.exhausted:  # the connection may be closed already
                    with anyio.CancelScope(shield=True), suppress(ValueError, sqlite3.Error):
                        await self._hop(cursor.close)
        except sqlite3.Error as error:
            if careful and too_large(error):
                raise NeedsCare from error
            raise self._named(error, table, key_column) from error

    def interrupt(self) -> None:
        """Stop the statement that runs in the driver's thread, if any."""
        with suppress(sqlite3.ProgrammingError):  # closed already
            self._raw.interrupt()

    async def _hop(
        self, work: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> Result:
        """aiosqlite has no public way to run a function on its thread; its version is bounded for that reason."""
        try:
            result: Result = await self._driver._execute(work, *arguments, **options)  # type: ignore[no-untyped-call]
        except CancelledError:
            self.interrupt()
            raise
        return result

    def _named(self, error: sqlite3.Error, table: str, key_column: int) -> PatternStreamError:
        """The error of a fetch as ours, with the row at fault or the row before."""
        if isinstance(error, FailedFetch) and error.bad is not None:
            where = Where(table=table, row_id=_escaped(error.bad[key_column]), field=error.column)
            return InvalidCell("found text that is no UTF-8, expected UTF-8", where=where)
        ours = translate(error, path=self.path, table=table)
        if isinstance(error, FailedFetch) and error.last is not None:
            ours.message += f", after row {_escaped(error.last[key_column])}"
        return ours


def _all_rows(raw: sqlite3.Connection, sql: str, parameters: Parameters, text: Callable[[bytes], str]) -> list[Row]:
    with text_as(raw, text), closing(sqlite3.Cursor(raw)) as cursor:
        return cursor.execute(sql, parameters).fetchall()


def _run_many(raw: sqlite3.Connection, sql: str, rows: Iterable[Parameters]) -> None:
    with closing(sqlite3.Cursor(raw)) as cursor:
        cursor.executemany(sql, rows)


def _begun(
    raw: sqlite3.Connection,
    sql: str,
    parameters: Parameters,
    careful: bool,
    text: Callable[[bytes], object],
) -> tuple[BoundedCursor, list[Row]]:
    """A statement that has begun, with its first batch; closed where that is all."""
    cursor = (LimitedCursor if careful else BoundedCursor)(raw)
    try:
        with text_as(raw, text):
            cursor.execute(sql, parameters)
        return cursor, _fetched(cursor, text)
    except BaseException:
        cursor.close()
        raise


def _fetched(cursor: BoundedCursor, text: Callable[[bytes], object]) -> list[Row]:
    with text_as(cursor.connection, text):
        rows = cursor.fetchmany(FETCH_ROWS)
    if cursor.exhausted:
        cursor.close()
    return rows


def _escaped(cell: object) -> str:
    """A cell for people; bytes that are no UTF-8 are escaped."""
    return cell.decode(errors="backslashreplace") if isinstance(cell, bytes) else str(cell)
