"""Other implementations as programs of their own: where `make interop` put them, and what they say of an archive."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from base64 import b32encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.acceptance.car import Archive

HERE: Final = Path(__file__).resolve().parent
TOOLS: Final = Path(os.environ.get("PATTERN_STREAM_INTEROP", HERE.parents[1] / ".interop")).resolve()
SECONDS: Final = 120


@dataclass(frozen=True, order=True)
class Section:
    """One block as an implementation sees it; `sha256` stands for all its bytes."""

    cid: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Listing:
    """An archive as an implementation sees it."""

    roots: tuple[str, ...]
    sections: tuple[Section, ...]
    changed: frozenset[str] = frozenset()
    """The CIDs of blocks that it decodes and then encodes to other bytes."""


def text_of(cid: bytes) -> str:
    """The text form of a CID: multibase base32, spelled out here so that no library is asked."""
    return "b" + b32encode(cid).decode().lower().rstrip("=")


def section_of(cid: bytes, data: bytes) -> Section:
    """A block as listings have it."""
    return Section(text_of(cid), len(data), hashlib.sha256(data).hexdigest())


def listing_of(archive: Archive) -> Listing:
    """What everybody should see, by the oracle's own reader."""
    return Listing((text_of(archive.root),), tuple(section_of(cid, data) for cid, data in archive.sections))


def parse_listing(lines: Iterable[str]) -> Listing:
    """What a tool printed: a JSON object for each block, and one with the roots."""
    items = [json.loads(line) for line in lines]
    blocks = [item for item in items if "cid" in item]
    (roots,) = (item["roots"] for item in items if "roots" in item)
    return Listing(
        tuple(roots),
        tuple(Section(block["cid"], block["bytes"], block["sha256"]) for block in blocks),
        frozenset(block["cid"] for block in blocks if not block["same"]),
    )


@dataclass(frozen=True)
class Tool:
    """A program, and what stands before every command line of it."""

    command: tuple[str, ...]

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end, whatever that is."""
        line = [*self.command, *map(str, arguments)]
        return subprocess.run(line, capture_output=True, timeout=SECONDS, check=False)

    def output(self, *arguments: str | Path) -> bytes:
        """Its stdout; it must succeed."""
        done = self.run(*arguments)
        assert (0, "") == (done.returncode, done.stderr.decode() if done.returncode else "")
        return done.stdout

    def lines(self, *arguments: str | Path) -> list[str]:
        """The lines of its stdout."""
        return self.output(*arguments).decode().splitlines()

    def said(self, *arguments: str | Path) -> Any:
        """The JSON document on its stdout."""
        return json.loads(self.output(*arguments))

    def listing(self, *arguments: str | Path) -> Listing:
        """The listing on its stdout."""
        return parse_listing(self.lines(*arguments))


def need_program(name: str) -> str:
    """The path of a program of the machine, or a skip."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on this machine")
    return found


def need_file(path: Path, name: str, *sources: Path) -> Path:
    """A file that `make interop` makes, not older than what it is made of, or a skip."""
    if not path.exists():
        pytest.skip(f"{name} is not installed: `make interop` does it, where its language is on the machine")
    if any(source.stat().st_mtime > path.stat().st_mtime for source in sources):
        pytest.skip(f"{name} is older than its sources: `make interop` makes it anew")
    return path
