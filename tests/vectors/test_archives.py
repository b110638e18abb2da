"""Written by any release, read by every later one: the archives in `archives/`, each of one form of the wire.

Nothing is claimed of what is written today: an archive made now may differ from them.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from pattern_stream.pipelines.importing import import_archive
from pattern_stream.pipelines.verifying import verify_archive
from tests.vectors.__main__ import FOLDER, INDEX, rows_of

pytestmark = pytest.mark.anyio

ARCHIVES: Final[dict[str, Any]] = json.loads(INDEX.read_text(encoding="utf-8"))


def test_every_archive_is_listed() -> None:
    """The index and the folder agree."""
    assert set(ARCHIVES) == {path.name for path in FOLDER.iterdir()} - {INDEX.name, "README.md"}


@pytest.mark.parametrize("name", ARCHIVES)
async def test_it_verifies(name: str) -> None:
    """Hashes, links, shapes and memory documents are right, under the root and version that it was given."""
    found = await verify_archive(FOLDER / name)

    assert (True, []) == (found.ok, found.findings)
    assert (ARCHIVES[name]["root"], ARCHIVES[name]["version"]) == (found.root, found.version)


@pytest.mark.parametrize("name", ARCHIVES)
async def test_it_imports_with_its_rows(name: str, tmp_path: Path) -> None:
    """Exactly the rows of the index, table by table, and single cells of what this form is about."""
    await import_archive(FOLDER / name, tmp_path / "restored.db")

    with closing(sqlite3.connect(tmp_path / "restored.db")) as connection:
        found = {sql: connection.execute(sql).fetchone()[0] for sql in ARCHIVES[name]["cells"]}
    assert ARCHIVES[name]["rows"] == rows_of(tmp_path / "restored.db")
    assert ARCHIVES[name]["cells"] == found
