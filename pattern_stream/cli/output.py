"""Everything that is printed: lines on stderr, data and JSON documents on stdout, nothing that can drive a terminal."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, Final, Literal

import click

from pattern_stream.cli.session import Session
from pattern_stream.errors import ExitCode, Finding, TransportError, UsageError, storage_error

ALIKE_SHOWN: Final = 3
"""Warnings of one kind that are shown without -v."""

Level = Literal["error", "warning", "hint", "info"]

_COLOURS: Final = {"error": "red", "warning": "yellow", "hint": "cyan"}
_DECIMAL_UNITS: Final = ("kB", "MB", "GB", "TB", "PB", "EB")
_JOINERS: Final = "\u200c\u200d"  # inside words of some scripts and inside emoji; they move nothing
_UNPRINTABLE_IN_JSON: Final = re.compile(
    "[\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def plain(text: str) -> str:
    """Text as one harmless line: control, bidi and other unseen characters are shown as escapes.

    A name in a database or archive may hold terminal escapes that recolour, retitle or rewrite what was printed.
    """
    if text.isprintable():
        return text
    return "".join(char if _harmless(char) else _escaped(char) for char in text)


def _harmless(char: str) -> bool:
    return char.isprintable() or char in _JOINERS or (char.isspace() and char not in "\u2028\u2029" and char > "\x9f")


def _escaped(char: str) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char) or char.encode(
        "unicode_escape", "backslashreplace"
    ).decode()


def path_text(path: Path | str) -> str:
    """A path as harmless text, whatever bytes its name is made of."""
    return plain(os.fsencode(path).decode("utf-8", "backslashreplace"))


def wants_colour(stream: IO[Any]) -> bool:
    """Whether a stream gets colours: NO_COLOR forbids, then FORCE_COLOR demands, then a terminal that is not dumb."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def styled(text: str, colour: str) -> str:
    """Text for stderr in a colour, where colours are wanted."""
    stream = sys.stderr
    return click.style(text, fg=colour, bold=True) if stream is not None and wants_colour(stream) else text


def tell_line(text: str) -> None:
    """One line on stderr, also with -q. A stderr that is closed or full takes no one down; a closed pipe passes."""
    if sys.stderr is None:
        return
    try:
        click.echo(text, err=True, color=True)  # whether to colour was decided by `styled`, and click must not again
    except ConnectionError:
        raise
    except OSError:
        return


def tell(session: Session, level: Level, text: str, known: Mapping[str, Any] | None = None) -> None:
    """One line on stderr, also with -q. With `--progress json`, an object: `known`, or the text as its message."""
    if session.progress == "json":
        tell_line(json_text({"level": level, **(known or {"message": text})}))
    elif level == "info":
        tell_line(text)
    else:
        tell_line(f"{styled(f'{level}:', _COLOURS[level])} {text}")


def tell_error(session: Session, lines: Sequence[str], hint: str | None, known: Mapping[str, Any]) -> None:
    """How a run ended badly: the message and its further lines, then the hint; with `--progress json` one object."""
    tell(session, "error", lines[0], known)
    if session.progress == "json":
        return
    for line in lines[1:]:
        tell_line(line)
    if hint:
        tell(session, "hint", plain(hint))


def tell_traceback(session: Session, error: BaseException) -> None:
    """The traceback of an error of our own, line by line."""
    from traceback import format_exception

    for line in "".join(format_exception(error)).splitlines():
        tell(session, "info", plain(line))


def say(session: Session, text: str) -> None:
    """One line on stderr, unless -q."""
    if not session.quiet:
        tell(session, "info", text)


def detail(session: Session, text: str) -> None:
    """One line on stderr with -v."""
    if session.verbose:
        say(session, text)


def show(text: str) -> None:
    """Data on stdout. Raises TransportError where it cannot be written; a closed pipe passes."""
    with _writing_stdout():
        click.echo(text, color=sys.stdout is not None and wants_colour(sys.stdout))


def document(value: Mapping[str, Any], *, err: bool = False) -> None:
    """One JSON document on stdout, as `show`; on stderr, where stdout is the archive, on one line among the others."""
    with nullcontext() if err else _writing_stdout():
        click.echo(json_text(value, indent=not err), err=err)


def require_stdout(session: Session) -> None:
    """Raise TransportError where the summary of a change would be lost, before anything is changed."""
    if session.json and not session.archive_on_stdout and sys.stdout is None:
        raise TransportError("stdout is closed, expected a place for the summary that --json asks for")


def conclude(session: Session, change: str, summary: Mapping[str, Any], words: Callable[[], None]) -> ExitCode:
    """Tell of a change that is made: the summary where --json asks for one, else `words`. Gives the exit code.

    A stream that takes no more is no reason to do the work again: the exit code is 3, and the message says that the
    change (`the import`) is done.
    """
    try:
        if session.json:
            document(summary, err=session.archive_on_stdout)
            (sys.stderr if session.archive_on_stdout else sys.stdout).flush()
        else:
            words()
    except (OSError, TransportError) as error:
        reason = error.message if isinstance(error, TransportError) else (error.strerror or str(error)).lower()
        abandon(sys.stderr if session.archive_on_stdout else sys.stdout)
        with suppress(OSError):
            tell(session, "error", f"{change} is done, but its summary could not be told: {plain(reason)}")
        return ExitCode.LOSS
    return ExitCode.DONE


def abandon(stream: Any) -> None:
    """Point a stream that takes no more at nothing, else the interpreter complains of it when it exits."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def _writing_stdout() -> Iterator[None]:
    if sys.stdout is None:
        raise UsageError("stdout is closed, expected a file, a pipe or a terminal")
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        raise storage_error(error, "writing to standard output") from error


def json_text(value: Any, *, indent: bool = False) -> str:
    """JSON whose strings hold no raw control or bidi characters, so that it is safe to look at."""
    import json

    import orjson

    try:
        text = orjson.dumps(value, default=_fallback, option=orjson.OPT_INDENT_2 if indent else None).decode()
    except TypeError:  # a lone surrogate, an integer beyond 64 bits
        text = json.dumps(value, default=_fallback, indent=2 if indent else None)
    return _UNPRINTABLE_IN_JSON.sub(lambda match: json.dumps(match[0])[1:-1], text)


def _fallback(value: Any) -> Any:
    if isinstance(value, Path):
        return os.fsencode(value).decode("utf-8", "backslashreplace")
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_findings(session: Session, findings: Iterable[Finding]) -> None:
    """Each finding as one line on stderr, a hint after it once; of a kind of warning the first few, and with -v all.

    With -q errors alone. What is usual (severity `info`) only with -v.
    """
    met, hints = Counter[str](), set[str | None]([None])
    for finding in findings:
        is_error = finding.severity == "error"
        if finding.severity == "info" and not session.verbose:
            continue
        met[finding.code] += not is_error
        if is_error or (not session.quiet and (session.verbose or met[finding.code] <= ALIKE_SHOWN)):
            tell(session, finding.severity, plain(str(finding)), finding.as_dict())
            if finding.hint not in hints and session.progress != "json":
                tell(session, "hint", plain(finding.hint or ""))
                hints.add(finding.hint)
    for code, count in met.items():
        if count > ALIKE_SHOWN and not session.verbose:
            say(session, f"and {count - ALIKE_SHOWN} more of {code}; -v shows all")


def held(stats: Mapping[str, int]) -> str:
    """The statistics of an archive in words, what there is none of left out: `7 agents, 591 messages`."""
    counts = {key.removesuffix("_count"): count for key, count in stats.items() if key.endswith("_count") and count}
    names = {key: key.replace("_", " ").removesuffix("y") + ("ies" if key.endswith("y") else "s") for key in counts}
    return ", ".join(
        f"{count:,} {names[key] if count != 1 else key.replace('_', ' ')}" for key, count in counts.items()
    )


def human_bytes(count: int) -> str:
    """A size as people write it, in decimal units: `1.2 MB`."""
    if count < 1000:
        return f"{count} byte" + "s" * (count != 1)
    power = min((len(str(count)) - 1) // 3, len(_DECIMAL_UNITS))
    return f"{count / 1000**power:,.1f} {_DECIMAL_UNITS[power - 1]}"


def counted(counts: Mapping[str, int]) -> str:
    """`{"tasks": 3, "events": 12}` as `events 12, tasks 3`: most first."""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{plain(name)} {count:,}" for name, count in most)


def shortened(text: str, limit: int = 60) -> str:
    """A text cut to so many characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _is_narrow(text: str) -> bool:
    """Whether each character takes one cell, as far as is known without tables: up to where combining ones begin."""
    return max(text.replace("…", ""), default="") < "\u0300"


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of aligned columns, numbers to the right; the same on a terminal and in a pipe."""
    raw = [tuple(row) for row in rows]
    cells = [tuple("" if cell is None else plain(str(cell)) for cell in row) for row in raw]
    numeric = [bool(raw) and all(isinstance(row[n], int | None) for row in raw) for n in range(len(headers))]
    width_of: Callable[[str], int] = len
    if not all(_is_narrow(cell) for line in cells for cell in line):
        from rich.cells import cell_len as width_of
    widths = [max(width_of(line[n]) for line in [tuple(headers), *cells]) for n in range(len(headers))]

    def aligned(line: Sequence[str]) -> str:
        padded = [(cell, " " * (width - width_of(cell))) for cell, width in zip(line, widths, strict=True)]
        parts = [space + cell if right else cell + space for (cell, space), right in zip(padded, numeric, strict=True)]
        return "  ".join(parts).rstrip()

    return [aligned(line) for line in (headers, ["-" * width for width in widths], *cells)]
