"""A worker that runs our own code: requests out, frames back. Its side of the pipes is `serving`."""

from __future__ import annotations

import marshal
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

import pattern_stream
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.workers.channel import Channel, ChannelClosed
from pattern_stream.workers.serving import FRAME, NO_SLOT, pack_request
from pattern_stream.workers.slots import Slots

REQUEST_BYTES: Final = 8 * 1024
"""Largest request. A pipe has room for 64 KB, and fewer requests wait in one than fill it."""

_RUN: Final = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "  # Ctrl-C is for the parent
    "sys.path.insert(0, sys.argv[1]); import importlib; importlib.import_module(sys.argv[2]).main()"
)


class WorkerDied(Exception):
    """The worker has ended, or sent no frame."""


class AnswerFrame(NamedTuple):
    """A part of an answer: its kind, a value that describes it, and bytes."""

    kind: bytes
    about: Any
    data: bytes


@dataclass(slots=True)
class Worker:
    """One process. After WorkerDied it gets no more requests, and is not `alive`."""

    channel: Channel
    slots: Slots | None = None
    alive: bool = True

    @classmethod
    def start(
        cls, module: str, opening: tuple[Any, ...], slots: Slots | None = None, *, answers_in_slots: bool = False
    ) -> Worker:
        """Start one that runs `main` of a module, and send what it opens. Raises OSError.

        `slots`: memory that the worker shares, closed with it; `answers_in_slots`: the bytes of frames go through it.
        """
        root = os.fspath(Path(pattern_stream.__file__).resolve().parents[1])
        try:
            inherited = () if slots is None else (slots.descriptor,)
            worker = cls(Channel.start(["-c", _RUN, root, module], pass_fds=inherited), slots)
        except BaseException:
            if slots is not None:
                slots.close()
            raise
        shape = None if slots is None else slots.shape
        worker.alive = worker.channel.send_now(pack_request((shape, answers_in_slots, opening)))
        return worker

    def request(self, value: tuple[Any, ...] | int) -> bool:
        """Send a request, or a slot that is free again; false where it is larger than REQUEST_BYTES, and was not sent.

        # Trap: a request waits in a pipe until those before it are answered. One that has no room there is cut, and its
        worker of no more use.
        """
        data = pack_request(value)
        if len(data) > REQUEST_BYTES:
            return False
        self.alive = self.channel.send_now(data) and self.alive
        return True

    @property
    def at_hand(self) -> bool:
        """Whether the next frame is there, or on its way."""
        return self.alive and self.channel.has_more()

    async def receive(self) -> AnswerFrame:
        """The next frame. Raises WorkerDied, and from then on."""
        try:
            if not self.alive:
                raise ChannelClosed
            kind, slot, about_bytes, data_bytes = FRAME.unpack(await self.channel.receive(FRAME.size))
            about = marshal.loads(await self.channel.receive(about_bytes))
            if slot == NO_SLOT or self.slots is None:
                return AnswerFrame(kind, about, await self.channel.receive(data_bytes))
            data = self.slots.get(slot, data_bytes)
            self.request(slot)
            return AnswerFrame(kind, about, data)
        except (ValueError, EOFError, TypeError, ChannelClosed) as error:
            self.alive = False
            raise WorkerDied from error

    def end(self) -> None:
        """End the process and reap it."""
        self.alive = False
        self.channel.end()
        if self.slots is not None:
            self.slots.close()
