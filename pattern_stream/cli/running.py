"""One run: options in, one pipeline call, exit code out. Signals, closed pipes and errors end here."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from io import BufferedWriter, FileIO, TextIOWrapper
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pattern_stream.budget import BUDGET
from pattern_stream.cli.failures import Failure, Interrupted, failure_of, interrupted
from pattern_stream.cli.output import abandon, document, tell_error, tell_traceback
from pattern_stream.cli.session import Session
from pattern_stream.errors import ExitCode, PatternStreamError, require_memory
from pattern_stream.files.partial import remove_unfinished

if TYPE_CHECKING:
    from types import FrameType

    from pattern_stream.items import ProgressCallback

PROGRAM: Final = "pattern-stream"
COMPLETE_VARIABLE: Final = "_PATTERN_STREAM_COMPLETE"

_ASKED_ONLY: Final = frozenset({"--help", "-h", "--version"})
"""Arguments that bring no command to work."""

ONE_WISH_SECONDS: Final = 1.0
"""Signals closer together than this are one wish."""

Result = TypeVar("Result")


# --- the pipeline call -------------------------------------------------------------------------------------------


def run(session: Session, call: Callable[[ProgressCallback], Awaitable[Result]]) -> Result:
    """Run one pipeline to its end on an event loop, with progress shown and signals obeyed.

    Raises what the pipeline raises, and Interrupted when a signal stopped it and its clean-up is done.
    """
    import anyio

    from pattern_stream.cli.progress import showing_progress

    _keep_tracebacks_for(session.verbose)
    with showing_progress(session) as progress:
        return anyio.run(INTERRUPTION.supervise, lambda: call(progress))


class Interruption:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a cancellation, so that every stage cleans up behind itself.

    Signals within a second are one: service managers send TERM and HUP together. A later one is of somebody who cannot
    wait: the files that this run makes are removed and the process ends at once. A signal that comes when the work is
    done changes nothing any more.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._first_at = 0.0
        self._stop: Callable[[], object] | None = None

    def install(self) -> None:
        """Handle the signals from now on. One that is ignored (nohup, a background job) stays ignored."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._received)

    def end(self) -> None:
        """The work is done and told: a signal from now on would only garble the exit code.

        # Trap: the interpreter puts back the system's own handlers when it ends, but not those that ignore.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == self._received:
                signal.signal(number, signal.SIG_IGN)

    async def supervise(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """The result of the work, or Interrupted. Work that is done in spite of a signal is done."""
        from asyncio import get_running_loop

        from anyio import CancelScope

        with CancelScope() as scope:
            self._stop = partial(get_running_loop().call_soon_threadsafe, scope.cancel)
            try:
                if self.number is None:
                    return await work()
            except Exception as error:
                if self.number is None:
                    raise
                raise Interrupted(self.number) from error
            finally:
                self._stop = None
        raise Interrupted(self.number or signal.SIGINT)

    def _received(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.number is None:
            self.number, self._first_at = number, now
            if self._stop is not None:
                self._stop()
        elif now - self._first_at >= ONE_WISH_SECONDS:
            remove_unfinished()
            os._exit(int(interrupted(number).exit_code))


INTERRUPTION: Final = Interruption()
"""The signals of this process, of which there is one set."""


def _keep_tracebacks_for(verbose: bool) -> None:
    """Without -v, libraries that log or lose an exception do not print a traceback over our one line."""
    import logging
    import threading

    if verbose:
        return
    logging.getLogger().addHandler(logging.NullHandler())
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None


# --- the whole command -------------------------------------------------------------------------------------------


def run_command(commands: click.Group, arguments: Sequence[str]) -> int:
    """Read the options, call the command, tell how it ended. Returns the exit code; nothing escapes but SystemExit."""
    session = Session()
    INTERRUPTION.install()
    _expect(session, arguments)
    try:
        _hold_standard_streams()
        if not _ASKED_ONLY.intersection(arguments):
            # Trap: a thread that finds no memory when it begins leaves its starter waiting for ever.
            require_memory(BUDGET.least_memory_bytes)
        code = _invoke(commands, arguments, session)
        _flush(sys.stdout)
        return code
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        failure = failure_of(error)
        _report(session, failure, error)
        return int(failure.exit_code)
    finally:
        _settle_streams()
        INTERRUPTION.end()


def _expect(session: Session, arguments: Sequence[str]) -> None:
    """What the session will be, for errors in the options themselves, which are met before all of them are read."""
    options = list(takewhile(lambda argument: argument != "--", arguments))
    session.json = "--json" in options
    if "--progress=json" in options or ("--progress", "json") in pairwise(options):
        session.progress = "json"
    writes = options[:1] == ["export"] and "--dry-run" not in options
    session.archive_on_stdout = writes and _output_in(options) == "-"


def _output_in(options: Sequence[str]) -> str:
    for option, following in zip(options, [*options[1:], ""], strict=True):
        if option in ("-o", "--output"):
            return following
        if option.startswith(("-o", "--output=")):
            return option.removeprefix("--output=").removeprefix("-o")
    return "-"


def _invoke(commands: click.Group, arguments: Sequence[str], session: Session) -> int:
    # Not commands.main(): it answers a closed pipe with exit 1 and an interrupt with a message of its own.
    instruction = os.environ.get(COMPLETE_VARIABLE)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(commands, {}, PROGRAM, COMPLETE_VARIABLE, instruction)
    try:
        with commands.make_context(PROGRAM, list(arguments), obj=session) as context:
            code: Any = commands.invoke(context)
    except click.exceptions.Exit as done:  # --help and --version
        return done.exit_code
    return int(code or ExitCode.DONE)


def _report(session: Session, failure: Failure, error: BaseException) -> None:
    """Tell people on stderr, and scripts on stdout. A stream that is gone cannot be told anything."""
    if failure.quiet:
        return
    with suppress(OSError):
        if failure.internal and session.verbose:
            tell_traceback(session, error)
        tell_error(session, failure.lines, failure.hint, failure.as_dict())
    with suppress(OSError, PatternStreamError):
        if session.json and not session.archive_on_stdout:
            document(failure.as_dict())


class _PatientFile(FileIO):
    """A standard stream whose writer waits for a slow reader, also where the parent made the pipe non-blocking.

    # Trap: such a pipe takes a part of a write or none, which the usual stream answers by an error in mid-line.
    """

    def write(self, data: Any, /) -> int:
        while (count := super().write(data)) is None:
            select.select([], [self.fileno()], [])
        return count


def _hold_standard_streams() -> None:
    """Fill closed descriptors 0 to 2, so that no database or archive is opened there and written over by a message.

    Text that the terminal's encoding lacks is escaped, not an error. Trap: with PYTHONUNBUFFERED, what the system does
    not take at once of a line is lost without an error; so there is always a buffer, emptied after each line.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if isinstance(stream, TextIOWrapper) and stream is getattr(sys, f"__{name}__"):
            raw = _PatientFile(stream.fileno(), "wb", closefd=False)
            held = TextIOWrapper(
                BufferedWriter(raw), stream.encoding, "backslashreplace", line_buffering=stream.line_buffering
            )
            setattr(sys, name, held)


def _settle_streams() -> None:
    """Flush what can be flushed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            _flush(stream)
        except (OSError, ValueError):
            abandon(stream)


def _flush(stream: Any) -> None:
    if stream is not None:
        stream.flush()
