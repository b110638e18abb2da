"""What one run of the command line was asked for: how much to say, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ProgressMode = Literal["auto", "bar", "plain", "json", "none"]


@dataclass(slots=True)
class Session:
    """Set while the options are read, so that even a usage error is told in the form that was asked for.

    `archive_on_stdout`: standard output belongs to the archive, so nothing else may be written there.
    """

    quiet: bool = False
    verbose: bool = False
    json: bool = False
    progress: ProgressMode = "auto"
    archive_on_stdout: bool = False
