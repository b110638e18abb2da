"""The demonstration, wired: rows from the database room, memory documents from the worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pattern_stream.demo.database import DemoResult, write_demo
from pattern_stream.errors import UsageError
from pattern_stream.items import ProgressCallback
from pattern_stream.memory.sandbox import Sandbox

DEFAULT_MESSAGES: Final = 600


async def make_demo(
    path: Path, *, messages: int = DEFAULT_MESSAGES, seed: int = 0, progress: ProgressCallback | None = None
) -> DemoResult:
    """Make a lifelike constellation of invented content: every kind of row and memory document, edits pending.

    The same seed and number of messages give the same rows, memory documents to the byte (under one release of Loro).
    Raises UsageError, TargetExists, DatabaseError, WorkerFailed, OSError.
    """
    if messages < 0:
        raise UsageError(f"number of messages is {messages}, expected at least 0")
    async with Sandbox() as sandbox:
        return await write_demo(path, sandbox.author, messages=messages, seed=seed, progress=progress)
