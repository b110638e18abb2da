"""Archives come in whole: what was exported is there again, and a target that is refused stays as it was."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pattern_stream.db.connection.opening import open_writer
from pattern_stream.demo.database import make_demo
from pattern_stream.errors import (
    DamagedDocument,
    DatabaseBusy,
    DatabaseNotFound,
    DatabaseStorage,
    DigestMismatch,
    LimitExceeded,
    MissingBlock,
    NameConflict,
    NotInArchive,
    PatternStreamError,
    TruncatedArchive,
    UnsupportedSchema,
    UsageError,
)
from pattern_stream.pipelines.exporting import ExportOptions, export_archive
from pattern_stream.pipelines.importing import ImportOptions, ImportResult, import_archive
from pattern_stream.pipelines.inspecting import inspect_archive
from pattern_stream.pipelines.reading import ArchiveSource
from pattern_stream.schema.ids.new_ids import Identity
from pattern_stream.schema.model.records import ArchivalEntry, Member, MemoryBlock, Message, Record
from pattern_stream.schema.model.scopes import Scope
from tests.db.importing import assert_sound, query
from tests.drive import dribble
from tests.pipelines.comparing import Row, carried_rows, compare, search

pytestmark = pytest.mark.anyio

FIXTURES = ["family", "quiet", "edges", "numbers", "many", "oversize", "schema-3", "schema-6", "schema-10"]
KEY = bytes(range(32))
AT = ExportOptions(exported_at="2026-01-02T03:04:05Z")


def fixture(shared: Path, name: str, folder: Path) -> Path:
    """A database of the real program, in a file of one's own."""
    target = folder / f"{name}.db"
    plain = shared / "fixtures" / name / "constellation.db"
    if plain.exists():
        shutil.copy(plain, target)
    else:
        with gzip.open(f"{plain}.gz") as packed:
            target.write_bytes(packed.read())
    target.chmod(0o600)
    return target


@pytest.fixture
def family(shared: Path, tmp_path: Path) -> Path:
    """The database with everything in it."""
    return fixture(shared, "family", tmp_path)


async def archive(database: Path, scope: Scope = Scope()) -> Path:  # noqa: B008  frozen
    """An archive of a database, beside it, of what version 3 can hold."""
    path = database.with_suffix(".car")
    options = ExportOptions(exported_at=AT.exported_at, force=True, portable=True)
    await export_archive(database, path, scope=scope, options=options)
    return path


@pytest.mark.parametrize("name", FIXTURES)
async def test_round_trip(shared: Path, tmp_path: Path, name: str) -> None:
    """Every carried row comes back equal; search finds what it found; the export of the copy has the same bytes."""
    if name == "oversize":
        pytest.skip("holds a row that format version 3 cannot carry")
    source, copy = fixture(shared, name, tmp_path), tmp_path / "copy.db"
    packed = await archive(source)
    result = await import_archive(packed, copy)
    first = packed.read_bytes()
    again = (await archive(copy)).read_bytes()

    assert result.created
    assert 0o600 == stat.S_IMODE(copy.stat().st_mode)
    compare(source, copy)
    for word in () if name == "schema-3" else ("the", "a", "tea", "garden", "note"):  # its indexes missed rows
        assert search(source, word) == search(copy, word)
    assert_sound(copy)
    assert behind_manifest(first) == behind_manifest(again)
    assert name.startswith("schema-") or first == again


def behind_manifest(data: bytes) -> bytes:
    """An archive without its header and manifest, which name what schema was read."""
    length, at = 0, 59
    for shift in range(0, 28, 7):
        length |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            break
    return data[at + length :]


@pytest.mark.parametrize("name", ["family", "edges", "numbers", "many", "schema-3"])
async def test_round_trip_with_new_ids(shared: Path, tmp_path: Path, name: str) -> None:
    """Equal up to the renaming, in every reference; the key makes it repeatable."""
    source, copy = fixture(shared, name, tmp_path), tmp_path / "copy.db"
    await import_archive(await archive(source), copy, options=ImportOptions(new_ids=True, id_key=KEY))

    compare(source, copy, renamed)
    assert_sound(copy)


def renamed(record: type[Record], row: Row) -> Row:
    """A row under new ids, by the slow and obvious way."""
    identity, found = Identity(KEY), dict(row)
    for field in record.fields:
        if field.names is not None and row[field.column] is not None:
            found[field.column] = identity.mint(row[field.column], field.names)
    if record is Message and "block_refs" in (row["source_metadata"] or ""):
        refs = eval(row["source_metadata"], {"nan": None})  # our own repr
        found["source_metadata"] = repr(_resorted(identity.translate_refs(refs)))
    return found


def _resorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _resorted(value[key]) for key in sorted(value)}
    return [_resorted(item) for item in value] if isinstance(value, list) else value


async def test_a_pipe_a_file_and_gzip_give_the_same(family: Path, tmp_path: Path) -> None:
    """However the bytes come."""
    packed = await archive(family)
    zipped = tmp_path / "a.car.gz"
    zipped.write_bytes(gzip.compress(packed.read_bytes()))
    sources: list[ArchiveSource] = [packed, zipped, dribble(packed.read_bytes(), 7001)]
    for number, source in enumerate(sources):
        await import_archive(source, tmp_path / f"{number}.db")

        compare(family, tmp_path / f"{number}.db")


async def test_rows_leave_the_wal(family: Path, tmp_path: Path) -> None:
    """Of a database that another program has open, so that closing ours does not copy them."""
    packed, copy = await archive(family, Scope("agent", "Anchor")), tmp_path / "living.db"
    shutil.copy(family, copy)
    with closing(sqlite3.connect(copy)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        before = copy.stat().st_size
        await import_archive(packed, copy, options=ImportOptions(new_ids=True, renames=((None, "Second"),)))

        assert before < copy.stat().st_size


async def test_into_a_living_database(family: Path, tmp_path: Path) -> None:
    """Beside what is there, while another program has it open and writes until the archive was read whole."""
    packed, copy = await archive(family, Scope("agent", "Anchor")), tmp_path / "living.db"
    shutil.copy(family, copy)
    with closing(sqlite3.connect(copy, isolation_level=None, timeout=0.1)) as other:
        other.execute("PRAGMA journal_mode = WAL")

        async def slow_pipe() -> AsyncGenerator[bytes]:
            async for piece in dribble(packed.read_bytes(), 10_000):
                other.execute("UPDATE agents SET description = 'still writing' WHERE name = 'Entropy'")
                yield piece

        result = await import_archive(
            slow_pipe(), copy, options=ImportOptions(new_ids=True, renames=((None, "Second"),))
        )

    assert not result.created
    assert result.locked_seconds <= result.seconds
    assert [("still writing",)] == query(copy, "SELECT description FROM agents WHERE name = 'Entropy'")
    counts = query(copy, "SELECT count(*) FROM messages m JOIN agents a ON a.id = m.agent_id WHERE name = 'Second'")
    assert [(result.rows["messages"],)] == counts
    shared_batches = (
        "SELECT batch_id FROM messages WHERE batch_id IS NOT NULL GROUP BY batch_id HAVING count(DISTINCT agent_id) > 1"
    )
    assert query(family, shared_batches) == query(copy, shared_batches)
    assert_sound(copy)


async def test_kept_ids_meet_themselves(family: Path, tmp_path: Path) -> None:
    """The same archive twice: refused with everything named; skipped; replaced without a trace of edits."""
    packed, copy = await archive(family), tmp_path / "copy.db"
    await import_archive(packed, copy)
    before = copy.read_bytes()
    with pytest.raises(NameConflict, match=r"agent .* is there"):
        await import_archive(packed, copy)
    untouched = copy.read_bytes()
    skipped = await import_archive(packed, copy, options=ImportOptions(on_conflict="skip"))
    await import_archive(packed, copy, options=ImportOptions(on_conflict="replace"))

    assert before == untouched
    assert ({}, []) == (skipped.rows, skipped.agents)
    compare(family, copy)
    assert_sound(copy)


async def test_replace_makes_memory_current(family: Path) -> None:
    """Edits stay where the document is the same; another one is folded, so its edits go, and numbers count on."""
    packed = await archive(family)
    edits = "SELECT * FROM memory_block_updates ORDER BY id"
    before = query(family, edits)
    await import_archive(packed, family, options=ImportOptions(on_conflict="replace"))
    assert before == query(family, edits)
    with closing(sqlite3.connect(family)) as connection, connection:
        connection.execute("UPDATE memory_block_updates SET is_active = 1 - is_active")
    highest = query(family, "SELECT block_id, max(seq) FROM memory_block_updates GROUP BY 1")
    await import_archive(packed, family, options=ImportOptions(on_conflict="replace"))
    carried = {row["id"]: row["last_seq"] for row in carried_rows(family, MemoryBlock)}

    left = query(family, "SELECT DISTINCT block_id FROM memory_block_updates")
    assert not {block for (block,) in left} & set(carried)
    assert all(carried[block] >= seq for block, seq in highest if block in carried)
    assert_sound(family)


@pytest.mark.parametrize(
    ("options", "without"),
    [(ImportOptions(messages=False), "messages"), (ImportOptions(archival=False), "archival_entries")],
)
async def test_leaving_rows_out(family: Path, tmp_path: Path, options: ImportOptions, without: str) -> None:
    """--no-messages and --no-archival leave one table empty and the others as they are."""
    result = await import_archive(await archive(family), tmp_path / "copy.db", options=options)

    assert without not in result.rows
    assert {"messages", "archival_entries"} - {without} <= set(result.rows)
    assert_sound(tmp_path / "copy.db")


async def test_only_an_agent(family: Path, tmp_path: Path) -> None:
    """One agent of a constellation, with its blocks and no group, as its own archive would bring it."""
    copy, own = tmp_path / "copy.db", tmp_path / "own.db"
    await import_archive(await archive(family), copy, options=ImportOptions(only=("agent:Anchor",)))
    await import_archive(await archive(family, Scope("agent", "Anchor")), own)

    for record in (Message, MemoryBlock, ArchivalEntry):
        assert carried_rows(own, record) == carried_rows(copy, record)
    assert [] == query(copy, "SELECT * FROM agent_groups")
    assert_sound(copy)


async def test_left_out_rows_are_counted(family: Path, tmp_path: Path) -> None:
    """Messages that are left out, and a warning of the summaries that tell of them; by export as by import."""
    packed = await archive(family)
    result = await import_archive(packed, tmp_path / "copy.db", options=ImportOptions(messages=False))
    exported = await export_archive(family, tmp_path / "a.car", options=ExportOptions(messages=False))

    ((messages,),) = query(family, "SELECT count(*) FROM messages")
    ((summaries,),) = query(family, "SELECT count(*) FROM archive_summaries")
    assert messages == exported.not_carried["messages"]
    ((live,),) = query(family, "SELECT count(*) FROM messages WHERE is_deleted = 0")  # the archive is portable
    assert live == result.as_dict()["not_carried"]["messages"]
    for findings in (result.findings, exported.findings):
        told = [finding.message for finding in findings if finding.code == "summaries-kept"]
        assert (f" {summaries} archive summar" in told[0]) if summaries else not told


async def test_only_a_group(family: Path, tmp_path: Path) -> None:
    """A group of a constellation brings its members and what is shared into it, as its own archive would."""
    copy, own = tmp_path / "copy.db", tmp_path / "own.db"
    result = await import_archive(await archive(family), copy, options=ImportOptions(only=("group:Panel",)))
    await import_archive(await archive(family, Scope("group", "Panel")), own)

    assert ["Panel"] == [group.name for group in result.groups]
    for record in (Message, Member, ArchivalEntry):
        assert carried_rows(own, record) == carried_rows(copy, record)
    assert {row["id"] for row in carried_rows(own, MemoryBlock)} <= {
        row["id"] for row in carried_rows(copy, MemoryBlock)
    }
    assert_sound(copy)


async def test_only_what_is_not_there(family: Path, tmp_path: Path) -> None:
    """A name that nothing has: exit 6 with the nearest names, and no database is made."""
    packed = await archive(family)
    with pytest.raises(NotInArchive) as caught:
        await import_archive(packed, tmp_path / "copy.db", options=ImportOptions(only=("agent:Anchr",)))

    assert "Anchor" in str(caught.value.hint)
    assert not list(tmp_path.glob("copy.db*"))


async def test_names_outside_their_record(family: Path, tmp_path: Path) -> None:
    """Names over 4 MiB: nothing has the name that is asked for, summaries give their length, --rename replaces them."""
    with closing(sqlite3.connect(family)) as database, database:
        database.execute("UPDATE agents SET name = ? WHERE name = 'Anchor'", ("x" * 5_000_000,))
        database.execute("UPDATE agent_groups SET name = ? WHERE name = 'Panel'", ("y" * 5_000_000,))
    packed, copy = await archive(family), tmp_path / "copy.db"
    for only in ("agent:nosuch", "group:nosuch"):
        with pytest.raises(NotInArchive, match="nosuch"):
            await import_archive(packed, copy, options=ImportOptions(only=(only,)))
    result = await import_archive(packed, copy)
    seen = await inspect_archive(packed)

    for found in (result.as_dict(), seen.as_dict()):
        assert "(5000000 bytes)" in {agent["name"] for agent in found["agents"]}
        assert "(5000000 bytes)" in {group["name"] for group in found["groups"]}
    assert 1 == len(query(copy, "SELECT 1 FROM agents WHERE length(name) = 5000000"))

    ((group,),) = query(family, "SELECT id FROM agent_groups WHERE length(name) = 5000000")
    short = tmp_path / "short.db"
    alone = await archive(family, Scope("group", group))
    await import_archive(alone, short, options=ImportOptions(renames=((None, "S"),)))
    assert [("S",)] == query(short, "SELECT name FROM agent_groups")


async def test_rename(family: Path, tmp_path: Path) -> None:
    """Any agent or group, and its name inside the groups' configuration; a name that nothing has is refused."""
    packed, copy = await archive(family), tmp_path / "copy.db"
    result = await import_archive(packed, copy, options=ImportOptions(renames=(("Anchor", "Keel"), ("Panel", "Board"))))
    with pytest.raises(NotInArchive, match="'Nobody'"):
        await import_archive(packed, tmp_path / "other.db", options=ImportOptions(renames=(("Nobody", "X"),)))
    with pytest.raises(UsageError, match="whole constellation"):
        await import_archive(packed, tmp_path / "other.db", options=ImportOptions(renames=((None, "X"),)))

    assert {"Keel", "Board"} <= {one.name for one in [*result.agents, *result.groups]}
    configs = [config for (config,) in query(copy, "SELECT pattern_config FROM agent_groups")]
    assert not any('"Anchor"' in config for config in configs)
    assert any('"Anchor"' in config for (config,) in query(family, "SELECT pattern_config FROM agent_groups")) == any(
        '"Keel"' in config for config in configs
    )


async def test_owner(family: Path, tmp_path: Path) -> None:
    """Blocks of an agent that has gone go to the owner named; the constellation's and the groups' stay."""
    with closing(sqlite3.connect(family)) as connection:
        connection.execute(
            "UPDATE memory_blocks SET agent_id = 'gone' WHERE id = (SELECT id FROM memory_blocks "
            "WHERE agent_id = '_constellation_' AND is_active = 1 LIMIT 1)"
        )
        connection.commit()
    packed = await archive(family)
    for number, new_ids in enumerate((False, True)):
        copy = tmp_path / f"{number}.db"
        await import_archive(packed, copy, options=ImportOptions(owner="me", new_ids=new_ids))

        assert [(1,)] == query(copy, "SELECT count(*) FROM memory_blocks WHERE agent_id = 'me'")
        assert query(
            family, "SELECT count(*) FROM memory_blocks WHERE agent_id = '_constellation_' AND is_active = 1"
        ) == query(copy, "SELECT count(*) FROM memory_blocks WHERE agent_id = '_constellation_'")


@pytest.mark.parametrize("new_ids", [False, True])
async def test_a_thin_group(family: Path, tmp_path: Path, new_ids: bool) -> None:
    """Its configuration, and memberships for the agents that are there."""
    packed = await archive(family, Scope("group", "Panel", thin=True))
    nobody, copy = tmp_path / "nobody.db", tmp_path / "copy.db"
    alone = await import_archive(packed, nobody)
    shutil.copy(family, copy)
    options = ImportOptions(
        new_ids=new_ids, renames=((None, "Panel two"),) if new_ids else (), on_conflict="fail" if new_ids else "skip"
    )
    if not new_ids:
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("DELETE FROM agent_groups WHERE name = 'Panel'")
            connection.commit()
    found = await import_archive(packed, copy, options=options)

    assert ({"agent_groups": 1}, {"member-left-out"}) == (alone.rows, {finding.code for finding in alone.findings})
    assert {"agent_groups": 1, "group_members": 3} == found.rows
    assert_sound(copy)


async def test_dry_run(family: Path, tmp_path: Path) -> None:
    """The same counts, and nothing is there afterwards; a living database keeps its bytes."""
    packed, copy = await archive(family), tmp_path / "copy.db"
    told = await import_archive(packed, copy, options=ImportOptions(dry_run=True))
    nothing = list(tmp_path.glob("copy.db*"))
    done = await import_archive(packed, copy)
    before = copy.read_bytes()
    await import_archive(packed, copy, options=ImportOptions(dry_run=True, on_conflict="replace"))

    assert [] == nothing
    assert done.rows == told.rows
    assert before == copy.read_bytes()


async def test_an_empty_database_is_taken(family: Path, tmp_path: Path) -> None:
    """One with the schema and no rows, and a file of no bytes."""
    made, empty = tmp_path / "made.db", tmp_path / "empty.db"
    await import_archive(await archive(family), made, options=ImportOptions(only=("agent:Entropy",)))
    with closing(sqlite3.connect(made)) as connection:
        connection.execute("DELETE FROM agents")
        connection.commit()
    empty.touch()
    results = [await import_archive(family.with_suffix(".car"), path) for path in (made, empty)]

    assert [False, True] == [result.created for result in results]
    compare(family, made)
    compare(family, empty)


@pytest.mark.parametrize("name", ["schema-3", "schema-6", "schema-10"])
async def test_an_older_schema_is_refused(shared: Path, tmp_path: Path, name: str) -> None:
    """Exit 5, and the file keeps its bytes."""
    old = fixture(shared, name, tmp_path)
    packed, before = await archive(old), old.read_bytes()
    with pytest.raises(UnsupportedSchema):
        await import_archive(packed, old)

    assert before == old.read_bytes()


def damaged(data: bytes, kind: str) -> bytes:
    """An archive with one fault."""
    if kind == "flip":
        return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]
    return data[: -(len(data) // 3)] if kind == "cut" else data


@pytest.mark.parametrize(("kind", "error"), [("flip", DigestMismatch), ("cut", (TruncatedArchive, MissingBlock))])
@pytest.mark.parametrize("living", [False, True])
async def test_a_damaged_archive_leaves_the_target(
    family: Path, tmp_path: Path, kind: str, error: Any, living: bool
) -> None:
    """Refused with its name; a new database is not there, a living one keeps its bytes."""
    bad, target = tmp_path / "bad.car", tmp_path / "copy.db"
    bad.write_bytes(damaged((await archive(family)).read_bytes(), kind))
    if living:
        shutil.copy(family, target)
    before = target.read_bytes() if living else None
    with pytest.raises(error):
        await import_archive(bad, target)

    assert before == (target.read_bytes() if living else None)
    assert ([target] if living else []) == list(tmp_path.glob("copy.db*"))


async def test_a_bad_document_is_refused(family: Path, tmp_path: Path) -> None:
    """Documents are looked into before they are stored: the block is named. On request they are not."""
    with closing(sqlite3.connect(family)) as connection:
        (block,) = connection.execute(
            "SELECT id FROM memory_blocks b WHERE is_active = 1 "
            "AND NOT EXISTS (SELECT 1 FROM memory_block_updates u WHERE u.block_id = b.id)"
        ).fetchone()
        connection.execute("UPDATE memory_blocks SET loro_snapshot = x'00' WHERE id = ?", (block,))
        connection.commit()
    copy = tmp_path / "copy.db"
    packed = await archive_unfolded(family, tmp_path)
    with pytest.raises(DamagedDocument) as caught:
        await import_archive(packed, copy)
    await import_archive(packed, copy, options=ImportOptions(verify_documents=False))

    assert (block, "memory_blocks") == (caught.value.where.row_id, caught.value.where.table)
    with pytest.raises(LimitExceeded):
        await import_archive(packed, tmp_path / "two.db", options=ImportOptions(max_document_bytes=50))


async def archive_unfolded(database: Path, folder: Path) -> Path:
    """An archive with memory documents as they are stored, as the real program writes it."""
    from pattern_stream.archive.writer import write_car
    from pattern_stream.db.connection.opening import open_reader
    from pattern_stream.db.read.scope_reader import read_scope
    from pattern_stream.items import RowEvent, Rows
    from pattern_stream.schema.model.records import MemoryUpdate
    from pattern_stream.schema.model.scopes import ResolvedScope
    from pattern_stream.stages.chunking import chunk
    from pattern_stream.stages.encode.encoder import encode
    from pattern_stream.stages.mapping import map_rows

    class Kept:
        """Bytes in a file."""

        async def write(self, data: bytes, /) -> None:
            """Append."""
            opened.write(data)

    async with open_reader(database) as connection:

        async def without_edits() -> AsyncGenerator[RowEvent]:
            async for event in read_scope(connection, ResolvedScope("constellation")):
                if not (isinstance(event, Rows) and event.record is MemoryUpdate):
                    yield event

        with open(folder / "unfolded.car", "wb") as opened:  # noqa: ASYNC230  a test
            await write_car(encode(chunk(map_rows(without_edits())), exported_at="2026-01-02T03:04:05Z"), Kept())
    return folder / "unfolded.car"


async def test_busy(family: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that somebody holds: exit 11, and it stays as it was."""
    monkeypatch.setattr("pattern_stream.pipelines.importing.open_writer", partial(open_writer, busy_timeout_ms=10))
    packed = await archive(family, Scope("agent", "Anchor"))
    with closing(sqlite3.connect(family, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy):
            await import_archive(packed, family, options=ImportOptions(new_ids=True, renames=((None, "Second"),)))


async def test_no_folder(family: Path, tmp_path: Path) -> None:
    """A place in no folder: exit 6."""
    with pytest.raises(DatabaseNotFound):
        await import_archive(await archive(family), tmp_path / "nowhere" / "copy.db")


@pytest.mark.parametrize(
    "options",
    [{"id_key": KEY}, {"new_ids": True, "id_key": b"short"}, {"renames": ((None, "a"), (None, "b"))}],
)
def test_options_that_do_not_fit(options: dict[str, Any]) -> None:
    """Said before anything is opened."""
    with pytest.raises(UsageError):
        ImportOptions(**options)


def test_the_summary_has_the_keys_of_the_contract(tmp_path: Path) -> None:
    """What scripts rely on."""
    result = ImportResult(tmp_path / "a.db", True, "Agent", False, False, [], [], {}, {}, 1.0, 0.0)

    assert {"db", "created", "type", "ids", "agents", "groups", "rows", "skipped", "warnings", "seconds"} <= set(
        result.as_dict()
    )


@pytest.mark.parametrize("living", [False, True])
async def test_killed_at_any_moment(shared: Path, tmp_path: Path, living: bool) -> None:
    """kill -9 leaves the old database or the new one, and the next import goes through."""
    source = fixture(shared, "many", tmp_path)
    packed = await archive(source)
    target = tmp_path / "copy.db"
    for delay in (0.25, 0.4, 0.55, 0.7):
        for left in tmp_path.glob("copy.db*"):
            left.unlink()
        if living:
            shutil.copy(fixture(shared, "quiet", tmp_path), target)
        kill_after(delay, packed, target)
        found = query(target, "SELECT count(*) FROM agents")[0][0] if target.exists() else 0

        assert found in ((2, 306) if living else (0, 304))
        if target.exists():
            assert_sound(target)
    options = ImportOptions(on_conflict="skip")
    await import_archive(packed, target, options=options)

    assert [(306 if living else 304,)] == query(target, "SELECT count(*) FROM agents")
    assert not list(tmp_path.glob(".copy.db*"))


def kill_after(delay: float, packed: Path, target: Path) -> None:
    """Start an import in a process of its own and kill it."""
    child = subprocess.Popen(
        [sys.executable, "-m", "pattern_stream", "import", str(packed), "--db", str(target), "-q"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ},
    )
    time.sleep(delay)
    child.send_signal(signal.SIGKILL)
    child.wait()


def test_every_refusal_is_one_of_ours() -> None:
    """What this file expects to be raised has an exit code."""
    assert all(issubclass(error, PatternStreamError) for error in (DigestMismatch, NameConflict, LimitExceeded))


async def test_a_dry_run_meets_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that would not fit the disk are refused by the dry run too: exit 9, and nothing is there."""
    await make_demo(tmp_path / "d.db", messages=400)
    await export_archive(tmp_path / "d.db", tmp_path / "a.car")
    free = 4096
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    before = sorted(path.name for path in tmp_path.iterdir())

    with pytest.raises(DatabaseStorage, match="but 4096 are free"):
        await import_archive(tmp_path / "a.car", tmp_path / "n.db", options=ImportOptions(dry_run=True))

    assert before == sorted(path.name for path in tmp_path.iterdir())
    free = 10**9
    await import_archive(tmp_path / "a.car", tmp_path / "n.db", options=ImportOptions(dry_run=True))
