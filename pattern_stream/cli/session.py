"""What one run of the command line was asked for: how much to say, and where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pattern_stream.quick_dataclass import dataclass

if TYPE_CHECKING:
    from pattern_stream.transport.wrapping import Method

ProgressMode = Literal["auto", "bar", "plain", "json", "none"]


@dataclass(slots=True)
class Session:
    """Set while the options are read, so that even a usage error is told in the form that was asked for.

    `archive_on_stdout`: standard output belongs to the archive, so nothing else may be written there. The
    last six: what lies round an archive, as the options say.
    """

    quiet: bool = False
    verbose: bool = False
    json: bool = False
    progress: ProgressMode = "auto"
    archive_on_stdout: bool = False
    compress: tuple[Method, int | None] | None = None
    threads: int = 1
    encrypt_to: tuple[str, ...] = ()
    passphrase: bool = False
    identity: tuple[Path, ...] = ()
    max_expansion: int = 1
