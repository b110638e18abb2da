"""The archives, made once, and the tools that `make interop` installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.acceptance.running import Export
from tests.interop.foreign import HERE, TOOLS, Tool, need_file, need_program
from tests.interop.samples import NAMES, Archives


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """Our archives by name."""
    return Archives(tmp_path_factory.mktemp("archives"))


@pytest.fixture(params=NAMES)
def ours(request: pytest.FixtureRequest, archives: Archives) -> Export:
    """Each of our archives in turn."""
    return archives[request.param]


@pytest.fixture(scope="session")
def carprobe() -> Tool:
    """go-car, by our program around its library."""
    sources = (HERE / "go" / name for name in ("main.go", "go.mod", "go.sum"))
    return Tool((str(need_file(TOOLS / "carprobe", "go-car", *sources)),))


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder that holds node_modules, with our scripts beside it: node looks for packages from a script upwards."""
    need_program("node")
    lock = HERE / "js/package-lock.json"
    folder = need_file(TOOLS / "js/node_modules/.package-lock.json", "@ipld/car", lock).parents[1]
    for script in (HERE / "js").glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


@pytest.fixture(scope="session")
def list_js(packages: Path) -> Tool:
    """@ipld/car's readers."""
    return Tool(("node", str(packages / "list.mjs")))


@pytest.fixture(scope="session")
def write_js(packages: Path) -> Tool:
    """@ipld/car's writer."""
    return Tool(("node", str(packages / "write.mjs")))


@pytest.fixture(scope="session")
def ipfs_car(packages: Path) -> Tool:
    """The command of that name."""
    return Tool(("node", str(packages / "node_modules/ipfs-car/bin.js")))


@pytest.fixture(scope="session")
def atproto() -> Tool:
    """The CAR reader of the atproto package, in an environment of its own."""
    need_file(TOOLS / "python/.ready", "atproto", HERE / "python/requirements.txt")
    return Tool((str(TOOLS / "python/bin/python"), str(HERE / "python/read.py")))
