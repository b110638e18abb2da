"""An archive read: verify and inspect, what they cannot leave out, and others' readers of CAR archives.

strict      read, hashed and decoded by our strict decoder, in one process
plain       the same by libipld's decoder, which proves nothing
decode_car  libipld: the whole archive in memory; decodes every block, hashes none
node        @ipld/car: streams; framing alone, or every block decoded too; hashes none
go          go-car: framing and every hash; decodes none
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.commands import PROGRAM, Command, peer, pipeline
from benchmarks.contender import Contender, Work
from benchmarks.corpus import ROOT, Corpus

TOOLS = Path(os.environ.get("PATTERN_STREAM_INTEROP", ROOT / ".interop")).resolve()
SCRIPT = Path(__file__).with_name("js") / "read.mjs"


def reading(command: Callable[[Path], Command]) -> Callable[[Corpus], Work]:
    """A command that reads an archive."""

    def prepare(corpus: Corpus) -> Work:
        ready = command(corpus.archive())
        return lambda: pipeline(ready)

    return prepare


def ours(verb: str) -> Callable[[Corpus], Work]:
    """`pattern-stream VERB archive`."""
    return reading(lambda packed: [*PROGRAM, verb, "-q", "--json", packed])


def decoded(how: str) -> Callable[[Corpus], Work]:
    """One of the peers that decode an archive."""
    return reading(lambda packed: peer(how, packed))


def node(manner: str) -> Callable[[Corpus], Work]:
    """Our few lines around @ipld/car. Trap: a script from stdin finds its packages from the working directory."""

    def prepare(corpus: Corpus) -> Work:
        command = ["node", "--input-type=module", "-", str(corpus.archive()), manner]
        return lambda: pipeline(command, source=SCRIPT, folder=TOOLS / "js")

    return prepare


def missing_node() -> str | None:
    """Why @ipld/car cannot be run here."""
    if shutil.which("node") is None:
        return "node is not on this machine"
    there = (TOOLS / "js/node_modules/@ipld/car").is_dir()
    return None if there else "@ipld/car is not installed: `make interop` does it"


def missing_go() -> str | None:
    """Why go-car cannot be run here."""
    return None if (TOOLS / "carprobe").exists() else "go-car is not built: `make interop` does it, where go is there"


GO = reading(lambda packed: [TOOLS / "carprobe", "inspect", packed])

CONTENDERS = (
    Contender("strict", "read, hashed, decoded strictly, in one process", decoded("strict"), often=True),
    Contender("verify", "verify", ours("verify"), often=True),
    Contender("inspect", "inspect", ours("inspect")),
    Contender("plain", "read, hashed, decoded by `libipld`", decoded("plain"), often=True),
    Contender("decode_car", "`libipld.decode_car`: all in memory, no hashing", decoded("decode_car")),
    Contender("node-frame", "@ipld/car on node: framing only", node("frame"), missing=missing_node),
    Contender("node-decode", "@ipld/car on node: decoded, no hashing", node("decode"), missing=missing_node),
    Contender("go", "go-car: framing and hashes, nothing decoded", GO, missing=missing_go),
)
