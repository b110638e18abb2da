"""Files of keys: small text with one key a line, where `#` begins a comment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pattern_stream.errors import FileMissing, UsageError, storage_errors

MOST_FILE_BYTES: Final = 1024 * 1024


def key_file(path: Path) -> bytes:
    """The bytes of a file of keys. Raises FileMissing, TransportError; UsageError where it is too large for one."""
    with storage_errors(f"reading {path}"):
        try:
            with path.open("rb") as file:
                data = file.read(MOST_FILE_BYTES + 1)
        except FileNotFoundError as error:
            raise FileMissing(f"key file {path} is not there") from error
    if len(data) > MOST_FILE_BYTES:
        raise UsageError(f"{path} is larger than {MOST_FILE_BYTES} bytes, expected a file of keys")
    return data


def key_lines(data: bytes, path: Path) -> Iterator[tuple[int, str]]:
    """The lines with something in them, by number. Raises UsageError."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text, expected one key a line") from error
    for number, line in enumerate(text.splitlines(), 1):
        if (line := line.strip()) and not line.startswith("#"):
            yield number, line
