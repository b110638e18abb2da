"""The real command in a process of its own, as a person or a script starts it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from tests import forked
from tests.forked import STREAMS

COMMAND: Final = (sys.executable, "-m", "pattern_stream")
SECONDS: Final = 60
Stream = int | IO[bytes]
_OURS: Final = ("PATTERN_", "NO_COLOR", "FORCE_COLOR", "SOURCE_DATE_EPOCH", "TERM")


def environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment with a home of its own and nothing set that the command listens to."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return kept | {"HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "TERM": "xterm"} | more


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: exit code, bytes on stdout, text on stderr."""

    code: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)

    @property
    def said(self) -> list[dict[str, Any]]:
        """The objects on stderr, of a run with `--progress json`."""
        return [json.loads(line) for line in self.err.splitlines()]

    @property
    def errors(self) -> list[str]:
        """The lines on stderr that start with `error:`."""
        return [line for line in self.err.splitlines() if line.startswith("error:")]


def start(
    home: Path,
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = subprocess.PIPE,
    stderr: Stream = subprocess.PIPE,
    prepare: Callable[[], object] | None = None,
    before: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start the command; `prepare` runs in its process first, `before` is a command that starts it in turn."""
    return subprocess.Popen(
        [*before, *COMMAND, *map(str, arguments)],
        env=environment(home, **(env or {})),
        cwd=home,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        preexec_fn=prepare,
    )


def call(home: Path, *arguments: str | Path, input: bytes | None = None, **more: Any) -> Outcome:
    """Run the command to its end. Where nothing but its environment is special, its process is a forked one."""
    env = environment(home, **(more.get("env") or {}))
    if not more.keys() - {"env"} and forked.can_run(env):
        return _forked(home, [str(argument) for argument in arguments], input, env)
    if input is not None:
        more["stdin"] = subprocess.PIPE
    with start(home, *arguments, **more) as process:
        out, err = process.communicate(input, timeout=SECONDS)
    return Outcome(process.returncode, out or b"", (err or b"").decode())


def _forked(home: Path, arguments: list[str], input: bytes | None, env: Mapping[str, str]) -> Outcome:
    (out, stdout), (err, stderr) = os.pipe(), os.pipe()
    stdin, given = (os.open(os.devnull, os.O_RDONLY), None) if input is None else os.pipe()
    with ThreadPoolExecutor(STREAMS) as pool:
        if given is not None:
            pool.submit(_write, given, input or b"")
        said = [pool.submit(_read, end) for end in (out, err)]
        try:
            code = forked.run(arguments, (stdin, stdout, stderr), folder=home, environment=env, seconds=SECONDS)
        finally:
            for end in (stdin, stdout, stderr):
                os.close(end)
    assert code is not None, f"{arguments} took longer than {SECONDS} s"
    return Outcome(code, said[0].result(), said[1].result().decode())


def _write(descriptor: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb") as pipe:
        pipe.write(data)


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as pipe:
        return pipe.read()


def on_terminal(home: Path, arguments: Sequence[str | Path], streams: Sequence[str], **env: str) -> tuple[Outcome, str]:
    """Run the command with some streams on a terminal: the outcome of the others, and what the terminal showed."""
    ours, theirs = pty.openpty()
    try:
        given: dict[str, Any] = dict.fromkeys(streams, theirs)
        with start(home, *arguments, env=env, **given) as process:
            os.close(theirs)
            shown = _read_terminal(ours)
            out, err = process.communicate(timeout=SECONDS)
    finally:
        os.close(ours)
    return Outcome(process.returncode, out or b"", (err or b"").decode()), shown.decode(errors="replace")


def _read_terminal(descriptor: int) -> bytes:
    shown = b""
    with suppress(OSError):  # Linux says EIO when the last writer is gone
        while piece := os.read(descriptor, 65536):
            shown += piece
    return shown


def interrupted(process: subprocess.Popen[bytes], number: int, *, at: bytes) -> Outcome:
    """Send a signal to a running command at the moment its stderr has a line that holds `at`, and wait for its end.

    It is halted first, so that it cannot come to its end before the signal does.
    """
    assert process.stderr is not None
    said = b""
    for line in process.stderr:
        said += line
        if at in line:
            break
    for each in (signal.SIGSTOP, number, signal.SIGCONT):
        process.send_signal(each)
    out, err = process.communicate(timeout=SECONDS)
    return Outcome(process.returncode, out or b"", (said + err).decode())
