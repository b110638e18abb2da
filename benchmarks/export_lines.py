"""The whole export line: to nothing, to a file, through gzip and zstd; and its peers.

select    `SELECT *` of the tables of version 3 and the edits in the order of an archive, by `sqlite3` alone
vacuum    SQLite's own copy of a living database, to a file
rowwise   what a plain program does: read a row, parse its JSON, encode it canonically, go on to the next
encode    the least that an export can do: the floor of one process
packers   gzip and zstd by themselves on the finished archive: what a pipe into them cannot be faster than
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.commands import Command, exporting, needs, peer, pipeline, told
from benchmarks.contender import Contender, Counts, Work
from benchmarks.corpus import Corpus, scratch

PACKERS: dict[str, Command] = {"gzip": ("gzip",), "zstd": ("zstd", "-q")}

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
"""Somebody: nobody here has to open what is encrypted."""

WRAPPINGS = {
    "zstd": ("-z", "zstd"),
    "gzip": ("-z", "gzip"),
    "age": ("--encrypt-to", RECIPIENT),
    "zstd-age": ("-z", "zstd", "--encrypt-to", RECIPIENT),
}
"""What lies round an archive, made in the same process."""

ORDERS = {
    "agents": "id", "agent_groups": "id", "group_members": "group_id, agent_id", "memory_blocks": "agent_id, id",
    "shared_block_agents": "block_id, agent_id", "memory_block_updates": "block_id, seq",
    "archival_entries": "agent_id, id", "archive_summaries": "agent_id, id",
}  # fmt: skip
"""The tables of version 3 but messages, and the edits of memory."""


def export_null(corpus: Corpus) -> Work:
    """`pattern-stream export > /dev/null`."""
    path = corpus.database()
    return lambda: pipeline(exporting(path))


def export_file(*options: str) -> Callable[[Corpus], Work]:
    """`pattern-stream export -o file`."""

    def prepare(corpus: Corpus) -> Work:
        path, out = corpus.database(), scratch("export.car")

        def work() -> Counts:
            found = told(exporting(path, "-o", out, "--force", "--json", *options))
            stats, beyond = found["stats"], found["beyond_version_3"]
            return {"rows": stats["message_count"] + sum(beyond.values()), "bytes": found["bytes"]}

        return work

    return prepare


def export_portable(corpus: Corpus) -> Work:
    """`pattern-stream export --portable > /dev/null`."""
    path = corpus.database()
    return lambda: pipeline(exporting(path, "--portable"))


def export_through(packer: str) -> Callable[[Corpus], Work]:
    """As a user types it: `pattern-stream export | PACKER > file`."""

    def prepare(corpus: Corpus) -> Work:
        path, out = corpus.database(), scratch(f"export.{packer}")
        return lambda: pipeline(exporting(path), PACKERS[packer], out=out)

    return prepare


def pack(packer: str) -> Callable[[Corpus], Work]:
    """`PACKER < archive > file`."""

    def prepare(corpus: Corpus) -> Work:
        packed, out = corpus.archive(), scratch(f"alone.{packer}")
        return lambda: pipeline(PACKERS[packer], source=packed, out=out)

    return prepare


def by_sqlite(database: Path, statements: Sequence[tuple[str, Sequence[str]]]) -> Command:
    """Statements with their parameters, by `sqlite3` alone."""
    listed = scratch("statements.json")
    listed.write_text(json.dumps(statements), encoding="utf-8")
    return peer("sql", database, listed)


def fetches(database: Path) -> list[tuple[str, Sequence[str]]]:
    """The statements that fetch every row of the carried tables, the messages of each agent from the newest on."""
    with closing(sqlite3.connect(database)) as connection:
        agents = [row[0] for row in connection.execute("SELECT DISTINCT agent_id FROM messages ORDER BY 1")]
    messages = "SELECT * FROM messages WHERE agent_id = ? ORDER BY position DESC, id"
    plain = [(f"SELECT * FROM {table} ORDER BY {order}", ()) for table, order in ORDERS.items()]
    return [*plain, *((messages, (agent,)) for agent in agents)]


def select(corpus: Corpus) -> Work:
    """Fetch with the driver alone."""
    path = corpus.database()
    command = by_sqlite(path, fetches(path))
    return lambda: pipeline(command)


def vacuum(corpus: Corpus) -> Work:
    """`VACUUM INTO` a new file."""
    out = scratch("vacuum.db")
    out.unlink(missing_ok=True)
    command = by_sqlite(corpus.database(), [("VACUUM INTO ?", (str(out),))])
    return lambda: pipeline(command)


def by_peer(what: str) -> Callable[[Corpus], Work]:
    """A plain program that reads the messages alone."""

    def prepare(corpus: Corpus) -> Work:
        command = peer(what, corpus.database())
        return lambda: pipeline(command)

    return prepare


def _packed(packer: str) -> tuple[Contender, Contender]:
    missing = needs(packer)
    through = f"`pattern-stream export \\| {packer} > file`"
    alone = f"`{packer}` alone on the finished archive"
    return (
        Contender(f"export-{packer}", through, export_through(packer), missing=missing),
        Contender(f"{packer}-alone", alone, pack(packer), missing=missing),
    )


CONTENDERS = (
    Contender("select", "`SELECT *` of the tables of version 3 and the edits, `sqlite3` alone", select, often=True),
    Contender("export-null", "export to /dev/null", export_null, often=True),
    Contender("export-file", "export to a file", export_file(), often=True),
    Contender("export-portable", "export to /dev/null, `--portable`", export_portable),
    Contender("portable-file", "export to a file, `--portable`", export_file("--portable")),
    Contender("vacuum", "`VACUUM INTO` a file", vacuum),
    Contender("rowwise", "messages only, `json` + `cbor2(canonical=True)`, row by row", by_peer("rowwise")),
    Contender("encode", "messages only, `orjson` + `libipld` + `blake3`, no checks", by_peer("encode"), often=True),
    *(
        Contender(f"file-{name}", f"export to a file, `{' '.join(options)}`", export_file(*options))
        for name, options in WRAPPINGS.items()
    ),
    *_packed("gzip"),
    *_packed("zstd"),
)
