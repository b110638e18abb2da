"""A file that is written aside and gets its name when it is whole. Everything here blocks and knows no event loop."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from pattern_stream.errors import FileMissing, FileTaken, UsageError, making_folder
from pattern_stream.transport.descriptors import translated

_FLAGS: Final = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_CLOSED: Final = -1
_ATTEMPTS: Final = 10
"""How often another program may take the name between two of our steps before we give up."""

_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


class PartialFile:
    """`NAME.partial` beside the target, mode 0600, locked while it is ours; `publish` gives it the name.

    A partial file whose lock is free was left behind by a program that was killed, and makes way. One whose lock is
    held belongs to a running export and refuses this one. Where files cannot be locked, any partial file refuses.

    Raises:  FileTaken: the target or its partial file is there; FileMissing: the folder is not; UsageError: the target
             is a folder; TransportError.
    """

    def __init__(self, target: Path, *, force: bool) -> None:
        self.target = Path(os.path.realpath(target))
        self.path = self.target.with_name(self.target.name + ".partial")
        self._force = force
        with translated(f"making {self.path}"):
            try:
                self._refuse_taken()
            except FileTaken:
                self._remove_second_name()
                raise
            self.descriptor = self._create()

    def publish(self) -> None:
        """Everything to the disk, then the name, then the folder: after a crash the file is old, or new and whole."""
        with translated(f"writing {self.target}"):
            os.fsync(self.descriptor)
            self._close_if_windows()
            if self._force:
                os.replace(self.path, self.target)
            else:
                self._take_name()
            _sync_folder(self.target.parent)

    def close(self, *, remove: bool) -> None:
        """Let go of the file. `remove`: it did not get its name, so nothing of it stays."""
        self._close_if_windows()
        if remove:
            with suppress(OSError):
                self._remove()  # before the lock goes, so that it cannot be the file of the next one
        if self.descriptor != _CLOSED:
            os.close(self.descriptor)
            self.descriptor = _CLOSED

    def _remove(self) -> None:
        if self.descriptor == _CLOSED or self._is_ours(self.descriptor):
            os.unlink(self.path)

    def _close_if_windows(self) -> None:
        """There a file that is open can neither be renamed nor removed."""
        if sys.platform == "win32" and self.descriptor != _CLOSED:
            os.close(self.descriptor)
            self.descriptor = _CLOSED

    def _refuse_taken(self) -> None:
        if self.target.is_dir():
            raise UsageError(f"{self.target} is a folder, expected the name of a file")
        if not self._force and os.path.lexists(self.target):
            raise FileTaken(f"{self.target} exists")

    def _take_name(self) -> None:
        """Take the target's name only if nobody has it. Trap: rename replaces silently, except on Windows."""
        try:
            if sys.platform == "win32":
                os.rename(self.path, self.target)
                return
            os.link(self.path, self.target)
        except FileExistsError as error:
            raise FileTaken(f"{self.target} exists, it was made while this was written") from error
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._refuse_taken()  # no links on this file system: look once more, then rename
            os.rename(self.path, self.target)
        else:
            self.path.unlink(missing_ok=True)

    def _remove_second_name(self) -> None:
        """An export that was killed when it had just taken the target's name has left the other one beside it."""
        with suppress(OSError):
            if os.path.samefile(self.path, self.target):
                os.unlink(self.path)

    def _create(self) -> int:
        for _ in range(_ATTEMPTS):
            try:
                descriptor = os.open(self.path, _FLAGS, 0o600)
            except FileExistsError:
                self._remove_stale()
                continue
            except FileNotFoundError as error:
                folder = self.target.parent
                raise FileMissing(f"folder {folder} is not there", hint=making_folder(folder)) from error
            if _lock(descriptor) is not False and self._is_ours(descriptor):
                return descriptor
            os.close(descriptor)
        raise self._taken()

    def _remove_stale(self) -> None:
        """Unlink what a killed program left; raises where it is not that."""
        try:
            # O_NONBLOCK: a FIFO of that name would block for ever.
            descriptor = os.open(self.path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        except FileNotFoundError:
            return  # gone by itself
        except OSError as error:
            raise self._taken() from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode) or _lock(descriptor) is not True:
                raise self._taken()
            if self._is_ours(descriptor):
                os.unlink(self.path)
        finally:
            os.close(descriptor)

    def _is_ours(self, descriptor: int) -> bool:
        """Whether the name still leads to the file that is open: another program may have put its own there."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.lstat(self.path))
        except FileNotFoundError:
            return False

    def _taken(self) -> FileTaken:
        return FileTaken(
            f"{self.path} exists: another export writes it, or it is no file of this program",
            hint="wait for the other export, or remove that file if there is none",
        )


def _lock(descriptor: int) -> bool | None:
    """Lock the file if nobody else has: True, False where somebody has, None where files cannot be locked."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _sync_folder(folder: Path) -> None:
    """Make the new name last. Where that cannot be done, it lasts when the system sees fit.

    The name is taken by then and the file is whole, so this is no failure: a crash finds the old file, or the new one.
    """
    if sys.platform == "win32":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
