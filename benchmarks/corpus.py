"""Databases of any size and archives of them, kept in a folder outside the checkout between runs.

A database is made again when the demonstration has changed since, an archive when anything of the package has.
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
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pattern_stream"
SHARED = Path(os.environ.get("PATTERN_STREAM_SHARED", ROOT / "../shared")).resolve()
"""Where databases of the real program are, as the tests look for them."""

FIXTURES = ("family", "edges", "many")
DEMO, REAL = "demo", "real"
SEED = 0
LIVING_SEED = 1
LIVING_MESSAGES = 10_000
OUTGROWN_MESSAGES = 600
MESSAGES_PER_ENTRY = 25
MANY_ENTRIES = 1_000_000
LARGE_CELL_BYTES = 256 * 1024 * 1024


def folder() -> Path:
    """Where corpora lie: $PATTERN_STREAM_BENCH, else a folder in the default place for temporary files."""
    path = Path(os.environ.get("PATTERN_STREAM_BENCH") or Path(tempfile.gettempdir()) / "pattern-stream-bench")
    path.mkdir(parents=True, exist_ok=True)
    return path


@dataclass(frozen=True, slots=True)
class Corpus:
    """A constellation with so many messages. `name`: DEMO, one of the demonstration's languages, or REAL."""

    name: str
    messages: int

    def __str__(self) -> str:
        return f"{self.messages} messages of {self.name}"

    def database(self) -> Path:
        """Its database, made where it is missing or older than what makes it."""
        path = folder() / f"{self.name}-{self.messages}.db"
        if not _is_current(path, since=PACKAGE / "demo"):
            _say(path)
            made = remove(scratch("corpus.db"))
            if self.name == REAL:
                _repeat_fixtures(made, self.messages)
            else:
                from pattern_stream import make_demo

                language = None if self.name == DEMO else self.name
                asyncio.run(make_demo(made, messages=self.messages, seed=SEED, language=language))
            made.rename(remove(path))
        return path

    def archive(self, *, portable: bool = False) -> Path:
        """Its archive; `portable`: without what lies beyond version 3."""
        return archive_of(self.database(), portable=portable)

    def gzipped(self) -> Path:
        """The archive as gzip packs it."""
        plain = self.archive()
        packed = plain.with_suffix(".car.gz")
        if not _is_current(packed):
            _say(packed)
            with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=6) as made:
                shutil.copyfileobj(source, made, 1024 * 1024)
        return packed

    def shuffled(self) -> Path:
        """The same sections in an order that means nothing."""
        plain = self.archive()
        mixed = plain.with_suffix(".shuffled.car")
        if not _is_current(mixed):
            _say(mixed)
            _shuffle(plain, mixed)
        return mixed


def why_no_fixtures() -> str | None:
    """Why there is no corpus of the real program on this machine."""
    there = all(_fixture(name).exists() for name in FIXTURES)
    return None if there else f"databases of the real program are not in {SHARED / 'fixtures'}"


def _fixture(name: str) -> Path:
    return SHARED / "fixtures" / name / "constellation.db.gz"


def _repeat_fixtures(made: Path, messages: int) -> None:
    """The first fixture, with messages and archival entries of all of them again and again, under new ids.

    They belong to its agents, and follow each other in time: positions of messages are made anew too.
    """
    for name in FIXTURES:
        with gzip.open(_fixture(name)) as source, scratch(f"{name}.db").open("wb") as plain:
            shutil.copyfileobj(source, plain)
    shutil.copyfile(scratch(f"{FIXTURES[0]}.db"), made)
    with closing(sqlite3.connect(made)) as connection:
        for number, name in enumerate(FIXTURES):
            connection.execute(f"ATTACH ? AS f{number}", (str(scratch(f"{name}.db")),))
        (there,) = connection.execute("SELECT count(*) FROM messages").fetchone()
        for table, missing in (("messages", messages - there), ("archival_entries", messages // MESSAGES_PER_ENTRY)):
            _repeat(connection, table, missing)
        connection.commit()


def _repeat(connection: sqlite3.Connection, table: str, count: int) -> None:
    """So many rows more of a table, from all fixtures in turn."""
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    columns = ", ".join(names)
    union = " UNION ALL ".join(f"SELECT {columns} FROM f{n}.{table}" for n in range(len(FIXTURES)))
    rows = [dict(zip(names, row, strict=True)) for row in connection.execute(union)]
    owners = [row[0] for row in connection.execute("SELECT DISTINCT agent_id FROM messages ORDER BY 1")]
    last = int(connection.execute("SELECT max(position) FROM messages").fetchone()[0]) >> 16

    def made() -> Iterator[tuple[Any, ...]]:
        for number in range(count):
            new: dict[str, Any] = {"id": f"{table[:3]}_{number:032x}", "agent_id": owners[number % len(owners)]}
            position = last + 1_000 * number
            new |= {"position": str(position << 16), "batch_id": str(position - position % 4_000 << 16)}
            row = rows[number % len(rows)] | new | {"parent_entry_id": None}
            yield tuple(row[name] for name in names)

    connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})", made())


def archive_of(path: Path, *, portable: bool = False) -> Path:
    """The archive of any database."""
    packed = path.with_suffix(".portable.car" if portable else ".car")
    if not _is_current(packed):
        from pattern_stream import ExportOptions, export_archive

        _say(packed)
        asyncio.run(export_archive(path, packed, options=ExportOptions(force=True, portable=portable)))
    return packed


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
        from pattern_stream import make_demo

        _say(made)
        source = remove(scratch("other.db"))
        asyncio.run(make_demo(source, messages=LIVING_MESSAGES, seed=LIVING_SEED))
        _move_agent(source, remove(made))
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
    path = folder() / f"{name}.db"
    if not _is_current(path, since=PACKAGE / "demo"):
        from pattern_stream import make_demo

        _say(path)
        made = remove(scratch(f"{name}.db"))
        asyncio.run(make_demo(made, messages=OUTGROWN_MESSAGES, seed=SEED))
        with closing(sqlite3.connect(made)) as connection:
            connection.execute(sql)
            connection.commit()
        made.rename(remove(path))
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
    for left in (path, *path.parent.glob(f"{path.name}-*")):
        left.unlink(missing_ok=True)
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


def _is_current(made: Path, *, since: Path = PACKAGE) -> bool:
    if os.environ.get("PATTERN_STREAM_BENCH_TRUST"):
        return made.exists()
    newest = max(path.stat().st_mtime for path in since.rglob("*.py"))
    return made.exists() and made.stat().st_mtime > newest


def _say(path: Path) -> None:
    print(f"  making {path}", file=sys.stderr)
