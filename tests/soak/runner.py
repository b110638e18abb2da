"""The server's other side: the shim is compiled, jobs go over, ends come back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

SOURCE: Final = Path(__file__).with_name("faults.c")
CHECKOUT: Final = Path(__file__).resolve().parents[2]
EPOCH: Final = "1772000000"

READ, WRITE, SYNC, NAME, SIZE, MAKE, COPY, DROP = (1 << bit for bit in range(8))
CHANGES: Final = WRITE | SYNC | NAME | SIZE | MAKE | COPY
"""Calls that change the disk and can find it full. To remove a file (DROP) changes it too, but needs no room."""


class How(IntEnum):
    """What happens to a call: an errno, the end of the process, or half of what was asked."""

    FAIL = 0
    KILL = 1
    HALF = 2


@dataclass(frozen=True, slots=True)
class Fate:
    """Calls numbered `first` to `last`, of some kinds, that do not go through."""

    first: int = 0
    last: int = 0
    error: int = 0
    fate: How = How.FAIL
    kinds: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """How a command ended. `seen`: calls that were counted; `what`: the first that was hit; `left`: processes.

    `still`: seconds for which the machine stood still, which are none of `seconds`; but the command may have taken them
    for somebody's silence.
    """

    code: int
    seconds: float
    still: float
    hung: bool
    left: int
    seen: int
    hits: int
    what: str
    stderr: str


class Unavailable(Exception):
    """Faults cannot be injected here, and why."""


def compiled(folder: Path) -> Path:
    """The shim as a library. Raises Unavailable."""
    if sys.platform != "linux":
        raise Unavailable(f"faults are injected by a preloaded library, on Linux only; this is {sys.platform}")
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        raise Unavailable("no C compiler (cc), which the library that injects faults is made with")
    made = folder / "faults.so"
    line = [compiler, "-shared", "-fPIC", "-O1", "-U_FORTIFY_SOURCE", "-Wall", "-o", str(made), str(SOURCE), "-ldl"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"the library that injects faults does not compile here: {done.stderr.strip()[-300:]}")
    return made


class Runner:
    """Runs commands in `folder`, where faults are injected; streams go beside it."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, streams: Path) -> None:
        self.folder = folder
        self._process, self._streams = process, streams

    def run(
        self,
        arguments: Sequence[str],
        *,
        fate: Fate = Fate(),
        kill_after: float | None = None,
        stdin: str = os.devnull,
        stdout: str | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
        ahead: bool = False,
    ) -> End:
        """One command to its end. `stdin`, `stdout`: names of files in the folder; `ahead`: with processes that read
        ahead, although there is little to read.
        """
        told = self._streams / "stderr"
        job = {
            "folder": str(self.folder),
            "arguments": list(arguments),
            "fate": asdict(fate),
            "kill_after": kill_after,
            "stdin": stdin,
            "stdout": stdout or str(self._streams / "stdout"),
            "stderr": str(told),
            "ahead": ahead,
            "environment": {"TMPDIR": str(self.folder), "SOURCE_DATE_EPOCH": EPOCH, **environment},
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the server is gone"
        return End(**json.loads(answer), stderr=told.read_text(errors="replace"))


@contextmanager
def running(scratch: Path, *, shim: Path | None) -> Iterator[Runner]:
    """A server with its folder, and with faults where there is a shim."""
    folder, streams = scratch / "place", scratch / "streams"
    for made in (folder, streams):
        made.mkdir(parents=True)
    state = scratch / "faults"
    state.touch()
    preload = {} if shim is None else {
        "LD_PRELOAD": str(shim), "FAULTS_UNDER": str(folder), "FAULTS_STATE": str(state),
    }  # fmt: skip
    environment = {**os.environ, **preload, "NO_COLOR": "1"}
    line = [sys.executable, "-m", "tests.soak.server"]
    with subprocess.Popen(
        line, cwd=CHECKOUT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Runner(process, folder.resolve(), streams)
        finally:
            assert process.stdin is not None
            process.stdin.close()
