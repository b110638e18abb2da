"""The command `convert` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.terminal import call
from tests.legacy.test_versions_1_and_2 import agent, memory, variants, version_2


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with `old.car`: an agent with two blocks of one label."""
    path = tmp_path / "old.car"
    twice = [memory("persona"), memory("other", label="persona")]
    path.write_bytes(version_2(agent(model_id="llama"), [], twice))
    return tmp_path


def test_the_report_is_told(old: Path) -> None:
    """Kept, changed and issues as lines on stderr, one closing line; nothing on stdout; the file is there and good."""
    told = call(old, "convert", "old.car", "-o", "new.car")

    assert (0, b"") == (told.code, told.out)
    assert "kept: memory_blocks 2, agents 1" in told.err
    assert "duplicate-label (warning) 1, unknown-model (warning) 1" in told.err
    assert "agent archive of Pattern, version 2 (2) -> new.car" in told.err
    assert 0 == call(old, "verify", "new.car").code
    assert "" == call(old, "convert", "old.car", "-o", "quiet.car", "-q").err


def test_the_report_as_json(old: Path) -> None:
    """One document on stdout where the archive goes to a file, with every part of the report."""
    found = json.loads(call(old, "convert", "old.car", "-o", "new.car", "--json", "-q").out)

    assert {"agents": 1, "memory_blocks": 2} == found["kept"]
    assert ("pattern-archive", 2) == (found["source"]["format"], found["source"]["version"])
    assert "renamed" == found["changed"][0]["code"]
    assert {"duplicate-label", "unknown-model"} == {issue["code"] for issue in found["issues"]}
    assert (True, 3) == (found["written"], found["version"])


def test_an_analysis_writes_nothing_but_the_issues(old: Path) -> None:
    """The same report as of a conversion; the issues in a file of their own, which is never replaced unasked."""
    analysis = json.loads(call(old, "convert", "old.car", "--analyze", "--json", "--issues", "issues.json").out)
    result = json.loads(call(old, "convert", "old.car", "-o", "new.car", "--json", "-q").out)

    changing = ("written", "seconds")
    assert {k: v for k, v in analysis.items() if k not in changing} == {
        k: v for k, v in result.items() if k not in changing
    }
    issues = json.loads((old / "issues.json").read_text())
    assert result["issues"] == issues["issues"]
    assert 7 == call(old, "convert", "old.car", "--analyze", "--issues", "issues.json").code
    assert 2 == call(old, "convert", "old.car", "--analyze", "--issues", "-").code


def test_fail_on(old: Path) -> None:
    """Exit 7 and no file where an issue is so severe; else done."""
    failed = call(old, "convert", "old.car", "-o", "new.car", "--fail-on", "warning")

    assert 7 == failed.code
    assert "2 issues are of severity warning or more" in failed.err
    assert not (old / "new.car").exists()
    assert 0 == call(old, "convert", "old.car", "-o", "new.car", "--fail-on", "error", "-q").code


def test_through_pipes(old: Path) -> None:
    """From stdin to stdout, the same bytes as from file to file."""
    assert 0 == call(old, "convert", "old.car", "-o", "new.car", "-q").code
    piped = call(old, "convert", "-", "-q", input=(old / "old.car").read_bytes())

    assert (0, (old / "new.car").read_bytes()) == (piped.code, piped.out)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("nothing.car", 6, "is not there"), ("note.txt", 5, "of no format"), ("new.car", 0, "archive of version 3")],
)
def test_what_is_no_old_archive(old: Path, name: str, code: int, words: str) -> None:
    """A missing file, another file and an archive of today: each by its own code; the last is written anew."""
    (old / "note.txt").write_text("hello")
    assert 0 == call(old, "convert", "old.car", "-o", "new.car", "-q").code
    told = call(old, "convert", name, "-o", "again.car")

    assert (code, True) == (told.code, words in told.err)


@pytest.mark.parametrize("name", variants())
def test_an_old_archive_is_read_by_every_command(tmp_path: Path, name: str) -> None:
    """Import, inspect, dump and verify give what `convert` makes of it, and say what it is; the result equals it."""
    (tmp_path / "old.car").write_bytes(variants()[name])
    assert 0 == call(tmp_path, "convert", "old.car", "-o", "new.car", "-q").code

    assert call(tmp_path, "dump", "new.car").out == call(tmp_path, "dump", "old.car").out
    verified = call(tmp_path, "verify", "old.car", "--json").json
    assert (True, len(variants()[name])) == (verified["ok"], verified["bytes"])
    assert "pattern-archive" == verified["converted_from"]["format"]
    shown = call(tmp_path, "inspect", "old.car").out.decode()
    assert shown.startswith("input is ")
    assert "archive of Pattern, version" in shown
    imported = call(tmp_path, "import", "old.car", "--db", "one.db", "--json").json
    assert imported["rows"] == call(tmp_path, "import", "new.car", "--db", "two.db", "--json").json["rows"]
    assert imported["rows"] == imported["converted"]["kept"]
    assert 0 == call(tmp_path, "verify", "new.car", "--against", "old.car").code
    assert 0 == call(tmp_path, "verify", "new.car", "--against", "one.db", "--both-ways").code


def test_a_result_that_is_not_its_source_differs(old: Path) -> None:
    """Exit 10, each record by name; nothing temporary stays."""
    (old / "other.car").write_bytes(version_2(agent(base_instructions="Be unkind.")))
    assert 0 == call(old, "convert", "other.car", "-o", "new.car", "-q").code

    told = call(old, "verify", "new.car", "--against", "old.car", "--spool-dir", ".")

    assert (10, True) == (told.code, "system_prompt" in told.err)
    assert {"old.car", "other.car", "new.car"} == {path.name for path in old.iterdir()}


def test_damage_of_an_old_archive_is_a_finding(old: Path) -> None:
    """`verify` lists it, exit 4, and `import` leaves the database alone."""
    data = bytearray((old / "old.car").read_bytes())
    data[-5] ^= 1
    (old / "old.car").write_bytes(data)
    told = call(old, "verify", "old.car", "--json")

    assert (4, ["digest-mismatch"]) == (told.code, [finding["code"] for finding in told.json["findings"]])
    assert 4 == call(old, "import", "old.car", "--db", "new.db").code
    assert not (old / "new.db").exists()


def test_an_import_into_a_living_database_and_through_a_pipe(old: Path) -> None:
    """Read twice, since the whole archive is believed before anything is locked; options act as on any archive."""
    assert 0 == call(old, "demo", "--db", "living.db", "--messages", "10", "-q").code
    told = call(
        old, "import", "-", "--db", "living.db", "--rename", "New", "--json", input=(old / "old.car").read_bytes()
    )

    assert [{"old": "anchor", "new": "anchor", "name": "New"}] == told.json["agents"]
    assert 7 == call(old, "import", "old.car", "--db", "living.db").code
