"""list, init, demo and inspect, and where a database is looked for."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pattern_stream.cli.inspect_command import report
from tests.cli.conftest import Cli, edit
from tests.cli.terminal import call, on_terminal


@pytest.fixture(scope="module")
def archive(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole demo as an archive."""
    folder = tmp_path_factory.mktemp("archive")
    assert 0 == call(folder, "export", "--db", small, "-o", folder / "whole.car", "-q").code
    return folder / "whole.car"


# --- list --------------------------------------------------------------------------------------------------------


def test_list_shows_agents_and_groups(cli: Cli, small: Path, agent: str) -> None:
    """Names and ids on stdout, the chosen database on stderr; the same on every run."""
    outcome = cli("list", "--db", small)

    assert 0 == outcome.code
    assert outcome.out.decode().startswith("agents: ")
    assert agent in outcome.out.decode()
    assert "groups: " in outcome.out.decode()
    assert f"database: {small}" in outcome.err
    assert outcome.out == cli("list", "--db", small).out


@pytest.mark.parametrize("what", ["agents", "groups", "blocks"])
def test_list_one_kind_as_json(cli: Cli, small: Path, what: str) -> None:
    """`list KIND --json` is one document with that kind."""
    found = cli("list", what, "--db", small, "--json").json

    assert {"db", what} == set(found)
    assert str(small) == found["db"]
    assert all({"id"} <= set(row) for row in found[what])
    assert found[what]


def test_list_neutralises_names(cli: Cli, database: Path) -> None:
    """A name with terminal escapes and turned text is shown as escapes, in tables and in JSON."""
    evil = "\x1b[2J\u202eevil\nname"
    edit(database, "UPDATE agents SET name = ? WHERE rowid = (SELECT min(rowid) FROM agents)", evil)
    shown, document = cli("list", "--db", database).out.decode(), cli("list", "--db", database, "--json").out.decode()

    assert "\\x1b[2J\\u202eevil\\nname" in shown
    assert not set("\x1b\u202e") & set(shown + document)
    assert evil in [row["name"] for row in json.loads(document)["agents"]]


# --- where the database is ---------------------------------------------------------------------------------------


def test_no_database_names_the_places(cli: Cli, home: Path) -> None:
    """None anywhere: exit 6, every place that was tried, and how to name one."""
    outcome = cli("list")

    assert 6 == outcome.code
    for place in ("PATTERN_DB", str(home / "pattern.toml"), ".config/pattern/config.toml", "constellation.db"):
        assert place in outcome.err
    assert "hint: --db PATH" in outcome.err


def test_no_database_as_json(cli: Cli, tmp_path: Path) -> None:
    """The same as an object on stdout."""
    outcome = cli("list", "--json", "--db", tmp_path / "none.db")

    assert 6 == outcome.code
    assert "database-not-found" == outcome.json["error"]["code"]


def test_the_environment_names_a_database(cli: Cli, small: Path) -> None:
    """$PATTERN_DB counts where --db is not given."""
    outcome = cli("list", "--json", env={"PATTERN_DB": str(small)})

    assert str(small) == outcome.json["db"]
    assert "from PATTERN_DB" in outcome.err


def test_a_configuration_file_names_a_database(cli: Cli, home: Path, small: Path) -> None:
    """`database.path` of ./pattern.toml counts next."""
    (home / "pattern.toml").write_text(f"[database]\npath = {str(small)!r}\n")

    assert str(small) == cli("list", "--json").json["db"]


def test_the_usual_place_comes_last(cli: Cli, home: Path) -> None:
    """`init` without --db makes the database where Pattern keeps it, and `list` finds it there."""
    usual = home / "data/pattern"
    usual.mkdir(parents=True)
    made = cli("init", "--json", env={"XDG_DATA_HOME": str(home / "data")})

    assert str(usual / "constellation.db") == made.json["db"]
    assert 0 == cli("list").code


def test_what_is_no_database(cli: Cli, tmp_path: Path) -> None:
    """A file of another kind: exit 4, and no traceback."""
    other = tmp_path / "other.db"
    other.write_bytes(b"not a database at all" * 100)
    outcome = cli("list", "--db", other)

    assert 4 == outcome.code
    assert 1 == len(outcome.errors)


def test_a_folder_is_no_database(cli: Cli, tmp_path: Path) -> None:
    """A folder in the database's place: exit 6."""
    assert 6 == cli("list", "--db", tmp_path).code


def test_a_locked_database(cli: Cli, database: Path) -> None:
    """Locked exclusively by somebody for longer than the busy timeout: exit 11."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        outcome = cli("list", "--db", database)

    assert 11 == outcome.code
    assert "hint: try again" in outcome.err


def test_an_unreadable_database(cli: Cli, database: Path) -> None:
    """No permission: exit 9."""
    database.chmod(0)
    as_others = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if as_others and shutil.which("setpriv") is None:
        pytest.skip("setpriv is not there: root may read every file unless it gives that up")
    outcome = cli("list", "--db", database, before=as_others)

    assert 9 == outcome.code
    assert 1 == len(outcome.errors)


# --- init and demo -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["init", "demo"])
def test_a_database_is_made_once(cli: Cli, tmp_path: Path, command: str) -> None:
    """A new file with mode 0600; the second time exit 7, and the file as it was."""
    target = tmp_path / "new.db"
    more = ["--messages", "5"] if command == "demo" else []
    made = cli(command, "--db", target, *more)
    before = target.read_bytes()
    again = cli(command, "--db", target, "--json", *more)

    assert (0, b"") == (made.code, made.out)
    assert f"made {target}" in made.err
    assert 0o600 == target.stat().st_mode & 0o777
    assert (7, "target-exists") == (again.code, again.json["error"]["code"])
    assert before == target.read_bytes()


@pytest.mark.parametrize("command", ["init", "demo"])
def test_a_database_needs_its_folder(cli: Cli, tmp_path: Path, command: str) -> None:
    """A folder that is not there: exit 6, nothing made."""
    assert 6 == cli(command, "--db", tmp_path / "none/new.db").code
    assert not (tmp_path / "none").exists()


def test_init_is_empty(cli: Cli, tmp_path: Path) -> None:
    """What `init` made holds no agents and no groups."""
    made = cli("init", "--db", tmp_path / "new.db", "--json")
    found = cli("list", "--db", tmp_path / "new.db", "--json")

    assert {"db": str(tmp_path / "new.db"), "created": True} == made.json
    assert {"db": str(tmp_path / "new.db"), "agents": [], "groups": []} == found.json


def test_demo_needs_a_place(cli: Cli) -> None:
    """Invented content is not put where the real constellation would be, unless that is asked for."""
    assert 2 == cli("demo").code


def test_the_same_seed_gives_the_same_archive(cli: Cli, tmp_path: Path) -> None:
    """Two demos of one seed export to the same bytes at the same date."""
    archives = []
    for name in ("a", "b"):
        cli("demo", "--db", tmp_path / name, "--messages", "5", "--seed", "1", "-q")
        archives.append(cli("export", "--db", tmp_path / name, "-q", env={"SOURCE_DATE_EPOCH": "1700000000"}).out)

    assert archives[0]
    assert archives[0] == archives[1]


# --- inspect -----------------------------------------------------------------------------------------------------


def test_inspect_shows_what_is_in_it(cli: Cli, archive: Path, agent: str) -> None:
    """Agents, groups, memory blocks and counts on stdout."""
    outcome = cli("inspect", archive)

    assert 0 == outcome.code
    for part in ("archive, version 3", "root bafyr4i", "agents: ", "groups: ", "memory blocks: ", agent):
        assert part in outcome.out.decode()


def test_inspect_as_json(cli: Cli, archive: Path, agent: str) -> None:
    """The keys of the contract."""
    found = cli("inspect", archive, "--json").json

    assert {"version", "type", "exported_at", "root", "stats", "agents", "groups", "unowned_blocks", "attachments"} | {
        "findings"
    } <= set(found)
    assert agent in [entry["name"] for entry in found["agents"]]


def test_inspect_says_what_it_did_not_decode(cli: Cli, archive: Path) -> None:
    """A person and a script learn whether the messages were looked into."""
    assert ["shown", "all"] == [cli("inspect", archive, "--json", *full).json["decoded"] for full in ((), ("--full",))]
    shown, whole = (cli("inspect", archive, *full).out.decode() for full in ((), ("--full",)))
    assert [True, False] == ["hashed and counted, not decoded" in said for said in (shown, whole)]


def test_inspect_from_a_pipe_and_gzipped(cli: Cli, archive: Path, tmp_path: Path) -> None:
    """stdin and gzip give the same document as the file."""
    gzipped = tmp_path / "whole.car.gz"
    gzipped.write_bytes(gzip.compress(archive.read_bytes()))
    found = [
        cli("inspect", archive, "--json").json,
        cli("inspect", "-", "--json", input=archive.read_bytes()).json,
        cli("inspect", gzipped, "--json").json,
    ]

    assert found[0] == found[1]
    assert {key: value for key, value in found[0].items() if key != "bytes"} == {
        key: value for key, value in found[2].items() if key != "bytes"
    }


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_inspect_refuses_damage(cli: Cli, archive: Path, damage: str) -> None:
    """A damaged archive: exit 4, one error line that says where; text is no archive at all: exit 5."""
    whole = archive.read_bytes()
    half = len(whole) // 2
    data = {
        "cut": whole[:half],
        "flipped": whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :],
        "empty": b"",
        "text": b"this is no archive\n" * 10,
    }[damage]
    outcome = cli("inspect", "-", "--json", input=data)

    assert (5 if damage == "text" else 4) == outcome.code
    assert 1 == len(outcome.errors)
    assert outcome.json["error"]["where"]


def test_inspect_what_is_not_there(cli: Cli, tmp_path: Path) -> None:
    """No such file: exit 6; a folder: exit 2."""
    assert 6 == cli("inspect", tmp_path / "none.car").code
    assert 2 == cli("inspect", tmp_path).code


def test_inspect_of_a_terminal(home: Path) -> None:
    """Nobody types an archive: exit 2, with a hint."""
    outcome, shown = on_terminal(home, ["inspect", "-"], ["stdin", "stderr"])

    assert 2 == outcome.code
    assert "stdin is a terminal" in shown
    assert "hint:" in shown


def test_the_report_trusts_no_text() -> None:
    """Every text of an archive that reaches the report is made harmless."""
    evil = "\x1b[2J\u202e\n"
    block = {"id": evil, "label": evil, "block_type": evil, "permission": evil, "snapshot_bytes": 1, "preview": evil,
             "history": {"updates": 1}}  # fmt: skip
    agent = {
        "id": evil, "name": evil, "status": evil, "model": evil, "messages": 1, "deleted_messages": 0,
        "first_message_at": evil, "last_message_at": evil, "chunks": 1, "archival_entries": 1, "archive_summaries": 1,
        "memory_blocks": [block],
    }  # fmt: skip
    member = {"agent_id": evil, "role": None}
    found = {
        "type": evil, "version": 3, "exported_at": evil, "root": "bafy", "stats": {"agent_count": 1}, "agents": [agent],
        "groups": [{"id": evil, "name": evil, "pattern_type": evil, "members": [member], "shared_blocks": 1}],
        "unowned_blocks": [block | {"owner_id": evil}], "attachments": 1, "tables_beyond_version_3": {evil: 1},
        "blocks_with_deleted_text": 1, "decoded": "shown",
        "findings": [{"severity": "warning", "code": "x", "message": evil, "where": {"row_id": evil}}],
    }  # fmt: skip

    assert not set("\x1b\u202e\n") & set("".join(report(found)))


# --- first steps -------------------------------------------------------------------------------------------------


def test_the_usual_folder_is_made(cli: Cli, home: Path, archive: Path) -> None:
    """On a new machine, import and init make Pattern's own folder, for its user alone."""
    outcome = cli("import", archive)
    folder = home / "data/pattern"

    assert 0 == outcome.code
    assert 0o700 == folder.stat().st_mode & 0o777
    assert (folder / "constellation.db").exists()


@pytest.mark.parametrize("arguments", [("import", "missing.car"), ("import", "--dry-run")])
def test_a_folder_made_in_vain_goes_again(cli: Cli, home: Path, archive: Path, arguments: tuple[str, ...]) -> None:
    """A run that fails, or keeps nothing, leaves no empty folder behind."""
    cli(*arguments) if "--dry-run" not in arguments else cli(*arguments, archive)

    assert not (home / "data").exists()


def test_no_other_folder_is_made(cli: Cli, tmp_path: Path, archive: Path) -> None:
    """A folder that somebody names must be there; the hint says how to make it."""
    outcome = cli("import", archive, "--db", tmp_path / "none/n.db")

    assert 6 == outcome.code
    assert "mkdir -p" in outcome.err
    assert not (tmp_path / "none").exists()


def test_an_output_with_a_slash_is_a_folder(cli: Cli, tmp_path: Path, small: Path) -> None:
    """`-o backups/` does not make a file of that name."""
    outcome = cli("export", "--db", small, "-o", f"{tmp_path}/backups/")

    assert 6 == outcome.code
    assert f"folder {tmp_path}/backups/ is not there" in outcome.err
    assert "hint: make it first: mkdir -p" in outcome.err
    assert not (tmp_path / "backups").exists()


def test_a_command_that_is_nearly_one(cli: Cli) -> None:
    """`exprot` brings `export` to mind; what is near to nothing does not."""
    assert "no such command 'exprot', did you mean 'export'?" in cli("exprot").err
    assert "did you mean" not in cli("zzz").err


def test_files_of_others_stay(cli: Cli, small: Path, tmp_path: Path) -> None:
    """Runs that fail and runs that do not never touch a file that only looks as if it were under way."""
    archive = tmp_path / "o.car"
    taken = {f"{name}.partial{suffix}" for name in ("o.car", "n.db") for suffix in ("", "-journal", "-wal", ".lock")}
    for name in taken:
        (tmp_path / name).write_bytes(b"theirs")

    assert 0 == cli("export", "--db", small, "-o", archive).code
    for line in (["import", archive], ["init"], ["demo"]):
        assert 0 == cli(*line, "--db", tmp_path / "n.db").code
        assert 7 == cli("init", "--db", tmp_path / "n.db").code
        (tmp_path / "n.db").unlink()
    assert 0 != cli("import", small, "--db", tmp_path / "n.db").code
    assert 7 == cli("export", "--db", small, "-o", archive).code
    assert {name for name in taken if (tmp_path / name).read_bytes() == b"theirs"} == taken


@pytest.mark.parametrize("name", ["a" * 255, "\N{SNOWMAN}" * 85])
def test_the_longest_names_work(cli: Cli, small: Path, tmp_path: Path, name: str) -> None:
    """A name that has no room for a suffix is good enough for an archive."""
    assert 0 == cli("export", "--db", small, "-o", tmp_path / name).code
    assert [name] == [path.name for path in tmp_path.iterdir() if path.is_file()]


def test_reading_commands_leave_nothing_beside(cli: Cli, large: Path, tmp_path: Path) -> None:
    """Whoever reads, with processes ahead or without, leaves the folder as it was."""
    folder, archive = tmp_path / "kept", tmp_path / "o.car"
    folder.mkdir()
    database = Path(shutil.copy(large, folder / "c.db"))
    lines: list[list[str | Path]] = [
        ["list"], ["export", "-o", archive], ["export", "--dry-run"], ["export", "--no-messages", "-o", tmp_path / "p"],
    ]  # fmt: skip
    for line in lines:
        assert 0 == cli(*line, "--db", database, "-q").code
        assert ["c.db"] == os.listdir(folder), line
    assert 0 == cli("verify", archive, "--against", database, "-q").code
    assert 6 == cli("export", "nobody", "--db", database, "-q").code
    assert ["c.db"] == os.listdir(folder)
