"""Asks the author worker for the memory documents of the demonstration."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from pattern_stream.errors import WorkerFailed
from pattern_stream.memory.process import DocumentRefused, DocumentWorker, RequestLimits
from pattern_stream.quick_dataclass import dataclass

SCRIPT: Final = Path(__file__).with_name("author_worker.py")
MEMORY_BYTES: Final = 1024 * 1024 * 1024
ANSWER_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredEdit:
    """An edit or a checkpoint of a document, as it is stored. `at` is the index of the step that stored it."""

    at: int
    blob: bytes
    version: bytes
    seq: int = 0
    active: bool = True
    consolidated: int = 0


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """The stored forms of a document that lived through some steps in the original."""

    snapshot: bytes
    frontier: bytes
    last_seq: int
    preview: str
    rows: list[StoredEdit]
    checkpoints: list[StoredEdit]


Author = Callable[[str | None, int, Sequence[Sequence[Any]]], Awaitable[StoredDocument]]
"""author(metadata JSON text, seed, steps) -> the stored document. The same for a seed. Raises WorkerFailed."""


@asynccontextmanager
async def open_author(*, seconds: float = 20.0) -> AsyncGenerator[Author]:
    """An author, whose worker has so much processor time for a document."""
    worker = DocumentWorker.start(SCRIPT)

    async def author(metadata: str | None, seed: int, steps: Sequence[Sequence[Any]]) -> StoredDocument:
        meta = {"metadata": metadata, "seed": seed, "steps": list(steps)}
        try:
            answer = await worker.request(meta, [], RequestLimits(seconds, MEMORY_BYTES, ANSWER_BYTES))
        except DocumentRefused as refusal:
            raise WorkerFailed(f"document could not be written: {refusal.reason}") from None
        snapshot, frontier, *parts = answer.blobs
        described = [*answer.meta["checkpoints"], *answer.meta["rows"]]
        edits = [StoredEdit(**known, blob=parts[2 * n], version=parts[2 * n + 1]) for n, known in enumerate(described)]
        split = len(answer.meta["checkpoints"])
        last_seq, preview = answer.meta["last_seq"], answer.meta["preview"]
        return StoredDocument(snapshot, frontier, last_seq, preview, rows=edits[split:], checkpoints=edits[:split])

    try:
        yield author
    finally:
        worker.end()
