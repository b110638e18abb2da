"""Named sets of options: what they give, what goes before them, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def config(home: Path) -> Path:
    """The user's configuration file, empty."""
    path = home / ".config/pattern-stream/config.toml"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def test_a_preset_gives_what_is_not_typed(cli: Cli, home: Path, small: Path, config: Path) -> None:
    """Texts, flags and the shared options too; what is typed goes before it."""
    config.write_text(
        '[presets.nightly.export]\noutput = "n.car.zst"\nforce = true\nquiet = true\nno-messages = true\n'
    )

    first = cli("export", "--db", small, "--preset", "nightly")
    assert (0, "") == (first.code, first.err)
    assert 0 == cli("export", "--db", small, "--preset", "nightly").code
    assert 0 == cli("export", "--db", small, "--preset", "nightly", "-o", "typed.car").code
    stats = json.loads(cli("inspect", "n.car.zst", "--json").out)["stats"]
    assert 0 == stats["message_count"]
    assert (home / "typed.car").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no preset 'nightly'"),
        ("[presets.nightli.export]\nforce = true", "did you mean 'nightli'?"),
        ("[presets.nightly.verify]\nquiet = true", "there is no [presets.nightly.export]"),
        ("[presets.nightly.export]\nforse = true", "did you mean 'force'?"),
        ("[presets.nightly.export]\nforce = 'yes'", "expected true or false"),
        ("[presets.nightly.export]\nencrypt-to = 'age1'", "expected a list of texts"),
        ("[presets.nightly.export]\ncompress = [1]", "expected a text or a whole number"),
        ("[presets.nightly.export]\ncompress = 'xz'", "'xz' is no compression"),
        ("[presets.nightly.export]\npreset = 'other'", "which is no option of export"),
        ("[other]\nforce = true", "expected tables [presets.NAME.COMMAND]"),
        ("presets = 3", "has a preset that is no table"),
        ("presets = {a = 3}", "has a preset that is no table"),
        ("nonsense", "is no configuration"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, said: str, cli: Cli, home: Path, small: Path, config: Path) -> None:
    """Exit 2, the file and the name; nothing is written."""
    config.write_text(text)
    found = cli("export", "--db", small, "--preset", "nightly", "-o", "o.car")

    assert 2 == found.code
    assert said in found.err
    assert not (home / "o.car").exists()


def test_secrets_do_not_stand_in_the_file(cli: Cli, home: Path, config: Path) -> None:
    """An option whose value is a secret is refused, and the value is not repeated."""
    config.write_text('[presets.p.import]\nid-key = "c0ffee"\n')
    found = cli("import", "x.car", "--db", home / "n.db", "--preset", "p")

    assert 2 == found.code
    assert "which is a secret" in found.err
    assert "c0ffee" not in found.err


def test_only_the_users_own_file_counts(cli: Cli, home: Path, small: Path) -> None:
    """A file in the working folder is not looked at; $XDG_CONFIG_HOME moves the user's."""
    (home / "config.toml").write_text("[presets.nightly.export]\nforce = true")
    (home / "pattern-stream").mkdir()
    (home / "pattern-stream/config.toml").write_text("[presets.nightly.export]\nforce = true")

    assert 6 == cli("export", "--db", small, "--preset", "nightly", "-o", "o.car").code
    env = {"XDG_CONFIG_HOME": str(home)}
    assert 0 == cli("export", "--db", small, "--preset", "nightly", "-o", "o.car", env=env).code


def test_config_show(cli: Cli, config: Path) -> None:
    """The presets; of a command each option with its value and where that comes from."""
    config.write_text('[presets.nightly.export]\noutput = "n.car"\nthreads = 3\n')

    assert b"[presets.nightly.export]" in cli("config", "show").out
    shown = json.loads(cli("config", "show", "export", "--preset", "nightly", "--json", env={"PATTERN_DB": "x.db"}).out)
    found = {row["option"]: (row["value"], row["from"]) for row in shown["options"]}
    assert ("n.car", "preset nightly") == found["--output"]
    assert (3, "preset nightly") == found["--threads"]
    assert ("x.db", "PATTERN_DB") == found["--db"]
    assert (False, "default") == found["--force"]
    assert 2 == cli("config", "show", "nothing").code
    assert 2 == cli("config", "show", "--preset", "nightly").code


def test_config_show_without_a_file(cli: Cli) -> None:
    """It says where the file would be."""
    found = cli("config", "show")

    assert 0 == found.code
    assert b"config.toml (is not there)" in found.out
