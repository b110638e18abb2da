"""Part "days": an archive a day of a database that lives on. How many bytes of it are in no earlier archive?

Each day brings 1 % new messages. With "churn" the oldest 1 % are archived as well, and 20 anywhere are deleted. Bytes
are those of blocks: a block is new where no earlier archive has its CID.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from benchmarks import corpus
from benchmarks.corpus import DEMO, Corpus
from benchmarks.harness import Figure, Run, figure_of

LINES: Final = ("append", "churn")
DAYS: Final = 10
ONE_IN: Final = 100
DELETED: Final = 20
_NEXT: Final = 1_000 << 16
"""From one snowflake to that of a second later."""


def measure(messages: int, days: int = DAYS) -> list[Figure]:
    """Both lines: medians over the days after the first."""
    return [figure_of(Corpus(DEMO, messages), _archives(name, messages, days)) for name in LINES]


def _archives(name: str, messages: int, days: int) -> list[Run]:
    from pattern_stream import ExportOptions, export_archive

    database, packed = corpus.remove(corpus.scratch("days.db")), corpus.scratch("days.car")
    shutil.copyfile(Corpus(DEMO, messages).database(), database)
    seen: set[bytes] = set()
    dice = random.Random(corpus.SEED)
    runs = []
    for day in range(days + 1):
        if day:
            with closing(sqlite3.connect(database)) as connection:
                _live_a_day(connection, dice, churn=name == "churn")
        started = time.perf_counter()
        asyncio.run(export_archive(database, packed, options=ExportOptions(force=True)))
        seconds = time.perf_counter() - started
        total, new = _new_bytes(packed, seen)
        runs.append(Run(name, seconds, counts={"bytes": total, "new": new, "new_percent": 100 * new / total}))
        print(f"  {name}, day {day}: {100 * new / total:.2f} % new", file=sys.stderr)
    return runs[1:]


def _live_a_day(connection: sqlite3.Connection, dice: random.Random, *, churn: bool) -> None:
    """New messages say again what older ones of their agents said."""
    columns = [row[1] for row in connection.execute("PRAGMA table_info(messages)")]
    identity, position = columns.index("id"), columns.index("position")
    living = connection.execute("SELECT * FROM messages WHERE NOT is_deleted ORDER BY id").fetchall()
    (newest,) = connection.execute("SELECT max(CAST(position AS INTEGER)) FROM messages").fetchone()
    marks, count = ", ".join("?" * len(columns)), len(living) // ONE_IN
    for number, row in enumerate(dice.sample(living, count), 1):
        cells = list(row)
        cells[identity], cells[position] = f"msg_{dice.randbytes(16).hex()}", str(newest + number * _NEXT)
        connection.execute(f"INSERT INTO messages VALUES ({marks})", cells)
    if churn:
        oldest = "SELECT id FROM messages WHERE NOT is_archived AND NOT is_deleted ORDER BY position LIMIT ?"
        connection.execute(f"UPDATE messages SET is_archived = 1 WHERE id IN ({oldest})", [count])
        gone = [(row[identity],) for row in dice.sample(living, DELETED)]
        connection.executemany("UPDATE messages SET is_deleted = 1 WHERE id = ?", gone)
    connection.commit()


def _new_bytes(packed: Path, seen: set[bytes]) -> tuple[int, int]:
    """Bytes of all blocks and of those not seen before, which are seen from now on."""
    from pattern_stream.codec.car import SectionSplitter
    from pattern_stream.format import COPY_BYTES

    splitter, total, new = SectionSplitter(), 0, 0
    with packed.open("rb") as source:
        while piece := source.read(COPY_BYTES):
            for section in splitter.feed(piece):
                total += len(section.data)
                if section.cid not in seen:
                    seen.add(bytes(section.cid))
                    new += len(section.data)
    return total, new
