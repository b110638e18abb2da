"""The whole import line: into a missing, an empty and a living database, in order and in none; its peer; and the pipe.

insert    `ATTACH` + `INSERT SELECT` of the carried rows into the same schema with the same triggers, one transaction
living    a database that has other rows, which another process writes to meanwhile: how long could it not?
pipe      `pattern-stream export | pattern-stream import -`
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.commands import Command, exporting, importing, pipeline, told
from benchmarks.contender import Contender, Counts, Work
from benchmarks.corpus import Corpus, empty_database, living, target
from benchmarks.export_lines import by_sqlite

_OTHER_WRITER = """
import select, sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
print(*connection.execute("SELECT count(*) FROM agents").fetchone(), flush=True)
longest, last = 0.0, time.perf_counter()
while not select.select([sys.stdin], [], [], 0.002)[0]:
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        continue
    now = time.perf_counter()
    longest, last = max(longest, now - last), now
print(longest)
"""


def missing(_made: Path) -> None:
    """No database: one is made."""


def into(make: Callable[[Path], object], command: Callable[[Corpus, Path], Command]) -> Callable[[Corpus], Work]:
    """A command that writes into what `make` puts at a place."""

    def prepare(corpus: Corpus) -> Work:
        made = target()
        make(made)
        ready = command(corpus, made)
        return lambda: pipeline(ready)

    return prepare


def beside_a_writer(command: Callable[[Corpus, Path], Command]) -> Callable[[Corpus], Work]:
    """A command that writes into a living database. `blocked`: seconds in which another process could not write."""

    def prepare(corpus: Corpus) -> Work:
        made = target()
        shutil.copyfile(living(), made)
        ready, other = command(corpus, made), OtherWriter(made)

        def work() -> Counts:
            try:
                pipeline(ready)
            finally:
                blocked = other.end()
            return {"blocked": blocked}

        return work

    return prepare


class OtherWriter:
    """A process that has a database open, and tries to write to it all the time."""

    def __init__(self, made: Path) -> None:
        command = [sys.executable, "-c", _OTHER_WRITER, str(made)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._process.stdout is None or not self._process.stdout.readline():
            raise SystemExit(f"error: {made} cannot be read")

    def end(self) -> float:
        """The longest time in which it could not, in seconds."""
        return float(self._process.communicate()[0])


def archived(corpus: Corpus, made: Path) -> Command:
    """Import of the archive."""
    return importing(corpus.archive(), made)


def shuffled(corpus: Corpus, made: Path) -> Command:
    """Import of the same sections in no order."""
    return importing(corpus.shuffled(), made)


def inserted(corpus: Corpus, made: Path) -> Command:
    """What SQLite alone takes, in one transaction, with the pragmas of an import."""
    from pattern_stream.db.connection.opening import WRITE_PRAGMAS
    from pattern_stream.schema.model.records import DECLARED

    copies = []
    for record in DECLARED.values():
        columns = ", ".join(record.columns)
        copies.append(f"INSERT INTO {record.table} ({columns}) SELECT {columns} FROM source.{record.table}")
    begin = ("BEGIN IMMEDIATE", "PRAGMA defer_foreign_keys = ON")
    attach: tuple[str, tuple[str, ...]] = ("ATTACH ? AS source", (str(corpus.database()),))
    return by_sqlite(made, [*((p, ()) for p in WRITE_PRAGMAS), attach, *((s, ()) for s in (*begin, *copies, "COMMIT"))])


def import_rows(*, portable: bool) -> Callable[[Corpus], Work]:
    """Import into a missing database; counts the rows."""

    def prepare(corpus: Corpus) -> Work:
        command = importing(corpus.archive(portable=portable), target())
        return lambda: {"rows": float(sum(told(command)["rows"].values()))}

    return prepare


def both_halves(corpus: Corpus) -> Work:
    """`pattern-stream export | pattern-stream import -`."""
    path, made = corpus.database(), target()
    return lambda: pipeline(exporting(path), importing("-", made))


PIPE = "`pattern-stream export \\| pattern-stream import -`"

CONTENDERS = (
    Contender("insert", "`ATTACH` + `INSERT SELECT`, same triggers", into(empty_database, inserted), often=True),
    Contender("import-missing", "import into a missing database", import_rows(portable=False), often=True),
    Contender("import-empty", "import into an empty database", into(empty_database, archived), often=True),
    Contender("insert-living", "`INSERT SELECT` into a living database", beside_a_writer(inserted), often=True),
    Contender("import-living", "import into a living database", beside_a_writer(archived), often=True),
    Contender("import-shuffled", "import, missing database, sections in no order", into(missing, shuffled)),
    Contender("import-portable", "import, missing database, portable archive", import_rows(portable=True)),
    Contender("pipe", PIPE, both_halves),
)
