"""Locates the database: the path given, else the place where the original program would look.

Order: an explicit path, `PATTERN_DB`, `database.path` of the first configuration file that has one, the data folder.
The first of them that names a place decides, also when nothing is there: falling through to a later place could take
another constellation than the one that was meant. Source: the contract in README, "Where the database is".

What only one of the places needs is imported there: most callers name the database.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pattern_stream.errors import DatabaseNotFound
from pattern_stream.quick_dataclass import dataclass

VARIABLE: Final = "PATTERN_DB"
"""The environment variable that names a database."""

FILE_NAME: Final = "constellation.db"
"""The original program's name for its database."""

MAX_CONFIG_BYTES: Final = 1024 * 1024
"""Largest configuration file that is read. Ours."""

USUAL_PLACE: Final = "the usual place"
"""The origin of a path that neither the caller nor the environment nor a configuration file names."""

_HINT: Final = f"--db PATH or {VARIABLE} names a database"


@dataclass(frozen=True, slots=True)
class Located:
    """A path, and in words where it came from."""

    path: Path
    origin: str


class Folders:
    """The user's folders, each looked up when a place in it is asked for; None where there is none.

    A container's user may have no home, and a working folder may have been removed: neither matters to whoever names
    the database by an absolute path.
    """

    @property
    def working(self) -> Path | None:
        """The working folder."""
        try:
            return Path.cwd()
        except FileNotFoundError:
            return None

    @property
    def home(self) -> Path | None:
        """The home folder: `$HOME`, else that of the user's entry in the system's list."""
        named = Path(os.environ.get("HOME", ""))
        if named.is_absolute():
            return named
        import pwd

        with suppress(KeyError):
            return Path(pwd.getpwuid(os.getuid()).pw_dir)
        return None

    @property
    def data(self) -> Path | None:
        """The folder in which Pattern keeps its database."""
        import platformdirs

        try:
            folder = Path(platformdirs.user_data_dir("pattern", appauthor=False))
        except RuntimeError:
            return None
        return folder if folder.is_absolute() else None  # older releases of platformdirs give a `~` back as it is


def locate_database(
    explicit: Path | None, environ: Mapping[str, str], folders: Folders, *, must_exist: bool = True
) -> Located:
    """Choose the database.

    A relative path counts from the working folder, also one in a configuration file, as in the original program; a
    leading `~` in the environment or a configuration file is the home folder.
    Raises DatabaseNotFound: nothing is at the chosen path (unless `must_exist` is false), with the places tried; a
    configuration file that cannot be understood; a folder that a place needs and that is not there.
    """
    if explicit is not None:
        return _checked(Located(_absolute(explicit, folders), "as given"), [], must_exist)
    tried: list[str] = []
    found = _from_environment(environ, folders, tried) or _from_configuration(folders, tried)
    if found is None:
        if folders.data is None:
            tried.append("the usual place (there is no home folder)")
            raise DatabaseNotFound(f"found no database; tried {', '.join(tried)}", hint=_HINT)
        found = Located(folders.data / FILE_NAME, USUAL_PLACE)
    return _checked(found, tried, must_exist)


def configuration_files(folders: Folders) -> tuple[Path, ...]:
    """Where the original program looks for its configuration, first one first."""
    working = () if folders.working is None else (folders.working / "pattern.toml",)
    home = folders.home
    return working if home is None else (*working, home / ".config/pattern/config.toml", home / ".pattern/config.toml")


def _from_environment(environ: Mapping[str, str], folders: Folders, tried: list[str]) -> Located | None:
    named = environ.get(VARIABLE, "")
    if not named:
        tried.append(f"{VARIABLE} (not set)")
        return None
    return Located(_expanded(named, folders), f"from {VARIABLE}")


def _from_configuration(folders: Folders, tried: list[str]) -> Located | None:
    for file in configuration_files(folders):
        if not file.is_file():
            tried.append(f"{file} (not there)")
        elif (named := _configured_path(file)) is None:
            tried.append(f"{file} (has no database.path)")
        else:
            return Located(_expanded(named, folders), f"database.path of {file}")
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
    import tomllib

    size = file.stat().st_size
    if size > MAX_CONFIG_BYTES:
        raise DatabaseNotFound(f"{file} is {size} bytes, limit is {MAX_CONFIG_BYTES}", hint=_HINT)
    try:
        return tomllib.loads(file.read_bytes().decode())
    except (ValueError, RecursionError) as error:  # both tomllib's error and a bad encoding are ValueErrors
        raise DatabaseNotFound(f"{file} is no readable TOML: {error}", hint=_HINT) from error


def _expanded(named: str, folders: Folders) -> Path:
    if named != "~" and not named.startswith("~/"):
        return _absolute(Path(named), folders)
    home = folders.home
    if home is None:
        raise DatabaseNotFound(f"found {named}, but this user has no home folder", hint=_HINT)
    return home / named[2:]


def _absolute(path: Path, folders: Folders) -> Path:
    if path.is_absolute():
        return path
    working = folders.working
    if working is None:
        message = f"found the relative path {path}, but the working folder is gone"
        raise DatabaseNotFound(message, hint="name the database by its whole path")
    return working / path


def _checked(found: Located, tried: list[str], must_exist: bool) -> Located:
    if must_exist and not found.path.exists():
        places = [*tried, f"{found.path} ({found.origin})"]
        raise DatabaseNotFound(
            f"found no database; tried {', '.join(places)}", hint=None if found.origin == "as given" else _HINT
        )
    return found
