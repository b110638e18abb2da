"""A lifelike constellation of invented content, written into a new database; the same seed gives the same rows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from pattern_stream.db.connection.connection import Connection
from pattern_stream.db.connection.new_database import clear_leftovers, open_new
from pattern_stream.db.connection.sql_text import insert_into
from pattern_stream.db.ddl.create import create_schema
from pattern_stream.db.write.fulltext_index import DeferredIndex
from pattern_stream.demo.author import Author, StoredDocument, open_author
from pattern_stream.demo.cast import BlockPlan, build_world
from pattern_stream.demo.conversations import MESSAGE_COLUMNS, SUMMARY_COLUMNS, Conversations
from pattern_stream.demo.languages import LANGUAGES
from pattern_stream.demo.random_text import Dice, plain_moment
from pattern_stream.demo.rows import DAY, TableRow, archival_rows, cast_rows, other_rows, shared_rows
from pattern_stream.errors import TargetExists, UsageError
from pattern_stream.format import BATCH_ROWS
from pattern_stream.items import Progress, ProgressCallback
from pattern_stream.quick_dataclass import dataclass

DEFAULT_MESSAGES: Final = 600
MESSAGES_PER_ENTRY: Final = 25
LEAST_ENTRIES: Final = 48
ROUNDS: Final = 5
MOST_ROUNDS: Final = 40
MESSAGES_PER_ROUND: Final = 5_000
STEP_MINUTES: Final = 7


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


async def make_demo(
    path: Path,
    *,
    messages: int = DEFAULT_MESSAGES,
    seed: int = 0,
    language: str | None = None,
    progress: ProgressCallback | None = None,
) -> DemoResult:
    """Make a lifelike constellation of invented content: every kind of row and memory document, edits pending.

    The same seed and number of messages give the same rows, memory documents to the byte (under one release of Loro).
    `language`: the only one of messages, summaries and archival entries (see `demo/languages.py`); None for several, in
    such proportions as conversations have them.
    Memory:  one batch of rows, and the documents of one block.
    Raises:  UsageError, TargetExists, DatabaseError, WorkerFailed, OSError.
    """
    if messages < 0:
        raise UsageError(f"number of messages is {messages}, expected at least 0")
    if language is not None and language not in LANGUAGES:
        raise UsageError(f"language is {language}, expected one of {', '.join(LANGUAGES)}")
    if os.path.lexists(path):
        clear_leftovers(path)
        raise TargetExists(f"found a file at {path}, expected none: a new database is to be made there")
    async with open_author() as author, open_new(path) as connection:
        story = _Story(connection, author, messages, Dice(seed, language), progress)
        await story.write()
    return DemoResult(path, seed, dict(story.rows), path.stat().st_size)


@dataclass(slots=True)
class _Story:
    """A demonstration under way."""

    connection: Connection
    author: Author
    messages: int
    dice: Dice
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
        dice = self.dice
        world = build_world(dice, min(ROUNDS + self.messages // MESSAGES_PER_ROUND, MOST_ROUNDS))
        await self._mixed(cast_rows(dice, world))
        for number, plan in enumerate(world.blocks):
            document = await self.author(plan.metadata, plan.seed, plan.steps)
            await self._mixed(block_rows(dice, plan, document, minutes=DAY + 3 * number))
        await self._mixed(shared_rows(dice, world))
        talk = Conversations(dice, world.people, world.blocks, self.messages)
        await self._uniform("messages", MESSAGE_COLUMNS, talk.rows())
        await self._uniform("archive_summaries", SUMMARY_COLUMNS, talk.summaries)
        entries = max(self.messages // MESSAGES_PER_ENTRY, LEAST_ENTRIES if self.messages else 0)
        await self._mixed(archival_rows(dice, world, entries))
        await self._mixed(other_rows(dice, world))

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


def block_rows(dice: Dice, plan: BlockPlan, document: StoredDocument, *, minutes: int) -> Iterator[TableRow]:
    """A memory block with its checkpoints and updates. Nothing is folded: that is how the original leaves it."""
    edited = bool(document.last_seq)
    yield "memory_blocks", {
        "id": plan.id, "agent_id": plan.owner, "label": plan.label,
        "description": f"what is kept under {plan.label}" if plan.label != "unused" else "", "block_type": plan.kind,
        "char_limit": 5000, "permission": plan.permission, "pinned": int(plan.label == "persona"),
        "loro_snapshot": document.snapshot, "content_preview": document.preview or None, "metadata": plan.metadata,
        "embedding_model": "bge-small" if plan.label == "notebook" else None, "is_active": int(plan.is_active),
        "created_at": dice.moment(minutes),
        "updated_at": plain_moment(minutes + STEP_MINUTES * len(plan.steps)) if edited else dice.moment(minutes),
        "frontier": document.frontier, "last_seq": document.last_seq,
    }  # fmt: skip
    for checkpoint in document.checkpoints:
        yield "memory_block_checkpoints", {
            "block_id": plan.id, "snapshot": checkpoint.blob, "updates_consolidated": checkpoint.consolidated,
            "created_at": dice.moment(minutes + STEP_MINUTES * checkpoint.at), "frontier": checkpoint.version,
        }  # fmt: skip
    for update in document.rows:
        yield "memory_block_updates", {
            "block_id": plan.id, "seq": update.seq, "update_blob": update.blob, "byte_size": len(update.blob),
            "source": "agent", "created_at": dice.moment(minutes + STEP_MINUTES * update.at),
            "frontier": update.version, "is_active": int(update.active),
        }  # fmt: skip
