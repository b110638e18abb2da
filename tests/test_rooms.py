"""The rooms of the package: which may import which, and what only one of them may touch."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).resolve().parents[1] / "pattern_stream"
MIDDLE: Final = ("stages", "db", "archive", "memory", "transport", "legacy")

FLOORS: Final = {
    "quick_dataclass": -1,
    "errors": 0,
    "format": 0,
    "budget": 0,
    "streams": 0,
    "codec": 1,
    "schema": 2,
    "items": 3,
    "files": 3,
    "workers": 3,
    **dict.fromkeys(MIDDLE, 4),
    "demo": 5,
    "pipelines": 5,
    "sync": 6,
    "cli": 7,
    "__main__": 8,
}
"""A room may import rooms of lower floors and itself. The package's own `__init__` only names what others have."""

INNER_FLOORS: Final = {
    "db": {"connection": 0, "catalog": 1, "ddl": 1, "read": 2, "write": 2},
    "schema": {"model": 0, "mapping": 1, "ids": 2, "checks": 3},
    "stages": {
        "statistics": 1,
        "mapping": 1,
        "folding": 1,
        "writing": 1,
        "encode": 2,
        "walk": 2,
        "rebuild": 2,
        "edit": 2,
        "chunking": 3,
    },
}
"""The rooms inside a room, by the same rule: a file may import lower floors of its room and its own folder."""

KEPT: Final = {
    "cbor2": ("codec/dagcbor.py",),
    "libipld": ("codec/dagcbor.py",),
    "loro": ("memory/worker.py", "demo/author_worker.py"),
    "sqlalchemy": ("db/ddl/",),
    "aiosqlite": ("db/",),
    "sqlite3": ("db/", "archive/shelf.py", "files/", "legacy/pattern_archive/store.py"),
    "click": ("cli/",),
    "rich": ("cli/",),
    "time": ("pipelines/", "cli/", "memory/worker.py"),
    "random": ("pipelines/", "demo/"),
    "secrets": ("pipelines/", "transport/age.py"),
    "uuid": ("pipelines/", "legacy/pattern_archive/records.py"),
}
"""Where a module may be imported: a file, the start of a file's path, or a folder."""

NAMED: Final = {(room, "sqlalchemy.ext.asyncio", "AsyncConnection") for room in ("db", "pipelines")} | {
    ("codec", "io", "BytesIO")
}
"""Rooms that may name one thing of a library: callers may bring an AsyncConnection, so public signatures have it; and
cbor2 reads bytes in pieces only from what looks like a file."""

PURE: Final = ("codec/", "schema/", "items.py", "errors.py", "format.py", "streams.py")
SIDE_EFFECTS: Final = frozenset(
    {"anyio", "asyncio", "io", "logging", "multiprocessing", "os", "pathlib", "shutil", "signal", "socket"}
    | {"subprocess", "tempfile", "threading"}
)
CLOCK_CALLS: Final = frozenset({"now", "utcnow", "today", "urandom"})
STATEMENT: Final = re.compile(
    r"\s*(SELECT\s.+\sFROM\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|CREATE\s+TABLE\s|PRAGMA\s+\w)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module; `name` is what is taken from it, None for the module itself."""

    line: int
    module: str
    name: str | None


def imports(tree: ast.Module, path: str) -> Iterator[Import]:
    """Every import of a file, wherever it stands; relative ones made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, path)
            for alias in node.names:
                yield Import(node.lineno, module, alias.name)


def _absolute(node: ast.ImportFrom, path: str) -> str:
    if not node.level:
        return node.module or ""
    folders = ["pattern_stream", *Path(path).parent.parts]
    base = folders[: len(folders) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def room_of(path: str) -> str:
    """The room of a file, by its path inside the package."""
    first = Path(path).parts[0]
    return first.removesuffix(".py")


def faults(source: str, path: str) -> list[str]:
    """What a file at `path` (inside the package) does that its room may not."""
    tree = ast.parse(source)
    found = [*_import_faults(tree, path), *_call_faults(tree, path), *_sql_faults(tree, path)]
    return [f"{path}:{line}: {message}" for line, message in sorted(found)]


def _import_faults(tree: ast.Module, path: str) -> Iterator[tuple[int, str]]:
    for item in imports(tree, path):
        parts = item.module.split(".")
        if parts[0] == "pattern_stream":
            message = _direction_fault(path, [*parts[1:], *([item.name] if item.name else [])])
        else:
            message = _library_fault(path, item)
        if message:
            yield item.line, message


def _direction_fault(path: str, target: list[str]) -> str | None:
    room = room_of(path)
    if room == "__init__" or target in ([], ["__version__"]):
        return None
    if room not in FLOORS:
        return f"{room} is no room of the house"
    if target[0] not in FLOORS:
        return f"{room} imports {target[0]} through the package"
    if room == target[0]:
        return _inner_direction_fault(path, target)
    if FLOORS[target[0]] < FLOORS[room]:
        return None
    return f"{room} may not import {target[0]}"


def _inner_direction_fault(path: str, target: list[str]) -> str | None:
    """The same rule between the folders of one room."""
    floors = INNER_FLOORS.get(target[0])
    if floors is None:
        return None
    inner = Path(path).parts[1].removesuffix(".py")
    if inner not in floors or target[1] not in floors:
        return f"{target[0]} has no folder {target[1] if inner in floors else inner}"
    if inner == target[1] or floors[target[1]] < floors[inner]:
        return None
    return f"{target[0]}/{inner} may not import {target[0]}/{target[1]}"


def _library_fault(path: str, item: Import) -> str | None:
    library = item.module.split(".")[0]
    if (room_of(path), item.module, item.name) in NAMED:
        return None
    if library in SIDE_EFFECTS and path.startswith(PURE):
        return f"{room_of(path)} is pure and imports {library}"
    if library not in KEPT or path.startswith(KEPT[library]):
        return None
    return f"{library} does not belong here"


def _call_faults(tree: ast.Module, path: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id == "print" and not path.startswith("cli/"):
            yield node.lineno, "prints outside cli/"
        if isinstance(called, ast.Attribute) and called.attr in CLOCK_CALLS and not path.startswith("pipelines/"):
            yield node.lineno, f"{called.attr}() outside pipelines/"


def _sql_faults(tree: ast.Module, path: str) -> Iterator[tuple[int, str]]:
    if path.startswith(KEPT["sqlite3"]):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.match(node.value):
            yield node.lineno, "SQL outside db/"


# --- the package -------------------------------------------------------------------------------------------------


def sources() -> list[str]:
    """Every file of the package, by its path inside it."""
    return sorted(file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", sources())
def test_a_file_keeps_to_its_room(path: str) -> None:
    """Imports go one way, and a library, the clock, printing and SQL stay in the room that has them."""
    found = faults((PACKAGE / path).read_text(encoding="utf-8"), path)

    assert [] == found


def test_every_room_is_known() -> None:
    """A new folder needs a floor before it can be imported."""
    rooms = {room_of(path) for path in sources()} - {"__init__"}

    assert set() == rooms - set(FLOORS)


# --- the checker -------------------------------------------------------------------------------------------------

BAD: Final = [
    ("codec/car.py", "from pattern_stream.schema.model.nodes import Manifest", "codec may not import schema"),
    ("codec/car.py", "def f():\n    import pattern_stream.items", "codec may not import items"),
    ("schema/model/nodes.py", "from pattern_stream import items", "schema may not import items"),
    ("items.py", "from pattern_stream.stages.chunking import chunk", "items may not import stages"),
    ("stages/walk/walker.py", "from pattern_stream.archive.shelf import Shelf", "stages may not import archive"),
    ("db/read/scope_reader.py", "from pattern_stream.memory import sandbox", "db may not import memory"),
    ("db/read/scope_reader.py", "from ...memory.sandbox import Sandbox", "db may not import memory"),
    ("transport/files.py", "from pattern_stream.pipelines import results", "transport may not import pipelines"),
    ("pipelines/exporting.py", "from pattern_stream.cli.output import say", "pipelines may not import cli"),
    ("errors.py", "from pattern_stream.format import CID_BYTES", "errors may not import format"),
    ("stages/chunking.py", "from pattern_stream import encode", "stages imports encode through the package"),
    ("helpers/text.py", "from pattern_stream import items", "helpers is no room of the house"),
    ("codec/car.py", "import cbor2", "cbor2 does not belong here"),
    ("stages/encode/encoder.py", "from libipld import encode_dag_cbor", "libipld does not belong here"),
    ("memory/sandbox.py", "import loro", "loro does not belong here"),
    ("memory/sandbox.py", "import sqlite3", "sqlite3 does not belong here"),
    ("archive/shelf.py", "import sqlalchemy", "sqlalchemy does not belong here"),
    ("pipelines/exporting.py", "from sqlalchemy import text", "sqlalchemy does not belong here"),
    ("db/read/query.py", "from sqlalchemy import text", "sqlalchemy does not belong here"),
    ("pipelines/exporting.py", "import rich.progress", "rich does not belong here"),
    ("stages/mapping.py", "import time", "time does not belong here"),
    ("db/write/sink.py", "from random import random", "random does not belong here"),
    ("schema/ids/new_ids.py", "import secrets", "secrets does not belong here"),
    ("schema/mapping/instants.py", "from datetime import datetime\ndatetime.now()", "now() outside pipelines/"),
    ("db/create.py", "import os\nos.urandom(4)", "urandom() outside pipelines/"),
    ("codec/car.py", "import os", "codec is pure and imports os"),
    ("codec/car.py", "from io import open", "codec is pure and imports io"),
    ("schema/model/records.py", "import asyncio", "schema is pure and imports asyncio"),
    ("pipelines/exporting.py", "print('done')", "prints outside cli/"),
    ("pipelines/exporting.py", "q = 'SELECT id FROM agents'", "SQL outside db/"),
    ("stages/mapping.py", "q = f'INSERT INTO {1} VALUES (1)'", "SQL outside db/"),
]  # fmt: skip

GOOD: Final = [
    ("codec/car.py", "from pattern_stream.errors import Where\nfrom pattern_stream.codec.cid import cid_text"),
    ("codec/dagcbor.py", "import cbor2, libipld"),
    ("db/ddl/builder.py", "import sqlite3\nfrom sqlalchemy import text\nq = 'SELECT id FROM agents'"),
    ("demo/database.py", "from random import Random"),
    ("archive/shelf.py", "import sqlite3\nq = 'CREATE TABLE shelf (cid BLOB)'"),
    ("pipelines/exporting.py", "import time\nfrom datetime import datetime\nfrom pattern_stream import __version__"),
    ("pipelines/exporting.py", "from sqlalchemy.ext.asyncio import AsyncConnection"),
    ("cli/output.py", "import click\nprint('select something from the list')"),
    ("stages/mapping.py", "'''Select rows from a table.'''"),
    ("__init__.py", "from pattern_stream.pipelines.exporting import export_archive"),
]


@pytest.mark.parametrize(("path", "source", "expected"), BAD)
def test_the_checker_names_each_fault(path: str, source: str, expected: str) -> None:
    """A file that leaves its room is found, with line and reason: this test suite can fail."""
    found = faults(source, path)

    assert [f"{path}:{len(source.splitlines())}: {expected}"] == found


@pytest.mark.parametrize(("path", "source"), GOOD)
def test_the_checker_lets_the_honest_pass(path: str, source: str) -> None:
    """What a room may do is no fault."""
    assert [] == faults(source, path)
