"""Memory documents folded, checked and read in a worker process that may die of them.

A worker lives through many documents; one that crashes, hangs or takes too much is replaced, within a budget.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from types import TracebackType
from typing import Any, Final, Self

import anyio
import orjson

from pattern_stream.errors import DamagedDocument, DamagedMemory, DocumentTooLarge, Where, WorkerFailed
from pattern_stream.format import DOCUMENT_GROWTH, MAX_DOCUMENT_BYTES
from pattern_stream.items import Folded
from pattern_stream.memory.process import (
    DocumentAnswer,
    DocumentGrown,
    DocumentRefused,
    DocumentWorker,
    DocumentWorkerDied,
    RequestLimits,
)
from pattern_stream.quick_dataclass import dataclass

Updates = Sequence[tuple[int, bytes]]

LEAST_MEMORY_BYTES: Final = 1024 * 1024 * 1024
MOST_MEMORY_BYTES: Final = 4 * LEAST_MEMORY_BYTES
MEMORY_PER_BYTE: Final = 200
WORN_BYTES: Final = 256 * 1024 * 1024
"""A worker that once grew beyond this is replaced, so that no document pays for the one before it."""

MAX_SHOWN_BYTES: Final = 16 * 1024 * 1024
"""Longest text or values that come over to this process; a longer text is checked but not handed out."""

SINGLE_ROUNDS: Final = 32
"""Bad updates that are left out one at a time."""

ESCAPED: Final = 2
"""How many times longer a text may be as JSON, with a backslash before each line's end."""

CACHED_COUNT: Final = 64
CACHED_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Checked:
    """A readable document: whether nothing was ever written to it, its version vector, its rendered text.

    `rendered` is None where the text is too long to hand out. `deleted_text`: as in Folded.
    """

    empty: bool
    frontier: bytes
    rendered: str | None
    deleted_text: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """A document's values by container name, its rendered text, and its canonical version vector.

    Values and text are empty and None where they are too long to hand out.
    """

    values: dict[str, Any]
    rendered: str | None
    frontier: bytes = b""


@dataclass(frozen=True, slots=True)
class _Task:
    """One request to the worker. remake: make a new snapshot in any case; probe: try at least to make one. peer: the
    "snapshot" is JSON, of which this peer writes a new document."""

    snapshot: bytes
    updates: Updates
    metadata: str | None
    remake: bool = False
    probe: bool = False
    show: bool = True
    values: bool = False
    peer: int | None = None

    @property
    def is_small(self) -> bool:
        """Whether the answer may be kept: nothing to fold, and little to keep."""
        return not self.updates and len(self.snapshot) + len(self.metadata or "") <= CACHED_BYTES

    def seq(self, refusal: DocumentRefused) -> int | None:
        """The seq of the update that was refused; None where no update was."""
        return self.updates[refusal.step - 1][0] if 0 < refusal.step <= len(self.updates) else None

    def fault(self, refusal: DocumentRefused) -> str:
        """What was wrong, in words."""
        if (seq := self.seq(refusal)) is not None:
            place = f"update with seq {seq}"
        elif refusal.step == 0:
            place = "stored snapshot"
        else:
            place = "document" if refusal.step == len(self.updates) + 1 else "text of the document"
        return f"{place} cannot be read: {refusal.reason}"


class Sandbox:
    """Asks a worker process, one document at a time; safe to share between tasks.

    seconds: processor time for one document; it is waited for three times as long. max_document_bytes: largest stored
    snapshot. salvage: `fold` hands out the last good state of a damaged document instead of raising. restarts: how many
    workers may die before it gives up. find_deleted: say of each document whether its history holds deleted text.
    """

    def __init__(
        self,
        *,
        salvage: bool = False,
        seconds: float = 20.0,
        max_document_bytes: int = MAX_DOCUMENT_BYTES,
        restarts: int = 256,
        find_deleted: bool = False,
    ) -> None:
        self._salvage, self._seconds, self._most, self._restarts = salvage, seconds, max_document_bytes, restarts
        self._find_deleted = find_deleted
        self._worker: DocumentWorker | None = None
        self._lock = anyio.Lock()
        self._known: OrderedDict[_Task, Folded] = OrderedDict()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._retire()

    async def prepare(self) -> None:
        """Start a worker, before its first request. Raises WorkerFailed, TransportError."""
        async with self._lock:
            self._worker = self._worker or DocumentWorker.start()

    # --- requests --------------------------------------------------------------------------------------------------

    async def fold(self, snapshot: bytes, updates: Updates, metadata: str | None) -> Folded:
        """The document with its active updates in it. An empty snapshot is a new document.

        Out:     the stored bytes untouched where the updates bring nothing new; with salvage, `damage` says what is
                 missing: bad updates and those that build on them, or the stored snapshot.
        Raises:  DamagedMemory (place, seq and reason in the message), DocumentTooLarge, WorkerFailed.
        """
        task = _Task(snapshot, tuple(updates), metadata)
        self._measure(task)
        try:
            folded = await self._folded(task)
        except DocumentGrown as grown:
            raise DocumentTooLarge(f"memory {grown.reason}") from None
        except DocumentRefused as refusal:
            if self._salvage:
                return await self._rescue(task, refusal)
            where = Where(field="update_blob" if 0 < refusal.step <= len(task.updates) else "loro_snapshot")
            raise DamagedMemory(task.fault(refusal), where=where) from None
        self._weigh(folded.snapshot)
        return folded

    async def check(self, snapshot: bytes, metadata: str | None) -> Checked:
        """Whether a document from an archive can be read, edited and shown, with nothing of it missing.

        Raises:  DamagedDocument (reason in the message), DocumentTooLarge, WorkerFailed.
        """
        task = _Task(snapshot, (), metadata, probe=True)
        self._measure(task)
        try:
            answer = await self._ask(task)
        except DocumentRefused as refusal:
            raise DamagedDocument(f"memory document is damaged: {task.fault(refusal)}") from None
        empty, deleted = answer.meta.get("empty") is True, answer.meta.get("deleted_text") is True
        return Checked(empty, answer.blobs[1], _text_of(answer), deleted)

    async def show(self, snapshot: bytes, updates: Updates, metadata: str | None) -> Shown:
        """The values and the text of the document with its updates. Raises as `fold` without salvage."""
        task = _Task(snapshot, tuple(updates), metadata, values=True)
        self._measure(task)
        try:
            answer = await self._ask(task)
        except DocumentGrown as grown:
            raise DocumentTooLarge(f"memory {grown.reason}") from None
        except DocumentRefused as refusal:
            raise DamagedMemory(task.fault(refusal)) from None
        self._weigh(answer.blobs[0])
        return Shown(orjson.loads(answer.blobs[3]) or {}, _text_of(answer), answer.blobs[1])

    async def write(self, edits: Sequence[tuple[str, str, Any]], metadata: str | None, peer: int) -> Folded:
        """A new document: for each root container its kind, name and values. `rendered`: what it shows.

        Equal edits of equal peers give equal bytes.

        Raises:  DamagedMemory, DocumentTooLarge, WorkerFailed.
        """
        task = _Task(orjson.dumps(list(edits)), (), metadata, peer=peer)
        if len(task.snapshot) > ESCAPED * self._most:
            self._measure(task)
        try:
            answer = await self._ask(task)
        except DocumentGrown as grown:
            raise DocumentTooLarge(f"memory {grown.reason}") from None
        except DocumentRefused as refusal:
            raise DamagedMemory(f"memory document cannot be written: {refusal.reason}") from None
        self._weigh(answer.blobs[0])
        return Folded(answer.blobs[0], answer.blobs[1], changed=True, rendered=_text_of(answer))

    # --- salvage -------------------------------------------------------------------------------------------------

    async def _rescue(self, task: _Task, refusal: DocumentRefused) -> Folded:
        """The document without what is bad. Each round gives up something more: the text, updates, the base.

        An update that is bad goes alone, and those that build on it; after SINGLE_ROUNDS so do all after it, or a block
        of nothing but bad updates would take for ever.
        """
        total, faults, seq = len(task.updates), [task.fault(refusal)], task.seq(refusal)
        for rounds in count():
            task = await self._reduced(task, refusal, rounds)
            try:
                folded = await self._folded(task)
            except DocumentRefused as again:
                refusal, seq = again, task.seq(again) if seq is None else seq
                faults.append(task.fault(again))
                continue
            kept = [f"{len(task.updates)} of {total} updates kept"] if total else []
            lost = ["stored snapshot lost"] if task.remake else []
            return replace(folded, damage="; ".join([*faults, *kept, *lost]), damaged_seq=seq)
        raise AssertionError("counting never ends")

    async def _reduced(self, task: _Task, refusal: DocumentRefused, rounds: int) -> _Task:
        """The task without what the refusal blames."""
        total, step = len(task.updates), refusal.step
        if 0 < step <= total:
            left = [update for number, update in enumerate(task.updates, 1) if number not in refusal.steps]
            return replace(task, updates=tuple(left) if rounds < SINGLE_ROUNDS else task.updates[: step - 1])
        if step == total + 2 and task.show:
            return replace(task, show=False)
        if step == total + 1 and total:
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
            except DocumentRefused:
                high = middle
        return task.updates[:low]

    # --- the worker ----------------------------------------------------------------------------------------------

    def _measure(self, task: _Task) -> None:
        size, updates_size = len(task.snapshot), sum(len(update) for _, update in task.updates)
        for what, found, limit in (
            ("memory document", size, self._most),
            ("memory document's updates", updates_size, self._most * DOCUMENT_GROWTH),
        ):
            if found > limit:
                raise DocumentTooLarge(f"{what} is {found} bytes, limit is {limit} bytes")

    def _weigh(self, grown: bytes) -> None:
        if len(grown) > self._most:
            raise DocumentTooLarge(f"memory document grows to {len(grown)} bytes, limit is {self._most} bytes")

    async def _folded(self, task: _Task) -> Folded:
        """Fold, or look up: most documents of a constellation are one and the same empty one."""
        known = self._known.get(task) if task.is_small else None
        if known is not None:
            return known
        answer = await self._ask(task)
        changed = answer.meta.get("changed") is True
        snapshot = answer.blobs[0] if changed else task.snapshot
        deleted = answer.meta.get("deleted_text") is True
        folded = Folded(snapshot, answer.blobs[1], changed, _text_of(answer), deleted)
        if task.is_small and len(folded.rendered or "") <= CACHED_BYTES:
            self._known[task] = folded
            if len(self._known) > CACHED_COUNT:
                self._known.popitem(last=False)
        return folded

    async def _ask(self, task: _Task) -> DocumentAnswer:
        meta = {
            "metadata": task.metadata,
            "remake": task.remake,
            "probe": task.probe,
            "show": task.show,
            "values": task.values,
            "peer": task.peer,
            "find_deleted": self._find_deleted,
            "most": self._most * DOCUMENT_GROWTH,
            "most_shown": MAX_SHOWN_BYTES,
        }
        blobs = [task.snapshot, *(update for _, update in task.updates)]
        memory = min(max(LEAST_MEMORY_BYTES, MEMORY_PER_BYTE * sum(map(len, blobs))), MOST_MEMORY_BYTES)
        limits = RequestLimits(self._seconds, memory, self._most * DOCUMENT_GROWTH + 2 * MAX_SHOWN_BYTES)
        async with self._lock:
            worker = self._worker or DocumentWorker.start()
            self._worker = None  # until it has answered: whatever ends the conversation otherwise has ended the worker
            try:
                answer = await worker.request(meta, blobs, limits)
            except DocumentWorkerDied:
                self._restarts -= 1
                if self._restarts < 0:
                    raise WorkerFailed(
                        "document worker died too often; the documents are hostile, or the machine has no room"
                    ) from None
                raise
            except DocumentRefused:
                self._worker = worker
                raise
            self._worker = worker
            if answer.meta.get("peak", 0) > WORN_BYTES:
                self._retire()
        if len(answer.blobs) != (4 if task.show else 2):
            raise WorkerFailed("document worker gave an answer of another shape")
        return answer

    def _retire(self) -> None:
        if (worker := self._worker) is not None:
            self._worker = None
            worker.end()


def _text_of(answer: DocumentAnswer) -> str | None:
    """The rendered text of an answer; None where none was requested, or it is too long to be sent."""
    if len(answer.blobs) < 4 or answer.meta.get("shown") is not True:
        return None
    return answer.blobs[2].decode(errors="replace")
