"""A lifelike constellation of invented content, written row by row into a new database. The same seed, the same rows.

Memory documents are not written here: whoever calls brings something that authors them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.new_database import clear_leftovers, open_new
from pattern_stream.db.connection.sql_text import insert_into
from pattern_stream.db.ddl.create import create_schema
from pattern_stream.db.write.deferred_fts import DeferredIndex
from pattern_stream.demo.cast import BlockPlan, build_world
from pattern_stream.demo.conversations import MESSAGE_COLUMNS, SUMMARY_COLUMNS, Conversations
from pattern_stream.demo.random_text import Voice, plain_moment
from pattern_stream.demo.rows import DAY, TableRow, archival_rows, cast_rows, other_rows, shared_rows
from pattern_stream.errors import TargetExists
from pattern_stream.format import BATCH_ROWS
from pattern_stream.items import Progress, ProgressCallback

MESSAGES_PER_ENTRY: Final = 25
LEAST_ENTRIES: Final = 48
ROUNDS: Final = 5
MOST_ROUNDS: Final = 40
MESSAGES_PER_ROUND: Final = 5_000
STEP_MINUTES: Final = 7


class StoredEdit(Protocol):
    """An edit or a checkpoint of a document, as it is stored. `at` is the index of the step that stored it."""

    @property
    def at(self) -> int: ...
    @property
    def blob(self) -> bytes: ...
    @property
    def version(self) -> bytes: ...
    @property
    def seq(self) -> int: ...
    @property
    def active(self) -> bool: ...
    @property
    def consolidated(self) -> int: ...


class StoredDocument(Protocol):
    """What the original would have stored for a document that lived through a plan's steps."""

    @property
    def snapshot(self) -> bytes: ...
    @property
    def frontier(self) -> bytes: ...
    @property
    def last_seq(self) -> int: ...
    @property
    def preview(self) -> str: ...
    @property
    def rows(self) -> Sequence[StoredEdit]: ...
    @property
    def checkpoints(self) -> Sequence[StoredEdit]: ...


Author = Callable[[str | None, int, Sequence[Sequence[Any]]], Awaitable[StoredDocument]]
"""author(metadata JSON text, seed, steps) -> what is stored of the document."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What was made: rows by table, and the length of the file in bytes."""

    path: Path
    seed: int
    rows: dict[str, int]
    bytes: int

    def as_dict(self) -> dict[str, object]:
        """The summary, as the command line prints it."""
        return {"db": str(self.path), "created": True, "seed": self.seed, "rows": self.rows, "bytes": self.bytes}


async def write_demo(
    path: Path, author: Author, *, messages: int, seed: int, progress: ProgressCallback | None = None
) -> DemoResult:
    """Make the database: built as `NAME.partial`, renamed at the end, mode 0600.

    Memory:  one batch of rows, and the documents of one block.
    Raises:  TargetExists, DatabaseError, OSError; what `author` raises.
    """
    if os.path.lexists(path):
        clear_leftovers(path)
        raise TargetExists(f"found a file at {path}, expected none: a new database is to be made there")
    async with open_new(path) as connection:
        story = _Story(connection, author, messages, seed, progress)
        await story.write()
    return DemoResult(path, seed, dict(story.rows), path.stat().st_size)


@dataclass(slots=True)
class _Story:
    """A demonstration under way."""

    connection: Connection
    author: Author
    messages: int
    seed: int
    progress: ProgressCallback | None
    rows: Counter[str] = field(default_factory=Counter)

    async def write(self) -> None:
        """All of it, in one transaction; the full-text indexes are made at once when the rows are in."""
        await self.connection.execute("BEGIN")
        await create_schema(self.connection, installed_at=plain_moment(0))
        indexes = await self.connection.run(DeferredIndex)
        await self.connection.run(lambda _: indexes.defer())
        await self._fill()
        await self.connection.run(lambda _: indexes.finish())
        await self.connection.execute("COMMIT")

    async def _fill(self) -> None:
        voice = Voice(self.seed)
        world = build_world(voice, min(ROUNDS + self.messages // MESSAGES_PER_ROUND, MOST_ROUNDS))
        await self._mixed(cast_rows(voice, world))
        async for row in self._documents(voice, world.blocks):
            await self._mixed([row])
        await self._mixed(shared_rows(voice, world))
        talk = Conversations(voice, world.people, world.blocks, self.messages)
        await self._uniform("messages", MESSAGE_COLUMNS, talk.rows())
        await self._uniform("archive_summaries", SUMMARY_COLUMNS, talk.summaries)
        entries = max(self.messages // MESSAGES_PER_ENTRY, LEAST_ENTRIES if self.messages else 0)
        await self._mixed(archival_rows(voice, world, entries))
        await self._mixed(other_rows(voice, world))

    async def _documents(self, voice: Voice, plans: Sequence[BlockPlan]) -> AsyncGenerator[TableRow]:
        for number, plan in enumerate(plans):
            document = await self.author(plan.metadata, plan.seed, plan.steps)
            for row in block_rows(voice, plan, document, minutes=DAY + 3 * number):
                yield row

    async def _mixed(self, rows: Iterable[TableRow]) -> None:
        """Rows of several tables, in the order they come, since some refer to others."""
        for table, cells in rows:
            await self._insert(table, tuple(cells), [tuple(cells.values())])

    async def _uniform(self, table: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
        """Many rows of one table, in batches."""
        coming = iter(rows)
        while batch := list(islice(coming, BATCH_ROWS)):
            await self._insert(table, columns, batch)
            if self.progress is not None and table == "messages":
                self.progress(Progress("demo", self.rows[table], self.messages, "rows"))

    async def _insert(self, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        await self.connection.execute_many(insert_into(table, columns), rows)
        self.rows[table] += len(rows)


def block_rows(voice: Voice, plan: BlockPlan, document: StoredDocument, *, minutes: int) -> Iterator[TableRow]:
    """A memory block with its checkpoints and updates. Nothing is folded: that is how the original leaves it."""
    edited = bool(document.last_seq)
    yield "memory_blocks", {
        "id": plan.id, "agent_id": plan.owner, "label": plan.label,
        "description": f"what is kept under {plan.label}" if plan.label != "unused" else "", "block_type": plan.kind,
        "char_limit": 5000, "permission": plan.permission, "pinned": int(plan.label == "persona"),
        "loro_snapshot": document.snapshot, "content_preview": document.preview or None, "metadata": plan.metadata,
        "embedding_model": "bge-small" if plan.label == "notebook" else None, "is_active": int(plan.is_active),
        "created_at": voice.moment(minutes),
        "updated_at": plain_moment(minutes + STEP_MINUTES * len(plan.steps)) if edited else voice.moment(minutes),
        "frontier": document.frontier, "last_seq": document.last_seq,
    }  # fmt: skip
    for checkpoint in document.checkpoints:
        yield "memory_block_checkpoints", {
            "block_id": plan.id, "snapshot": checkpoint.blob, "updates_consolidated": checkpoint.consolidated,
            "created_at": voice.moment(minutes + STEP_MINUTES * checkpoint.at), "frontier": checkpoint.version,
        }  # fmt: skip
    for update in document.rows:
        yield "memory_block_updates", {
            "block_id": plan.id, "seq": update.seq, "update_blob": update.blob, "byte_size": len(update.blob),
            "source": "agent", "created_at": voice.moment(minutes + STEP_MINUTES * update.at),
            "frontier": update.version, "is_active": int(update.active),
        }  # fmt: skip
