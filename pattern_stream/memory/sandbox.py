"""Memory documents folded, checked and read in a worker process that may die of them.

A worker lives through many documents; one that crashes, hangs or takes too much is replaced, within a budget.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Self

import anyio
import orjson

from pattern_stream.errors import DamagedDocument, DamagedMemory, LimitExceeded, Where, WorkerFailed
from pattern_stream.format import MAX_DOCUMENT_BYTES
from pattern_stream.items import Folded
from pattern_stream.memory.answers import Authored, Checked, Shown, authored_of, text_of
from pattern_stream.memory.process import GRACE_SECONDS, Answer, Bounds, Died, Refused, WorkerProcess

Updates = Sequence[tuple[int, bytes]]

LEAST_MEMORY_BYTES: Final = 1024 * 1024 * 1024
MOST_MEMORY_BYTES: Final = 4 * LEAST_MEMORY_BYTES
MEMORY_PER_BYTE: Final = 200
WORN_BYTES: Final = 256 * 1024 * 1024
"""A worker that once grew beyond this is replaced, so that no document pays for the one before it."""

GROWTH: Final = 4
"""Updates of a document, and the document they lead to, may be this many times the limit of a stored one."""

MAX_SHOWN_BYTES: Final = 16 * 1024 * 1024
"""Longest text or values that come over to this process; a longer text is checked but not handed out."""

CACHED_COUNT: Final = 64
CACHED_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class _Task:
    """One request to the worker. remake: there is a new snapshot in any case; probe: making one is tried at least."""

    snapshot: bytes
    updates: Updates
    metadata: str | None
    remake: bool = False
    probe: bool = False
    show: bool = True
    values: bool = False

    @property
    def is_small(self) -> bool:
        """Whether the answer may be kept: nothing to fold, and little to keep."""
        return not self.updates and len(self.snapshot) + len(self.metadata or "") <= CACHED_BYTES

    def place(self, step: int) -> str:
        """What the worker dealt with at a step."""
        count = len(self.updates)
        if step == 0:
            return "stored snapshot"
        if step <= count:
            return f"update with seq {self.updates[step - 1][0]}"
        return "document" if step == count + 1 else "text of the document"

    def fault(self, refusal: Refused) -> str:
        """What was wrong, in words."""
        return f"{self.place(refusal.step)} cannot be read: {refusal.reason}"


class Sandbox:
    """Asks a worker process, one document at a time; safe to share between tasks.

    seconds: processor time for one document; it is waited for three times as long. max_document_bytes: largest stored
    snapshot. salvage: `fold` hands out the last good state of a damaged document instead of raising. restarts: how many
    workers may die before it gives up.
    """

    def __init__(
        self,
        *,
        salvage: bool = False,
        seconds: float = 20.0,
        max_document_bytes: int = MAX_DOCUMENT_BYTES,
        restarts: int = 256,
    ) -> None:
        self._salvage, self._seconds, self._most, self._restarts = salvage, seconds, max_document_bytes, restarts
        self._worker: WorkerProcess | None = None
        self._lock = anyio.Lock()
        self._known: OrderedDict[_Task, Folded] = OrderedDict()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._retire()

    async def prepare(self) -> None:
        """Start a worker, so that it is there when it is asked. Raises WorkerFailed, TransportError."""
        async with self._lock:
            self._worker = self._worker or await WorkerProcess.start()

    # --- what can be asked ---------------------------------------------------------------------------------------

    async def fold(self, snapshot: bytes, updates: Updates, metadata: str | None) -> Folded:
        """The document with its active updates in it. An empty snapshot is a new document.

        Out:     the stored bytes untouched where the updates bring nothing new; with salvage, `damage` says what is
                 missing: everything from the first bad update on, or the stored snapshot.
        Raises:  DamagedMemory (place, seq and reason in the message), LimitExceeded, WorkerFailed.
        """
        task = _Task(snapshot, tuple(updates), metadata)
        self._measure(task)
        try:
            return await self._folded(task)
        except Refused as refusal:
            if self._salvage:
                return await self._rescue(task, refusal)
            where = Where(field="update_blob" if 0 < refusal.step <= len(task.updates) else "loro_snapshot")
            raise DamagedMemory(task.fault(refusal), where=where) from None

    async def check(self, snapshot: bytes, metadata: str | None) -> Checked:
        """Whether a document from an archive can be read, edited and shown, with nothing of it missing.

        Raises:  DamagedDocument (reason in the message), LimitExceeded, WorkerFailed.
        """
        task = _Task(snapshot, (), metadata, probe=True)
        self._measure(task)
        try:
            answer = await self._ask(task)
        except Refused as refusal:
            raise DamagedDocument(f"memory document is damaged: {task.fault(refusal)}") from None
        return Checked(answer.meta.get("empty") is True, answer.blobs[1], text_of(answer))

    async def show(self, snapshot: bytes, updates: Updates, metadata: str | None) -> Shown:
        """The values and the text of the document with its updates. Raises as `fold` without salvage."""
        task = _Task(snapshot, tuple(updates), metadata, values=True)
        self._measure(task)
        try:
            answer = await self._ask(task)
        except Refused as refusal:
            raise DamagedMemory(task.fault(refusal)) from None
        return Shown(orjson.loads(answer.blobs[3]) or {}, text_of(answer), answer.blobs[1])

    async def author(self, metadata: str | None, seed: int, steps: Sequence[Sequence[Any]]) -> Authored:
        """What the original would have stored for a document that lived through these steps. The same for a seed."""
        meta = {"ask": "author", "metadata": metadata, "seed": seed, "steps": list(steps)}
        try:
            answer = await self._exchange(meta, [], self._bounds(0))
        except Refused as refusal:
            raise WorkerFailed(f"document could not be written: {refusal.reason}") from None
        return authored_of(answer)

    # --- salvage -------------------------------------------------------------------------------------------------

    async def _rescue(self, task: _Task, refusal: Refused) -> Folded:
        """The last good state. Each round gives up something more: the text, an update and all after it, the base."""
        total, faults, seq = len(task.updates), [task.fault(refusal)], _seq(task, refusal)
        while True:
            task = await self._reduced(task, refusal)
            try:
                folded = await self._folded(task)
            except Refused as again:
                refusal, seq = again, _seq(task, again) if seq is None else seq
                faults.append(task.fault(again))
                continue
            kept = [f"{len(task.updates)} of {total} updates kept"] if total else []
            lost = ["stored snapshot lost"] if task.remake else []
            return replace(folded, damage="; ".join([*faults, *kept, *lost]), damaged_seq=seq)

    async def _reduced(self, task: _Task, refusal: Refused) -> _Task:
        """The task without what the refusal blames."""
        count, step = len(task.updates), refusal.step
        if 0 < step <= count:
            return replace(task, updates=task.updates[: step - 1])
        if step == count + 2 and task.show:
            return replace(task, show=False)
        if step == count + 1 and count:
            return replace(task, updates=await self._good_updates(task))
        if task.remake:
            raise WorkerFailed(f"document worker refuses an empty document: {refusal.reason}")
        return replace(task, snapshot=b"", remake=True)

    async def _good_updates(self, task: _Task) -> Updates:
        """The longest run of updates, fewer than all, that leads to a usable document; found by halving."""
        low, high = 0, len(task.updates)
        while high - low > 1:
            middle = (low + high) // 2
            try:
                await self._ask(replace(task, updates=task.updates[:middle], show=False, probe=True))
                low = middle
            except Refused:
                high = middle
        return task.updates[:low]

    # --- the worker ----------------------------------------------------------------------------------------------

    def _measure(self, task: _Task) -> None:
        size, updates_size = len(task.snapshot), sum(len(update) for _, update in task.updates)
        for what, found, limit in (
            ("memory document", size, self._most),
            ("memory document's updates", updates_size, self._most * GROWTH),
        ):
            if found > limit:
                raise LimitExceeded(f"{what} is {found} bytes, limit is {limit} bytes")

    async def _folded(self, task: _Task) -> Folded:
        """Fold, or look up: most documents of a constellation are one and the same empty one."""
        known = self._known.get(task) if task.is_small else None
        if known is not None:
            return known
        answer = await self._ask(task)
        changed = answer.meta.get("changed") is True
        snapshot = answer.blobs[0] if changed else task.snapshot
        folded = Folded(snapshot, answer.blobs[1], changed, text_of(answer))
        if task.is_small and len(folded.rendered or "") <= CACHED_BYTES:
            self._remember(task, folded)
        return folded

    def _remember(self, task: _Task, folded: Folded) -> None:
        self._known[task] = folded
        if len(self._known) > CACHED_COUNT:
            self._known.popitem(last=False)

    async def _ask(self, task: _Task) -> Answer:
        meta = {
            "ask": "fold",
            "metadata": task.metadata,
            "remake": task.remake,
            "probe": task.probe,
            "show": task.show,
            "values": task.values,
            "most": self._most * GROWTH,
            "most_shown": MAX_SHOWN_BYTES,
        }
        blobs = [task.snapshot, *(update for _, update in task.updates)]
        answer = await self._exchange(meta, blobs, self._bounds(sum(map(len, blobs))))
        if len(answer.blobs) != (4 if task.show else 2):
            raise WorkerFailed("document worker gave an answer of another shape")
        return answer

    def _bounds(self, size: int) -> Bounds:
        memory = min(max(LEAST_MEMORY_BYTES, MEMORY_PER_BYTE * size), MOST_MEMORY_BYTES)
        return Bounds(self._seconds, memory, self._most * GROWTH + 2 * MAX_SHOWN_BYTES)

    async def _exchange(self, meta: dict[str, Any], blobs: list[bytes], bounds: Bounds) -> Answer:
        async with self._lock:
            worker = self._worker or await WorkerProcess.start()
            self._worker = None  # until it has answered: whatever ends the conversation otherwise has ended the worker
            try:
                answer = await worker.ask(meta, blobs, bounds)
            except Died:
                self._count_death()
                raise
            except Refused:
                self._worker = worker
                raise
            self._worker = worker
            if answer.meta.get("peak", 0) > WORN_BYTES:
                await self._retire()
            return answer

    def _count_death(self) -> None:
        self._restarts -= 1
        if self._restarts < 0:
            raise WorkerFailed("document worker died too often; the documents are hostile, or the machine has no room")

    async def _retire(self) -> None:
        if (worker := self._worker) is not None:
            self._worker = None
            await worker.end(grace_seconds=GRACE_SECONDS)


def _seq(task: _Task, refusal: Refused) -> int | None:
    return task.updates[refusal.step - 1][0] if 0 < refusal.step <= len(task.updates) else None
