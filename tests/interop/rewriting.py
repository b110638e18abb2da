"""What must hold for an archive of ours that another implementation wrote anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.acceptance.running import Export
from tests.cli.terminal import call


def check_copy(original: Export, made: Path) -> None:
    """The same blocks in the same order are the same bytes: there is one way to write them."""
    assert original.path.read_bytes() == made.read_bytes()


def check_reversed(original: Export, made: Path, folder: Path) -> None:
    """The same blocks, children before parents: other bytes, but the whole archive, document for document."""
    assert original.path.read_bytes() != made.read_bytes()
    expected, found = _verified(original.path, folder), _verified(made, folder)
    assert {**expected, "order": "other"} == found
    assert _dumped(original.path, folder) == _dumped(made, folder)


def _verified(path: Path, folder: Path) -> dict[str, Any]:
    outcome = call(folder, "verify", "--json", path)
    assert outcome.code == 0, outcome.err
    return {key: value for key, value in outcome.json.items() if key != "seconds"}


def _dumped(path: Path, folder: Path) -> bytes:
    outcome = call(folder, "dump", path)
    assert outcome.code == 0, outcome.err
    return outcome.out
