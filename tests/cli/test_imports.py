"""What a command loads: the modules that cost time before anything is done, named here so that none comes unseen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import call, environment

HEAVY = {
    "aiosqlite", "anyio", "asyncio", "cbor2", "decimal", "email", "getpass", "hashlib", "http", "hypothesis",
    "importlib.metadata", "json", "libipld", "logging", "loro", "multiformats", "multiprocessing", "orjson", "pickle",
    "platformdirs", "pyrage", "cryptography", "rich", "secrets", "sqlalchemy", "sqlite3", "subprocess", "tempfile",
    "tomllib", "xml", "zipfile", "zstandard", "backports",
}  # fmt: skip
"""Modules that take a millisecond or more, or should never be here."""

EVERYWHERE = {"anyio", "asyncio", "cbor2", "libipld", "logging", "sqlite3", "subprocess"}
READING = EVERYWHERE | {"decimal", "getpass", "json", "orjson", "tempfile"}

SCRIPT = """
import sys
before = set(sys.modules)
from pattern_stream.cli.main import main
sys.argv = ["pattern-stream", *sys.argv[1:]]
try: main()
finally:
    print("LOADED", *sorted(set(sys.modules) - before), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def places(small: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A database and its archive."""
    archive = tmp_path_factory.mktemp("imports") / "small.car"
    assert 0 == call(archive.parent, "export", "--db", small, "-o", archive, "-q").code
    return {"db": small, "archive": archive}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("list", "--db", "{db}"), EVERYWHERE | {"aiosqlite"}),
        (("inspect", "{archive}"), READING | {"rich"}),  # its tables have wide characters
        (("verify", "{archive}"), READING | {"aiosqlite", "hashlib"}),
        (("export", "--db", "{db}", "-o", "out.car"), READING | {"aiosqlite"}),
        (("import", "{archive}", "--db", "new.db"), READING | {"aiosqlite", "hashlib", "secrets"}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_a_command_loads(
    command: tuple[str, ...], expected: set[str], places: dict[str, Path], home: Path, tmp_path: Path
) -> None:
    """Exactly these of the heavy modules, and none of another library unseen."""
    arguments = [part.format(**places) for part in command]
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], env=environment(home), cwd=tmp_path, capture_output=True, text=True
    )
    assert 0 == run.returncode, run.stderr

    (line,) = (line for line in run.stderr.splitlines() if line.startswith("LOADED "))
    loaded = set(line.split()[1:])
    top = {name.split(".")[0] for name in loaded}
    theirs = top - sys.stdlib_module_names - {"pattern_stream"}
    assert expected == HEAVY & (loaded | top)
    assert theirs <= expected | {"blake3", "click", "sniffio", "idna", "typing_extensions"}
