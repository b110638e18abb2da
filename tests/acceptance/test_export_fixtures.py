"""Our exports of the real program's databases, read by code of their own, beside the database and its own archives.

Every folder and scope. The statement: the same records, field by field, but for docs/format.md#flaws-of-pattern.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.car import encode
from tests.acceptance.comparing import by_id, comparable_block, differences, divided, mended
from tests.acceptance.documents import read_documents, vector_bytes
from tests.acceptance.flat import AgentPart, Flat, Wire
from tests.acceptance.oracle import Database, Stored, statistics
from tests.acceptance.rendering import render
from tests.acceptance.running import EPOCH_TEXT, FOLDERS, Folder, export
from tests.acceptance.wire import difference, real_program_float

NO_ARCHIVE = {
    *((name, label) for name, cases in FOLDERS.items() for label in cases if name.startswith("schema")),
    *(("numbers", label) for label in FOLDERS["numbers"] if label not in ("agent-1", "agent-3", "group-0-thin")),
    *(("family", f"agent-{n}") for n in (4, 5)),
}  # fmt: skip
"""What the real program could not export, or was not asked to."""

ALL = [(name, label) for name, cases in FOLDERS.items() for label in cases]
Folders = Callable[[str], Folder]


@pytest.mark.parametrize(("name", "label"), ALL)
def test_an_archive_holds_the_rows_of_its_scope(name: str, label: str, folder: Folders) -> None:
    """Strict, depth-first, nothing twice; every record, list, chunk border and count is what the database says."""
    here = folder(name)
    run = here.exports[label]

    assert 0 == run.code, run.stderr
    assert [] == list(differences(here.cases[label].expected(here.rows), run.flat))
    beside = {run.archive.root, run.archive.manifest["data_cid"]}
    sections = [data for link, data in run.archive.sections if link not in beside]
    assert statistics(run.flat, sections) == run.archive.manifest["stats"]
    assert EPOCH_TEXT == run.archive.manifest["exported_at"]
    assert run.archive.manifest["created_by"].startswith("pattern-stream ")
    assert len(run.archive.sections) == run.archive.manifest["section_count"]


@pytest.mark.parametrize(("name", "label"), ALL)
def test_the_summary_says_what_the_archive_holds(name: str, label: str, folder: Folders) -> None:
    """`--json`: root, bytes, sections and statistics are those of the file."""
    run = folder(name).exports[label]

    assert run.path.stat().st_size == run.summary["bytes"]
    assert len(run.archive.sections) == run.summary["sections"]
    assert run.archive.manifest["stats"] == run.summary["stats"]
    assert 3 == run.summary["version"]


@pytest.mark.parametrize(("name", "label"), [case for case in ALL if case not in NO_ARCHIVE])
def test_an_archive_equals_the_real_programs_own(name: str, label: str, folder: Folders) -> None:
    """Field by field (floats to one unit in the last place), and messages, entries and summaries are the same bytes,
    unless a float in them is one that the real program rounds otherwise."""
    here = folder(name)
    real, before, ours = here.real(label), here.real(label), here.exports[label].flat
    assert real
    assert before
    rounded = here.cases[label].expected(Database(here.database, real_program_float))

    assert [] == list(differences(divided(mended(real, ours), ours), ours, ulps=1))
    for key, part in ours.agents.items():
        known = set(map(encode, _records(before.agents[key])))
        for record, twin in zip(_records(part), _records(rounded.agents[key]), strict=True):
            assert encode(record) in known or difference(record, twin) is not None


def _records(part: AgentPart) -> list[Wire]:
    return [*part.messages, *part.entries, *part.summaries]


def _memory(here: Folder) -> Flat:
    """All memory blocks that any archive of a folder holds, which must be equal wherever they stand."""
    whole = Flat("all")
    for run in here.exports.values():
        for key, part in run.flat.memory.items():
            known = whole.memory.setdefault(key, part)
            assert known.snapshot == part.snapshot
            assert comparable_block(known.record, "") == comparable_block(part.record, "")
    return whole


@pytest.mark.parametrize("name", FOLDERS)
def test_memory_is_current(name: str, folder: Folders) -> None:
    """Each document says what base and active updates say; where updates add nothing its bytes are untouched; the
    frontier is its canonical version vector; pieces are of 900,000 bytes."""
    here = folder(name)
    parts = _memory(here).memory
    stored = [here.rows.stored(key) for key in parts]
    folded, found = read_documents(stored), read_documents(Stored(part.snapshot) for part in parts.values())
    for part, base, wanted, document in zip(parts.values(), stored, folded, found, strict=True):
        assert not document["pending"]
        assert difference(wanted["deep"], document["deep"]) is None
        assert wanted["vv"] == document["vv"]
        assert list(vector_bytes(document["vv"])) == part.record["frontier"]
        assert (part.snapshot == base.base) or wanted["changed"]
        assert [900_000] * (len(part.piece_bytes) - 1) == part.piece_bytes[:-1]
        assert all(0 < size <= 900_000 for size in part.piece_bytes)


@pytest.mark.parametrize("name", [name for name in FOLDERS if "schema" not in name and name != "numbers"])
def test_memory_is_what_the_real_program_reads(name: str, folder: Folders) -> None:
    """`deep`, `rendered`, `vv`, `content_preview` and `last_seq` of view.jsonl, for every block that it shows; the
    preview is the stored one in a whole backup, elsewhere the text of the document."""
    here = folder(name)
    parts = _memory(here).memory
    found = read_documents(Stored(part.snapshot) for part in parts.values())
    for (key, part), document in zip(parts.items(), found, strict=True):
        view = here.view[key]
        assert difference(view["deep"], document["deep"]) is None
        assert sorted((int(peer), end) for peer, end in view["vv"]) == document["vv"]
        assert view["rendered"] == render(part.record["metadata"], document["deep"])
        assert view["last_seq"] == part.record["last_seq"]
    for run in here.exports.values():
        for key, part in run.flat.memory.items():
            stored, rendered = here.view[key]["content_preview"], here.view[key]["rendered"]
            as_stored = run.flat.type == "Constellation" or (stored or "") == rendered
            assert (stored if as_stored else rendered or None) == part.record["content_preview"]


@pytest.mark.parametrize("name", [name for name in FOLDERS if "schema" not in name])
def test_the_constellation_holds_every_block_that_the_view_shows(name: str, folder: Folders) -> None:
    """No active block is missing, and the summary counts those that were folded."""
    run = folder(name).exports["constellation" if name != "oversize" else "constellation-config"]
    stored = [folder(name).rows.stored(key) for key in run.flat.memory]

    assert set() == set(folder(name).view) - set(run.flat.memory)
    assert sum(document["changed"] for document in read_documents(stored)) == run.summary["folded_blocks"]


def test_bare_numbers_are_carried_and_named(folder: Folders) -> None:
    """Every row with a number as a whole JSON value goes out, and a warning names table, row and column:
    docs/format.md#compatible-writing."""
    here = folder("numbers")
    run = here.exports["constellation"]
    told = [str(warning) for warning in run.summary["warnings"]]
    columns = {"agents": ("config", "tool_rules"), "messages": ("content_json", "source_metadata")}
    for table, names in columns.items():
        for row in here.rows.rows(table):
            for column in names:
                if isinstance(row[column], int | float) and not row.get("is_deleted"):
                    assert any(table in text and row["id"] in text and column in text for text in told)


def test_stale_previews_go_out_and_are_named(folder: Folders) -> None:
    """Undo and redo leave `content_preview` behind; each such block is named, and no other."""
    for name in ("family", "many"):
        here = folder(name)
        warnings = here.exports["constellation"].summary["warnings"]
        stale = {key for key, view in here.view.items() if (view["content_preview"] or "") != view["rendered"]}
        assert stale == {each["where"]["row_id"] for each in warnings if each["code"] == "stale-preview"}


def test_what_is_not_carried_is_counted(folder: Folders, tmp_path: Path) -> None:
    """Of a portable archive `not_carried` has what version 3 has no place for, and of carried tables what stays."""
    here = folder("family")
    found = export(here.database, tmp_path / "portable.car", "--portable").summary["not_carried"]

    assert len(here.rows.rows("memory_block_checkpoints")) == found["memory_block_checkpoints"]
    assert {"tasks": 6, "events": 3, "queued_messages": 3, "activity_events": 12} == {
        table: found[table] for table in ("tasks", "events", "queued_messages", "activity_events")
    }
    assert not {"_sqlx_migrations", "agents", "agent_groups", "group_members"} & set(found)


def test_older_schemas_give_the_records_of_the_newest(folder: Folders) -> None:
    """Family's rows read from older databases differ only where a later column had something to say."""
    newest = folder("family").exports["constellation"].flat
    for name in ("schema-3", "schema-6", "schema-10"):
        older = folder(name).exports["constellation"].flat
        for key, part in newest.agents.items():
            assert part.record == older.agents[key].record
            assert by_id(part.entries) == by_id(older.agents[key].entries)
            ids = {message["id"] for message in older.agents[key].messages}
            assert {message["id"] for message in part.messages} <= ids
        for group in older.groups.values():
            assert all([] == member["capabilities"] for member in group.members)


def test_blocks_are_encoded_as_the_oracle_does(folder: Folders) -> None:
    """The database alone, encoded by the oracle, gives the bytes of every entry, summary and message chunk."""
    here = folder("edges")
    archive, expected = here.exports["constellation"].archive, here.cases["constellation"].expected(here.rows)
    blocks = {data for _, data in archive.sections}
    for part in expected.agents.values():
        assert all(encode(record) in blocks for record in [*part.entries, *part.summaries])
        for chunk in part.chunks:
            envelope = {
                "messages": chunk.messages, "chunk_index": chunk.index, "end_position": chunk.end,
                "message_count": chunk.count, "start_position": chunk.start,
            }  # fmt: skip
            assert encode(envelope) in blocks
