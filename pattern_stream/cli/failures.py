"""Every way a run can end badly, as an exit code, a line for people and an object for scripts."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import field
from typing import Final

import click

from pattern_stream.cli.output import plain
from pattern_stream.errors import FILE_SIZE_HINT, ExitCode, PatternStreamError, resource_hint, scarce_number
from pattern_stream.quick_dataclass import dataclass

_STORAGE: Final = {
    errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EPERM, errno.EROFS,
    errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO, errno.ENODEV,
    errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM,
}  # fmt: skip
_OS_EXITS: Final = {
    errno.ENOENT: ExitCode.NOT_FOUND,
    errno.ENOTDIR: ExitCode.NOT_FOUND,
    errno.EEXIST: ExitCode.CONFLICT,
    errno.EISDIR: ExitCode.USAGE,
    **dict.fromkeys(_STORAGE, ExitCode.STORAGE),
}
_OS_HINTS: Final = {
    errno.ENOSPC: "free some space, or name another place: --spool-dir, $TMPDIR",
    errno.EDQUOT: "free some space, or name another place: --spool-dir, $TMPDIR",
    errno.EFBIG: FILE_SIZE_HINT,
    errno.EACCES: "check the permissions of the file and its folder",
    errno.EPERM: "check the permissions of the file and its folder",
    errno.EISDIR: "name a file, not a folder",
}


_OUT_OF: Final = {
    errno.EAGAIN: ("out-of-threads", "no further thread can be started"),
    errno.ENOMEM: ("out-of-memory", "there is not enough memory for this"),
    errno.EMFILE: ("out-of-descriptors", "no further file can be opened"),
}


class Interrupted(Exception):
    """A signal asked the run to stop, and everything it had begun is cleaned up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass(frozen=True, slots=True)
class Failure:
    """How a run ended badly. `quiet`: nobody is there to read a message. `internal`: worth a traceback with -v."""

    exit_code: ExitCode
    code: str
    message: str
    where: dict[str, str | int] = field(default_factory=dict)
    hint: str | None = None
    quiet: bool = False
    internal: bool = False

    @property
    def lines(self) -> list[str]:
        """The message with its place, one harmless line each."""
        place = ", ".join(f"{name} {value}" for name, value in self.where.items())
        first, *rest = self.message.split("\n")
        return [plain(f"{first} ({place})" if place else first), *(f"  {plain(line)}" for line in rest)]

    def as_dict(self) -> dict[str, object]:
        """The object that --json gives."""
        return {"error": {"code": self.code, "message": self.message, "where": self.where, "hint": self.hint}}


def failure_of(error: BaseException) -> Failure:
    """What an error means to the one who typed the command."""
    error = leading_error(error)
    match error:
        case PatternStreamError():
            return Failure(error.exit_code, error.code, error.message, error.where.as_dict(), error.hint)
        case click.ClickException():
            return _usage(error)
        case Interrupted():
            return interrupted(error.number)
        case KeyboardInterrupt() | click.Abort():
            return interrupted(signal.SIGINT)
        case BrokenPipeError():
            return Failure(ExitCode.CLOSED_PIPE, "closed-pipe", "the reader of the output is gone", quiet=True)
        case OSError():
            return _os_failure(error)
    return _out_of(error) or _internal(error)


def _out_of(error: BaseException) -> Failure | None:
    """What the system had too little of, where an error, or one that it came from, means that."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    for each in chain:
        if isinstance(each, BlockingIOError):  # mostly a stream that had nothing to read
            continue
        number = each.errno if isinstance(each, OSError) else scarce_number(f"{type(each).__name__}: {each}")
        if isinstance(each, SystemError):  # an extension module that forgot to say so
            number = errno.ENOMEM
        if number in _OUT_OF:
            code, message = _OUT_OF[number]
            return Failure(ExitCode.STORAGE, code, message, hint=resource_hint(number), internal=True)
    return None


def leading_error(error: BaseException) -> BaseException:
    """The error that says most: of a group, one of ours, else one of the system's, else the first."""
    leaves = list(_leaves(error))
    ours = [leaf for leaf in leaves if isinstance(leaf, PatternStreamError | Interrupted)]
    system = [leaf for leaf in leaves if isinstance(leaf, OSError)]
    return next(iter([*ours, *system, *leaves]), error)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _usage(error: click.ClickException) -> Failure:
    message = error.format_message().strip().rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context else "pattern-stream"
    message = message[:1].lower() + message[1:] if message[1:2].islower() else message
    return Failure(ExitCode.USAGE, "usage-error", message, hint=f"see {command} --help")


def interrupted(number: int) -> Failure:
    """The end of a run that a signal stopped."""
    word = "interrupted" if number == signal.SIGINT else "terminated"
    exit_code = ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED
    return Failure(exit_code, word, f"{word}: nothing was left half done")


def _os_failure(error: OSError) -> Failure:
    number = error.errno or 0
    exit_code = _OS_EXITS.get(number, ExitCode.FAILURE)
    reason = (os.strerror(number) if number else str(error)) or type(error).__name__
    files = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes | os.PathLike)]
    place = "".join(f": {os.fsencode(name).decode('utf-8', 'backslashreplace')}" for name in files)
    code = errno.errorcode.get(number, "os-error").lower()
    return Failure(
        exit_code, code, reason[:1].lower() + reason[1:] + place, hint=_OS_HINTS.get(number) or resource_hint(number)
    )


def _internal(error: BaseException) -> Failure:
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    message = f"internal error: {' '.join(text.split())}"
    return Failure(
        ExitCode.FAILURE, "internal-error", message, hint="run it again with -v and report it", internal=True
    )
