"""Fixtures for every room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("PATTERN_STREAM_SHARED", Path(__file__).resolve().parents[1] / "../shared")).resolve()


@pytest.fixture
def anyio_backend() -> str:
    """asyncio only: aiosqlite decides the loop."""
    return "asyncio"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of public vectors and of databases made by the real program, which lies beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there: databases of the real program and public vectors are not on this machine")
    return SHARED
