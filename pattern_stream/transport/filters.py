"""What compression and encryption have in common: a packer on the way out, an unpacker on the way in, no event loop.

A library that pulls (it is handed an input and an output and returns when all is done) is fed by `PulledFilter`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Final, Protocol

from anyio import to_thread

from pattern_stream.items import AsyncWriter, BoundedWriter


class Packer(Protocol):
    """Bytes in, their packed form out. `best_ratio`: how many bytes of an archive may become one at the very best."""

    best_ratio: int

    def pack(self, data: bytes, /) -> bytes:
        """Pack some more; what comes out so far, perhaps nothing."""

    def finish(self) -> bytes:
        """What is left, once. Without it the packed form is cut."""

    def close(self) -> None:
        """Let go of what it holds, however the run ended."""


class Unpacker(Protocol):
    """Packed bytes in, their content out, in pieces of at most 1 MiB. Raises ArchiveError."""

    def feed(self, data: bytes, /) -> Iterator[bytes]:
        """Unpack some more input; all pieces must be taken."""

    def finish(self) -> Iterator[bytes]:
        """The input has ended: what is left. Raises TruncatedArchive."""

    def close(self) -> None:
        """Let go of what it holds, however the run ended."""


class PackedOutput:
    """An output that packs what it is given for another one. `finish` must come last, or the file is cut.

    Memory: one piece and what the packer keeps. Packing runs in a thread.
    """

    def __init__(self, out: AsyncWriter, packer: Packer) -> None:
        self._out = out
        self._packer = packer

    async def write(self, data: bytes, /) -> None:
        """Pack some more. Raises as the output behind does."""
        await self._pass_on(await to_thread.run_sync(self._packer.pack, data))

    async def require_room(self, count: int, /) -> None:
        """Look whether the packed form of so many bytes may have room. Raises as the output behind does."""
        if isinstance(self._out, BoundedWriter):
            await self._out.require_room(count // self._packer.best_ratio)

    async def finish(self) -> None:
        """Write what is left."""
        await self._pass_on(await to_thread.run_sync(self._packer.finish))

    async def _pass_on(self, packed: bytes) -> None:
        if packed:
            await self._out.write(packed)


class _Stopped(Exception):
    """Ends a filter that nobody wants any more."""


class PulledFilter:
    """Feeds a function that reads one file and writes another. It runs in a thread, in turn with its caller.

    `work` gets an object with `read(count)` and one with `write(data)`. An error of its own comes out of the call
    that it met. Memory: the piece that was fed, and what came out of it.
    """

    _END: Final = b""

    def __init__(self, work: Callable[[PulledFilter, PulledFilter], object]) -> None:
        self._work = work
        self._given: SimpleQueue[bytes | None] = SimpleQueue()
        self._turns: SimpleQueue[Exception | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended = self._all_given = False
        self._input = memoryview(b"")
        self._output: list[bytes] = []

    def feed(self, data: bytes, /) -> bytes:
        """Give it some input; what it writes before it wants more. Raises what `work` raises.

        Input after the work has ended is not looked at: `ended` tells.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pattern-stream filter", daemon=True)
            self._thread.start()
            self._wait()
        if data and not self._ended:
            self._given.put(data)
            self._wait()
        return self._taken()

    def finish(self) -> bytes:
        """The input has ended; what it writes still. Raises what `work` raises."""
        written = self.feed(b"")
        if not self._ended:
            self._given.put(self._END)
            self._wait()
        return written + self._taken()

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None and not self._ended:
            self._given.put(None)
            self._thread.join()

    @property
    def ended(self) -> bool:
        """Whether `work` has returned or failed."""
        return self._ended

    # --- what `work` calls, in the thread ---

    def read(self, count: int = -1, /) -> bytes:
        """At most `count` bytes; none at the end of the input."""
        if not self._input and not self._all_given:
            self._turns.put(None)
            data = self._given.get()
            if data is None:
                raise _Stopped
            self._input = memoryview(data)
            self._all_given = not data
        piece = bytes(self._input if count < 0 else self._input[:count])
        self._input = self._input[len(piece) :]
        return piece

    def write(self, data: bytes, /) -> int:
        """Takes all of it."""
        self._output.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def _run(self) -> None:
        failure: Exception | None = None
        try:
            self._work(self, self)
        except Exception as error:  # noqa: BLE001  raised again where it was fed
            failure = error
        self._ended = True
        self._turns.put(failure)

    def _wait(self) -> None:
        failure = self._turns.get()
        if failure is not None:
            raise failure

    def _taken(self) -> bytes:
        taken = b"".join(self._output)
        self._output.clear()
        return taken
