"""A home folder for each test, and databases that the command itself has made."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.terminal import Outcome, call

Cli = Callable[..., Outcome]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Home and working folder of the command."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def cli(home: Path) -> Cli:
    """The command: `cli("list", "--db", path)`."""
    return lambda *arguments, **more: call(home, *arguments, **more)


def _made(folder: Path, messages: int) -> Path:
    path = folder / "demo.db"
    outcome = call(folder, "demo", "--db", path, "--messages", str(messages), "--seed", "7", "-q")
    assert outcome == Outcome(0, b"", "")
    return path


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo of 60 messages, not to be written to."""
    return _made(tmp_path_factory.mktemp("small"), 60)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo whose export takes long enough to be interrupted, not to be written to."""
    return _made(tmp_path_factory.mktemp("large"), 20_000)


@pytest.fixture
def database(small: Path, tmp_path: Path) -> Path:
    """A demo of the test's own."""
    return Path(shutil.copy(small, tmp_path / "constellation.db"))


@pytest.fixture
def agent(small: Path) -> str:
    """The name of an agent in the demos."""
    return str(edit(small, "SELECT name FROM agents ORDER BY name")[0][0])


def edit(database: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Run one statement in a database and give its rows; what it changed is committed."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        return connection.execute(statement, values).fetchall()
