"""The tour behind `make demo`: a constellation out of SQLite, into an archive, and back, in under a minute.

Usage: python examples/tour.py [MESSAGES]
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOOL = [sys.executable, "-m", "pattern_stream"]


def run(*arguments: str, expected: int = 0) -> str:
    """Show a command, run it, return its standard output. Anything but the expected exit code ends the tour."""
    print(f"\n$ pattern-stream {shlex.join(arguments)}", flush=True)
    done = subprocess.run([*TOOL, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != expected:
        raise SystemExit(f"the tour ends: exit code {done.returncode}, expected {expected}")
    return done.stdout


def shell(command: str) -> None:
    """Show a pipeline and run it as a shell would."""
    print(f"\n$ {command}", flush=True)
    script = f'pattern-stream() {{ {shlex.join(TOOL)} "$@"; }}; set -o pipefail; {command}'
    subprocess.run(["bash", "-c", script], check=True)


def shown_text(database: Path, archive: Path) -> None:
    """One agent's memory: the text in the archive beside the one that Pattern last showed in the database."""
    blocks = [json.loads(line) for line in run("dump", str(archive), "blocks", "-q").splitlines()]
    with sqlite3.connect(database) as connection:
        (block_id, owner, label, preview, stored), *_ = connection.execute(
            """SELECT b.id, a.name, b.label, b.content_preview, length(b.loro_snapshot) FROM memory_blocks b
            JOIN agents a ON a.id = b.agent_id JOIN memory_block_updates u ON u.block_id = b.id
            WHERE b.is_active = 1 AND b.content_preview IS NOT NULL GROUP BY b.id
            HAVING min(u.is_active) = 1 ORDER BY count(*) DESC, b.id LIMIT 1"""
        )
    text = next(block["text"] for block in blocks if block.get("id") == block_id)
    print(f"{owner}'s memory block {label!r}: the stored document is {stored} bytes, all edits are pending.")
    print(f"  in the database: {preview.splitlines()[0][:70]}\n  in the archive:  {text.splitlines()[0][:70]}")
    if text != preview:
        raise SystemExit("the tour ends: the archive's memory is not the database's")
    print(f"  equal, all {len(text)} characters")


def refused_after_a_flip(archive: Path, target: Path) -> None:
    """Flip one byte of the archive and try to import it."""
    data = bytearray(gzip.decompress(archive.read_bytes()))
    data[len(data) // 2] ^= 0x01
    damaged = archive.with_name("damaged.car")
    damaged.write_bytes(data)
    before = target.read_bytes()
    print("\nOne bit in the middle of the archive is flipped:", end="", flush=True)
    run("verify", str(damaged), "-q", expected=4)
    run("import", str(damaged), "--db", str(target), "-q", expected=4)
    print("refused, and the database is", "as it was" if target.read_bytes() == before else "CHANGED")


def main(messages: int) -> None:
    """The whole tour, in a folder of its own that goes at the end."""
    with tempfile.TemporaryDirectory(prefix="pattern-stream-tour-") as folder:
        os.chdir(folder)
        database, archive, copy = Path("constellation.db"), Path("out.car.gz"), Path("copy.db")
        run("demo", "--db", str(database), "--messages", str(messages), "--progress", "none")
        print(run("list", "--db", str(database), "-q"))
        started = time.monotonic()
        shell(f"pattern-stream export --db {database} --scope constellation --progress none | gzip -1 > {archive}")
        seconds = time.monotonic() - started
        print(run("inspect", str(archive), "-q"))
        shown_text(database, archive)
        run("verify", str(archive), "--progress", "none")
        run("import", str(archive), "--db", str(copy), "--progress", "none")
        run("verify", str(archive), "--against", str(copy), "--progress", "none")
        refused_after_a_flip(archive, copy)
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
        sizes = (
            f"{database.stat().st_size / 1e6:.1f} MB of database, {archive.stat().st_size / 1e6:.1f} MB gzipped archive"
        )
        print(f"\n{sizes}; export through gzip {messages / seconds:,.0f} messages/s; peak memory {peak_mb:.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
