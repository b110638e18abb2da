"""The bytes of an export: the same on every way out, the same at every run, and none at all where it fails."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.comparing import differences
from tests.acceptance.documents import make_documents
from tests.acceptance.oracle import Database, Expected
from tests.acceptance.running import SECONDS, Export, Folder, command, environment, export, export_all
from tests.acceptance.world import making

Folders = Callable[[str], Folder]


@pytest.mark.parametrize("name", ["family", "edges"])
def test_file_stdout_and_pipe_get_the_same_bytes(name: str, folder: Folders, tmp_path: Path) -> None:
    """-o FILE, stdout into a file, stdout into a pipe, and `| cat`."""
    here = folder(name)
    wanted = here.exports["constellation"].path.read_bytes()
    line, env = command("export", "--db", here.database), environment()
    with (tmp_path / "redirected.car").open("wb") as out:
        subprocess.run(line, stdout=out, stderr=subprocess.PIPE, env=env, timeout=SECONDS, check=True)
    piped = subprocess.run(line, capture_output=True, env=env, timeout=SECONDS, check=True)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env) as first:
        cat = subprocess.run(["cat"], stdin=first.stdout, capture_output=True, timeout=SECONDS, check=True)

    assert wanted == (tmp_path / "redirected.car").read_bytes()
    assert wanted == piped.stdout
    assert wanted == cat.stdout


def test_an_archive_larger_than_memory_is_spooled(tmp_path: Path) -> None:
    """13 MB of messages, entries and a document go over the disk: the same bytes to a file and a pipe, nothing left."""
    (tmp_path / "spool").mkdir()
    (document,) = make_documents([["".join(map(str, range(300_000)))]])
    with making(tmp_path / "large.db") as world:
        for agent in ("a", "b", "c"):
            world.add("agents", id=agent)
            world.block(f"block of {agent}", agent, loro_snapshot=document.base, attached=("a",))
            for n in range(30):
                text = f"{agent}{n:03}" * 35_000
                world.add("messages", id=f"{agent}{n}", agent_id=agent, position=str(n), content_preview=text)
                world.add("archival_entries", id=f"entry {agent}{n}", agent_id=agent, content=text[: n * 500])
    spool = ("--spool-dir", str(tmp_path / "spool"))
    run = export(tmp_path / "large.db", tmp_path / "out.car", *spool)
    line = command("export", "--db", tmp_path / "large.db", *spool)
    piped = subprocess.run(line, capture_output=True, env=environment(), timeout=SECONDS, check=True)

    assert 0 == run.code, run.stderr
    assert list(differences(Expected(Database(tmp_path / "large.db")).constellation_scope(), run.flat)) == []
    assert len(piped.stdout) > 13_000_000
    assert piped.stdout == run.path.read_bytes()
    assert [] == os.listdir(tmp_path / "spool")
    assert {"large.db", "out.car", "spool"} == set(os.listdir(tmp_path))


def test_two_runs_give_the_same_bytes(folder: Folders, tmp_path: Path) -> None:
    """Equal databases give equal bytes when SOURCE_DATE_EPOCH is fixed; hash seeds have no say."""
    here = folder("family")
    labels = ["constellation", "group-1", "agent-0"]
    again = export_all(here.database, tmp_path, {label: here.cases[label].line(here.rows) for label in labels})
    for label in labels:
        assert here.exports[label].path.read_bytes() == again[label].path.read_bytes()


def test_names_are_taken_as_well_as_ids(folder: Folders, tmp_path: Path) -> None:
    """NAME without a scope finds agent and group, by name, with the bytes that their ids give."""
    here = folder("family")
    for table, label in (("agents", "agent-3"), ("agent_groups", "group-1")):
        case = here.cases[label]
        (row,) = here.rows.rows(table, id=case.row_id(here.rows))
        run = export(here.database, tmp_path / label, row["name"])
        assert here.exports[label].path.read_bytes() == run.path.read_bytes()


def test_a_file_is_private_and_alone(folder: Folders) -> None:
    """Mode 0600, and no partial file, spool or lock is left beside it or beside the database."""
    here = folder("family")
    made = {f"{label}.car" for label in here.exports}

    assert made | {"constellation.db"} == {path.name for path in here.scratch.iterdir()}
    assert {0o600} == {stat.S_IMODE((here.scratch / name).stat().st_mode) for name in made}


def test_what_does_not_fit_is_refused_whole(folder: Folders, tmp_path: Path) -> None:
    """A message of 1.5 MB in version 3: exit 5 naming table, row, size and limit; nothing on stdout, no file."""
    here = folder("oversize")
    biggest = max(here.rows.rows("messages"), key=lambda row: len(row["content_json"]))
    run = export(here.database, tmp_path / "out.car", "--format", "3")
    bare = subprocess.run(
        command("export", "--db", here.database, "--format", "3"),
        capture_output=True,
        env=environment(),
        timeout=SECONDS,
        check=False,
    )

    assert (5, 5) == (run.code, bare.returncode)
    for text in ("messages", biggest["id"], "3000404", "1000000"):
        assert text in bare.stderr.decode().replace(",", "")
    assert b"" == bare.stdout
    assert [] == os.listdir(tmp_path)
    found = json.loads(run.stdout)["error"]
    assert ("messages", biggest["id"]) == (found["where"]["table"], found["where"]["row_id"])


def test_a_node_with_too_many_links_is_refused_whole(folder: Folders, tmp_path: Path) -> None:
    """25,000 entries make an AgentExport of more than 1,000,000 bytes: in version 3 exit 5 naming the agent's row."""
    here = folder("oversize")
    (agent,) = here.rows.rows("agents")
    run = export(here.database, tmp_path / "out.car", "--no-messages", "--format", "3")

    assert 5 == run.code
    for text in ("agents", agent["id"], "1000000"):
        assert text in run.stderr.replace(",", "")
    assert [] == os.listdir(tmp_path)


def _run(path: Path, *arguments: str) -> Export:
    return export(path, path.parent / "out.car", *arguments)


def test_an_unknown_agent_leaves_nothing(folder: Folders, tmp_path: Path) -> None:
    """Exit 6 and no file."""
    path = tmp_path / "copy.db"
    path.write_bytes(folder("quiet").database.read_bytes())
    run = _run(path, "--scope", "agent", "nobody")

    assert 6 == run.code
    assert ["copy.db"] == os.listdir(tmp_path)
