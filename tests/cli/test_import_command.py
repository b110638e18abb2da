"""`import`: targets, ids, conflicts, summaries and refusals, as the contract has them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.cli.import_command import renaming
from tests.cli.conftest import Cli

SUMMARY = {"db", "created", "type", "ids", "agents", "groups", "rows", "skipped", "warnings", "seconds"}


@pytest.fixture
def archive(cli: Cli, small: Path, tmp_path: Path) -> Path:
    """The demo as an archive."""
    path = tmp_path / "demo.car"
    assert 0 == cli("export", "--db", small, "-o", path, "-q").code
    return path


def agents(path: Path) -> set[str]:
    """Names of a database's agents."""
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM agents")}


def test_into_a_missing_database(cli: Cli, archive: Path, small: Path, tmp_path: Path) -> None:
    """It is made, said on stderr, and private; the summary has the keys of the contract."""
    target = tmp_path / "new.db"
    outcome = cli("import", archive, "--db", target, "--json")
    found = json.loads(outcome.out)

    assert 0 == outcome.code
    assert set(found) >= SUMMARY
    assert (True, "Constellation", "kept") == (found["created"], found["type"], found["ids"])
    assert agents(small) == {agent["name"] for agent in found["agents"]} == agents(target)
    assert all(agent["old"] == agent["new"] for agent in found["agents"])
    assert 0o600 == target.stat().st_mode & 0o777


def test_from_stdin(cli: Cli, archive: Path, small: Path, tmp_path: Path) -> None:
    """`-` is stdin; nothing on stdout without --json."""
    with archive.open("rb") as opened:
        outcome = cli("import", "-", "--db", tmp_path / "new.db", stdin=opened)

    assert (0, b"") == (outcome.code, outcome.out)
    assert "made for it" in outcome.err
    assert agents(small) == agents(tmp_path / "new.db")


def test_new_ids_beside_the_old(cli: Cli, archive: Path, small: Path, agent: str, tmp_path: Path) -> None:
    """Another agent under another name, by a key that makes it repeatable."""
    target, key = tmp_path / "copy.db", "ab" * 32
    shutil.copy(small, target)
    options = ("--only", f"agent:{agent}", "--new-ids", "--id-key", key, "--rename", f"{agent}=Twin", "--json")
    told = json.loads(cli("import", archive, "--db", target, *options, "--dry-run").out)
    done = json.loads(cli("import", archive, "--db", target, *options).out)

    assert "new" == done["ids"]
    assert told["agents"] == done["agents"]
    assert ["Twin"] == [one["name"] for one in done["agents"]]
    assert agents(small) | {"Twin"} == agents(target)


def test_conflicts(cli: Cli, archive: Path, small: Path, tmp_path: Path) -> None:
    """Exit 7 with everything listed; skip and replace go through."""
    target = tmp_path / "copy.db"
    shutil.copy(small, target)
    outcome = cli("import", archive, "--db", target)
    skipped = cli("import", archive, "--db", target, "--on-conflict", "skip", "--json")
    replaced = cli("import", archive, "--db", target, "--on-conflict", "replace", "--json")

    assert 7 == outcome.code
    assert all(f"({name!r}) is there" in outcome.err for name in agents(small))
    assert "hint: --on-conflict" in outcome.err
    assert {} == json.loads(skipped.out)["rows"]
    assert len(agents(small)) == json.loads(replaced.out)["rows"]["agents"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--id-key", "00"), "without --new-ids"),
        (("--new-ids", "--id-key", "xyz"), "expected 64 hex digits"),
        (("--new-ids", "--id-key", "00"), "1 bytes, expected 32"),
        (("--rename", "="), "expected NEW or OLD=NEW"),
        (("--rename", "X"), "whole constellation"),
        (("--only", "Anchor"), "expected agent:NAME or group:NAME"),
        (("--on-conflict", "merge"), "merge"),
        (("--only", "everything"), "expected agent:NAME or group:NAME"),
        (("--only", "agent:"), "expected agent:NAME or group:NAME"),
        (("--rename", "A=B", "--rename", "A=C"), "--rename A=NEW was given 2 times"),
    ],
)
def test_usage(cli: Cli, archive: Path, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """Exit 2, and no database is made."""
    outcome = cli("import", archive, "--db", tmp_path / "new.db", *arguments)

    assert 2 == outcome.code
    assert words in outcome.err
    assert not list(tmp_path.glob("new.db*"))


def test_what_is_not_there(cli: Cli, archive: Path, tmp_path: Path) -> None:
    """A file, and an agent of the archive: exit 6."""
    missing = cli("import", tmp_path / "no.car", "--db", tmp_path / "new.db")
    nobody = cli("import", archive, "--db", tmp_path / "new.db", "--only", "agent:nobody at all")

    assert (6, 6) == (missing.code, nobody.code)
    assert not list(tmp_path.glob("new.db*"))


def test_what_is_no_archive(cli: Cli, tmp_path: Path) -> None:
    """Exit 4 or 5 with a name, and no database."""
    for number, data in enumerate((b"", b"hello, this is no archive", b"\x28\xb5\x2f\xfd" + bytes(20))):
        (tmp_path / f"{number}.car").write_bytes(data)
        outcome = cli("import", tmp_path / f"{number}.car", "--db", tmp_path / "new.db", "--json")

        assert outcome.code in (4, 5)
        assert {"code", "message", "where", "hint"} == set(json.loads(outcome.out)["error"])
    assert not list(tmp_path.glob("new.db*"))


def test_an_attachment_counts_once(cli: Cli, archive: Path, small: Path, tmp_path: Path) -> None:
    """An archive has it with a group, and once more with all others."""
    target = tmp_path / "new.db"
    with closing(sqlite3.connect(small)) as connection:
        (there,) = connection.execute("SELECT count(*) FROM shared_block_agents").fetchone()
    added = cli("import", archive, "--db", target, "--json").json["rows"]
    taken = cli("import", archive, "--db", target).err
    skipped = cli("import", archive, "--db", target, "--json", "--on-conflict", "skip").json["skipped"]
    replaced = cli("import", archive, "--db", target, "--json", "--on-conflict", "replace").json["rows"]

    assert there > 0
    assert {there} == {found["shared_block_agents"] for found in (added, skipped, replaced)}
    assert f"{there} in shared_block_agents" in taken


def test_a_database_of_another_kind(cli: Cli, archive: Path, tmp_path: Path) -> None:
    """It is named as what it is, and stays."""
    target = tmp_path / "other.db"
    with closing(sqlite3.connect(target)) as connection:
        connection.execute("CREATE TABLE songs (name)")
    before = target.read_bytes()
    outcome = cli("import", archive, "--db", target)

    assert 5 == outcome.code
    assert "found tables songs" in outcome.err
    assert before == target.read_bytes()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("New", (None, "New")),
        ("a=b", ("a", "b")),
        ("a=b=c", ("a", "b=c")),
        (r"a\=b=c", ("a=b", "c")),
        (r"a\=b", (None, "a=b")),
        (r"block:x\=y=z", ("block:x=y", "z")),
        ("id:7=n", ("id:7", "n")),
    ],
)
def test_what_is_renamed(text: str, expected: tuple[str | None, str]) -> None:
    """The first sign that no backslash makes literal divides."""
    assert expected == renaming(text)
