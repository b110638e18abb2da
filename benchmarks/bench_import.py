"""Import beside its floor: `ATTACH` + `INSERT SELECT` of the same rows into the same schema with the same triggers.

Usage: python -m benchmarks.bench_import [--messages 200000] [--rounds 5] [--large 1000000] [--readme]

select  ATTACH + INSERT SELECT of the carried rows              missing an archive into a database that is made for it
empty   an archive into an empty database                       verify  the same archive read and judged, documents too
shuffled  the archive with its sections in no order, into a missing database
out, in  the two halves of a pipe as commands: an export to /dev/null, an import of the archive's file
pipe    `pattern-stream export | pattern-stream import -`: as fast as the slower half alone, at best
large   an archive of --large messages, in order and shuffled (peak memory; one run each)
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

from benchmarks.corpus import database, folder
from benchmarks.harness import Figure, Run, arguments, interleaved, into_readme, machine, save, table, timed

CONTENDERS = ("select", "missing", "empty", "verify", "shuffled", "out", "in", "pipe")
TARGETS = {"missing": 1.0, "empty": 1.0}
VERIFY_TARGET = 0.5
PEAK_MB = 170
PROGRAM = (sys.executable, "-m", "pattern_stream")


def archive(path: Path) -> Path:
    """The archive of a corpus, made once."""
    from pattern_stream.pipelines.exporting import export_archive

    packed = path.with_suffix(".car")
    if not packed.exists():
        print(f"  making {packed}", file=sys.stderr)
        asyncio.run(export_archive(path, packed))
    return packed


def shuffled(packed: Path) -> Path:
    """The same sections in an order that means nothing, made once."""
    from pattern_stream.codec.car import SectionSplitter
    from pattern_stream.format import CAR_HEADER_BYTES, COPY_BYTES

    mixed = packed.with_suffix(".shuffled.car")
    if mixed.exists():
        return mixed
    print(f"  making {mixed}", file=sys.stderr)
    splitter, starts = SectionSplitter(), []
    with packed.open("rb") as source, mixed.open("wb") as made:
        while piece := source.read(COPY_BYTES):
            starts += [section.offset for section in splitter.feed(piece)]
        places = list(pairwise([*starts, source.tell()]))
        random.Random(0).shuffle(places)
        source.seek(0)
        made.write(source.read(CAR_HEADER_BYTES))
        for start, end in places:
            source.seek(start)
            made.write(source.read(end - start))
    return mixed


def target() -> Path:
    """A place for a database, with nothing there."""
    for left in folder().glob("target.db*"):
        left.unlink()
    return folder() / "target.db"


def select(path: Path, made: Path) -> None:
    """What SQLite alone takes, in one transaction, with the pragmas of an import."""
    from pattern_stream.db.open import WRITE_PRAGMAS
    from pattern_stream.schema.references import DECLARED

    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        for pragma in WRITE_PRAGMAS:
            connection.execute(pragma)
        connection.execute("ATTACH ? AS source", (str(path),))
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("PRAGMA defer_foreign_keys = ON")
        for record in DECLARED.values():
            columns = ", ".join(record.columns)
            connection.execute(f"INSERT INTO {record.table} ({columns}) SELECT {columns} FROM source.{record.table}")
        connection.execute("COMMIT")


def empty_database(made: Path) -> Path:
    """One with the schema and no rows, in WAL mode as the original keeps it."""
    from pattern_stream.db.migrations import MIGRATIONS
    from pattern_stream.db.schema import schema_statements

    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN")
        for statement in schema_statements():
            connection.execute(statement)
        rows = [(one.version, one.description, "2026-01-02 03:04:05", one.checksum) for one in MIGRATIONS]
        connection.executemany("INSERT INTO _sqlx_migrations VALUES (?, ?, ?, 1, ?, -1)", rows)
        connection.execute("COMMIT")
    return made


def child(name: str, path: Path) -> None:
    """One run of one contender. Imports, and the empty database where one is needed, are paid before."""
    from pattern_stream.pipelines.importing import import_archive
    from pattern_stream.pipelines.verifying import verify_archive

    packed = archive(path)
    if name in ("out", "in", "pipe"):
        commands(name, path, packed)
    elif name == "verify":
        timed(lambda: asyncio.run(verify_archive(packed)))
    elif name == "select":
        made = empty_database(target())
        timed(lambda: select(path, made))
    else:
        made = empty_database(target()) if name == "empty" else target()
        source = shuffled(packed) if name == "shuffled" else packed
        timed(lambda: asyncio.run(import_archive(source, made)))


def commands(name: str, path: Path, packed: Path) -> None:
    """One or two commands, from their start to their end. The peak is that of the larger process."""
    exporting = [*PROGRAM, "export", "-q", "--db", str(path)]
    importing = [*PROGRAM, "import", "-q", "--db", str(target())]
    started = time.perf_counter()
    if name == "out":
        processes = [subprocess.Popen([*exporting, "-o", "/dev/null", "--force"])]
    elif name == "in":
        processes = [subprocess.Popen([*importing, str(packed)])]
    else:
        first = subprocess.Popen(exporting, stdout=subprocess.PIPE)
        processes = [first, subprocess.Popen([*importing, "-"], stdin=first.stdout)]
        if first.stdout is not None:
            first.stdout.close()
    codes = [process.wait() for process in processes]
    if any(codes):
        raise SystemExit(f"{name} failed")
    seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps(asdict(Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1_000))))


def report(figures: dict[str, Figure], large: dict[str, Figure], messages: int, large_messages: int) -> str:
    """The table of the README."""
    base = figures["select"].seconds
    rows = [
        [label, f"{found.seconds:.2f} s", f"{found.seconds / base:.2f} x", f"{found.peak_mb:.0f} MB"]
        for name, label in (
            ("select", "`ATTACH` + `INSERT SELECT`, same triggers"),
            ("missing", "import into a missing database"),
            ("empty", "import into an empty database"),
            ("verify", "verify"),
            ("shuffled", "import of the archive with its sections in no order"),
        )
        for found in [figures[name]]
    ]
    rows += [
        [f"import of {large_messages:,} messages{order}", f"{found.seconds:.2f} s", "", f"{found.peak_mb:.0f} MB"]
        for order, found in (("", large["missing"]), (", sections in no order", large["shuffled"]))
    ]
    head = table([f"{messages:,} messages", "median", "against SQLite alone", "peak memory"], rows)
    return f"{head}\n\nMedians of interleaved runs on {machine()}."


def main() -> None:
    """Measure, print, keep."""
    given = arguments(__doc__)
    if given.child:
        child(given.child, given.path)
        return
    figures = interleaved("benchmarks.bench_import", CONTENDERS, [str(database(given.messages))], given.rounds)
    large = interleaved("benchmarks.bench_import", ["missing", "shuffled"], [str(database(given.large))], 1)
    text = report(figures, large, given.messages, given.large)
    print(text)
    ratios = {name: figure.seconds / figures["select"].seconds for name, figure in figures.items()}
    for name, most in TARGETS.items():
        verdict = "reached" if ratios[name] <= most else "not reached"
        print(f"{name}: {ratios[name]:.2f} x of INSERT SELECT, target {most} x: {verdict}", file=sys.stderr)
    share = figures["verify"].seconds / figures["missing"].seconds
    print(f"verify: {share:.2f} x of the import, target {VERIFY_TARGET} x", file=sys.stderr)
    halves = max(figures["out"].seconds, figures["in"].seconds)
    print(f"pipe: {figures['pipe'].seconds / halves:.2f} x of the slower half alone", file=sys.stderr)
    imports = [*large.values(), *(figures[name] for name in ("missing", "empty", "shuffled"))]
    print(f"peak memory: {max(found.peak_mb for found in imports):.0f} MB, target {PEAK_MB} MB", file=sys.stderr)
    target()
    kept = {"machine": machine(), "messages": given.messages, "ratios": ratios}
    save("import", kept | {"figures": [asdict(f) for f in (*figures.values(), *large.values())]})
    if given.readme:
        into_readme("bench:import", text)


if __name__ == "__main__":
    main()
