"""With a worker that decodes ahead, an archive comes in and is judged exactly as without one."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pattern_stream.budget import Budget
from pattern_stream.errors import DigestMismatch, ExitCode, Finding
from pattern_stream.pipelines.creating import create_database
from pattern_stream.pipelines.exporting import ExportOptions, export_archive
from pattern_stream.pipelines.importing import ImportOptions, ImportResult, import_archive
from pattern_stream.pipelines.verifying import verify_archive
from pattern_stream.schema.model.scopes import Limits
from tests.acceptance.world import World, making
from tests.archive.decoded import (
    ALONE,
    EAGER,
    Watched,
    chunk_section,
    chunked,
    chunks_of,
    flipped,
    sections_of,
    watching,
)
from tests.archives import Archive, agent_record, entry_record
from tests.db.importing import query
from tests.drive import dribble, feed
from tests.soak.contents import contents

pytestmark = pytest.mark.anyio

MESSAGES = 150
"""Of each of two agents."""

SIZE = Limits(max_messages=30)
KEY = bytes(range(32))
BATCH = "31358194177998848"
UNREAD = ImportOptions(verify_documents=False, budget=EAGER)


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Every line of a test."""
    with watching(monkeypatch) as found:
        yield found


def fill(world: World, agent: str) -> None:
    """An agent with many messages of many kinds, and some of everything else."""
    world.add("agents", id=agent)
    for number in range(MESSAGES):
        world.add(
            "messages", id=f"{agent}-{number}", agent_id=agent, position=f"{number:019}",
            batch_id=BATCH if number % 3 else None, batch_type="user_request" if number % 3 else None,
            sequence_in_batch=number if number % 3 else None, role=("user", "assistant", "system", "tool")[number % 4],
            content_json=('{"Text":"a \\" b \u00fc"}', '[{"x":[1,2.5,null]}]', '"text"', "true")[number % 4],
            content_preview=f"preview {number}" * (number % 5), source_metadata='{"a":{"b":1}}' if number % 7 else None,
            source="cli" if number % 2 else None, is_archived=number % 2,
        )  # fmt: skip
    world.block(f"{agent} notes", agent)
    world.add("archival_entries", id=f"{agent}-e", agent_id=agent)
    world.add("archive_summaries", id=f"{agent}-s", agent_id=agent)


@pytest.fixture
async def packed(tmp_path: Path) -> Path:
    """An archive of a database, in many chunks."""
    database, path = tmp_path / "source.db", tmp_path / "source.car"
    with making(database) as world:
        fill(world, "a")
        fill(world, "b")
    options = ExportOptions(exported_at="2026-01-02T03:04:05Z", portable=True, limits=SIZE)
    await export_archive(database, path, options=options)
    return path


def told(result: ImportResult) -> ImportResult:
    """A result without where and when."""
    return replace(result, db=Path(), seconds=0.0, locked_seconds=0.0)


IMPORTS = {
    "plain": (ImportOptions(), True, 0),
    "without messages": (ImportOptions(messages=False), True, 0),
    "without archival entries": (ImportOptions(archival=False), True, 0),
    "renamed": (ImportOptions(renames=(("name of a", "other"),)), True, 0),
    "only one": (ImportOptions(only=("agent:name of b",)), True, EAGER.chunk_slots),
    "new ids": (ImportOptions(new_ids=True, id_key=KEY), False, 0),
    "only one, new ids": (ImportOptions(new_ids=True, id_key=KEY, only=("agent:name of b",)), False, EAGER.chunk_slots),
    "of another owner": (ImportOptions(owner="somebody"), True, EAGER.chunk_slots),
    "dry": (ImportOptions(dry_run=True), True, 0),
}
"""Whether a pass wants rows, of which a worker makes all but those of the first chunk, and how many it checks in a pass
that does not: as many as there are slots. Where ids are replaced, rows are made of records."""


@pytest.mark.parametrize("name", IMPORTS)
async def test_the_same_database(watched: Watched, packed: Path, tmp_path: Path, name: str) -> None:
    """Every table has the same rows, and the same is said of them, whatever is left out, chosen or replaced."""
    options, makes_rows, checked = IMPORTS[name]
    decoded = makes_rows * (len(chunks_of(await sections_of(packed.read_bytes()))) - 1) + checked
    ahead, plain = tmp_path / "ahead.db", tmp_path / "plain.db"
    result = await import_archive(packed, ahead, options=replace(options, budget=EAGER))
    used = watched.used
    expected = await import_archive(packed, plain, options=replace(options, budget=ALONE))

    assert told(expected) == told(result)
    assert ahead.exists() is plain.exists() is not options.dry_run
    assert options.dry_run or contents(plain) == contents(ahead)
    assert decoded == used == watched.used


@pytest.mark.parametrize("messages", [True, False])
async def test_all_messages_or_none(packed: Path, tmp_path: Path, messages: bool) -> None:
    """Rows that a worker made are left out like others."""
    await import_archive(packed, tmp_path / "new.db", options=ImportOptions(messages=messages, budget=EAGER))
    columns = "id, position, content_json, batch_id, source_metadata, is_archived"
    found, source = (
        query(tmp_path / name, f"SELECT {columns} FROM messages ORDER BY id") for name in ("new.db", "source.db")
    )

    assert (source if messages else []) == found
    assert 2 * MESSAGES == len(source)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("seed", [None, 1])
async def test_into_a_living_database(
    watched: Watched, packed: Path, tmp_path: Path, wrapped: bool, seed: int | None
) -> None:
    """Read twice, from a file in any order or from a stream: what was there stays, and what comes is the same."""
    raw = packed.read_bytes() if seed is None else shuffled(seed)
    other, kept = Archive(), list[Path]()
    other.finish("Agent", other.agent(agent_record("z9"), entries=[entry_record(1, "z9")]))
    for name in ("ahead.db", "plain.db"):
        path = tmp_path / name
        await create_database(path)
        await import_archive(feed([other.to_bytes()]), path)
        kept.append(path)
        budget = ALONE if name == "plain.db" else EAGER
        source = dribble(gzip.compress(raw) if wrapped else raw, 4096)
        await import_archive(source, path, options=replace(UNREAD, budget=budget))

    assert contents(kept[1]) == contents(kept[0])
    assert [(2 * MESSAGES if seed is None else 480,)] == query(kept[0], "SELECT count(*) FROM messages")
    assert [("z9",)] == query(kept[0], "SELECT id FROM agents WHERE id = 'z9'")
    assert watched.asked


def shuffled(seed: int) -> bytes:
    """An archive in no order."""
    archive = chunked()
    return archive.to_bytes(random.Random(seed).sample(archive.blocks, len(archive.blocks)))


async def test_findings_are_the_same(watched: Watched, tmp_path: Path) -> None:
    """Odd batch ids and bare numbers are told of in their order, wherever the messages round them were decoded."""
    odd = {number: {"content_json": number} for number in (3, 100, 250)} | {
        number: {"batch_id": f"odd {number}"} for number in (40, 101, 300)
    }
    raw = chunked(odd).to_bytes()
    result = await import_archive(dribble(raw, 4096), tmp_path / "ahead.db", options=UNREAD)
    used = watched.used
    alone = replace(UNREAD, budget=ALONE)
    expected = await import_archive(dribble(raw, 4096), tmp_path / "plain.db", options=alone)

    assert expected.findings == result.findings
    assert ["bare-number", "odd-batch-id"] == sorted({finding.code for finding in result.findings})
    assert contents(tmp_path / "plain.db") == contents(tmp_path / "ahead.db")
    assert 19 == used


async def test_damage_leaves_nothing(watched: Watched, packed: Path, tmp_path: Path) -> None:
    """A flipped bit in the last chunk, when others have been stored: no database, and the place is told."""
    raw = packed.read_bytes()
    section = chunk_section(await sections_of(raw), -1)
    bad = tmp_path / "bad.car"
    bad.write_bytes(flipped(raw, section))
    with pytest.raises(DigestMismatch) as caught:
        await import_archive(bad, tmp_path / "new.db", options=ImportOptions(budget=EAGER))

    assert section.offset == caught.value.where.offset
    assert watched.answered
    assert [] == list(tmp_path.glob("new.db*"))


# --- verifying ---------------------------------------------------------------------------------------------------


async def judged(raw: bytes, budget: Budget = EAGER) -> tuple[dict[str, object], list[Finding], ExitCode]:
    """What verification says, but for the time it took."""
    found = await verify_archive(dribble(raw, 4096), documents=False, budget=budget)
    return found.as_dict() | {"seconds": None}, found.findings, found.exit_code


async def test_judged_the_same(watched: Watched) -> None:
    """A good archive, one with a bit flipped in each of its sections in turn, and in some of them at once."""
    raw = chunked(chunks=8).to_bytes()
    sections = await sections_of(raw)
    archives = [raw, *(flipped(raw, section) for section in sections)]
    for section in sections[2::3]:
        raw = flipped(raw, section)
    archives.append(raw)
    found = [await judged(one) for one in archives]
    answered = watched.answered
    expected = [await judged(one, ALONE) for one in archives]

    assert expected == found
    assert [ExitCode.DONE] == [code for _, _, code in found if code != ExitCode.CORRUPT]
    assert len(sections[2::3]) == sum(finding.code == "digest-mismatch" for finding in found[-1][1])
    assert answered == watched.answered > len(archives)


@pytest.mark.parametrize("cut", [3, 4000, 30_000])
async def test_cuts_are_judged_the_same(watched: Watched, cut: int) -> None:
    """An end that comes too early, also inside gzip, is told of behind what was found before it."""
    raw = chunked({30: {"role": "nobody"}}, chunks=8).to_bytes()
    archives = [raw[:-cut], gzip.compress(raw)[: -cut // 10]]
    found = [await judged(one) for one in archives]
    answered = watched.answered
    expected = [await judged(one, ALONE) for one in archives]

    assert expected == found
    assert "malformed-node" == found[0][1][0].code
    assert answered


async def test_against_a_database_nothing_is_decoded_ahead(watched: Watched, packed: Path, tmp_path: Path) -> None:
    """A comparison looks at records."""
    found = await verify_archive(packed, against=tmp_path / "source.db", budget=EAGER)

    assert found.against is not None
    assert (True, 0) == (found.ok, watched.asked)
    assert found.against.records > 2 * MESSAGES
