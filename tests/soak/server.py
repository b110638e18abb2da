"""Runs commands of the program, each in a process of its own that is forked when everything is imported.

A script that shares nothing with the process that started it but two pipes: a job comes in as a line of JSON, its end
goes out as one. Started with the library of `faults.c` preloaded, it can let the Nth call of a command meet its fate;
it can kill a command at a moment; and it inherits what a command leaves running, so that nothing of it goes unseen.

What a command keeps in memory before it uses the disk is made small here, so that a small database uses all of it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

SMALL_BYTES = 8 * 1024
LARGE_CELL_BYTES = 48 * 1024
"""Beyond what any cell of the demonstration has: what is larger travels in pieces."""

PATIENCE_SECONDS = 60.0
"""How long a command may take on a busy machine. Before that it says where it stands, on stderr."""

STILL_SECONDS = 2.0
"""Who sleeps for a millisecond and wakes up later than this was on a machine that stood still, as virtual ones do."""

LEFT_SECONDS = 10.0
PR_SET_CHILD_SUBREAPER = 36


LOADED_LATE = (
    "anyio._backends._asyncio", "anyio.streams.tls", "email.parser", "pattern_stream.cli.progress",
    "pattern_stream.cli.locate", "pattern_stream.db.ddl.core_tables", "pattern_stream.db.ddl.extra_tables",
    "platformdirs.unix", "tomllib",
)  # fmt: skip
"""What commands import while they run: imported here once, since it takes longer than most of them."""


def shrink() -> None:
    """Small budgets of memory, set before anything takes them over by name; then import what commands need."""
    from pattern_stream import budget, format

    small = budget.Budget(spool_memory_bytes=SMALL_BYTES, shelf_memory_bytes=SMALL_BYTES, met_log_bytes=256)
    setattr(budget, "BUDGET", small)  # noqa: B010  a name that is meant to be constant
    setattr(format, "COPY_BYTES", SMALL_BYTES)  # noqa: B010
    setattr(format, "LARGE_CELL_BYTES", LARGE_CELL_BYTES)  # noqa: B010  a name that is meant to be constant
    from pattern_stream.cli import demo_command, export_command, import_command, init_command, verify_command
    from pattern_stream.demo import database as demoing
    from pattern_stream.pipelines import creating, exporting, importing, verifying

    del demo_command, export_command, import_command, init_command, verify_command
    del creating, demoing, exporting, importing, verifying
    for late in LOADED_LATE:
        import_module(late)
    gc.collect()
    gc.freeze()
    gc.unfreeze = lambda: None  # to look through all of this anew costs a forked process more than its command


def read_ahead() -> None:
    """Let two processes read messages ahead from the first one on, few at a time, and one decode all but the first
    chunk of them, on one processor too.
    """
    from pattern_stream.budget import BUDGET

    small = {"processors": 2, "least_messages": 1, "least_file_bytes": 1, "range_rows": 8}
    eager = {"least_prefetch_bytes": 1, "least_chunk_bytes": 1, "chunk_start_seconds": PATIENCE_SECONDS}
    for name, value in {**small, **eager}.items():
        object.__setattr__(BUDGET, name, value)  # the defaults of commands that were imported already


class Shim:
    """The preloaded library; without one, nothing can be armed."""

    def __init__(self, path: str | None) -> None:
        self._library = None if path is None else ctypes.CDLL(path)
        if self._library is not None:
            self._library.faults_what.restype = ctypes.c_char_p
            self._library.faults_seen.restype = ctypes.c_long
            self._library.faults_hits.restype = ctypes.c_long

    def arm(self, first: int, last: int, error: int, fate: int, kinds: int) -> None:
        """Let calls `first` to `last` of these kinds meet their fate. Nothing is counted from 0 on."""
        if self._library is not None:
            long = ctypes.c_long
            self._library.faults_arm(long(first), long(last), ctypes.c_int(error), ctypes.c_int(fate), kinds)

    def told(self) -> dict[str, Any]:
        """What was seen and hit since."""
        if self._library is None:
            return {"seen": 0, "hits": 0, "what": ""}
        what = self._library.faults_what().decode(errors="replace")
        return {"seen": self._library.faults_seen(), "hits": self._library.faults_hits(), "what": what}


def command(job: dict[str, Any], shim: Shim) -> NoReturn:
    """Become the command of a job."""
    from pattern_stream.cli.main import main

    os.setsid()
    os.chdir(job["folder"])
    ways = ((0, job["stdin"], os.O_RDONLY), (1, job["stdout"], os.O_WRONLY), (2, job["stderr"], os.O_WRONLY))
    for number, path, flags in ways:
        opened = os.open(path, flags | (os.O_CREAT | os.O_TRUNC if flags else 0), 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.update(job["environment"])
    faulthandler.dump_traceback_later(0.8 * PATIENCE_SECONDS, file=os.fdopen(os.dup(2), "w"))
    if job["ahead"]:
        read_ahead()
    sys.argv = ["pattern-stream", *job["arguments"]]
    shim.arm(**job["fate"])
    main()


def run(job: dict[str, Any], shim: Shim) -> dict[str, Any]:
    """Fork the command, kill it in time, and wait for it and for what it left."""
    shim.arm(0, 0, 0, 0, 0)
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        command(job, shim)
    after, still = job["kill_after"], 0.0
    status = None
    if after is not None:
        status, still = waited(pid, started + after)
        if status is None:
            os.kill(pid, signal.SIGKILL)
    if status is None:
        status, more = waited(pid, started + still + PATIENCE_SECONDS)
        still += more
    hung = status is None
    if status is None:
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
    times = {"seconds": time.monotonic() - started - still, "still": still}
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "hung": hung, "left": left_running(code), **times, **shim.told()}


def waited(pid: int, until: float) -> tuple[int | None, float]:
    """The status of a process that ended in time, and for how long the machine stood still, which does not count."""
    still, before = 0.0, time.monotonic()
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        now = time.monotonic()
        still += now - before if now - before > STILL_SECONDS else 0
        if ended or now >= until + still:
            return (status if ended else None), still
        before = now
        time.sleep(0.0005)


def left_running(code: int) -> int:
    """How many processes a command left behind; those of one that was killed are given time to notice it.

    They came to this process, since it takes over orphans: what did not end is a process that nobody looks after.
    """
    left, until = set(), time.monotonic() + (LEFT_SECONDS if code < 0 else 0)
    with suppress(ChildProcessError):
        while True:
            ended, _ = os.waitpid(-1, os.WNOHANG)
            if ended and code >= 0:
                left.add(ended)
            if not ended and time.monotonic() >= until:
                left.update(end_children())
            time.sleep(0.001)
    return len(left)


def end_children() -> list[int]:
    """Kill what still runs under this process."""
    with open(f"/proc/self/task/{os.getpid()}/children") as listed:
        children = [int(word) for word in listed.read().split()]
    for child in children:
        os.kill(child, signal.SIGKILL)
    return children


def serve() -> None:
    """Jobs until the end of input. The pipes leave 0 to 2, which belong to the commands."""
    jobs, ends = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    for number in (0, 1):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    shim = Shim(os.environ.get("LD_PRELOAD"))
    shrink()
    for line in jobs:
        ends.write(json.dumps(run(json.loads(line), shim)) + "\n")
        ends.flush()


if __name__ == "__main__":
    serve()
