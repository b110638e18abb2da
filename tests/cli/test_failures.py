"""Errors as exit codes, lines and objects."""

from __future__ import annotations

import errno
import os

import click
import pytest

from pattern_stream.cli.failures import Failure, Interrupted, failure_of, leading_error
from pattern_stream.errors import DigestMismatch, ExitCode, NameConflict, Where


def test_an_error_of_ours_keeps_all_it_knows() -> None:
    """Exit code, slug, message, place and hint of a PatternStreamError."""
    failure = failure_of(
        DigestMismatch("found a, expected b", where=Where(stage="read", offset=7), hint="fetch it again")
    )

    assert Failure(
        ExitCode.CORRUPT, "digest-mismatch", "found a, expected b", {"stage": "read", "offset": 7}, "fetch it again"
    ) == failure  # fmt: skip
    assert ["found a, expected b (stage read, offset 7)"] == failure.lines
    assert {
        "error": {
            "code": "digest-mismatch",
            "message": "found a, expected b",
            "where": {"stage": "read", "offset": 7},
            "hint": "fetch it again",
        }
    } == failure.as_dict()


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, ExitCode.STORAGE),
        (errno.EFBIG, ExitCode.STORAGE),
        (errno.EDQUOT, ExitCode.STORAGE),
        (errno.EIO, ExitCode.STORAGE),
        (errno.EACCES, ExitCode.STORAGE),
        (errno.EPERM, ExitCode.STORAGE),
        (errno.EROFS, ExitCode.STORAGE),
        (errno.ENOENT, ExitCode.NOT_FOUND),
        (errno.ENOTDIR, ExitCode.NOT_FOUND),
        (errno.EEXIST, ExitCode.CONFLICT),
        (errno.EISDIR, ExitCode.USAGE),
        (errno.EPIPE, ExitCode.CLOSED_PIPE),
        (errno.EMFILE, ExitCode.STORAGE),
        (errno.EAGAIN, ExitCode.STORAGE),
        (errno.EINVAL, ExitCode.FAILURE),
    ],
)
def test_system_errors_have_exit_codes(number: int, expected: ExitCode) -> None:
    """An OSError that passed every room is told by its number, with the file it names."""
    failure = failure_of(OSError(number, "text", "some/file"))

    assert expected is failure.exit_code
    assert failure.quiet or failure.message.endswith(": some/file")


def test_an_error_without_a_number_is_told_by_its_text() -> None:
    """`OSError("text")` has no errno."""
    assert "text of it" == failure_of(OSError("text of it")).message
    assert "OSError" != failure_of(OSError()).message


def test_the_error_that_says_most_leads_a_group() -> None:
    """Of errors raised together one of ours counts first, then the system's, then any."""
    ours, system, other = NameConflict("taken"), OSError(errno.EIO, "x"), ValueError("odd")
    group = ExceptionGroup("all", [other, ExceptionGroup("inner", [system, ours])])

    assert ours is leading_error(group)
    assert system is leading_error(ExceptionGroup("two", [other, system]))
    assert other is leading_error(ExceptionGroup("one", [other]))


def test_signals() -> None:
    """SIGINT is 130, whatever else asks a run to end is 143."""
    assert (130, 143, 143) == tuple(failure_of(Interrupted(number)).exit_code for number in (2, 15, 1))
    assert 130 == failure_of(click.Abort()).exit_code


def test_lines_cannot_be_forged() -> None:
    """A name with line ends and escapes in a message starts no line of its own."""
    failure = failure_of(NameConflict("agent 'x\nhint: rm -rf \x1b[2J\u202e' is taken"))

    assert ["agent 'x", "  hint: rm -rf \\x1b[2J\\u202e' is taken"] == failure.lines


def test_want_of_memory_is_told_behind_other_errors() -> None:
    """A library that could not be loaded, or an interpreter that lost its error: exit 9, with what to do."""
    try:
        try:
            raise MemoryError
        except MemoryError:
            raise LookupError("Backend 'asyncio' is not available")  # noqa: B904
    except LookupError as error:
        told = [failure_of(error), failure_of(SystemError("error return without exception set"))]

    assert [ExitCode.STORAGE, ExitCode.STORAGE] == [failure.exit_code for failure in told]
    assert all("ulimit -v" in str(failure.hint) for failure in told)
    assert ExitCode.FAILURE is failure_of(LookupError("of our own")).exit_code


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (ImportError("libsqlite3.so.0: failed to map segment from shared object"), "ulimit -v"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "ulimit -n"),
    ],
)
def test_who_has_no_room_for_it_says_so_in_its_own_words(error: Exception, hint: str) -> None:
    """By itself and behind another error: exit 9. A stream that had nothing to read is no reason."""
    behind = LookupError("Backend 'asyncio' is not available")
    behind.__cause__ = error
    idle = LookupError("of our own")
    idle.__context__ = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    assert [ExitCode.STORAGE] * 2 == [failure_of(each).exit_code for each in (error, behind)]
    assert all(hint in str(failure_of(each).hint) for each in (error, behind))
    assert ExitCode.FAILURE is failure_of(idle).exit_code
