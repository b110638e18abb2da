"""An archive read: verify and inspect, and others' readers of CAR archives.

decode_car  libipld: the whole archive in memory; decodes every block, hashes none
node        @ipld/car: streams; framing alone, or every block decoded too; hashes none
go          go-car: framing and every hash; decodes none
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.commands import pipeline
from benchmarks.contender import Contender, Counts, Work
from benchmarks.corpus import ROOT, archive

TOOLS = Path(os.environ.get("PATTERN_STREAM_INTEROP", ROOT / ".interop")).resolve()
SCRIPT = Path(__file__).with_name("js") / "read.mjs"


def verify(messages: int) -> Work:
    """Framing, digests, links, shapes, statistics, documents."""
    from pattern_stream.pipelines.verifying import verify_archive

    packed = archive(messages)

    def work() -> Counts:
        found = asyncio.run(verify_archive(packed))
        return {"bytes": found.bytes, "sections": found.sections}

    return work


def inspect(messages: int) -> Work:
    """What is in it, for a person."""
    from pattern_stream.pipelines.inspecting import inspect_archive

    packed = archive(messages)

    def work() -> Counts:
        found = asyncio.run(inspect_archive(packed))
        return {"bytes": found.bytes, "sections": found.sections}

    return work


def decode_car(messages: int) -> Work:
    """libipld takes the archive as one piece of bytes."""
    import libipld

    packed = archive(messages)

    def work() -> Counts:
        data = packed.read_bytes()
        _, blocks = libipld.decode_car(data)
        return {"bytes": len(data), "sections": len(blocks)}

    return work


def node(manner: str) -> Callable[[int], Work]:
    """Our few lines around @ipld/car. Trap: a script from stdin finds its packages from the working directory."""

    def prepare(messages: int) -> Work:
        packed = archive(messages)
        command = ["node", "--input-type=module", "-", str(packed), manner]
        return lambda: pipeline(command, source=SCRIPT, folder=TOOLS / "js")

    return prepare


def go_car(messages: int) -> Work:
    """`carprobe inspect`, our few lines around go-car's Inspect."""
    packed = archive(messages)
    return lambda: pipeline([TOOLS / "carprobe", "inspect", packed])


def missing_node() -> str | None:
    """Why @ipld/car cannot be run here."""
    if shutil.which("node") is None:
        return "node is not on this machine"
    there = (TOOLS / "js/node_modules/@ipld/car").is_dir()
    return None if there else "@ipld/car is not installed: `make interop` does it"


def missing_go() -> str | None:
    """Why go-car cannot be run here."""
    return None if (TOOLS / "carprobe").exists() else "go-car is not built: `make interop` does it, where go is there"


CONTENDERS = (
    Contender("verify", "verify", verify, often=True),
    Contender("inspect", "inspect", inspect),
    Contender("decode_car", "`libipld.decode_car`: all in memory, no hashing", decode_car),
    Contender("node-frame", "@ipld/car on node: framing only", node("frame"), missing=missing_node, command=True),
    Contender(
        "node-decode",
        "@ipld/car on node: decoded, no hashing",
        node("decode"),
        missing=missing_node,
        command=True,
    ),
    Contender("go", "go-car: framing and hashes, nothing decoded", go_car, missing=missing_go, command=True),
)
