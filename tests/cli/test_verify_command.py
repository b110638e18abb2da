"""`verify`: exit codes and summaries of sound, damaged, unknown and differing archives."""

from __future__ import annotations

import json
import shutil
import socket
from contextlib import closing
from pathlib import Path

import pytest

from tests.archives import Archive, agent_archive
from tests.cli.conftest import Cli


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A small sound archive, but for its documents."""
    path = tmp_path / "a.car"
    path.write_bytes(agent_archive().to_bytes())
    return path


def test_a_sound_archive(cli: Cli, archive: Path) -> None:
    """Exit 0; the summary is on stderr, and stdout is empty."""
    outcome = cli("verify", archive, "--no-documents")

    assert (0, b"") == (outcome.code, outcome.out)
    assert "Agent archive of version 3: sound" in outcome.err


def test_a_damaged_archive(cli: Cli, archive: Path) -> None:
    """Exit 4, with every finding; --json has them on stdout with their places."""
    raw = archive.read_bytes()
    archive.write_bytes(raw[:-3] + b"???")

    outcome = cli("verify", archive, "--no-documents", "--json")

    found = json.loads(outcome.out)
    assert (4, False) == (outcome.code, found["ok"])
    assert ["digest-mismatch", "missing-block"] == [finding["code"] for finding in found["findings"]]
    assert found["findings"][0]["where"]["offset"] > 0


def test_errors_are_told_with_q(cli: Cli, archive: Path) -> None:
    """-q leaves out the summary and warnings, never what is wrong."""
    raw = archive.read_bytes()
    sound = cli("verify", archive, "--no-documents", "-q")
    archive.write_bytes(raw[:-3] + b"???")
    damaged = cli("verify", archive, "--no-documents", "-q")

    assert (0, "") == (sound.code, sound.err)
    assert 4 == damaged.code
    assert ["hashes to", "not in the archive"] == [
        next(words for words in ("hashes to", "not in the archive") if words in line) for line in damaged.errors
    ]
    assert damaged.errors == damaged.err.splitlines()


@pytest.mark.parametrize("options", [(), ("-q",), ("--json",)])
def test_a_hint_comes_with_its_error(cli: Cli, tmp_path: Path, options: tuple[str, ...]) -> None:
    """What is to be done with a file that is packed otherwise, as inspect and import say it."""
    path = tmp_path / "a.car.xz"
    path.write_bytes(b"\xfd7zXZ\x00" + bytes(100))
    verified, inspected = cli("verify", path, *options), cli("inspect", path)
    (hint,) = (line for line in inspected.err.splitlines() if line.startswith("hint:"))

    assert (5, 5) == (verified.code, inspected.code)
    if "--json" in options:
        assert hint == f"hint: {json.loads(verified.out)['findings'][0]['hint']}"
    else:
        assert hint in verified.err.splitlines()


def test_an_unknown_version(cli: Cli, tmp_path: Path) -> None:
    """Exit 5."""
    archive = Archive()
    archive.root = bytes(archive.add({"version": 9, "data_cid": None, "stats": {}}))
    path = tmp_path / "nine.car"
    path.write_bytes(archive.to_bytes())

    outcome = cli("verify", path)

    assert outcome.code == 5
    assert "archive is version 9, newer than supported" in outcome.err


def test_against_a_database(cli: Cli, archive: Path, small: Path) -> None:
    """Exit 10 where nothing of the archive is in the database."""
    outcome = cli("verify", archive, "--no-documents", "--against", small, "--json")

    found = json.loads(outcome.out)
    assert (10, True) == (outcome.code, found["ok"])
    assert (9, 9) == (found["against"]["records"], found["against"]["differing"])


def test_what_was_exported_is_sound_and_equal(cli: Cli, small: Path, tmp_path: Path) -> None:
    """An export verifies, documents too, and equals the database that it came from."""
    path = tmp_path / "out.car"
    assert cli("export", "--db", small, "-o", path, "-q").code == 0

    outcome = cli("verify", path, "--against", small, "--json")

    found = json.loads(outcome.out)
    assert (0, []) == (outcome.code, found["findings"])
    assert (0, "depth-first", True) == (found["against"]["differing"], found["order"], found["stats_match"])
    assert found["documents"]["failed"] == 0 < found["documents"]["checked"]


def test_a_missing_file(cli: Cli, tmp_path: Path) -> None:
    """Exit 6."""
    assert cli("verify", tmp_path / "none.car").code == 6


@pytest.mark.parametrize("command", ["verify", "inspect", "dump"])
def test_what_holds_no_bytes_is_named(
    cli: Cli, small: Path, home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """A folder, with the database in it where it has one, and a socket: exit 2, never an empty file."""
    (home / "empty").mkdir()
    (home / "kept").mkdir()
    shutil.copy(small, home / "kept/constellation.db")
    monkeypatch.chdir(home)  # its whole path would be too long for a socket
    with closing(socket.socket(socket.AF_UNIX)) as end:
        end.bind("socket")
    empty, kept, other = (cli(command, name) for name in ("empty", "kept", "socket"))

    assert (2, 2, 2) == (empty.code, kept.code, other.code)
    assert "empty is a folder" in empty.err
    assert "pattern-stream export --db kept/constellation.db" in kept.err
    assert "is a socket" in other.err
