"""Where the database is: what the caller says, else where the original program would look.

Order: an explicit path, `PATTERN_DB`, `database.path` of the first configuration file that has one, the data folder.
The first of them that says anything decides, also when nothing is there: falling through to a later place could take
another constellation than the one that was meant. Source: the contract in README, "Where the database is".
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import platformdirs

from pattern_stream.errors import DatabaseNotFound

VARIABLE: Final = "PATTERN_DB"
"""The environment variable that names a database."""

FILE_NAME: Final = "constellation.db"
"""What the original program calls its database."""

MAX_CONFIG_BYTES: Final = 1024 * 1024
"""Largest configuration file that is read. Ours."""

_HINT: Final = f"--db PATH or {VARIABLE} names a database"


@dataclass(frozen=True, slots=True)
class Located:
    """A path, and in words where it came from."""

    path: Path
    origin: str


def locate_database(
    explicit: Path | None,
    environ: Mapping[str, str],
    cwd: Path,
    *,
    home: Path | None = None,
    data_dir: Path | None = None,
    must_exist: bool = True,
) -> Located:
    """Choose the database. `home` and `data_dir` default to the user's own.

    A relative path counts from `cwd`, also one in a configuration file, as in the original program; a leading `~` in
    the environment or a configuration file is `home`.
    Raises DatabaseNotFound: nothing is at the chosen path (unless `must_exist` is false), with the places tried; or a
    configuration file that cannot be understood.
    """
    home = Path.home() if home is None else home
    data_dir = Path(platformdirs.user_data_dir("pattern", appauthor=False)) if data_dir is None else data_dir
    if explicit is not None:
        return _checked(Located(cwd / explicit, "as given"), [], must_exist)
    tried: list[str] = []
    found = _from_environment(environ, cwd, home, tried) or _from_configuration(cwd, home, tried)
    return _checked(found or Located(data_dir / FILE_NAME, "the usual place"), tried, must_exist)


def configuration_files(cwd: Path, home: Path) -> tuple[Path, ...]:
    """Where the original program looks for its configuration, first one first."""
    return cwd / "pattern.toml", home / ".config/pattern/config.toml", home / ".pattern/config.toml"


def _from_environment(environ: Mapping[str, str], cwd: Path, home: Path, tried: list[str]) -> Located | None:
    named = environ.get(VARIABLE, "")
    if not named:
        tried.append(f"{VARIABLE} (not set)")
        return None
    return Located(cwd / _expanded(named, home), f"from {VARIABLE}")


def _from_configuration(cwd: Path, home: Path, tried: list[str]) -> Located | None:
    for file in configuration_files(cwd, home):
        if not file.is_file():
            tried.append(f"{file} (not there)")
        elif (named := _configured_path(file)) is None:
            tried.append(f"{file} (has no database.path)")
        else:
            return Located(cwd / _expanded(named, home), f"database.path of {file}")
    return None


def _configured_path(file: Path) -> str | None:
    """`database.path` of a configuration file; None where it has none."""
    database = _parsed(file).get("database", {})
    if not isinstance(database, dict):
        raise DatabaseNotFound(f"found {database!r} for database in {file}, expected a table", hint=_HINT)
    path = database.get("path")
    if path is None:
        return None
    if not isinstance(path, str) or not path or "\0" in path:
        raise DatabaseNotFound(f"found {path!r} for database.path in {file}, expected a path as text", hint=_HINT)
    return path


def _parsed(file: Path) -> dict[str, Any]:
    size = file.stat().st_size
    if size > MAX_CONFIG_BYTES:
        raise DatabaseNotFound(f"{file} is {size} bytes, limit is {MAX_CONFIG_BYTES}", hint=_HINT)
    try:
        return tomllib.loads(file.read_bytes().decode())
    except (ValueError, RecursionError) as error:  # both tomllib's error and a bad encoding are ValueErrors
        raise DatabaseNotFound(f"{file} is no readable TOML: {error}", hint=_HINT) from error


def _expanded(named: str, home: Path) -> Path:
    if named == "~" or named.startswith(("~/", f"~{os.sep}")):
        return home / named[2:]
    return Path(named)


def _checked(found: Located, tried: list[str], must_exist: bool) -> Located:
    if must_exist and not found.path.exists():
        places = [*tried, f"{found.path} ({found.origin})"]
        raise DatabaseNotFound(
            f"found no database; tried {', '.join(places)}", hint=None if found.origin == "as given" else _HINT
        )
    return found
