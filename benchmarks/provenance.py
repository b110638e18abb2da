"""Where a part was measured: package, machine, versions. No date: a commit has one."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sqlite3
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.corpus import PACKAGE, ROOT
from benchmarks.read_lines import TOOLS

LIBRARIES = ("aiosqlite", "blake3", "cbor2", "libipld", "loro", "orjson", "sqlalchemy")
PROGRAMS = {"gzip": "--version", "zstd": "--version", "node": "--version"}


@dataclass(frozen=True, slots=True)
class Provenance:
    """`sources` stands for every byte of the package's code, so that equal figures of unequal code can be told."""

    package: str
    sources: str
    machine: str
    python: str
    versions: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.machine}, {self.python}, pattern-stream {self.package} (sources {self.sources})"


def here() -> Provenance:
    """This machine and this checkout."""
    from pattern_stream import __version__

    found = {"sqlite": sqlite3.sqlite_version} | _libraries() | _programs() | _packages()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return Provenance(__version__, digest_of(PACKAGE), machine(), python, dict(sorted(found.items())))


def digest_of(package: Path) -> str:
    """A short name for the code of a package: it changes with any byte of it."""
    hasher = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        hasher.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return hasher.hexdigest()[:12]


def machine() -> str:
    """The machine in a few words."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.*)", cpuinfo.read_text(encoding="utf-8"))):
        model = found[1].strip()
    return f"{os.cpu_count()} x {model}, {platform.system()}"


def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def _programs() -> dict[str, str]:
    found = {}
    for name, option in PROGRAMS.items():
        if shutil.which(name):
            said = subprocess.run([name, option], capture_output=True, text=True, check=False).stdout
            number = re.search(r"\d+(\.\d+)+", said)
            found[name] = number[0] if number else "unknown"
    return found


def _packages() -> dict[str, str]:
    """What `make interop` pins, where it was run."""
    pinned = {
        "@ipld/car": (TOOLS / "js/node_modules/@ipld/car/package.json", r'"version": "([^"]+)"'),
        "go-car": (ROOT / "tests/interop/go/go.mod", r"ipld/go-car/v2 v(\S+)"),
    }
    there = {"@ipld/car": (TOOLS / "js").is_dir(), "go-car": (TOOLS / "carprobe").exists()}
    texts = {name: path.read_text(encoding="utf-8") for name, (path, _) in pinned.items() if path.exists()}
    hits = {name: re.search(pinned[name][1], text) for name, text in texts.items() if there[name]}
    return {name: hit[1] for name, hit in hits.items() if hit}
