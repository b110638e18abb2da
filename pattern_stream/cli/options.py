"""Options that several commands share, as decorators, and the command class that gives each help text its example."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pattern_stream.cli.session import Session
from pattern_stream.errors import FileMissing, making_folder
from pattern_stream.format import MAX_DOCUMENT_BYTES

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class NamedPath(click.Path):
    """A path as it was typed. One with a slash at its end means a folder, which must be there."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """The path. Raises FileMissing."""
        if isinstance(value, str) and value.endswith(os.sep) and not os.path.isdir(value):
            raise FileMissing(f"folder {value} is not there", hint=making_folder(value))
        return super().convert(value, parameter, context)


# readable=False: click would call a file without permission a usage error, before we can say what it is.
PATH = NamedPath(path_type=Path, readable=False)


def examples(*lines: str) -> str:
    """An epilog that shows commands as they are typed."""
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])


def presets(command: Decorated) -> Decorated:
    """`--preset`: values of the configuration file for options that are not given."""
    return click.option(
        "--preset",
        metavar="NAME",
        is_eager=True,
        expose_value=False,
        callback=_preset,
        help="Take options that are not given from this preset of ~/.config/pattern-stream/config.toml.",
    )(command)


def _preset(context: click.Context, parameter: click.Parameter, name: str | None) -> None:
    if name is not None:
        from pattern_stream.cli.presets import use_preset

        use_preset(context, parameter, name)


def talking(command: Decorated) -> Decorated:
    """`-q`, `-v` and `--progress`."""
    command = click.option(
        "--progress",
        type=click.Choice(["auto", "bar", "plain", "json", "none"]),
        default="auto",
        show_default=True,
        expose_value=False,
        callback=kept,
        help="How to show progress on stderr: a bar on a terminal, else a line every 30 s; json: every line an object.",
    )(command)
    command = _flag("-v", "--verbose", help="Say more; for an internal error, show the traceback.")(command)
    return _flag("-q", "--quiet", help="Say nothing but errors.")(command)


def json_output(text: str) -> Callable[[Decorated], Decorated]:
    """`--json`, with what it gives."""
    return _flag("--json", help=text)


def database(
    text: str = "The database.  [default: $PATTERN_DB, else where Pattern keeps it]",
) -> Callable[[Decorated], Decorated]:
    """`--db PATH`."""
    return click.option("--db", type=PATH, metavar="PATH", help=text)


def document_limit(command: Decorated) -> Decorated:
    """`--max-document-bytes`."""
    return click.option(
        "--max-document-bytes",
        type=click.IntRange(min=1),
        default=MAX_DOCUMENT_BYTES,
        show_default=True,
        help="Largest memory document that is looked into.",
    )(command)


def _flag(*names: str, help: str) -> Callable[[Decorated], Decorated]:
    # Eager: known before any other option is judged, so that a usage error already obeys it.
    return click.option(*names, is_flag=True, is_eager=True, expose_value=False, callback=kept, help=help)


def kept(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Put an option into the session instead of handing it to the command."""
    if parameter.name is not None:
        setattr(context.ensure_object(Session), parameter.name, value)
