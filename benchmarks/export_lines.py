"""The whole export line: to nothing, to a file, through gzip and zstd; and its peers.

raw       the same SELECT statements by `sqlite3` alone, rows thrown away
vacuum    SQLite's own copy of a living database, to a file
rowwise   what a plain program does: read a row, parse its JSON, encode it canonically, go on to the next
packers   gzip and zstd by themselves on the finished archive: what a pipe into them cannot be faster than
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing

from benchmarks.commands import NOWHERE, PROGRAM, Command, exporting, needs, pipeline
from benchmarks.contender import Contender, Counts, Work
from benchmarks.corpus import archive, database, scratch

PACKERS: dict[str, Command] = {"gzip": ("gzip",), "zstd": ("zstd", "-q")}


def export_to(name: str | None, *, portable: bool = False) -> Callable[[int], Work]:
    """A whole constellation, in this process, to a file of that name or to nothing."""

    def prepare(messages: int) -> Work:
        from pattern_stream.pipelines.exporting import ExportOptions, export_archive

        out = NOWHERE if name is None else scratch(name)
        path, options = database(messages), ExportOptions(force=True, portable=portable)

        def work() -> Counts:
            result = asyncio.run(export_archive(path, out, options=options))
            return {"rows": sum(result.census.carried.values()), "bytes": result.bytes}

        return work

    return prepare


def export_through(packer: str) -> Callable[[int], Work]:
    """As a user types it: `pattern-stream export | PACKER > file`."""

    def prepare(messages: int) -> Work:
        path, out = database(messages), scratch(f"export.{packer}")

        def work() -> Counts:
            pipeline(exporting(path), PACKERS[packer], out=out)
            return {"bytes": out.stat().st_size}

        return work

    return prepare


def pack(packer: str) -> Callable[[int], Work]:
    """`PACKER < archive > file`."""

    def prepare(messages: int) -> Work:
        packed, out = archive(messages), scratch(f"alone.{packer}")
        return lambda: pipeline(PACKERS[packer], source=packed, out=out)

    return prepare


def raw(messages: int) -> Work:
    """Fetch every row of the carried tables with the driver alone, messages in the order of an archive."""
    path = database(messages)
    from pattern_stream.schema.model.records import (
        Agent,
        ArchivalEntry,
        ArchiveSummary,
        MemoryBlock,
        MemoryUpdate,
        Message,
    )

    def work() -> None:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            for record in (Agent, MemoryBlock, MemoryUpdate, ArchivalEntry, ArchiveSummary):
                _drain(connection, f"SELECT {', '.join(record.columns)} FROM {record.table}")
            sql = f"SELECT {', '.join(Message.columns)} FROM messages WHERE agent_id = ? AND is_deleted = 0"
            for (agent,) in connection.execute("SELECT id FROM agents").fetchall():
                _drain(connection, f"{sql} ORDER BY position DESC", agent)

    return work


def _drain(connection: sqlite3.Connection, sql: str, *parameters: str) -> None:
    cursor = connection.execute(sql, parameters)
    while cursor.fetchmany(512):
        pass


def vacuum(messages: int) -> Work:
    """`VACUUM INTO` a new file."""
    path, out = database(messages), scratch("vacuum.db")

    def work() -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("VACUUM INTO ?", (str(out),))

    out.unlink(missing_ok=True)
    return work


def rowwise(messages: int) -> Work:
    """`json` and `cbor2(canonical=True)`, message by message."""
    import cbor2

    from pattern_stream.schema.model.records import Message

    path, columns = database(messages), Message.columns

    def work() -> None:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            for row in connection.execute(f"SELECT {', '.join(columns)} FROM messages WHERE is_deleted = 0"):
                record = dict(zip(columns, row, strict=True))
                for column in ("content_json", "source_metadata"):
                    record[column] = None if record[column] is None else json.loads(record[column])
                cbor2.dumps(record, canonical=True)

    return work


def help_text(_messages: int) -> Work:
    """`pattern-stream --help`: nothing that is not needed may be imported."""
    return lambda: pipeline([*PROGRAM, "--help"])


def _packed(packer: str) -> tuple[Contender, Contender]:
    missing = needs(packer)
    through = f"`pattern-stream export \\| {packer} > file`"
    alone = f"`{packer}` alone on the finished archive"
    return (
        Contender(f"export-{packer}", through, export_through(packer), missing=missing, command=True),
        Contender(f"{packer}-alone", alone, pack(packer), missing=missing, command=True),
    )


CONTENDERS = (
    Contender("raw", "raw `sqlite3` fetch of the same rows", raw, often=True),
    Contender("vacuum", "`VACUUM INTO` a file", vacuum),
    Contender("rowwise", "messages only, `json` + `cbor2(canonical=True)`, row by row", rowwise, often=True),
    Contender("export-null", "export to /dev/null", export_to(None), often=True),
    Contender("export-file", "export to a file", export_to("export.car"), often=True),
    Contender("export-portable", "export to /dev/null, `--portable`", export_to(None, portable=True), often=True),
    Contender("portable-file", "export to a file, `--portable`", export_to("export.car", portable=True), often=True),
    *_packed("gzip"),
    *_packed("zstd"),
    Contender("help", "`pattern-stream --help`", help_text, often=True, command=True),
)
