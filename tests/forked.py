"""Commands of the program, each in a process of its own that is forked from one that has imported everything.

Starting the interpreter and importing costs a command five times what it does with a small file. Here it is paid once a
session. Each command still has streams, working folder, environment, handlers of signals and memory of its own.

The server is a grandchild of the tests: whoever counts the children of a process does not meet it.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

CHECKOUT: Final = Path(__file__).resolve().parents[1]
NUMBER: Final = struct.Struct("!i")
STREAMS: Final = 3
LOCK: Final = threading.Lock()
AT_START: Final = ("PYTHON", "LC_", "LANG", "LD_", "COVERAGE")
"""Variables that an interpreter looks at when it starts, and never again."""

LOADED: Final = (
    "anyio._backends._asyncio", "anyio.streams.tls", "email.parser", "platformdirs.unix", "rich.filesize",
    "sqlalchemy.dialects.sqlite.aiosqlite", "tomllib", "pattern_stream.cli.demo_command",
    "pattern_stream.cli.dump_command", "pattern_stream.cli.export_command", "pattern_stream.cli.import_command",
    "pattern_stream.cli.init_command", "pattern_stream.cli.inspect_command", "pattern_stream.cli.list_command",
    "pattern_stream.cli.locate", "pattern_stream.cli.progress", "pattern_stream.cli.verify_command",
    "pattern_stream.db.ddl.core_tables", "pattern_stream.db.ddl.extra_tables", "pattern_stream.demo.database",
    "pattern_stream.pipelines.creating", "pattern_stream.pipelines.dumping", "pattern_stream.pipelines.exporting",
    "pattern_stream.pipelines.importing", "pattern_stream.pipelines.inspecting", "pattern_stream.pipelines.verifying",
)  # fmt: skip
"""What commands import, some of it while they run."""


# --- the tests' side ---------------------------------------------------------------------------------------------


def can_run(environment: Mapping[str, str]) -> bool:
    """Whether a forked process can have this environment: it has what the server started with, where that matters."""

    def early(variables: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in variables.items() if name.startswith(AT_START)}

    return early(environment) == early(_server()[1])


def run(
    arguments: Sequence[str],
    streams: tuple[int, int, int],
    *,
    folder: Path,
    environment: Mapping[str, str],
    seconds: float,
    peak: Path | None = None,
) -> int | None:
    """The exit code of a command, or None where it took too long and was killed.

    `streams` become its descriptors 0 to 2. `peak` is a file for its memory in kB and its processor time in seconds.
    """
    job = {
        "arguments": list(arguments),
        "folder": str(folder),
        "environment": dict(environment),
        "peak": None if peak is None else str(peak),
    }
    sent, server = json.dumps(job).encode(), _server()[0]
    ours, theirs = socket.socketpair()
    with ours:
        with theirs, LOCK:
            socket.send_fds(server, [NUMBER.pack(len(sent))], [*streams, theirs.fileno()])
            server.sendall(sent)
        pid = _number(ours)
        ours.settimeout(seconds)
        try:
            return _number(ours)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            return None


def _number(connection: socket.socket) -> int:
    answer = connection.recv(NUMBER.size)
    assert answer, "the process that waits for the command is gone"
    return int(NUMBER.unpack(answer)[0])


@cache
def _server() -> tuple[socket.socket, dict[str, str]]:
    """The connection to the server, which is started when it is first asked for, and the environment it has."""
    ours, theirs = socket.socketpair()
    environment = dict(os.environ)
    line = [sys.executable, "-m", "tests.forked", str(theirs.fileno())]
    with theirs:
        subprocess.run(line, cwd=CHECKOUT, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)  # fmt: skip
    atexit.register(ours.close)
    return ours, environment


# --- the server --------------------------------------------------------------------------------------------------


def serve(jobs: socket.socket) -> None:
    """Start a command for each job until the tests are gone; one that waits for its end stands between."""
    for late in LOADED:
        import_module(late)
    gc.collect()
    gc.freeze()
    gc.unfreeze = lambda: None  # looking through all of this anew costs a forked process more than its command
    while True:
        size, descriptors, _, _ = socket.recv_fds(jobs, NUMBER.size, STREAMS + 1)
        if not size:
            return
        job = jobs.recv(NUMBER.unpack(size)[0], socket.MSG_WAITALL)
        if os.fork() == 0:
            jobs.close()
            _wait_for(json.loads(job), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _wait_for(job: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Tell the command's process and, at its end, its exit code, as `subprocess` has it."""
    *streams, connection = descriptors
    pid = os.fork()
    if pid == 0:
        _become(job, streams)
    for descriptor in streams:
        os.close(descriptor)
    os.write(connection, NUMBER.pack(pid))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(OSError):
        os.write(connection, NUMBER.pack(code))
    os._exit(0)


def _become(job: dict[str, Any], streams: list[int]) -> NoReturn:
    from pattern_stream.cli.main import main

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(STREAMS, max(streams) + 100)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    time.tzset()
    sys.argv = ["pattern-stream", *job["arguments"]]
    if job["peak"]:
        atexit.register(_tell, Path(job["peak"]))
    main()


def _tell(path: Path) -> None:
    """The memory that this process had at most, and its processor time.

    # Trap: what the system counts for a process (ru_maxrss) starts from its parent's own size; VmHWM does not.
    """
    path.write_text(f"{_peak_kb()} {sum(os.times()[:4])}")


def _peak_kb() -> int:
    try:
        with open("/proc/self/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except OSError:  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)


if __name__ == "__main__":
    connection = socket.socket(fileno=int(sys.argv[1]))
    if os.fork() == 0:
        os.setsid()
        serve(connection)
    os._exit(0)
