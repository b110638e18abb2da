"""Files that are made beside their place, as .NAME.pattern-stream-partial, and get their name when they are whole.

All of it blocks.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_ATTEMPTS: Final = 10
"""Another program may take the name between two of our steps so often before we give up."""

_MARK: Final = ".pattern-stream-partial"

_LONGEST_NAME_BYTES: Final = 96
"""Bytes of a name that stay as they are. The least that a file system allows is 143, for all of a name."""

_DIGEST_DIGITS: Final = 32

_HELD: Final[dict[int, tuple[Path, Sequence[Path]]]] = {}
"""By descriptor, the files that are under way in this process, and the files beside each."""

_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


def partial_of(place: Path) -> Path:
    """The path of a file under way that will get the name `place`.

    Nobody else gives files such names, so that what lies there is ours to remove. A long name is shortened: it has room
    for SQLite's suffixes on every file system.
    """
    name = os.fsencode(place.name)
    shown = place.name
    if len(name) > _LONGEST_NAME_BYTES:
        import hashlib  # 4 ms that other names need not pay

        digest = hashlib.sha256(name).hexdigest()[:_DIGEST_DIGITS]
        shown = f"{name[: _LONGEST_NAME_BYTES - _DIGEST_DIGITS].decode(errors='ignore')}{digest}"
    return place.with_name(f".{shown}{_MARK}")


@contextmanager
def reserved(path: Path, beside: Sequence[Path] = ()) -> Iterator[int]:
    """A new file, mode 0600, locked to the end: its descriptor. At the end the file goes, unless it was renamed.

    A file of that name whose lock is free was left behind by a program that was killed, and makes way. Where files
    cannot be locked, none does. `beside`: other files that only the holder of the lock makes.

    Raises:  FileExistsError: another program holds the lock, or no program of ours made that file; OSError.
    """
    descriptor = _create(path)
    _HELD[descriptor] = path, beside
    try:
        yield descriptor
    finally:
        with suppress(OSError):  # before the lock goes, so that it cannot be the file of the next one
            if _leads_to(path, descriptor):
                os.unlink(path)
        del _HELD[descriptor]
        os.close(descriptor)


def remove_unfinished() -> None:
    """Remove every file that this process is making. For a process that ends at once, whatever it is doing."""
    for descriptor, (path, beside) in list(_HELD.items()):
        with suppress(OSError):
            if _leads_to(path, descriptor):
                for name in (*beside, path):
                    name.unlink(missing_ok=True)


def take_name(partial: Path, place: Path, *, replace: bool) -> None:
    """Give a file that is whole and on the disk its name; the folder is synced.

    Raises:  FileExistsError: somebody has the name, and `replace` does not allow to take it; OSError.
    """
    # Trap: rename replaces silently, so the name is taken by a link; the other name goes later.
    try:
        if replace:
            os.replace(partial, place)
        else:
            os.link(partial, place)
    except OSError as error:
        if replace or error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(place):
            raise _taken(place) from error
        os.replace(partial, place)
    # No failure: the name is taken and the file is whole, so a crash finds the old file, or the new one.
    with suppress(OSError):
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _create(path: Path) -> int:
    for _ in range(_ATTEMPTS):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            _remove_stale(path)
            continue
        # Trap: another program may have found the file before it was locked, and put its own in its place.
        if _lock(descriptor) is not False and _leads_to(path, descriptor):
            return descriptor
        os.close(descriptor)
    raise _taken(path)


def _remove_stale(path: Path) -> None:
    try:
        # O_NONBLOCK: a FIFO of that name would block for ever.
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # gone by itself
    except OSError as error:
        raise _taken(path) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or _lock(descriptor) is not True:
            raise _taken(path)
        if _leads_to(path, descriptor):
            os.unlink(path)
    finally:
        os.close(descriptor)


def _taken(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _lock(descriptor: int) -> bool | None:
    """Lock the file if nobody else has: True, False where somebody has, None where files cannot be locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _leads_to(path: Path, descriptor: int) -> bool:
    """Whether the name still leads to the file that is open: another program may have put its own there."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
