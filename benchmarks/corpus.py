"""Seeded databases of any size and archives of them, kept in a folder outside the checkout between runs.

A database is made once for each version of the package; an archive is made again when the package has changed since.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pattern_stream"
SEED = 0
LIVING_SEED = 1
LIVING_MESSAGES = 10_000
OUTGROWN_MESSAGES = 600
MANY_ENTRIES = 1_000_000
LARGE_CELL_BYTES = 256 * 1024 * 1024


def folder() -> Path:
    """Where corpora lie: $PATTERN_STREAM_BENCH, else a folder in the default place for temporary files."""
    path = Path(os.environ.get("PATTERN_STREAM_BENCH") or Path(tempfile.gettempdir()) / "pattern-stream-bench")
    path.mkdir(parents=True, exist_ok=True)
    return path


def database(messages: int, seed: int = SEED) -> Path:
    """A demonstration constellation with so many messages."""
    from pattern_stream import __version__

    path = folder() / f"demo-{__version__}-{messages}-{seed}.db"
    if not path.exists():
        from pattern_stream import make_demo

        _say(path)
        asyncio.run(make_demo(path, messages=messages, seed=seed))
    return path


def archive(messages: int, *, portable: bool = False) -> Path:
    """The archive of a corpus; `portable`: without what lies beyond version 3."""
    return archive_of(database(messages), portable=portable)


def archive_of(path: Path, *, portable: bool = False) -> Path:
    """The archive of any database."""
    packed = path.with_suffix(".portable.car" if portable else ".car")
    if not _is_current(packed):
        from pattern_stream import ExportOptions, export_archive

        _say(packed)
        asyncio.run(export_archive(path, packed, options=ExportOptions(force=True, portable=portable)))
    return packed


def gzipped(messages: int) -> Path:
    """The archive as gzip packs it."""
    plain = archive(messages)
    packed = plain.with_suffix(".car.gz")
    if not _is_current(packed):
        _say(packed)
        with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=6) as made:
            shutil.copyfileobj(source, made, 1024 * 1024)
    return packed


def shuffled(messages: int) -> Path:
    """The same sections in an order that means nothing."""
    plain = archive(messages)
    mixed = plain.with_suffix(".shuffled.car")
    if not _is_current(mixed):
        _say(mixed)
        _shuffle(plain, mixed)
    return mixed


def _shuffle(plain: Path, mixed: Path) -> None:
    from pattern_stream.codec.car import SectionSplitter
    from pattern_stream.format import CAR_HEADER_BYTES, COPY_BYTES

    splitter, starts = SectionSplitter(), []
    with plain.open("rb") as source, mixed.open("wb") as made:
        while piece := source.read(COPY_BYTES):
            starts += [section.offset for section in splitter.feed(piece)]
        places = list(pairwise([*starts, source.tell()]))
        random.Random(0).shuffle(places)
        source.seek(0)
        made.write(source.read(CAR_HEADER_BYTES))
        for start, end in places:
            source.seek(start)
            made.write(source.read(end - start))


def living() -> Path:
    """A database with one agent of another constellation in it, under a name that no other has."""
    made = folder() / "living.db"
    if not _is_current(made):
        _say(made)
        _move_agent(database(LIVING_MESSAGES, LIVING_SEED), remove(made))
    return made


def _move_agent(source: Path, made: Path) -> None:
    from pattern_stream import ExportOptions, ImportOptions, Scope, export_archive, import_archive

    with closing(sqlite3.connect(source)) as connection:
        (agent,) = connection.execute("SELECT agent_id FROM messages GROUP BY 1 ORDER BY count(*) DESC").fetchone()
    packed, options = scratch("living.car"), ExportOptions(force=True)
    asyncio.run(export_archive(source, packed, scope=Scope("agent", agent), options=options))
    asyncio.run(import_archive(packed, made, options=ImportOptions(renames=((None, "Elder"),))))


def million_entries() -> Path:
    """A constellation with an agent of a million archival entries: its links outgrow any block."""
    columns = "id, agent_id, content, metadata, created_at"
    numbers = f"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {MANY_ENTRIES})"
    cells = (
        "printf('ent_%08d', i), (SELECT min(id) FROM agents), printf('what was seen on day %d', i)",
        "'{\"day\":1}', '2026-01-02T03:04:05Z'",
    )
    return _outgrown("entries", f"INSERT INTO archival_entries ({columns}) {numbers} SELECT {', '.join(cells)} FROM n")


def large_cell() -> Path:
    """A constellation with a message whose content is 256 MB of JSON text."""
    content = f"'\"' || hex(zeroblob({LARGE_CELL_BYTES // 2})) || '\"'"
    return _outgrown("cell", f"UPDATE messages SET content_json = {content} WHERE id = (SELECT min(id) FROM messages)")


def _outgrown(name: str, sql: str) -> Path:
    from pattern_stream import __version__, make_demo

    path = folder() / f"{name}-{__version__}.db"
    if not path.exists():
        _say(path)
        made = remove(scratch(f"{name}.db"))
        asyncio.run(make_demo(made, messages=OUTGROWN_MESSAGES, seed=SEED))
        with closing(sqlite3.connect(made)) as connection:
            connection.execute(sql)
            connection.commit()
        made.rename(path)
    return path


def empty_database(made: Path) -> Path:
    """One with the schema and no rows, in WAL mode as the original keeps it."""
    from pattern_stream import create_database

    asyncio.run(create_database(made))
    return made


def target() -> Path:
    """A place for a database, with nothing there."""
    return remove(folder() / "target.db")


def remove(path: Path) -> Path:
    """Remove a database with all that SQLite puts beside it."""
    for left in path.parent.glob(f"{path.name}*"):
        left.unlink()
    return path


def scratch(name: str) -> Path:
    """A file that contenders write."""
    return folder() / f"scratch-{name}"


def sweep() -> None:
    """Remove what contenders wrote."""
    target()
    for left in folder().glob("scratch-*"):
        left.unlink()


def trust() -> None:
    """From now on what is there is good: in the middle of a run nothing is made again."""
    os.environ["PATTERN_STREAM_BENCH_TRUST"] = "1"


def _is_current(made: Path) -> bool:
    if os.environ.get("PATTERN_STREAM_BENCH_TRUST"):
        return made.exists()
    newest = max(path.stat().st_mtime for path in PACKAGE.rglob("*.py"))
    return made.exists() and made.stat().st_mtime > newest


def _say(path: Path) -> None:
    print(f"  making {path}", file=sys.stderr)
