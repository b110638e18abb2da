"""The stages of the import line, each by itself, beside the least that its work can cost."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.alone import Alone, Clock, Counted, Events, drain, flow, run_windowed
from benchmarks.corpus import Corpus, target

PIECE = 1024 * 1024


def pieces_of(path: Path) -> list[bytes]:
    """A file in memory, as it comes from a disk."""
    with path.open("rb") as file:
        return list(iter(lambda: file.read(PIECE), b""))


async def unwrapping(corpus: Corpus) -> Alone:
    """`unwrap` of a gzipped archive in memory; the floor is zlib."""
    from pattern_stream import unwrap

    pieces, own, under = pieces_of(corpus.gzipped()), Clock(), Clock()
    with under.running():
        packed = zlib.decompressobj(wbits=31)
        for piece in pieces:
            packed.decompress(piece)
    with own.running():
        await drain(unwrap(flow(pieces)))
    return Alone(own.seconds, under.seconds)


async def reading(corpus: Corpus) -> Alone:
    """`read_sections` of an archive in memory; the floor is one hash over the same bytes."""
    from blake3 import blake3

    from pattern_stream import read_sections

    pieces, own, under = pieces_of(corpus.archive()), Clock(), Clock()
    with under.running():
        hasher = blake3()
        for piece in pieces:
            hasher.update(piece)
    with own.running():
        await drain(read_sections(flow(pieces)))
    return Alone(own.seconds, under.seconds)


@asynccontextmanager
async def opened(corpus: Corpus) -> AsyncGenerator[Any]:
    """An archive that is being read from its file, with its root known."""
    from pattern_stream import open_archive

    async with open_archive(corpus.archive(), stage="import") as found:
        await found.reader.open()
        yield found


async def walking(corpus: Corpus) -> Alone:
    """`walk`, which decodes and checks every block; the floor is libipld's decoder on the same blocks."""
    from pattern_stream import walk

    async with opened(corpus) as found:
        sections = found.reader.sections()
        return await run_windowed(sections, lambda up: walk(up, found.reader.root, found.shelf), _plain_decoding)


def _plain_decoding(window: list[Any]) -> None:
    from libipld import decode_dag_cbor

    for section in window:
        decode_dag_cbor(section.data)


def _nodes(found: Any) -> Events:
    from pattern_stream import walk

    return walk(found.reader.sections(), found.reader.root, found.shelf)


async def unchunking(corpus: Corpus) -> Alone:
    """`unchunk`: nodes back to batches of records."""
    from pattern_stream import unchunk

    async with opened(corpus) as found:
        return await run_windowed(_nodes(found), unchunk)


async def checking(corpus: Corpus) -> Alone:
    """`check_documents`: memory documents go to a process that looks into them."""
    from pattern_stream import Sandbox, check_documents, unchunk

    async with opened(corpus) as found, Sandbox() as sandbox:
        check, records = Counted(sandbox.check), unchunk(_nodes(found))
        found_alone = await run_windowed(records, lambda up: check_documents(up, check, sandbox.show))
    return replace(found_alone, documents=check.count)


async def translating(corpus: Corpus) -> Alone:
    """`translate`: every id and every reference made anew."""
    from pattern_stream import translate, unchunk
    from pattern_stream.schema.ids.new_ids import KEY_BYTES, Identity

    identity = Identity(bytes(KEY_BYTES))
    async with opened(corpus) as found:
        return await run_windowed(unchunk(_nodes(found)), lambda up: translate(up, identity))


async def unmapping(corpus: Corpus) -> Alone:
    """`unmap_records`; the floor writes the JSON of each message and makes its tuple."""
    from pattern_stream import unchunk, unmap_records

    async with opened(corpus) as found:
        return await run_windowed(unchunk(_nodes(found)), unmap_records, _plain_tuples)


def _plain_tuples(window: list[Any]) -> None:
    import orjson

    from pattern_stream.schema.model.records import Message

    for event in window:
        if getattr(event, "record", None) is Message:
            for record in event.records:
                orjson.dumps(record["content_json"])
                orjson.dumps(record["source_metadata"])
                tuple(record.values())


async def sinking(corpus: Corpus) -> Alone:
    """`write_rows` and the commit, into a new database; the floor is `executemany` with the same triggers."""
    from pattern_stream import create_database, unchunk, unmap_records

    async with opened(corpus) as found:
        events = [event async for event in unmap_records(unchunk(_nodes(found)))]
    own, under = Clock(), Clock()
    _insert_plainly(events, await create_database(target()), under)
    await _insert(events, await create_database(target()), own)
    return Alone(own.seconds, under.seconds)


async def _insert(events: list[Any], made: Path, clock: Clock) -> None:
    from pattern_stream import open_writer, write_rows
    from pattern_stream.db.write.sink import begin, commit

    async with open_writer(made) as connection:
        await begin(connection, into_empty=True)
        with clock.running():
            await write_rows(connection, flow(events))
            await commit(connection)


def _insert_plainly(events: list[Any], made: Path, clock: Clock) -> None:
    from pattern_stream import Rows
    from pattern_stream.db.connection.opening import WRITE_PRAGMAS

    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        for pragma in (*WRITE_PRAGMAS, "PRAGMA foreign_keys = OFF"):
            connection.execute(pragma)
        connection.execute("BEGIN IMMEDIATE")
        with clock.running():
            for event in events:
                if isinstance(event, Rows):
                    names = ", ".join(event.record.columns)
                    marks = ", ".join("?" * len(event.record.columns))
                    sql = f"INSERT OR IGNORE INTO {event.record.table} ({names}) VALUES ({marks})"
                    connection.executemany(sql, event.rows)
            connection.execute("COMMIT")
