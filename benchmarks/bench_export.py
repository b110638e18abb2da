"""Export beside its peers: raw sqlite3, and JSON to canonical CBOR row by row.

Usage: python -m benchmarks.bench_export [--messages 200000] [--rounds 5] [--large 1000000] [--readme]

raw     the same SELECT statements, rows thrown away         null    a constellation to /dev/null
file    a constellation to a file                             rowwise json + cbor2(canonical), each message
large   a constellation of --large messages to /dev/null (peak memory; one run)
helpers the same, and its helper processes: peak of the sum of what is resident, looked at every 20 ms (Linux; one run)
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from benchmarks.corpus import database, folder
from benchmarks.harness import Figure, Run, arguments, interleaved, into_readme, machine, save, table, timed

CONTENDERS = ("raw", "null", "file", "rowwise")
TARGETS = {"null": 2.6, "file": 3.2}


def raw(path: Path) -> None:
    """Fetch every row of the carried tables with the driver alone, messages in the order of an archive."""
    from pattern_stream.schema.records import Agent, ArchivalEntry, ArchiveSummary, MemoryBlock, MemoryUpdate, Message

    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    for record in (Agent, MemoryBlock, MemoryUpdate, ArchivalEntry, ArchiveSummary):
        _drain(connection, f"SELECT {', '.join(record.columns)} FROM {record.table}", ())
    messages = f"SELECT {', '.join(Message.columns)} FROM messages WHERE agent_id = ? AND is_deleted = 0"
    for (agent,) in connection.execute("SELECT id FROM agents").fetchall():
        _drain(connection, f"{messages} ORDER BY position DESC", (agent,))


def _drain(connection: sqlite3.Connection, sql: str, parameters: tuple[str, ...]) -> None:
    cursor = connection.execute(sql, parameters)
    while cursor.fetchmany(512):
        pass


def export(path: Path, out: Path) -> None:
    """The whole line."""
    from pattern_stream.pipelines.exporting import ExportOptions, export_archive

    asyncio.run(export_archive(path, out, options=ExportOptions(force=True)))


def rowwise(path: Path) -> None:
    """What a plain program does: read a row, parse its JSON, encode it canonically, go on to the next."""
    import cbor2

    from pattern_stream.schema.records import Message

    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    for row in connection.execute(f"SELECT {', '.join(Message.columns)} FROM messages WHERE is_deleted = 0"):
        record = dict(zip(Message.columns, row, strict=True))
        for column in ("content_json", "source_metadata"):
            record[column] = None if record[column] is None else json.loads(record[column])
        cbor2.dumps(record, canonical=True)


def child(name: str, path: Path) -> None:
    """One run of one contender. Imports are paid before the clock starts."""
    for module in ("cbor2", "pattern_stream.pipelines.exporting"):
        import_module(module)
    works = {
        "raw": lambda: raw(path),
        "null": lambda: export(path, Path("/dev/null")),
        "large": lambda: export(path, Path("/dev/null")),
        "file": lambda: export(path, folder() / "bench.car"),
        "rowwise": lambda: rowwise(path),
    }
    if name == "helpers":
        together(works["large"])
    else:
        timed(works[name])


def together(work: Callable[[], object]) -> None:
    """Do the work, print a `Run` whose peak is that of this process and its children together."""
    found, done = [0.0], threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            found.append(sum(map(_resident_mb, ["self", *_children()])))

    watching = threading.Thread(target=look)
    watching.start()
    started, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, used = time.perf_counter() - started, time.process_time() - cpu
    done.set()
    watching.join()
    print(json.dumps(asdict(Run(seconds, used, max(found)))))


def _children() -> list[str]:
    tasks = Path("/proc/self/task")
    return (
        [pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()] if tasks.exists() else []
    )


def _resident_mb(pid: str) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:  # gone meanwhile
        return 0.0
    resident = re.search(r"VmRSS:\s*(\d+) kB", status)
    return int(resident[1]) / 1_000 if resident else 0.0


def report(figures: dict[str, Figure], large: Figure, helpers: Figure, messages: int, large_messages: int) -> str:
    """The table of the README."""
    base = figures["raw"].seconds
    labels = {
        "raw": "raw `sqlite3` fetch of the same rows",
        "null": "export to /dev/null",
        "file": "export to a file",
        "rowwise": "messages only, `json` + `cbor2(canonical=True)`, row by row",
    }
    rows = [
        [label, f"{found.seconds:.2f} s", f"{found.seconds / base:.2f} x", f"{found.peak_mb:.0f} MB"]
        for found, label in ((figures[name], label) for name, label in labels.items())
    ]
    rows.append([f"export of {large_messages:,} messages", f"{large.seconds:.2f} s", "", f"{large.peak_mb:.0f} MB"])
    rows.append(["the same with its helper processes", "", "", f"{helpers.peak_mb:.0f} MB"])
    head = table([f"{messages:,} messages", "median", "against raw", "peak memory"], rows)
    return f"{head}\n\nMedians of interleaved runs on {machine()}."


def main() -> None:
    """Measure, print, keep."""
    given = arguments(__doc__)
    if given.child:
        child(given.child, given.path)
        return
    figures = interleaved("benchmarks.bench_export", CONTENDERS, [str(database(given.messages))], given.rounds)
    once = interleaved("benchmarks.bench_export", ["large", "helpers"], [str(database(given.large))], 1)
    text = report(figures, once["large"], once["helpers"], given.messages, given.large)
    print(text)
    base = figures["raw"].seconds
    ratios = {name: figure.seconds / base for name, figure in figures.items()}
    for name, target in TARGETS.items():
        verdict = "reached" if ratios[name] <= target else "not reached"
        print(f"{name}: {ratios[name]:.2f} x of raw, target {target} x: {verdict}", file=sys.stderr)
    faster = figures["rowwise"].seconds / figures["null"].seconds
    print(f"against rowwise: {faster:.1f} x faster, target 8 x", file=sys.stderr)
    (folder() / "bench.car").unlink(missing_ok=True)
    kept = {"machine": machine(), "messages": given.messages, "ratios": ratios}
    save("export", kept | {"figures": [asdict(f) for f in (*figures.values(), *once.values())]})
    if given.readme:
        into_readme("bench:export", text)


if __name__ == "__main__":
    main()
