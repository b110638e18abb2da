"""One run: options in, one pipeline call, exit code out. Signals, closed pipes and errors end here."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import RawIOBase
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pattern_stream.cli.failures import Failure, Interrupted, failure_of
from pattern_stream.cli.output import document, error_line, plain, styled
from pattern_stream.cli.session import Session
from pattern_stream.errors import ExitCode, PatternStreamError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from types import FrameType

    from anyio import CancelScope

    from pattern_stream.items import ProgressCallback

PROGRAM: Final = "pattern-stream"
COMPLETE_VARIABLE: Final = "_PATTERN_STREAM_COMPLETE"

Result = TypeVar("Result")


# --- the pipeline call -------------------------------------------------------------------------------------------


def run(session: Session, call: Callable[[ProgressCallback], Awaitable[Result]]) -> Result:
    """Run one pipeline to its end on an event loop, with progress shown and signals obeyed.

    Raises what the pipeline raises, and Interrupted when a signal stopped it and its clean-up is done.
    """
    import anyio

    from pattern_stream.cli.progress import showing_progress

    _keep_tracebacks_for(session.verbose)
    interruption = Interruption()
    with showing_progress(session) as progress, interruption.installed():
        return anyio.run(interruption.supervise, lambda: call(progress))


class Interruption:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a cancellation, so that every stage cleans up behind itself.

    A second signal, for one who cannot wait, is raised where the program stands.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._scope: CancelScope | None = None
        self._loop: AbstractEventLoop | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals meanwhile. One that is ignored (nohup, a background job) stays ignored."""
        numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        before = {number: signal.getsignal(number) for number in numbers}
        heard = [number for number in numbers if before[number] is not signal.SIG_IGN]
        for number in heard:
            signal.signal(number, self._heard)
        try:
            yield
        finally:
            for number in heard:
                signal.signal(number, before[number])

    async def supervise(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """The result of the work, or Interrupted. Work that is done in spite of a signal is done."""
        from asyncio import get_running_loop

        from anyio import CancelScope

        self._loop = get_running_loop()
        with CancelScope() as self._scope:
            try:
                return await work()
            except Exception as error:
                if self.number is None:
                    raise
                raise Interrupted(self.number) from error
        raise Interrupted(self.number or signal.SIGINT)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        again, self.number = self.number is not None, number
        if again or self._scope is None or self._loop is None:
            raise Interrupted(number)
        self._loop.call_soon_threadsafe(self._scope.cancel)


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
    _expect(session, arguments)
    try:
        _hold_standard_streams()
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


def _expect(session: Session, arguments: Sequence[str]) -> None:
    """What the session will be, for errors in the options themselves, which are met before all of them are read."""
    options = list(takewhile(lambda argument: argument != "--", arguments))
    session.json = "--json" in options
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
            _print_traceback(error)
        first, *rest = failure.lines
        error_line(f"{styled('error:', 'red')} {first}")
        for line in rest:
            error_line(line)
        if failure.hint:
            error_line(f"{styled('hint:', 'cyan')} {plain(failure.hint)}")
    with suppress(OSError, PatternStreamError):
        if session.json and not session.archive_on_stdout:
            document(failure.as_dict())


def _print_traceback(error: BaseException) -> None:
    from traceback import format_exception

    for line in "".join(format_exception(error)).splitlines():
        error_line(plain(line))


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
        if stream is not None and isinstance(getattr(stream, "buffer", None), RawIOBase):
            setattr(sys, name, open(stream.fileno(), "w", encoding=stream.encoding, closefd=False))  # noqa: SIM115
        if stream is not None and hasattr(stream, "reconfigure"):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def _settle_streams() -> None:
    """Flush; a stream that cannot be flushed is pointed at nothing, else the interpreter complains when it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            _flush(stream)
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _flush(stream: Any) -> None:
    if stream is not None:
        stream.flush()
