"""The whole import line: into a missing, an empty and a living database, in order and in none; its peer; and the pipe.

select    `ATTACH` + `INSERT SELECT` of the carried rows into the same schema with the same triggers, one transaction
living    a database that has other rows, and that another process holds open: the archive is read twice
pipe      `pattern-stream export | pattern-stream import -`, and its two halves each by itself
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from benchmarks.commands import exporting, importing, pipeline
from benchmarks.contender import Contender, Counts, Work
from benchmarks.corpus import archive, database, empty_database, living, shuffled, target

_HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(*connection.execute("SELECT count(*) FROM agents").fetchone(), flush=True)
sys.stdin.read()
"""


def import_into(make: Callable[[Path], object], source: Callable[[int], Path]) -> Callable[[int], Work]:
    """An archive, in this process, into what `make` puts at a place."""

    def prepare(messages: int) -> Work:
        from pattern_stream.pipelines.importing import import_archive

        packed, made = source(messages), target()
        make(made)

        def work() -> Counts:
            return {"rows": sum(asyncio.run(import_archive(packed, made)).rows.values())}

        return work

    return prepare


def missing(_made: Path) -> None:
    """No database: one is made."""


HELD = ExitStack()
"""What other processes hold open for a run."""


@contextmanager
def held_open(made: Path) -> Iterator[Path]:
    """A database with rows in it, which another process has open meanwhile."""
    shutil.copyfile(living(), made)
    command = [sys.executable, "-c", _HOLDER, str(made)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        if holder.stdout is None or not holder.stdout.readline():
            raise SystemExit("error: the living database cannot be read")
        yield made
        holder.communicate()


def living_target(made: Path) -> None:
    """Such a database, until HELD is closed: letting go of it is not in anybody's time."""
    HELD.enter_context(held_open(made))


def portable(messages: int) -> Path:
    """The archive without what lies beyond version 3."""
    return archive(messages, portable=True)


def select(messages: int) -> Work:
    """What SQLite alone takes, in one transaction, with the pragmas of an import."""
    from pattern_stream.db.connection.opening import WRITE_PRAGMAS
    from pattern_stream.schema.model.records import DECLARED

    path, made = database(messages), empty_database(target())

    def work() -> None:
        with closing(sqlite3.connect(made, isolation_level=None)) as connection:
            for pragma in WRITE_PRAGMAS:
                connection.execute(pragma)
            connection.execute("ATTACH ? AS source", (str(path),))
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("PRAGMA defer_foreign_keys = ON")
            for record in DECLARED.values():
                columns = ", ".join(record.columns)
                rows = f"SELECT {columns} FROM source.{record.table}"
                connection.execute(f"INSERT INTO {record.table} ({columns}) {rows}")
            connection.execute("COMMIT")

    return work


def export_half(messages: int) -> Work:
    """`pattern-stream export > /dev/null`."""
    path = database(messages)
    return lambda: pipeline(exporting(path))


def import_half(messages: int) -> Work:
    """`pattern-stream import archive`."""
    packed, made = archive(messages), target()
    return lambda: pipeline(importing(packed, made))


def both_halves(messages: int) -> Work:
    """`pattern-stream export | pattern-stream import -`."""
    path, made = database(messages), target()
    return lambda: pipeline(exporting(path), importing("-", made))


PIPE = "`pattern-stream export \\| pattern-stream import -`"

CONTENDERS = (
    Contender("insert-select", "`ATTACH` + `INSERT SELECT`, same triggers", select, often=True),
    Contender("import-missing", "import into a missing database", import_into(missing, archive), often=True),
    Contender("import-empty", "import into an empty database", import_into(empty_database, archive), often=True),
    Contender("import-living", "import into a living database", import_into(living_target, archive)),
    Contender("import-shuffled", "import, missing database, sections in no order", import_into(missing, shuffled)),
    Contender(
        "import-portable", "import, missing database, portable archive", import_into(missing, portable), often=True
    ),
    Contender("export-half", "`pattern-stream export > /dev/null`", export_half, often=True, command=True),
    Contender("import-half", "`pattern-stream import archive`", import_half, often=True, command=True),
    Contender("pipe", PIPE, both_halves, often=True, command=True),
)
