"""Fixture databases, unpacked once a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.acceptance.running import Folder


@pytest.fixture(scope="session")
def folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Folder]:
    """A folder of the fixtures by name; its exports run when they are first asked for."""
    return cache(lambda name: Folder(shared / "fixtures" / name, tmp_path_factory.mktemp(name)))
