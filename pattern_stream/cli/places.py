"""Where a command reads from and writes to: the database, the archive, and no binary on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pattern_stream.cli.output import path_text, plain, say
from pattern_stream.cli.session import Session
from pattern_stream.errors import UsageError

if TYPE_CHECKING:
    from pattern_stream.cli.locate import Located

STREAM: Final = Path("-")
"""stdin or stdout."""


def chosen_database(session: Session, given: Path | None) -> Path:
    """The database of --db, $PATTERN_DB or Pattern's own places, named on stderr. Raises DatabaseNotFound."""
    return _located(session, given, must_exist=True).path


@contextmanager
def database_to_fill(session: Session, given: Path | None, *, keep: bool = True) -> Iterator[Path]:
    """The same for a database that may be made. Where Pattern's own folder is missing, the folder is made, mode 0700.

    It goes again if the work fails or nothing is to be kept; folders that somebody named are never made.
    """
    from pattern_stream.cli.locate import USUAL_PLACE

    located = _located(session, given, must_exist=False)
    made: list[Path] = []
    if located.origin == USUAL_PLACE:
        missing = [folder for folder in located.path.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
            made.insert(0, folder)
    try:
        yield located.path
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            with suppress(OSError):  # somebody uses it by now
                for folder in made:
                    folder.rmdir()


def _located(session: Session, given: Path | None, *, must_exist: bool) -> Located:
    from pattern_stream.cli.locate import Folders, locate_database

    located = locate_database(given, os.environ, Folders(), must_exist=must_exist)
    say(session, f"database: {path_text(located.path)} ({plain(located.origin)})")
    return located


def binary_input(given: Path) -> Path | None:
    """The archive to read, None for stdin. Raises UsageError where it would be typed by hand."""
    if given != STREAM:
        return given
    if sys.stdin is None or sys.stdin.isatty():
        found = "closed" if sys.stdin is None else "a terminal"
        raise UsageError(f"stdin is {found}, expected an archive", hint="name a file, or pipe an archive in")
    return None


def binary_output(session: Session, given: Path) -> Path | None:
    """The file an archive goes to, None for stdout. Raises UsageError where it would end on a terminal."""
    session.archive_on_stdout = given == STREAM
    if given == STREAM:
        if sys.stdout is None:
            raise UsageError("stdout is closed, expected a file or a pipe", hint="name a file with -o FILE")
        _refuse_terminal(sys.stdout.isatty(), "stdout")
        return None
    _refuse_terminal(_is_terminal(given), path_text(given))
    return given


def _refuse_terminal(is_terminal: bool, name: str) -> None:
    if is_terminal:
        hint = "name a file with -o FILE, for example -o out.car.gz, or pipe it on"
        raise UsageError(f"{name} is a terminal, expected a file or a pipe: an archive is binary", hint=hint)


def _is_terminal(path: Path) -> bool:
    if not path.is_char_device():
        return False
    try:
        descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
    except OSError:
        return False  # whoever opens it for writing says why it cannot be
    try:
        return os.isatty(descriptor)
    finally:
        os.close(descriptor)
