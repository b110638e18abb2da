"""Which format an input is of: every reader that there is, asked in turn."""

from __future__ import annotations

from typing import Final

from pattern_stream.errors import UnknownFormat
from pattern_stream.legacy.pattern_archive.reader import PatternArchive
from pattern_stream.legacy.pattern_archive.root import may_be_of_today
from pattern_stream.legacy.source import LegacyInput, Reader

READERS: Final[tuple[Reader, ...]] = (PatternArchive(),)
"""One instance of each reader. A reader recognises its format for sure, so the order decides nothing."""


def recognise(given: LegacyInput) -> Reader | None:
    """The reader whose format the input is of, judged by its content; None where it is of no format known here."""
    return next((reader for reader in READERS if reader.recognise(given)), None)


def recognise_foreign(given: LegacyInput) -> Reader | None:
    """The same for what may be an archive of today, which has no reader here."""
    return None if not given.is_folder and may_be_of_today(given.head) else recognise(given)


def require_reader(given: LegacyInput) -> Reader:
    """The same. Raises UnknownFormat."""
    if (reader := recognise(given)) is not None:
        return reader
    what = "folder" if given.is_folder else "file"
    known = ", ".join(reader.noun for reader in READERS)
    raise UnknownFormat(f"{what} is of no format that can be converted, expected one of: {known}")
