"""Not one byte of an archive can change, and not one be missing at its end, without `verify` and `import` saying so.

Every byte of three archives is flipped in two ways, and every cut is made. Verification looks at all of them here; an
import, ten times as slow, at a seeded tenth, and at all of them where PATTERN_STREAM_COMPLETE is set, as `make hostile`
does.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pattern_stream.errors import ArchiveError, ExitCode
from pattern_stream.pipelines.exporting import ExportOptions, export_archive
from pattern_stream.pipelines.importing import ImportOptions, import_archive
from pattern_stream.pipelines.verifying import verify_archive
from pattern_stream.schema.model.scopes import Scope
from tests.acceptance.car import parse
from tests.archives import Archive, agent_archive, agent_record, entry_record, group_archive
from tests.db.importing import query
from tests.drive import feed
from tests.hostile.case import sound_bytes

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

COMPLETE = "PATTERN_STREAM_COMPLETE" in os.environ
SAMPLE = 10
"""One import in so many runs in the suite."""

PATTERNS = (0x01, 0xFF)
REAL = "fixtures/family/agent-2.car"
REFUSED = (ExitCode.CORRUPT, ExitCode.UNSUPPORTED)


@dataclass(frozen=True, slots=True)
class Damage:
    """One byte flipped, or everything from there on cut off."""

    place: int
    pattern: int | None

    def of(self, raw: bytes) -> bytes:
        """The archive with this damage."""
        if self.pattern is None:
            return raw[: self.place]
        return raw[: self.place] + bytes([raw[self.place] ^ self.pattern]) + raw[self.place + 1 :]

    def __str__(self) -> str:
        return f"cut at {self.place}" if self.pattern is None else f"{self.place} ^ {self.pattern:#x}"


def damages(raw: bytes) -> Iterator[Damage]:
    """All of them."""
    for place in range(len(raw)):
        for pattern in (*PATTERNS, None):
            yield Damage(place, pattern)


def sampled(raw: bytes) -> list[Damage]:
    """Those that an import is tried with, the first and the last of each kind always."""
    every = list(damages(raw))
    if COMPLETE:
        return every
    return every[:3] + random.Random(20261121).sample(every[3:-3], len(every) // SAMPLE) + every[-3:]


@pytest.fixture(params=["ours", "group", "real"])
async def raw(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    """An archive that this program exported, one of a group put together by hand, one of the real program."""
    if request.param == "real":
        shared: Path = request.getfixturevalue("shared")
        return (shared / REAL).read_bytes()
    if request.param == "group":
        return group_archive(created_by="pattern-stream 0.1").to_bytes()
    database, exported = tmp_path / "source.db", tmp_path / "ours.car"
    await import_archive(feed([sound_bytes()]), database)
    await export_archive(database, exported, scope=Scope("agent", "agent a1"), options=ExportOptions())
    return exported.read_bytes()


@pytest.fixture
async def living(tmp_path: Path) -> Path:
    """A database that holds something else."""
    path = tmp_path / "living.db"
    archive = Archive()
    archive.finish("Agent", archive.agent(agent_record("z9"), entries=[entry_record(1, "z9")]))
    await import_archive(feed([archive.to_bytes()]), path)
    return path


async def test_verify_refuses_every_damage(raw: bytes) -> None:
    """Whatever byte is flipped, wherever the archive is cut: exit 4 or 5, and the first finding says where."""
    assert (await verify_archive(feed([raw]), documents=False)).ok
    missed = []
    for damage in damages(raw):
        found = await verify_archive(feed([damage.of(raw)]), documents=False)
        if found.exit_code not in REFUSED or not found.findings[0].where.as_dict():
            missed.append(str(damage))

    assert [] == missed


async def test_import_refuses_every_damage(raw: bytes, living: Path) -> None:
    """The archive is named as what is at fault, and the database is byte for byte what it was."""
    before, missed = living.read_bytes(), []
    for damage in sampled(raw):
        try:
            await import_archive(feed([damage.of(raw)]), living, options=ImportOptions(verify_documents=False))
            missed.append(f"{damage}: taken")
        except ArchiveError as error:
            if error.exit_code not in REFUSED or not error.where.as_dict():
                missed.append(f"{damage}: {error!r}")
        if living.read_bytes() != before:
            missed.append(f"{damage}: the database has changed")
            break

    assert [] == missed
    assert [("ok",)] == query(living, "PRAGMA integrity_check")
    assert before == living.read_bytes()
    assert ["living.db"] == [path.name for path in living.parent.glob("living.db*")]


async def test_an_undamaged_archive_is_taken(raw: bytes, living: Path) -> None:
    """The same call, without damage, changes the database: so what the other tests see is the damage."""
    before = living.read_bytes()
    result = await import_archive(feed([raw]), living, options=ImportOptions(verify_documents=False))

    assert result.agents
    assert before != living.read_bytes()


async def test_no_block_stands_twice(raw: bytes) -> None:
    """What every cut loses is something: none of these archives has a section that repeats another."""
    cids = [cid for cid, _ in parse(raw).sections]

    assert len(set(cids)) == len(cids)


async def test_a_damaged_archive_makes_no_database(tmp_path: Path) -> None:
    """Into a database that is not there yet: nothing is there afterwards either, not even a part."""
    raw, target = agent_archive(created_by="pattern-stream 0.1").to_bytes(), tmp_path / "new.db"
    for damage in list(damages(raw))[::229]:
        with pytest.raises(ArchiveError):
            await import_archive(feed([damage.of(raw)]), target, options=ImportOptions(verify_documents=False))

        assert [] == list(tmp_path.iterdir())
