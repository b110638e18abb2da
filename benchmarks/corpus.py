"""Seeded databases of any size, kept in a folder outside the checkout between runs."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

SEED = 0


def folder() -> Path:
    """Where corpora lie: $PATTERN_STREAM_BENCH, else a folder in the default place for temporary files."""
    path = Path(os.environ.get("PATTERN_STREAM_BENCH") or Path(tempfile.gettempdir()) / "pattern-stream-bench")
    path.mkdir(parents=True, exist_ok=True)
    return path


def database(messages: int) -> Path:
    """A demonstration constellation with so many messages, made once for each version of the package."""
    from pattern_stream import __version__, make_demo

    path = folder() / f"demo-{__version__}-{messages}-{SEED}.db"
    if not path.exists():
        print(f"  making {path}", file=sys.stderr)
        asyncio.run(make_demo(path, messages=messages, seed=SEED))
    return path
