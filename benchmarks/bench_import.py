"""Import beside its floor: `ATTACH` + `INSERT SELECT` of the same rows into the same schema with the same triggers.

Usage: python -m benchmarks.bench_import [--messages 200000] [--rounds 5] [--large 1000000] [--readme]

select  ATTACH + INSERT SELECT of the carried rows              missing an archive into a database that is made for it
empty   an archive into an empty database                       verify  the same archive read and judged, documents too
large   an archive of --large messages (peak memory; one run)
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from benchmarks.corpus import database, folder
from benchmarks.harness import Figure, arguments, interleaved, into_readme, machine, save, table, timed

CONTENDERS = ("select", "missing", "empty", "verify")
TARGETS = {"missing": 1.0, "empty": 1.0}
PEAK_MB = 170


def archive(path: Path) -> Path:
    """The archive of a corpus, made once."""
    from pattern_stream.pipelines.exporting import export_archive

    packed = path.with_suffix(".car")
    if not packed.exists():
        print(f"  making {packed}", file=sys.stderr)
        asyncio.run(export_archive(path, packed))
    return packed


def target() -> Path:
    """A place for a database, with nothing there."""
    for left in folder().glob("target.db*"):
        left.unlink()
    return folder() / "target.db"


def select(path: Path, made: Path) -> None:
    """What SQLite alone takes, in one transaction, with the pragmas of an import."""
    from pattern_stream.db.loading import CARRIED
    from pattern_stream.db.open import WRITE_PRAGMAS

    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        for pragma in WRITE_PRAGMAS:
            connection.execute(pragma)
        connection.execute("ATTACH ? AS source", (str(path),))
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("PRAGMA defer_foreign_keys = ON")
        for record in CARRIED:
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
    if name == "verify":
        timed(lambda: asyncio.run(verify_archive(packed)))
    elif name == "select":
        made = empty_database(target())
        timed(lambda: select(path, made))
    else:
        made = empty_database(target()) if name == "empty" else target()
        timed(lambda: asyncio.run(import_archive(packed, made)))


def report(figures: dict[str, Figure], large: Figure, messages: int, large_messages: int) -> str:
    """The table of the README."""
    base = figures["select"].seconds
    rows = [
        [label, f"{found.seconds:.2f} s", f"{found.seconds / base:.2f} x", f"{found.peak_mb:.0f} MB"]
        for name, label in (
            ("select", "`ATTACH` + `INSERT SELECT`, same triggers"),
            ("missing", "import into a missing database"),
            ("empty", "import into an empty database"),
            ("verify", "verify"),
        )
        for found in [figures[name]]
    ]
    rows.append([f"import of {large_messages:,} messages", f"{large.seconds:.2f} s", "", f"{large.peak_mb:.0f} MB"])
    head = table([f"{messages:,} messages", "median", "against SQLite alone", "peak memory"], rows)
    return f"{head}\n\nMedians of interleaved runs on {machine()}."


def main() -> None:
    """Measure, print, keep."""
    given = arguments(__doc__)
    if given.child:
        child(given.child, given.path)
        return
    figures = interleaved("benchmarks.bench_import", CONTENDERS, [str(database(given.messages))], given.rounds)
    large = interleaved("benchmarks.bench_import", ["missing"], [str(database(given.large))], 1)["missing"]
    text = report(figures, large, given.messages, given.large)
    print(text)
    ratios = {name: figure.seconds / figures["select"].seconds for name, figure in figures.items()}
    for name, most in TARGETS.items():
        verdict = "reached" if ratios[name] <= most else "not reached"
        print(f"{name}: {ratios[name]:.2f} x of INSERT SELECT, target {most} x: {verdict}", file=sys.stderr)
    peak = max(figures["missing"].peak_mb, figures["empty"].peak_mb, large.peak_mb)
    print(f"peak memory: {peak:.0f} MB, target {PEAK_MB} MB", file=sys.stderr)
    target()
    kept = {"machine": machine(), "messages": given.messages, "ratios": ratios}
    save("import", kept | {"figures": [asdict(f) for f in (*figures.values(), large)]})
    if given.readme:
        into_readme("bench:import", text)


if __name__ == "__main__":
    main()
