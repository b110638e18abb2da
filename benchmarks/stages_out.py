"""The stages of the export line, each by itself, beside the least that its work can cost.

The benchmark's own process does what processes that read ahead do in a large export: one thing at a time is measured.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.alone import Alone, Clock, Counted, Events, drain, flow, run_windowed
from benchmarks.corpus import Corpus, folder
from benchmarks.export_lines import fetches
from benchmarks.peers import ROWS

PIECE = 1024 * 1024


@asynccontextmanager
async def rows(corpus: Corpus) -> AsyncGenerator[tuple[Events, Any]]:
    """The source of a whole backup, and a sandbox for its documents."""
    from pattern_stream import LossyTypes, Sandbox, Scope, Selection, open_reader, read_scope, resolve_scope

    async with open_reader(corpus.database()) as connection, Sandbox() as sandbox:
        scope = await resolve_scope(connection, Scope())
        yield read_scope(connection, scope, Selection(portable=False), LossyTypes()), sandbox


async def source(corpus: Corpus) -> Alone:
    """`read_scope`; the floor is the plain fetch of the same rows."""
    own, under, path = Clock(), Clock(), corpus.database()
    async with rows(corpus) as (events, _):
        with own.running():
            await drain(events)
    with under.running():
        _plain_fetch(path)
    return Alone(own.seconds, under.seconds)


def _plain_fetch(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for sql, parameters in fetches(path):
            cursor = connection.execute(sql, parameters)
            while cursor.fetchmany(ROWS):
                pass


async def folding(corpus: Corpus) -> Alone:
    """`fold_memory`: documents go to a process and come back."""
    from pattern_stream import fold_memory

    async with rows(corpus) as (events, sandbox):
        fold = Counted(sandbox.fold)
        found = await run_windowed(events, lambda up: fold_memory(up, fold))
    return replace(found, documents=fold.count)


async def mapping(corpus: Corpus) -> Alone:
    """`map_rows`; the floor reads the JSON of each message and makes its dict."""
    from pattern_stream import LossyTypes, fold_memory, map_rows

    async with rows(corpus) as (events, sandbox):
        folded = fold_memory(events, sandbox.fold)
        return await run_windowed(folded, lambda up: map_rows(up, oddities=LossyTypes()), _plain_dicts)


def _plain_dicts(window: list[Any]) -> None:
    import orjson

    from pattern_stream.schema.model.records import Message

    columns = Message.columns
    content, metadata = columns.index("content_json"), columns.index("source_metadata")
    for event in window:
        if getattr(event, "record", None) is Message:
            for row in event.rows:
                record = dict(zip(columns, row, strict=True))
                record["content_json"] = orjson.loads(row[content])
                record["source_metadata"] = None if row[metadata] is None else orjson.loads(row[metadata])


async def _records(events: Events, sandbox: Any) -> Events:
    from pattern_stream import LossyTypes, fold_memory, map_rows

    async for event in map_rows(fold_memory(events, sandbox.fold), oddities=LossyTypes()):
        yield event


async def chunking(corpus: Corpus) -> Alone:
    """`chunk`, which encodes the records; the floor is libipld's encoder, message by message."""
    from pattern_stream import chunk

    async with rows(corpus) as (events, sandbox):
        return await run_windowed(_records(events, sandbox), chunk, _plain_encoding)


def _plain_encoding(window: list[Any]) -> None:
    from libipld import encode_dag_cbor

    from pattern_stream.schema.model.records import Message

    for event in window:
        if getattr(event, "record", None) is Message:
            for record in event.records:
                encode_dag_cbor(record)


async def encoding(corpus: Corpus) -> Alone:
    """`encode`, which puts nodes together and names them; the floor joins the same chunks and hashes them."""
    from pattern_stream import chunk

    async with rows(corpus) as (events, sandbox):
        return await run_windowed(chunk(_records(events, sandbox)), _encoded, _plain_hashing)


def _encoded(drafts: Events) -> AsyncIterator[Any]:
    from pattern_stream import encode

    return encode(drafts, exported_at="2026-01-01T00:00:00Z")


def _plain_hashing(window: list[Any]) -> None:
    from blake3 import blake3

    for event in window:
        if parts := getattr(event, "parts", None):
            blake3(b"".join(parts)).digest()


class Discard:
    """An output that keeps nothing."""

    async def write(self, data: bytes) -> None:
        """Take some bytes."""


async def writing(corpus: Corpus) -> Alone:
    """`write_car` of blocks in memory to nothing, over its spool; the floor writes them to a file and reads it back."""
    from pattern_stream import chunk, write_car

    async with rows(corpus) as (events, sandbox):
        blocks = [event async for event in _encoded(chunk(_records(events, sandbox)))]
    own, under = Clock(), Clock()
    with under.running():
        _plain_spool([event.data for event in blocks if hasattr(event, "data")])
    with own.running():
        await write_car(flow(blocks), Discard(), near=folder())
    return Alone(own.seconds, under.seconds)


def _plain_spool(pieces: list[bytes]) -> None:
    with tempfile.TemporaryFile(dir=folder()) as file:
        for piece in pieces:
            file.write(piece)
        file.seek(0)
        while file.read(PIECE):
            pass
