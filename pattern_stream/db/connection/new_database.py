"""A new database built beside its place, as NAME.partial, that gets its name when all of it is on disk."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.opening import open_new, remove_database
from pattern_stream.errors import DatabaseNotFound, TargetExists, making_folder

if sys.platform != "win32":
    import fcntl

_ATTEMPTS = 10
"""How often another program may let go of the lock, and its file, between two of our steps before we give up."""


@dataclass(slots=True)
class Aside:
    """A database under way. It gets its name on a clean exit, if `keep` was set; else it goes."""

    connection: Connection
    keep: bool = False


@asynccontextmanager
async def open_aside(target: Path) -> AsyncGenerator[Aside]:
    """A new database, mode 0600, for a place where there is nothing yet, or an empty file.

    Raises TargetExists: something is there, or another program is making it; DatabaseNotFound: there is no such folder.
    """
    place = Path(os.path.realpath(target))
    _refuse_taken(place)
    partial = _partial_of(place)
    with _reserved(partial):
        async with open_new(partial) as connection:
            aside = Aside(connection)
            yield aside
        try:
            if aside.keep:
                _name(partial, place)
        finally:
            remove_database(partial)


def is_vacant(path: Path) -> bool:
    """Whether a database can be made there: nothing is there, or a file without a byte."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return True
    return os.path.isfile(path) and found.st_size == 0


def clear_leftovers(target: Path) -> None:
    """Remove what a program left that was killed when its database had just got its name; what is in use stays."""
    partial = _partial_of(Path(os.path.realpath(target)))
    if partial.exists() or _lock_of(partial).exists():
        with suppress(TargetExists, OSError), _reserved(partial):
            pass


def _partial_of(place: Path) -> Path:
    return place.with_name(place.name + ".partial")


def _lock_of(partial: Path) -> Path:
    return partial.with_name(partial.name + ".lock")


def _refuse_taken(place: Path) -> None:
    if not is_vacant(place):
        raise TargetExists(f"found a file at {place}, expected none: a new database is to be made there")
    if not place.parent.is_dir():
        found = f"no folder {place.parent}, expected one: a new database is to be made there"
        raise DatabaseNotFound(found, hint=making_folder(place.parent))


@contextmanager
def _reserved(partial: Path) -> Iterator[None]:
    """Hold a lock on a file beside the partial one, so that what a killed program left behind can be told and removed.

    # Trap: the lock is not on the database itself, since closing any descriptor of it would drop SQLite's own locks.
    """
    if sys.platform == "win32":  # no such locks: what was left behind is in the way until somebody removes it
        yield
        return
    lock_path = _lock_of(partial)
    descriptor = _locked(lock_path, partial)
    try:
        try:
            remove_database(partial)
            yield
        finally:
            lock_path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _locked(lock_path: Path, partial: Path) -> int:
    """A descriptor of the lock file, locked.

    # Trap: who held the lock may have removed the file between our opening and our locking it; then the next one makes
    and locks another file of that name, so a lock counts only while the name leads to it.
    """
    taken = f"another program is making {partial}, expected to be the only one"
    try:
        for _ in range(_ATTEMPTS):
            with ExitStack() as closing:
                descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                closing.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _leads_to(lock_path, descriptor):
                    closing.pop_all()
                    return descriptor
    except BlockingIOError as error:
        raise TargetExists(taken) from error
    raise TargetExists(taken)


def _leads_to(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _name(partial: Path, place: Path) -> None:
    """Give the file its name; never that of a file that somebody else put there meanwhile. The folder is synced."""
    if place.exists() and place.stat().st_size == 0:
        os.replace(partial, place)
    else:
        try:
            os.link(partial, place)
        except FileExistsError as error:
            raise TargetExists(f"found a file at {place} that was not there before") from error
        except OSError:  # no hard links here
            _refuse_taken(place)
            os.replace(partial, place)
    _sync_folder(place.parent)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    with suppress(OSError):  # some file systems cannot, some folders cannot be read; the name is taken anyway
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
