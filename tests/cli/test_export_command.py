"""`export`: scopes, targets, summaries and refusals, as the contract has them."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from pattern_stream.cli.export_command import fixed_date
from pattern_stream.errors import UsageError
from tests.cli.conftest import Cli, edit
from tests.cli.terminal import on_terminal
from tests.transport.test_sshsig import saved

SUMMARY = {
    "scope", "name", "id", "version", "root", "bytes", "sections", "stats", "folded_blocks", "not_carried", "warnings",
    "beyond_version_3",
    "seconds",
}  # fmt: skip
NINE = 9


def last_json(err: str) -> Any:
    """The summary among the lines of stderr."""
    return json.loads([line for line in err.splitlines() if line.startswith("{")][-1])


# --- where it goes -----------------------------------------------------------------------------------------------


def test_a_file_and_a_pipe_get_the_same_bytes(cli: Cli, small: Path, tmp_path: Path) -> None:
    """`-o FILE`, `-o -`, and stdout without -o: one archive. SOURCE_DATE_EPOCH fixes its date."""
    env = {"SOURCE_DATE_EPOCH": "1700000000"}
    cli("export", "--db", small, "-o", tmp_path / "o.car", env=env)
    outcome = cli("export", "--db", small, env=env)

    assert 0 == outcome.code
    assert outcome.out == (tmp_path / "o.car").read_bytes()
    assert outcome.out == cli("export", "--db", small, "-o", "-", env=env).out


def test_a_new_file_is_private(cli: Cli, small: Path, tmp_path: Path) -> None:
    """Mode 0600, and nothing beside it."""
    folder = tmp_path / "out"
    folder.mkdir()
    cli("export", "--db", small, "-o", folder / "o.car")

    assert ["o.car"] == [path.name for path in folder.iterdir()]
    assert 0o600 == (folder / "o.car").stat().st_mode & 0o777


def test_an_existing_file_needs_force(cli: Cli, small: Path, tmp_path: Path) -> None:
    """Exit 7 and the file as it was; with --force it is replaced."""
    target = tmp_path / "o.car"
    target.write_bytes(b"old")
    refused = cli("export", "--db", small, "-o", target, "--json")

    assert (7, "file-taken") == (refused.code, refused.json["error"]["code"])
    assert "hint: --force replaces it" in refused.err
    assert b"old" == target.read_bytes()
    assert 0 == cli("export", "--db", small, "-o", target, "--force").code
    assert b"old" != target.read_bytes()


@pytest.mark.parametrize(("target", "code"), [("none/o.car", 6), (".", 2)])
def test_a_target_that_cannot_be(cli: Cli, small: Path, tmp_path: Path, target: str, code: int) -> None:
    """A folder that is not there: exit 6. A folder: exit 2."""
    outcome = cli("export", "--db", small, "-o", tmp_path / target)

    assert code == outcome.code
    assert 1 == len(outcome.errors)


def test_a_terminal_takes_no_archive(home: Path, tmp_path: Path) -> None:
    """stdout on a terminal: exit 2 with a hint, before any work: even before the database is looked for."""
    outcome, shown = on_terminal(home, ["export", "--db", tmp_path / "none.db"], ["stdout"])

    assert (2, "") == (outcome.code, shown)
    assert ["error: stdout is a terminal, expected a file or a pipe: an archive is binary"] == outcome.errors
    assert "hint: name a file with -o FILE" in outcome.err


def test_a_terminal_by_its_name_takes_none(home: Path, small: Path) -> None:
    """`-o /dev/stdout` on a terminal is the same."""
    outcome, _ = on_terminal(home, ["export", "--db", small, "-o", "/dev/stdout"], ["stdout"])

    assert 2 == outcome.code


def test_a_dry_run_may_be_seen(home: Path, small: Path) -> None:
    """`--dry-run` writes no archive, so stdout may be a terminal."""
    outcome, _ = on_terminal(home, ["export", "--db", small, "--dry-run"], ["stdout"])

    assert 0 == outcome.code
    assert "dry run" in outcome.err


# --- what it is --------------------------------------------------------------------------------------------------


def test_a_name_without_a_scope_is_whichever_has_it(cli: Cli, small: Path, agent: str, tmp_path: Path) -> None:
    """NAME alone finds the agent."""
    found = cli("export", agent, "--db", small, "-o", tmp_path / "o.car", "--json").json

    assert ("agent", agent) == (found["scope"], found["name"])


def test_a_name_that_both_have(cli: Cli, database: Path, agent: str) -> None:
    """An agent and a group of one name: exit 7 without a scope, and each with its scope."""
    edit(database, "UPDATE agent_groups SET name = ? WHERE rowid = (SELECT min(rowid) FROM agent_groups)", agent)
    outcome = cli("export", agent, "--db", database)

    assert (7, b"") == (outcome.code, outcome.out)
    assert agent in outcome.errors[0]
    assert [0, 0] == [cli("export", agent, "--scope", scope, "--db", database).code for scope in ("agent", "group")]


@pytest.mark.parametrize("scope", [[], ["--scope", "agent"], ["--scope", "group"]])
def test_nobody_of_that_name(cli: Cli, small: Path, scope: list[str]) -> None:
    """Exit 6, the name in the message, nothing on stdout."""
    outcome = cli("export", "nobody at all", *scope, "--db", small)

    assert (6, b"") == (outcome.code, outcome.out)
    assert "nobody at all" in outcome.errors[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["Anchor", "--scope", "constellation"],
        ["--scope", "agent"],
        ["--scope", "group"],
        ["--thin"],
        ["Anchor", "--scope", "agent", "--thin"],
        ["Anchor", "--scope", "agent", "--owner", "me"],
        ["Anchor", "--owner", "me"],
        ["--verify"],
    ],
)
def test_options_that_do_not_fit(cli: Cli, small: Path, arguments: list[str]) -> None:
    """Exit 2, one line, nothing on stdout."""
    outcome = cli("export", "--db", small, *arguments)

    assert (2, b"") == (outcome.code, outcome.out)
    assert 1 == len(outcome.errors)


def test_a_thin_agent_found_by_name_does_not_fit(cli: Cli, small: Path, agent: str) -> None:
    """--thin with a name that only an agent has: there is no such group, exit 6."""
    assert 6 == cli("export", agent, "--thin", "--db", small).code


# --- what is said ------------------------------------------------------------------------------------------------


def test_the_summary_is_on_stdout_when_the_archive_is_not(cli: Cli, small: Path, tmp_path: Path) -> None:
    """`-o FILE --json`: one document on stdout, with the keys of the contract."""
    target = tmp_path / "o.car"
    found = cli("export", "--db", small, "-o", target, "--json").json

    assert set() == SUMMARY - set(found)
    assert "constellation" == found["scope"]
    assert NINE == len(found["stats"])
    assert target.stat().st_size == found["bytes"]


def test_the_summary_is_on_stderr_when_the_archive_is_on_stdout(cli: Cli, small: Path) -> None:
    """`--json` and a pipe: the summary is the last line of stderr, the archive alone on stdout."""
    outcome = cli("export", "--db", small, "--json", "-q")

    assert set() == SUMMARY - set(last_json(outcome.err))
    assert last_json(outcome.err)["bytes"] == len(outcome.out)


def test_an_error_leaves_stdout_to_the_archive(cli: Cli, small: Path) -> None:
    """Where stdout is the archive's, not even --json puts an error there."""
    outcome = cli("export", "nobody", "--db", small, "--json")

    assert (6, b"") == (outcome.code, outcome.out)


def test_what_is_not_carried_is_said_in_one_line(cli: Cli, small: Path, tmp_path: Path) -> None:
    """One line on stderr names the tables that version 3 has no place for, with their rows."""
    outcome = cli("export", "--db", small, "-o", tmp_path / "o.car", "--json", "--portable")
    lines = [line for line in outcome.err.splitlines() if line.startswith("not carried by format version 3: ")]

    assert 1 == len(lines)
    assert outcome.json["not_carried"]
    assert all(f"{table} {count:,}" in lines[0] for table, count in outcome.json["not_carried"].items())


def test_what_a_whole_backup_may_reveal_is_said_in_one_line(cli: Cli, small: Path, tmp_path: Path) -> None:
    """Nothing is left behind, and one line on stderr says what goes along and how to leave it out."""
    outcome = cli("export", "--db", small, "-o", tmp_path / "o.car", "--json")
    lines = [line for line in outcome.err.splitlines() if line.startswith("a whole backup")]

    assert ({}, 1) == (outcome.json["not_carried"], len(lines))
    assert all(word in lines[0] for word in ("deleted messages", "undone edits", "endpoints", "--portable"))
    assert all(f"{table} {count:,}" in lines[0] for table, count in outcome.json["beyond_version_3"].items())


def test_options_that_do_not_go_together(cli: Cli, small: Path) -> None:
    """A portable archive has no history, and a thin one no memory blocks: exit 2."""
    assert 2 == cli("export", "--db", small, "--portable", "--history").code
    assert 2 == cli("export", "--db", small, "--scope", "group", "--thin", "--history", "x").code


def test_the_database_is_named(cli: Cli, small: Path, tmp_path: Path) -> None:
    """The chosen path is on stderr."""
    assert f"database: {small}" in cli("export", "--db", small, "-o", tmp_path / "o.car").err


def test_a_dry_run_writes_nothing(cli: Cli, small: Path, tmp_path: Path) -> None:
    """--dry-run: counts and size in JSON on stdout, no file; the size is that of the archive."""
    env = {"SOURCE_DATE_EPOCH": "1700000000"}
    target = tmp_path / "o.car"
    plan = cli("export", "--db", small, "-o", target, "--dry-run", "--json", env=env).json

    assert plan["dry_run"] is True
    assert not target.exists()
    assert len(cli("export", "--db", small, env=env).out) == plan["bytes"]


def test_verify_reads_it_back(cli: Cli, small: Path, tmp_path: Path) -> None:
    """--verify with a file: done, and the file is there."""
    outcome = cli("export", "--db", small, "-o", tmp_path / "o.car", "--verify")

    assert (0, []) == (outcome.code, outcome.errors)
    assert (tmp_path / "o.car").exists()


def test_salvage_is_listed(cli: Cli, database: Path, tmp_path: Path) -> None:
    """A damaged edit: exit 4 naming the block; with --salvage exit 3, the block listed, and an archive."""
    block = str(edit(database, "SELECT block_id FROM memory_block_updates WHERE is_active = 1 LIMIT 1")[0][0])
    edit(database, "UPDATE memory_block_updates SET update_blob = x'00' WHERE block_id = ?", block)
    target = tmp_path / "o.car"
    refused = cli("export", "--db", database, "-o", target)

    assert 4 == refused.code
    assert block in refused.errors[0]
    assert "--salvage" in refused.err
    assert not target.exists()
    salvaged = cli("export", "--db", database, "-o", target, "--salvage")

    assert 3 == salvaged.code
    assert any(block in line for line in salvaged.errors)
    assert target.exists()
    assert 3 == cli("export", "--db", database, "--salvage", "--dry-run").code


@pytest.mark.parametrize("name", ["constellation.db", "constellation.db-wal", "./link.db", "hard.db"])
def test_the_database_is_no_place_for_its_archive(cli: Cli, database: Path, name: str) -> None:
    """By whatever name, and with --force: nothing is read, and the database is as it was."""
    before = database.read_bytes()
    (database.parent / "link.db").symlink_to(database)
    (database.parent / "hard.db").hardlink_to(database)
    outcome = cli("export", "--db", database, "-o", database.parent / name, "--force", "--json")

    assert (2, "usage-error") == (outcome.code, outcome.json["error"]["code"])
    assert "the database that is exported" in outcome.json["error"]["message"]
    assert before == database.read_bytes()


@pytest.mark.parametrize(("epoch", "expected"), [(None, None), ("", None), ("0", "1970-01-01T00:00:00Z"),
                         ("1700000000", "2023-11-14T22:13:20Z")])  # fmt: skip
def test_the_date_can_be_fixed(epoch: str | None, expected: str | None) -> None:
    """SOURCE_DATE_EPOCH as RFC 3339."""
    assert expected == fixed_date(epoch)


@pytest.mark.parametrize("epoch", ["now", "1.5", "9" * 30, "\x1b[2J"])
def test_a_date_that_is_none(epoch: str) -> None:
    """What SOURCE_DATE_EPOCH cannot mean is a usage error."""
    with pytest.raises(UsageError, match="expected whole seconds since 1970"):
        fixed_date(epoch)


# --- packed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more", [("-o", "o.car.gz"), ("-o", "o.car", "-z", "gzip"), ("-o", "o.car.gz", "--compress", "gzip:9")]
)
def test_a_packed_archive_is_the_same_archive(cli: Cli, home: Path, small: Path, more: tuple[str, ...]) -> None:
    """By the suffix or by -z: a gzip file with that archive in it, mode 0600, the same bytes each time."""
    epoch = {"SOURCE_DATE_EPOCH": "1767225600"}
    plain = cli("export", "--db", small, "-q", env=epoch).out
    made = []
    for _ in range(2):
        assert 0 == cli("export", "--db", small, "-q", "--verify", "--force", *more, env=epoch).code
        made.append((home / more[1]).read_bytes())

    assert plain == gzip.decompress(made[0])
    assert made[0] == made[1]
    assert 0o600 == (home / more[1]).stat().st_mode & 0o777
    assert 0 == cli("verify", home / more[1], "-q").code


KEY = pyrage.x25519.Identity.generate()
RECIPIENT = str(KEY.to_public())


@pytest.mark.parametrize("suffix", [".zst", ".age", ".zst.age"])
def test_each_command_reads_a_wrapped_archive(cli: Cli, home: Path, small: Path, suffix: str) -> None:
    """Compressed, encrypted, both: all commands read it, from a file and from a pipe."""
    (home / "key").write_text(str(KEY))
    to = ("--encrypt-to", RECIPIENT) if ".age" in suffix else ()
    keys = ("-i", home / "key") if to else ()
    out = home / f"o.car{suffix}"

    assert 0 == cli("export", "--db", small, "-o", out, "-q", "--verify", *to, *keys).code
    assert 0 == cli("verify", out, "-q", *keys).code
    assert 0 == cli("inspect", out, *keys).code
    assert 0 == cli("dump", out, "agents", "-q", *keys).code
    assert 0 == cli("import", "-", "--db", home / "n.db", "-q", *keys, input=out.read_bytes()).code


def test_a_passphrase_comes_from_a_command(cli: Cli, home: Path, small: Path) -> None:
    """Split into words, run without a shell; a wrong one is exit 8, and so is a command that fails."""
    given = {"PATTERN_STREAM_PASSPHRASE_COMMAND": "echo 'two words; $HOME'"}
    out = home / "o.age"

    assert 0 == cli("export", "--db", small, "-o", out, "-q", "--passphrase", "--verify", env=given).code
    assert 0 == cli("verify", out, "-q", env=given).code
    assert 8 == cli("verify", out, env={"PATTERN_STREAM_PASSPHRASE_COMMAND": "echo two words"}).code
    failed = cli("import", out, "--db", home / "n.db", env={"PATTERN_STREAM_PASSPHRASE_COMMAND": "false --secret"})
    assert 8 == failed.code
    assert "--secret" not in failed.err
    assert not (home / "n.db").exists()


def test_signed_and_required(cli: Cli, home: Path, small: Path) -> None:
    """export --sign, sign, verify --signed-by, import --require-signature: exit codes and what is said."""
    public = saved(ed25519.Ed25519PrivateKey.generate(), home / "key")
    other = saved(ed25519.Ed25519PrivateKey.generate(), home / "other")
    (home / "allowed").write_text(f"me@x {public}\nyou@x {other}\n")
    assert 0 == cli("export", "--db", small, "-o", "o.car.zst", "-q", "--sign", "key").code
    assert 0 == cli("sign", "o.car.zst", "--key", "other").code

    found = cli("verify", "o.car.zst", "--signed-by", "allowed", "--signer", "me@x")
    assert 0 == found.code
    assert "signed by me@x (key SHA256:" in found.err
    assert 8 == cli("verify", "o.car.zst", "--signed-by", "allowed", "--signer", "you@x").code
    beside = ("--signature", "o.car.zst.sig")
    assert 0 == cli("verify", "o.car.zst", "--signed-by", "allowed", "--signer", "you@x", *beside).code
    assert 2 == cli("verify", "o.car.zst", *beside).code
    assert 6 == cli("verify", "o.car.zst", "--signed-by", "gone").code
    assert 7 == cli("sign", "o.car.zst", "--key", "other").code
    refused = cli("import", "o.car.zst", "--db", "n.db", "--require-signature", other)
    assert (8, False) == (refused.code, (home / "n.db").exists())
    assert 0 == cli("import", "o.car.zst", "--db", "n.db", "--require-signature", public).code
    assert 2 == cli("sign", "-", "--key", "key", input=(home / "o.car.zst").read_bytes()).code
    assert 2 == cli("import", "o.car.zst", "--db", "m.db", "--require-signature").code


def test_a_missing_key_is_told(cli: Cli, home: Path, small: Path) -> None:
    """Exit 8 and what it is encrypted to; a key file that is not there is exit 6, before anything is read."""
    assert 0 == cli("export", "--db", small, "-o", "o.age", "-q", "--encrypt-to", RECIPIENT).code

    refused = cli("import", "o.age", "--db", home / "n.db")
    assert (8, False) == (refused.code, (home / "n.db").exists())
    assert "X25519" in refused.err
    assert "--identity FILE" in refused.err
    assert 6 == cli("verify", "o.age", "-i", "gone").code


def test_a_failed_export_keeps_the_packed_file(cli: Cli, home: Path) -> None:
    """No database: yesterday's file stays, and nothing lies beside it."""
    (home / "o.car.gz").write_bytes(b"yesterday")

    assert 6 == cli("export", "--db", home / "gone.db", "-o", "o.car.gz", "--force").code
    assert b"yesterday" == (home / "o.car.gz").read_bytes()
    assert ["o.car.gz"] == [path.name for path in home.iterdir()]


@pytest.mark.parametrize(
    "more",
    [
        ("-o", "o.car.xz"),
        ("-o", "o.car.age"),
        ("-z", "zstd", "-o", "o.car.gz"),
        ("-z", "gzip:10", "-o", "o.car"),
        ("-z", "zstd:20", "-o", "o.car"),
        ("-o", "o.car.age", "--encrypt-to", "age1yubikey1qwerty"),
        ("-o", "o.car.age", "--encrypt-to", "age1nonsense"),
        ("-o", "o.car.age", "--encrypt-to", "ssh-ed25519 nonsense"),
        ("-o", "o.car.age", "--encrypt-to", RECIPIENT, "--passphrase"),
        ("-o", "o.car.age", "--encrypt-to", RECIPIENT, "--verify"),
    ],
)
def test_a_form_that_is_not_written_is_refused(cli: Cli, home: Path, small: Path, more: tuple[str, ...]) -> None:
    """A suffix or a name that promises another form: exit 2, no file."""
    assert 2 == cli("export", "--db", small, *more).code
    assert [] == list(home.iterdir())


@pytest.mark.parametrize(
    "more",
    [
        ("-o", "there.car"),
        ("-o", "none/o.car"),
        ("-o", "folder"),
        ("-o", "o.car", "--spool-dir", "none"),
        ("-o", "database.db", "--force"),
        ("-o", "o.car.xz"),
        ("-o", "new.car"),
        ("-o", "socket"),
        ("-o", "link.car"),
        ("-o", "/dev/full"),
        ("-o", "/dev/null", "--verify"),
        ("-o", "database.db/x.car"),
        ("-o", "n" * 256),
        ("--verify",),
    ],
)
def test_a_dry_run_ends_as_the_run_would(
    cli: Cli, home: Path, small: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    """Whatever is wrong with the output: the same exit code, the same error, and nothing is written."""
    shutil.copy(small, home / "database.db")
    (home / "there.car").touch()
    (home / "folder").mkdir()
    (home / "link.car").symlink_to("none/o.car")
    with closing(socket.socket(socket.AF_UNIX)) as end:
        monkeypatch.chdir(home)  # its whole path would be too long for a socket
        end.bind("socket")
    before = sorted(path.name for path in home.iterdir())
    dry = cli("export", "--db", "database.db", "-q", "--dry-run", *more)
    after = sorted(path.name for path in home.iterdir())
    real = cli("export", "--db", "database.db", "-q", *more)

    assert (real.code, real.errors) == (dry.code, dry.errors)
    assert before == after
