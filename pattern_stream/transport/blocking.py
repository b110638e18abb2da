"""Calls that may block for ever, made so that a cancelled line need not wait for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class PatientThread:
    """One daemon thread that makes blocking calls in order; a call whose caller was cancelled is left to its fate.

    Threads of a pool are joined when the interpreter ends: Ctrl-C while a pipe is full would hang until somebody reads.
    Setting O_NONBLOCK instead would change the pipe for every process that shares it.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call in the thread and wait. A cancel ends the waiting, not the call."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()

        def settle(with_result: Callable[[Any], None], value: Any) -> None:
            if not outcome.done():
                with_result(value)

        def call() -> None:
            with suppress(RuntimeError):  # the loop was closed while the call was still blocked
                try:
                    result = function(*args, **kwargs)
                except BaseException as error:  # noqa: BLE001  carried over to the caller, whatever it is
                    loop.call_soon_threadsafe(settle, outcome.set_exception, error)
                else:
                    loop.call_soon_threadsafe(settle, outcome.set_result, result)

        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="pattern-stream blocking calls", daemon=True)
            self._thread.start()
        self._calls.put(call)
        return await outcome

    def end(self, last: Callable[[], None] | None = None) -> None:
        """Let the thread end after the calls it has, and after `last`: closing what those calls use."""
        if self._thread is not None:
            if last is not None:
                self._calls.put(last)
            self._calls.put(None)
        elif last is not None:
            last()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            with suppress(OSError):  # only a `last` can raise: nobody is left to tell
                call()
