"""What is shipped: the wheel holds the package and nothing else, the sdist all that a checkout needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any, Final

import pytest

import pattern_stream

ROOT: Final = Path(__file__).resolve().parents[2]
NAME: Final = f"pattern_stream-{pattern_stream.__version__}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both, made by the build backend alone, without the network."""
    pytest.importorskip(
        "hatchling", reason="hatchling, which builds both, is not installed: it is in requirements.lock"
    )
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, capture_output=True, check=True
    )
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> dict[str, bytes]:
    """The wheel's files."""
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(built: Path) -> set[str]:
    """The names of the sdist's files, below its one folder."""
    with tarfile.open(built / f"{NAME}.tar.gz") as archive:
        names = archive.getnames()
    assert {NAME} == {name.split("/")[0] for name in names}
    return {name.split("/", 1)[1] for name in names}


def project() -> dict[str, Any]:
    """The project table of pyproject.toml."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def sources(folder: str) -> set[str]:
    """The Python files of a folder of the checkout."""
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py")}


def metadata(wheel: dict[str, bytes]) -> Message:
    """The wheel's METADATA."""
    return Parser().parsestr(wheel[f"{NAME}.dist-info/METADATA"].decode())


def test_the_wheel_holds_the_package_and_nothing_else(wheel: dict[str, bytes]) -> None:
    """Every module, the marker for type checkers and the metadata; no tests, no benchmarks, nothing cached."""
    beside = {f"{NAME}.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}

    assert sources("pattern_stream") | {
        "pattern_stream/py.typed",
        f"{NAME}.dist-info/licenses/LICENSE",
    } | beside == set(wheel)


def test_the_wheel_says_what_the_project_says(wheel: dict[str, bytes]) -> None:
    """Name, version, Python, licence, dependencies and the command; the README is its description."""
    said, given = metadata(wheel), project()

    assert ("pattern-stream", pattern_stream.__version__) == (said["Name"], said["Version"])
    assert (given["requires-python"], given["license"]) == (said["Requires-Python"], said["License-Expression"])
    extras = given["optional-dependencies"]
    wanted = [*given["dependencies"], *(f"{one}; extra == '{name}'" for name in extras for one in extras[name])]
    assert set(map(_parts, wanted)) == set(map(_parts, said.get_all("Requires-Dist", [])))
    assert "text/markdown" == said["Description-Content-Type"]
    assert (ROOT / "README.md").read_text(encoding="utf-8") == said.get_payload()
    assert (
        f"pattern-stream = {given['scripts']['pattern-stream']}" in wheel[f"{NAME}.dist-info/entry_points.txt"].decode()
    )


def _parts(requirement: str) -> tuple[str, ...]:
    """A requirement's name, its bounds, however they are ordered, and what it depends on."""
    found = re.fullmatch(r"([\w.\[\]-]+)([^;]*)(.*)", requirement.replace(" ", ""))
    assert found
    return found[1].replace(".", "-"), *sorted(found[2].split(",")), found[3]


def test_the_sdist_holds_a_checkout(sdist: set[str]) -> None:
    """Sources, tests, examples, documents, the Makefile, what CI runs and the lock: its `make` targets work."""
    needed = set().union(*map(sources, ("pattern_stream", "tests", "examples", "benchmarks")))
    documents = {"README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "PKG-INFO"}
    tools = {"Makefile", "pyproject.toml", "requirements.lock", ".gitignore", ".ci/run", "pattern_stream/py.typed"}
    data = {
        *(f"docs/{name}.md" for name in ("format", "database", "memory")),
        "tests/vectors/dagcbor.json",
        "tests/vectors/archives/v4-whole.car.gz",
        *(f"tests/interop/{name}" for name in ("go/go.sum", "js/.npmrc", "js/list.mjs")),
    }

    assert set() == (needed | documents | tools | data) - sdist


def test_the_sdist_holds_nothing_made(sdist: set[str]) -> None:
    """No environment, no cache, no compiled file, no archive or database but the golden ones."""
    made = re.compile(r"(^|/)(\.venv|\.interop|\.matrix|__pycache__|node_modules|dist)(/|$)|\.(pyc|db|car)$")

    kept = "tests/vectors/archives/"
    assert [] == [name for name in sorted(sdist) if made.search(name) and not name.startswith(kept)]
