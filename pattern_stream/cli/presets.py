"""Named sets of options in the user's own configuration file: `--preset NAME`.

The file is that of the user alone, never one in the working folder, which may be somebody else's. It holds no secrets:
these are named by file or command.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click

from pattern_stream.cli.output import path_text, plain
from pattern_stream.errors import FileMissing, UsageError, storage_errors

MAX_FILE_BYTES: Final = 1024 * 1024
_SECRET: Final = frozenset({"id_key"})
"""Options whose value is itself a secret."""
_OWN: Final = frozenset({"preset", "help"})


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the file is: `pattern-stream/config.toml` in $XDG_CONFIG_HOME, else in ~/.config."""
    folder = environment.get("XDG_CONFIG_HOME")
    # Rule of the XDG specification: a relative path there counts as not set.
    base = Path(folder) if folder and os.path.isabs(folder) else Path.home() / ".config"
    return base / "pattern-stream" / "config.toml"


def use_preset(context: click.Context, parameter: click.Parameter, name: str | None) -> None:
    """Make the preset's values the defaults of the command that is called; what is typed goes before them."""
    if name is None:
        return
    path = config_path()
    given = preset(read_config(path), path, name)
    context.default_map = options_for(context.command, given, path, name)


def read_config(path: Path) -> dict[str, Any]:
    """The presets by name. Raises FileMissing, TransportError; UsageError where it is not what it must be."""
    with storage_errors(f"reading {path}"):
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError as error:
            raise FileMissing(f"{path_text(path)} is not there, and presets are kept in it") from error
    try:
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")
        found = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path_text(path)} is no configuration: {plain(str(error))}") from error
    unknown = found.keys() - {"presets"}
    if unknown:
        raise UsageError(f"{path_text(path)} has {plain(min(unknown))!r}, expected tables [presets.NAME.COMMAND]")
    presets = found.get("presets", {})
    if not isinstance(presets, dict) or not all(isinstance(value, dict) for value in presets.values()):
        raise UsageError(f"{path_text(path)} has a preset that is no table, expected [presets.NAME.COMMAND]")
    return presets


def preset(presets: Mapping[str, Any], path: Path, name: str) -> Mapping[str, Any]:
    """One preset: options by command. Raises UsageError."""
    if name not in presets:
        near = get_close_matches(name, presets, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(map(plain, presets)) or 'none'}"
        raise UsageError(f"{path_text(path)} has no preset {plain(name)!r}", hint=hint)
    found: Mapping[str, Any] = presets[name]
    return found


def options_for(command: click.Command, given: Mapping[str, Any], path: Path, name: str) -> dict[str, Any]:
    """The values of a preset for a command, by parameter. Raises UsageError: it has none, or one that does not fit."""
    place = f"[presets.{plain(name)}.{command.name}] of {path_text(path)}"
    values = given.get(command.name or "")
    if not isinstance(values, dict):
        raise UsageError(f"there is no {place}")
    known = {option: parameter for parameter in command.params for option in parameter.opts if option[:2] == "--"}
    found = {}
    for key, value in values.items():
        parameter = known.get(f"--{key.replace('_', '-')}")
        if parameter is None or parameter.name in _OWN:
            near = get_close_matches(f"--{key}", known, 1)
            hint = f"did you mean {near[0][2:]!r}?" if near else None
            raise UsageError(f"{place} has {plain(key)!r}, which is no option of {command.name}", hint=hint)
        if parameter.name in _SECRET:
            raise UsageError(f"{place} has {plain(key)!r}, which is a secret: it is given when the command is called")
        if not _fits(parameter, value):
            raise UsageError(f"{place} has {plain(key)} = {plain(repr(value))}, expected {_expected(parameter)}")
        found[parameter.name or key] = value
    return found


def _fits(parameter: click.Parameter, value: Any) -> bool:
    if parameter.multiple:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if getattr(parameter, "is_flag", False):
        return isinstance(value, bool)
    return isinstance(value, str | int) and not isinstance(value, bool)


def _expected(parameter: click.Parameter) -> str:
    if parameter.multiple:
        return "a list of texts"
    return "true or false" if getattr(parameter, "is_flag", False) else "a text or a whole number"
