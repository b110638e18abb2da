"""Plain programs to compare with, each with as few imports as its work allows: python -m benchmarks.peers WHAT FILE...

sql DB STATEMENTS   run SQL by `sqlite3` alone, rows thrown away; STATEMENTS: JSON, pairs of SQL and parameters
rowwise DB          what a plain program does: read a message, parse its JSON, encode it canonically, go on to the next
encode DB           the least that an export can do with messages: fetch, `orjson`, `libipld`, `blake3`; writes nothing
strict ARCHIVE      read, hash and decode every block by our strict decoder, in one process: the work of a plain verify
plain ARCHIVE       the same by libipld's decoder, which neither limits memory nor proves the form
decode_car ARCHIVE  libipld takes the archive as one piece of bytes; hashes nothing
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

ROWS, PIECE_BYTES = 512, 1024 * 1024


def sql(database: Path, statements: Path) -> None:
    """Run statements one after the other, on one connection."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement, parameters in json.loads(statements.read_text(encoding="utf-8")):
            cursor = connection.execute(statement, parameters)
            while cursor.fetchmany(ROWS):
                pass


def rowwise(database: Path) -> None:
    """`json` and `cbor2(canonical=True)`, message by message."""
    import cbor2

    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        for row in connection.execute("SELECT * FROM messages WHERE is_deleted = 0"):
            record = dict(row)
            for column in ("content_json", "source_metadata"):
                record[column] = None if record[column] is None else json.loads(record[column])
            cbor2.dumps(record, canonical=True)


def encode(database: Path) -> None:
    """Messages in chunks of ROWS, by the fastest libraries, with no check at all."""
    import libipld
    import orjson
    from blake3 import blake3

    with closing(sqlite3.connect(database)) as connection:
        cursor = connection.execute("SELECT * FROM messages WHERE is_deleted = 0 ORDER BY agent_id, position DESC")
        columns = [column for column, *_ in cursor.description]
        content, metadata = columns.index("content_json"), columns.index("source_metadata")
        while rows := cursor.fetchmany(ROWS):
            records = [dict(zip(columns, row, strict=True)) for row in rows]
            for record, row in zip(records, rows, strict=True):
                record["content_json"] = orjson.loads(row[content])
                record["source_metadata"] = None if row[metadata] is None else orjson.loads(row[metadata])
            blake3(libipld.encode_dag_cbor({"messages": records})).digest()


def strict(archive: Path) -> None:
    """Read, hash, decode, by the decoder that every block has to pass."""
    from pattern_stream.codec.dagcbor import decode

    _read(archive, decode)


def plain(archive: Path) -> None:
    """Read, hash, decode, by the fastest decoder there is."""
    from libipld import decode_dag_cbor

    _read(archive, decode_dag_cbor)


def _read(archive: Path, decode: Callable[[bytes], Any]) -> None:
    from pattern_stream.codec.car import SectionSplitter
    from pattern_stream.codec.cid import cid_of

    splitter = SectionSplitter()
    with archive.open("rb") as source:
        while piece := source.read(PIECE_BYTES):
            for section in splitter.feed(piece):
                if cid_of(section.data) != section.cid:
                    raise SystemExit(f"error: the block at offset {section.offset} has another hash than its CID")
                decode(section.data)


def decode_car(archive: Path) -> None:
    """All in memory."""
    import libipld

    libipld.decode_car(archive.read_bytes())


if __name__ == "__main__":
    {each.__name__: each for each in (sql, rowwise, encode, strict, plain, decode_car)}[sys.argv[1]](
        *map(Path, sys.argv[2:])
    )
