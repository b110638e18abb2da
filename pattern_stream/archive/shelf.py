"""Keeps blocks that came before they were wanted: in memory first, then in a file that vanishes with the program.

Also remembers, of blocks that were handed on, the names of those that may be linked again, and all CIDs, which tells a
repeated block from one that nothing links to. All in bounded memory, whatever the order.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pattern_stream.budget import BUDGET, Budget
from pattern_stream.codec.cid import cid_of, cid_text
from pattern_stream.errors import DigestMismatch, TransportError, Where, storage_errors
from pattern_stream.files.temporary import (
    TEMPORARY_PRAGMAS,
    open_temporary_database,
    require_space,
    sqlite_error,
    temporary_folders,
)
from pattern_stream.format import CID_BYTES
from pattern_stream.items import Section
from pattern_stream.quick_dataclass import dataclass

_DOING: Final = "using the shelf for blocks that came too early"

_ROW_BYTES: Final = 60
"""Memory that a row takes beside its block or name."""

_KEY: Final = struct.Struct(">4xq24x")
"""64 bits of the digest. Two blocks that share them cannot both be stored: one would be missed, and refused."""

_TABLES: Final = """
    CREATE TABLE block (key INTEGER PRIMARY KEY, offset INTEGER, size INTEGER, data BLOB, kept INTEGER);
    CREATE TABLE name (key INTEGER PRIMARY KEY, cid BLOB, name TEXT);
    CREATE TABLE met (cids BLOB);
    BEGIN;
"""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Blocks that were never taken: how many nothing links to, and the offset of the first of them."""

    unreferenced: int
    first_offset: int | None = None


class Shelf:
    """Blocks by CID, in SQLite. `archive`: descriptor of a plain file with the archive, so that offsets suffice.

    `folders`: where the file may go when memory does not suffice, best first. Use as a context manager: leaving deletes
    everything. `early_count`: blocks that came before they were wanted; `met_count`: blocks handed on, each once.
    Raises StorageFull or TransportError where the disk refuses.
    """

    def __init__(self, folders: Sequence[Path] = (), *, archive: int | None = None, budget: Budget = BUDGET) -> None:
        self.early_count = 0
        self.met_count = 0
        self._folders = folders or temporary_folders(None, None)
        self._folder: Path | None = None
        self._archive = archive
        self._budget = budget
        self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._database.executescript(TEMPORARY_PRAGMAS + _TABLES)
        self._grown_bytes = 0
        self._block_count = 0
        self._early_now = 0
        self._name_count = 0
        self._met = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete everything."""
        self._database.close()

    # --- blocks -----------------------------------------------------------------------------------------------

    def put(self, section: Section, *, kept: bool = False, data: bool = True) -> None:
        """Lay a block down. `kept`: it was handed on already. Without `data` it is only counted as left over."""
        offset, cid, found = section
        stored = found if data and self._archive is None else None
        row = (*_KEY.unpack(cid), offset, len(found), stored, kept)
        if self._run("INSERT OR IGNORE INTO block VALUES (?, ?, ?, ?, ?)", row).rowcount:
            self._block_count += 1
            self._early_now += not kept
            self._grow(_ROW_BYTES if stored is None else _ROW_BYTES + len(stored))

    def take(self, cid: bytes, *, keep: bool = False) -> Section | None:
        """The block of that CID, if it is here; it leaves the shelf unless it is to be kept for other links.

        A block that was kept is only for links that keep it too: most links are followed without asking the database.
        """
        if not (self._block_count if keep else self._early_now):
            return None
        key = _KEY.unpack(cid)
        row = self._run("SELECT offset, size, data, kept FROM block WHERE key = ?", key).fetchone()
        if row is None:
            return None
        offset, size, stored, kept = row
        data = self._read_again(cid, offset, size) if stored is None else stored
        if stored is not None and cid_of(stored) != cid:
            return None  # another block with the same key
        if not keep:
            self._run("DELETE FROM block WHERE key = ?", key)
            self._block_count -= 1
            self._grown_bytes -= _ROW_BYTES if stored is None else _ROW_BYTES + size
        elif not kept:
            self._run("UPDATE block SET kept = 1 WHERE key = ?", key)
        self.early_count += not kept
        self._early_now -= not kept
        return Section(offset, cid, data)

    def _read_again(self, cid: bytes, offset: int, size: int) -> bytes:
        if self._archive is None:
            raise TransportError("a block was asked for that was only counted", where=Where(cid=cid_text(cid)))
        length = CID_BYTES + size
        with storage_errors("reading the archive again"):
            data = _read_at(self._archive, size, offset + (length.bit_length() + 6) // 7 + CID_BYTES)
        if cid_of(data) != cid:
            raise DigestMismatch(
                "block does not hash to its CID any more: the file has changed since it was first read",
                where=Where(stage="read", offset=offset, cid=cid_text(cid)),
            )
        return data

    # --- what is remembered -----------------------------------------------------------------------------------

    def met(self, cid: bytes) -> None:
        """Log a block that was handed on for the first time."""
        self.met_count += 1
        self._met += cid
        if len(self._met) >= self._budget.met_log_bytes:
            self._run("INSERT INTO met VALUES (?)", (self._met,))
            self._grow(len(self._met))
            self._met.clear()

    def was_met(self, cid: bytes) -> bool:
        """Whether the log has a CID. Reads all of it: for error messages."""
        return _KEY.unpack(cid) in self._met_keys()

    def remember(self, cid: bytes, name: str) -> None:
        """Keep the name of a block that may be linked again."""
        self._run("INSERT OR IGNORE INTO name VALUES (?, ?, ?)", (*_KEY.unpack(cid), cid, name))
        self._name_count += 1
        self._grow(_ROW_BYTES + CID_BYTES + len(name))

    def recall(self, cid: bytes) -> str | None:
        """The name of a block that was handed on before."""
        if not self._name_count:
            return None
        row = self._run("SELECT name FROM name WHERE key = ? AND cid = ?", (*_KEY.unpack(cid), cid)).fetchone()
        return None if row is None else str(row[0])

    def leftovers(self) -> Leftovers:
        """The blocks that nothing took and that were not met before. SQLite counts: there may be millions."""
        left = "FROM block WHERE kept = 0"
        if self._run(f"SELECT key {left} LIMIT 1").fetchone() is None:
            return Leftovers(0)
        for key in self._met_keys():
            self._run(f"DELETE {left} AND key = ?", key)
        return Leftovers(*self._run(f"SELECT count(*), min(offset) {left}").fetchone())

    def _met_keys(self) -> Iterator[tuple[int]]:
        log, last = "SELECT rowid, cids FROM met WHERE rowid > ? LIMIT 1", 0
        while (row := self._run(log, (last,)).fetchone()) is not None:
            last, cids = row
            yield from _KEY.iter_unpack(cids)
        yield from _KEY.iter_unpack(self._met)

    # --- the database -----------------------------------------------------------------------------------------

    def _run(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(sql, values)
        except sqlite3.Error as error:
            raise sqlite_error(error, _DOING) from error

    def _grow(self, more_bytes: int) -> None:
        """Count what was added. Where memory does not suffice the database moves to a file, whose disk is watched."""
        self._grown_bytes += more_bytes
        if self._grown_bytes > self._budget.shelf_memory_bytes:
            self._grown_bytes = 0
            with storage_errors(_DOING):
                folder = self._folder or self._move_to_file()
                holder = f"shelf in {folder} holds {self._block_count} blocks"
                require_space(folder, self._budget.shelf_reserve_bytes, holder)

    def _move_to_file(self) -> Path:
        memory = self._database
        try:
            self._database, self._folder = open_temporary_database(self._folders, "file for blocks that came too early")
            memory.execute("COMMIT")
            memory.backup(self._database)
            self._database.execute("BEGIN")  # never ended: nothing is written before the cache is full
        except sqlite3.Error as error:
            raise sqlite_error(error, _DOING) from error
        finally:
            memory.close()
        return self._folder


def _read_at(descriptor: int, count: int, offset: int) -> bytes:
    """Reads `count` bytes from an offset, fewer only where the file ends: a system may give less at a time."""
    data = os.pread(descriptor, count, offset)
    while len(data) < count and (more := os.pread(descriptor, count - len(data), offset + len(data))):
        data += more
    return data
