"""Which database is meant: explicit, environment, configuration, data folder; the first that speaks decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from pattern_stream.cli.locate import Folders, Located, locate_database
from pattern_stream.errors import DatabaseNotFound, ExitCode


class FixedFolders(Folders):
    """The folders of a test."""

    def __init__(self, working: Path | None, home: Path | None, data: Path | None) -> None:
        self._fixed = working, home, data

    @property
    def working(self) -> Path | None:
        return self._fixed[0]

    @property
    def home(self) -> Path | None:
        return self._fixed[1]

    @property
    def data(self) -> Path | None:
        return self._fixed[2]


class Places:
    """A working directory, a home and a data folder, all empty."""

    def __init__(self, root: Path) -> None:
        self.cwd, self.home, self.data = root / "cwd", root / "home", root / "data"
        for folder in (self.cwd, self.home / ".config/pattern", self.home / ".pattern", self.data):
            folder.mkdir(parents=True)

    def locate(self, explicit: Path | None = None, *, named: str | None = None, must_exist: bool = True) -> Located:
        environ = {} if named is None else {"PATTERN_DB": named}
        folders = FixedFolders(self.cwd, self.home, self.data)
        return locate_database(explicit, environ, folders, must_exist=must_exist)

    def fill(self) -> None:
        """A database and a word about it in every place."""
        for file in ("explicit.db", "environ.db", "local.db"):
            (self.cwd / file).touch()
        (self.data / "constellation.db").touch()
        for name in ("config.db", "old.db"):
            (self.home / name).touch()
        (self.cwd / "pattern.toml").write_text('[database]\npath = "local.db"\n')
        (self.home / ".config/pattern/config.toml").write_text('[database]\npath = "~/config.db"\n')
        (self.home / ".pattern/config.toml").write_text('[database]\npath = "~/old.db"\n')


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_order_of_places(places: Places) -> None:
    """Each place is overruled by every place before it."""
    places.fill()
    found = [places.locate(Path("explicit.db"), named="environ.db"), places.locate(named="environ.db"), places.locate()]
    (places.cwd / "pattern.toml").unlink()
    found.append(places.locate(named=""))
    (places.home / ".config/pattern/config.toml").write_text("[other]\n")
    found.append(places.locate())
    (places.home / ".pattern/config.toml").unlink()
    found.append(places.locate())

    assert [
        Located(places.cwd / "explicit.db", "as given"),
        Located(places.cwd / "environ.db", "from PATTERN_DB"),
        Located(places.cwd / "local.db", f"database.path of {places.cwd / 'pattern.toml'}"),
        Located(places.home / "config.db", f"database.path of {places.home / '.config/pattern/config.toml'}"),
        Located(places.home / "old.db", f"database.path of {places.home / '.pattern/config.toml'}"),
        Located(places.data / "constellation.db", "the usual place"),
    ] == found


def test_nothing_anywhere_lists_the_places(places: Places) -> None:
    """Exit 6, with every place that was tried and why it was not it."""
    with pytest.raises(DatabaseNotFound) as caught:
        places.locate()

    assert ExitCode.NOT_FOUND == caught.value.exit_code
    assert "--db PATH or PATTERN_DB" in str(caught.value.hint)
    for part in ("PATTERN_DB (not set)", "cwd/pattern.toml (not there)", ".pattern/config.toml (not there)"):
        assert part in caught.value.message
    assert f"{places.data / 'constellation.db'} (the usual place)" in caught.value.message


def test_a_configured_path_is_not_passed_over(places: Places) -> None:
    """A configured database that is missing is an error, although the usual place has one."""
    places.fill()
    (places.cwd / "local.db").unlink()

    with pytest.raises(DatabaseNotFound, match=r"local\.db \(database\.path of"):
        places.locate()


def test_explicit_and_missing_has_no_other_places(places: Places) -> None:
    """A path given by hand is the only one in the message, and needs no hint how to give one."""
    with pytest.raises(DatabaseNotFound, match=r"tried .*none\.db \(as given\)$") as caught:
        places.locate(Path("none.db"))

    assert caught.value.hint is None


def test_a_missing_one_is_located_for_making_it(places: Places) -> None:
    """`must_exist=False` gives the path at which a database would be made."""
    assert places.data / "constellation.db" == places.locate(must_exist=False).path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[database\n", "no readable TOML"),
        (b'[database]\npath = "\xff"\n', "no readable TOML"),
        (b"[database]\npath = 7\n", "found 7 for database.path"),
        (b'[database]\npath = ""\n', "found '' for database.path"),
        (b'[database]\npath = "a\\u0000b"\n', "for database.path"),
        (b'database = "x"\n', "found 'x' for database in"),
        (b"#" * (1024 * 1024 + 1), "is 1048577 bytes, limit is 1048576"),
        (b"x = " + b"[" * 100_000, "no readable TOML"),
    ],
)
def test_a_broken_configuration_is_named(places: Places, content: bytes, message: str) -> None:
    """Whatever is wrong with a configuration file, the message names the file and the hint the way round it."""
    file = places.cwd / "pattern.toml"
    file.write_bytes(content)

    with pytest.raises(DatabaseNotFound, match=message) as caught:
        places.locate()

    assert str(file) in caught.value.message
    assert "--db PATH" in str(caught.value.hint)
    assert places.locate(file).path == file


def test_defaults_are_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Home and data folder come from the user's environment where none is given."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)

    found = locate_database(None, {}, Folders(), must_exist=False)

    assert "constellation.db" == found.path.name
    assert "pattern" == found.path.parent.name
    assert found.path.is_relative_to(tmp_path)


@pytest.mark.parametrize("named", ["", "rel"])
def test_a_home_that_is_none_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str) -> None:
    """HOME empty or relative, and no entry for the user: a database named by its path is found all the same."""
    monkeypatch.setenv("HOME", named)
    monkeypatch.setenv("XDG_DATA_HOME", "also/relative")
    monkeypatch.setattr("pwd.getpwuid", _no_entry)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.db").touch()

    assert tmp_path / "d.db" == locate_database(tmp_path / "d.db", {}, Folders()).path
    with pytest.raises(DatabaseNotFound, match=r"the usual place \(there is no home folder\)"):
        locate_database(None, {}, Folders())
    with pytest.raises(DatabaseNotFound, match="this user has no home folder"):
        locate_database(None, {"PATTERN_DB": "~/d.db"}, Folders())


def _no_entry(uid: int) -> object:
    raise KeyError(uid)


def test_a_working_folder_that_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a folder that was removed, a whole path is found and a relative one is refused by name."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    (tmp_path / "d.db").touch()

    assert tmp_path / "d.db" == locate_database(tmp_path / "d.db", {}, Folders()).path
    with pytest.raises(DatabaseNotFound, match=r"found the relative path d\.db, but the working folder is gone"):
        locate_database(Path("d.db"), {}, Folders())
