"""Where blocks wait that came before they were wanted: memory first, then a file that vanishes with the program.

Also what a walk has to remember of blocks that it has handed on: the names of those that may be linked again, and a log
of all CIDs, which tells a repeated block from one that nothing links to. All in bounded memory, whatever the order.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from pattern_stream.archive.spool import spool_folders
from pattern_stream.archive.temporary_sqlite import open_unlinked, read_at, reading_again, storage
from pattern_stream.codec.cid import cid_of, cid_text
from pattern_stream.errors import DigestMismatch, StorageFull, TransportError, Where
from pattern_stream.format import CID_BYTES, SHELF_MEMORY_BYTES, SHELF_RESERVE_BYTES
from pattern_stream.items import Section

_ENTRY_BYTES: Final = 300
"""What one entry costs in memory beside its data."""

_LOG_MEMORY_BYTES: Final = 1024 * 1024
_LOG_PIECE: Final = CID_BYTES * 16_384

_KEY: Final = struct.Struct(">4xq24x")
"""64 bits of the digest. Two blocks that share them cannot both be stored: one would be missed, and refused."""

_FIRST: Final = itemgetter(0)
_PLACES_AT_ONCE: Final = 300
_PLACE: Final = "INSERT OR IGNORE INTO block (key, offset, size) VALUES"
_PLACE_ROWS: Final = f"{_PLACE} {', '.join(['(?, ?, ?)'] * _PLACES_AT_ONCE)}"

_TABLES: Final = """
    CREATE TABLE block (key INTEGER PRIMARY KEY, offset INTEGER, size INTEGER, data BLOB, kept INTEGER DEFAULT 0);
    CREATE TABLE name (key INTEGER PRIMARY KEY, cid BLOB, name TEXT);
"""


class _Entry(NamedTuple):
    """A block on the shelf. `data` None: to be read from the archive. `kept`: handed on already, stays for others."""

    offset: int
    size: int
    data: bytes | None
    kept: bool | int


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What was never taken: how many blocks nothing links to, and the offset of the first of them."""

    unreferenced: int
    first_offset: int | None = None


class Shelf:
    """Blocks by CID. `archive`: descriptor of a plain file that holds the archive, so that only offsets are kept.

    `folders`: where the file may go when memory does not suffice, best first. Use as a context manager: leaving deletes
    everything. `early_count`: blocks that came before they were wanted; `met_count`: blocks handed on, each once.
    Raises StorageFull or TransportError where the disk refuses.
    """

    def __init__(
        self, folders: Sequence[Path] = (), *, archive: int | None = None, memory_bytes: int = SHELF_MEMORY_BYTES
    ) -> None:
        self.early_count = 0
        self.met_count = 0
        self._folders = folders or spool_folders(None, None)
        self._folder: Path | None = None
        self._archive = archive
        self._memory_bytes = memory_bytes
        self._entries: dict[bytes, tuple[int, int, bytes | None, bool | int]] = {}  # as _Entry, made a million times
        self._entry_bytes = 0
        self._names: dict[bytes, str] = {}
        self._name_bytes = 0
        self._database: sqlite3.Connection | None = None
        self._stored_count = 0
        self._stored_names = 0
        self._log = tempfile.SpooledTemporaryFile(_LOG_MEMORY_BYTES, dir=str(self._folders[0]))  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete everything."""
        self._entries.clear()
        self._names.clear()
        with suppress(OSError):  # what it still had to write is not wanted
            self._log.close()
        if self._database is not None:
            self._database.close()
            self._database = None

    # --- blocks -----------------------------------------------------------------------------------------------

    def put(self, section: Section, *, kept: bool = False, data: bool = True) -> None:
        """Lay a block down. `kept`: it was handed on already. Without `data` it is only counted as left over."""
        offset, cid, found = section
        if cid in self._entries:
            return
        size = len(found)
        if data and self._archive is None:
            self._entries[cid] = offset, size, found, kept
            self._entry_bytes += _ENTRY_BYTES + size
        else:
            self._entries[cid] = offset, size, None, kept
            self._entry_bytes += _ENTRY_BYTES
        if self._entry_bytes > self._memory_bytes:
            self._store_entries()

    def take(self, cid: bytes, *, keep: bool = False) -> Section | None:
        """The block of that CID, if it is here; it leaves the shelf unless it is to be kept for other links."""
        if keep and self._stored_count and (stored := self._take_stored(cid, keep)) is not None:
            return stored
        found = self._entries.get(cid)
        if found is None:
            return self._take_stored(cid, keep) if self._stored_count and not keep else None
        entry = _Entry(*found)
        self.early_count += not entry.kept
        if keep:
            self._entries[cid] = entry._replace(kept=True)
        else:
            del self._entries[cid]
            self._forget_stored(cid)
            self._entry_bytes -= _ENTRY_BYTES + (len(entry.data) if entry.data is not None else 0)
        return Section(entry.offset, cid, self._data(cid, entry))

    def _forget_stored(self, cid: bytes) -> None:
        """A block that came again, after it had been stored, is in both places."""
        if self._stored_count:
            with storage():
                deleted = self._opened().execute("DELETE FROM block WHERE key = ?", (_key(cid),)).rowcount
            self._stored_count -= deleted

    def _take_stored(self, cid: bytes, keep: bool) -> Section | None:
        key, database = _key(cid), self._opened()
        with storage():
            sql = "SELECT offset, size, data, kept FROM block WHERE key = ?"
            found = database.execute(sql, (key,)).fetchone()
        if found is None:
            return None
        entry = _Entry(*found)
        data = self._data(cid, entry)
        if entry.data is not None and cid_of(data) != cid:
            return None  # another block with the same key
        with storage():
            if not keep:
                database.execute("DELETE FROM block WHERE key = ?", (key,))
                self._stored_count -= 1
            elif not entry.kept:
                database.execute("UPDATE block SET kept = 1 WHERE key = ?", (key,))
        self.early_count += not entry.kept
        return Section(entry.offset, cid, data)

    def _data(self, cid: bytes, entry: _Entry) -> bytes:
        if entry.data is not None:
            return entry.data
        if self._archive is None:
            raise TransportError("a block was asked for that was only counted", where=Where(cid=cid_text(cid)))
        with reading_again():
            data = read_at(self._archive, entry.size, _data_offset(entry))
        if cid_of(data) != cid:
            raise DigestMismatch(
                "block does not hash to its CID any more: the file has changed since it was first read",
                where=Where(stage="read", offset=entry.offset, cid=cid_text(cid)),
            )
        return data

    # --- what is remembered -----------------------------------------------------------------------------------

    def met(self, cid: bytes) -> None:
        """Log a block that was handed on for the first time."""
        self.met_count += 1
        with storage():
            self._log.write(cid)

    def was_met(self, cid: bytes) -> bool:
        """Whether the log has a CID. Reads all of it: for error messages."""
        return any(logged == _key(cid) for logged in self._logged_keys())

    def remember(self, cid: bytes, name: str) -> None:
        """Keep the name of a block that may be linked again."""
        self._names[cid] = name
        self._name_bytes += _ENTRY_BYTES + len(name)
        if self._name_bytes > self._memory_bytes:
            self._store_names()

    def recall(self, cid: bytes) -> str | None:
        """The name of a block that was handed on before."""
        name = self._names.get(cid)
        if name is None and self._stored_names:
            sql = "SELECT name FROM name WHERE key = ? AND cid = ?"
            with storage():
                found = self._opened().execute(sql, (_key(cid), cid)).fetchone()
            return str(found[0]) if found is not None else None
        return name

    def leftovers(self) -> Leftovers:
        """What is still here though nothing took it, and was not met before."""
        if self._stored_count:
            self._store_entries()
            return self._stored_leftovers()
        left = {_key(cid): offset for cid, (offset, _, _, kept) in self._entries.items() if not kept}
        for key in self._logged_keys():
            left.pop(key, None)
        return Leftovers(len(left), min(left.values(), default=None))

    def _stored_leftovers(self) -> Leftovers:
        """SQLite counts what it holds: a million rows would be a million objects here."""
        database = self._opened()
        with storage():
            met = ((key,) for key in self._logged_keys())
            database.executemany("DELETE FROM block WHERE key = ? AND kept = 0", met)
            return Leftovers(*database.execute("SELECT count(*), min(offset) FROM block WHERE kept = 0").fetchone())

    def _logged_keys(self) -> Iterator[int]:
        for piece in self._logged():
            for (key,) in _KEY.iter_unpack(piece):
                yield key

    def _logged(self) -> Iterator[bytes]:
        with storage():
            self._log.seek(0)
        while piece := self._logged_piece():
            yield piece
        with storage():
            self._log.seek(0, os.SEEK_END)

    def _logged_piece(self) -> bytes:
        with storage():
            return self._log.read(_LOG_PIECE)

    # --- the file ---------------------------------------------------------------------------------------------

    def _store_entries(self) -> None:
        unpack, whole, places = _KEY.unpack, [], []
        for cid, entry in self._entries.items():
            if entry[2] is None and not entry[3]:
                places.append(unpack(cid) + entry[:2])
            else:
                whole.append(unpack(cid) + entry)
        places.sort(key=_FIRST)
        whole.sort(key=_FIRST)
        database = self._opened()
        self._watch_space()
        with storage():
            before = database.total_changes
            database.executemany("INSERT OR IGNORE INTO block VALUES (?, ?, ?, ?, ?)", whole)
            _insert_places(database, places)
            self._stored_count += database.total_changes - before
        self._entries.clear()
        self._entry_bytes = 0

    def _store_names(self) -> None:
        rows = sorted((_key(cid), cid, name) for cid, name in self._names.items())
        self._watch_space()
        with storage():
            self._opened().executemany("INSERT OR IGNORE INTO name VALUES (?, ?, ?)", rows)
        self._stored_names += len(rows)
        self._names.clear()
        self._name_bytes = 0

    def _watch_space(self) -> None:
        folder = self._folder or self._folders[0]
        if (free := shutil.disk_usage(folder).free) < SHELF_RESERVE_BYTES:
            raise StorageFull(
                f"{folder} has {free} bytes free, expected {SHELF_RESERVE_BYTES} for blocks that came too early",
                hint="--spool-dir names another folder",
            )

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            with storage():
                self._database, self._folder = open_unlinked(self._folders, _TABLES)
        return self._database


def _insert_places(database: sqlite3.Connection, places: list[tuple[int, int, int]]) -> None:
    """Keys, offsets and sizes: many rows a statement, which is a third quicker than a statement a row."""
    grouped = len(places) - len(places) % _PLACES_AT_ONCE
    for at in range(0, grouped, _PLACES_AT_ONCE):
        database.execute(_PLACE_ROWS, tuple(chain.from_iterable(places[at : at + _PLACES_AT_ONCE])))
    database.executemany(f"{_PLACE} (?, ?, ?)", places[grouped:])


def _key(cid: bytes) -> int:
    key: int = _KEY.unpack(cid)[0]
    return key


def _data_offset(entry: _Entry) -> int:
    inner = CID_BYTES + entry.size
    return entry.offset + (inner.bit_length() + 6) // 7 + CID_BYTES
