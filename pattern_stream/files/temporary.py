"""Temporary files and SQLite databases that have no name: they vanish with the program, however it ends."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final, TypeVar

from pattern_stream.errors import FileMissing, StorageFull, TransportError, storage_error
from pattern_stream.files.partial import reserved
from pattern_stream.format import COPY_BYTES

T = TypeVar("T")

_PREFIX: Final = ".pattern-stream-"

_MOST_AT_ONCE: Final = 64
"""Programs of one user that may be about to open a temporary database in one folder."""

TEMPORARY_PRAGMAS: Final = """
    PRAGMA page_size = 16384; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;
"""
"""Settings of a database that nobody opens twice."""


def temporary_folders(chosen: Path | None, near: Path | None) -> list[Path]:
    """The folders where temporary files may go, best first. A folder that was asked for is the only one.

    `near`: the folder of the output file. $TMPDIR and /var/tmp come before the default, since /tmp may be memory.

    Raises:  FileMissing: the folder that was asked for is not there.
    """
    if chosen is not None:
        if not chosen.is_dir():
            found = "is no folder" if chosen.exists() else "is not there"
            raise FileMissing(f"spool folder {chosen} {found}, expected a folder that exists")
        return [chosen]
    named = os.environ.get("TMPDIR")
    folders = [near, Path(named) if named else None, Path("/var/tmp")]
    with suppress(FileNotFoundError):  # no default can be written; another candidate may do
        folders.append(Path(tempfile.gettempdir()))
    return list(dict.fromkeys(folder for folder in folders if folder is not None))


def open_temporary(folders: Sequence[Path], purpose: str) -> tuple[IO[bytes], Path]:
    """A file, mode 0600, in the first folder where one can be made, and that folder.

    Raises:  TransportError, StorageFull: no folder will do; `purpose` names the file in the message.
    """

    def make(folder: Path) -> IO[bytes]:
        opened: IO[bytes] = tempfile.TemporaryFile(dir=folder, prefix=_PREFIX, buffering=COPY_BYTES)  # noqa: SIM115
        return opened

    return _in_first(folders, make, purpose)


@contextmanager
def temporary_folder(folders: Sequence[Path]) -> Iterator[Path]:
    """A folder, mode 0700, in the first folder where one can be made; it goes with all that is in it.

    Raises:  as `open_temporary`.
    """
    name, _ = _in_first(folders, lambda folder: tempfile.mkdtemp(prefix=_PREFIX, dir=folder), "temporary folder")
    try:
        yield Path(name)
    finally:
        shutil.rmtree(name, ignore_errors=True)


def open_temporary_database(folders: Sequence[Path], purpose: str) -> tuple[sqlite3.Connection, Path]:
    """An empty database in the first folder where a file can be made, and that folder.

    The name goes as soon as SQLite has the file open, which is at the first look into it. A program that is killed in
    between leaves a locked name free, and the next one that needs a database there removes it.
    Raises:  as `open_temporary`; sqlite3.Error.
    """

    def make(folder: Path) -> sqlite3.Connection:
        for number in range(_MOST_AT_ONCE):
            path = folder / f"{_PREFIX}{os.getuid()}-{number}.sqlite"
            with suppress(FileExistsError), reserved(path):
                database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                database.execute("PRAGMA schema_version").fetchone()
                return database
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))

    database, folder = _in_first(folders, make, purpose)
    database.executescript(TEMPORARY_PRAGMAS)
    return database, folder


def sqlite_error(error: sqlite3.Error, doing: str) -> TransportError:
    """The error of this package for one of a temporary database; `doing`: as for `storage_error`."""
    full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    kind = StorageFull if full else TransportError
    return kind(f"{doing}: {error}", hint="--spool-dir names another folder")


def require_space(folder: Path, needed_bytes: int, holder: str) -> None:
    """Refuse before the disk is full, so that other programs do not meet a full disk.

    `holder`: what needs the space and how much it has, for the message. Raises StorageFull.
    """
    if (free := shutil.disk_usage(folder).free) < needed_bytes:
        raise StorageFull(
            f"{holder} and needs {needed_bytes} more, {free} bytes are free",
            hint="free some space, or name another folder with --spool-dir",
        )


def _in_first(folders: Sequence[Path], make: Callable[[Path], T], purpose: str) -> tuple[T, Path]:
    refusal = OSError("there is none")
    for folder in folders:
        try:
            return make(folder), folder
        except OSError as error:
            refusal = error
    tried = ", ".join(map(str, folders))
    raise storage_error(refusal, f"no {purpose} can be made in any of: {tried}") from refusal
