"""Verification lists all damage that one run can reach, and says nothing where there is none."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pattern_stream.archive.reader import read_sections
from pattern_stream.codec.cid import cid_text
from pattern_stream.errors import ExitCode, TransportError
from pattern_stream.items import Progress, Section
from pattern_stream.pipelines.verifying import Verification, verify_archive
from tests.archives import ARCHIVES, Archive, agent_archive, constellation_archive, entry_record
from tests.drive import collect, dribble

pytestmark = pytest.mark.anyio

OURS = {"created_by": "pattern-stream 0.1"}


async def verify(raw: bytes, **options: Any) -> Verification:
    """Verify bytes; documents are not looked into, as those of these archives are none."""
    return await verify_archive(dribble(raw, 4096), **{"documents": False, **options})


async def sections_of(raw: bytes) -> list[Section]:
    """Where the sections of an archive are."""
    return await collect(read_sections(dribble(raw, 4096)))


@pytest.mark.parametrize("name", ARCHIVES)
async def test_a_sound_archive_is_sound(name: str) -> None:
    """Nothing is found, and the summary says what was read."""
    archive = ARCHIVES[name](**OURS)
    raw = archive.to_bytes()

    found = await verify(raw)

    assert ([], True, ExitCode.DONE) == (found.findings, found.ok, found.exit_code)
    assert {
        "ok": True,
        "version": 3,
        "type": {"thin": "Group"}.get(name, name.capitalize()),
        "root": cid_text(archive.root),
        "bytes": len(raw),
        "sections": len(archive.blocks),
        "distinct_blocks": len(archive.blocks),
        "duplicates": 0,
        "unreferenced": 0,
        "order": "depth-first",
        "stats_match": True,
        "documents": {"checked": 0, "empty": 0, "failed": 0},
        "findings": [],
        "signatures": [],
    } == {key: value for key, value in found.as_dict().items() if key != "seconds"}


@pytest.mark.parametrize("wrapped", [False, True])
async def test_files_are_read_plain_and_gzipped(tmp_path: Path, wrapped: bool) -> None:
    """A file in any order verifies alike, with offsets kept in place of blocks or with blocks on the shelf."""
    import gzip

    archive = constellation_archive(**OURS)
    path = tmp_path / "a.car"
    blocks = random.Random(1).sample(archive.blocks, len(archive.blocks))
    raw = archive.to_bytes(blocks)
    path.write_bytes(gzip.compress(raw) if wrapped else raw)
    seen: list[Progress] = []

    found = await verify_archive(path, documents=False, progress=seen.append)

    assert (True, "other", len(raw)) == (found.ok, found.as_dict()["order"], found.bytes)
    assert path.stat().st_size == seen[-1].done == seen[-1].total


@pytest.mark.skipif(not hasattr(os, "pread"), reason="no second look into a file on this system")
async def test_a_disk_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look into a file, for how it is wrapped, tells of the disk as every further one does."""
    path = tmp_path / "a.car"
    path.write_bytes(agent_archive(**OURS).to_bytes())

    def fail(*arguments: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(TransportError, match=r"reading .*a\.car: Input/output error"):
        await verify_archive(path, documents=False)


async def test_repeated_and_unreferenced_blocks_are_counted() -> None:
    """They are no damage: only the statistics of our own archives make an error of them."""
    archive, stranger = agent_archive(), Archive()
    stranger.add(entry_record(9))

    found = await verify(archive.to_bytes(archive.blocks + archive.blocks[4:6] + stranger.blocks))

    assert (True, 2, 1) == (found.ok, found.duplicates, found.unreferenced)
    assert len(archive.blocks) + 1 == found.distinct_blocks
    assert not found.stats_match


@pytest.mark.parametrize("pattern", [0x01, 0x80])
async def test_every_flipped_byte_is_found(pattern: int) -> None:
    """Whatever byte is changed, there is a finding with a place, and no crash."""
    raw = agent_archive(**OURS).to_bytes()

    for place in range(0, len(raw), 3):
        found = await verify(raw[:place] + bytes([raw[place] ^ pattern]) + raw[place + 1 :])
        assert found.exit_code in (ExitCode.CORRUPT, ExitCode.UNSUPPORTED)
        assert found.findings[0].where.as_dict()


async def test_every_cut_is_found() -> None:
    """Wherever one of our archives is cut, it is corrupt."""
    raw = agent_archive(**OURS).to_bytes()

    for length in range(0, len(raw), 5):
        assert (await verify(raw[:length])).exit_code == ExitCode.CORRUPT


async def test_all_damage_is_listed_in_one_run() -> None:
    """Two flipped blocks, a lost one and a wrong node are all named, each with its own place."""
    archive = Archive()
    entries = [entry_record(number) for number in range(20)]
    entries[11]["chunk_index"] = "eleven"
    archive.finish("Agent", archive.agent(entries=entries), **OURS)
    lost = next(block for block in archive.blocks if b"note 5" in block[1])
    raw = bytearray(archive.to_bytes([block for block in archive.blocks if block != lost]))
    sections = await sections_of(bytes(raw))
    flipped = [section for section in sections if b"note 7" in section.data or b"note 9" in section.data]
    for section in flipped:
        raw[section.offset + 60] ^= 0x20

    found = await verify(bytes(raw))

    wrong = next(section for section in sections if b"eleven" in section.data)
    places = [(finding.code, finding.where.offset, finding.where.cid) for finding in found.findings]
    assert ExitCode.CORRUPT == found.exit_code
    assert [("digest-mismatch", each.offset, cid_text(each.cid)) for each in flipped] == places[:2]
    assert ("malformed-node", wrong.offset, cid_text(wrong.cid)) in places
    assert ("missing-block", None, cid_text(lost[0])) in places
    assert {"missing-block": 3, "digest-mismatch": 2, "malformed-node": 1} == {
        code: sum(place[0] == code for place in places) for code, _, _ in places
    }


async def test_damage_is_listed_in_bounded_space() -> None:
    """Of a thousand missing blocks a hundred are named and the rest counted."""
    archive = Archive()
    link = archive.agent(entries=[entry_record(number) for number in range(1000)])
    archive.finish("Agent", link, **OURS)

    found = await verify(archive.to_bytes(archive.blocks[:2]))

    assert 101 == len(found.findings)
    assert "and 900 more of missing-block" in found.findings[-1].message


async def test_a_framing_fault_does_not_hide_what_is_missing() -> None:
    """Behind a broken length nothing is read, and what is missing for it is listed."""
    archive = agent_archive()
    raw = archive.to_bytes()
    last = (await sections_of(raw))[-2]

    found = await verify(raw[: last.offset] + b"\x00" + raw[last.offset + 1 :])

    assert ["malformed-section", "missing-block", "missing-block"] == [finding.code for finding in found.findings]
    assert last.offset == found.findings[0].where.offset


@pytest.mark.parametrize(
    ("raw", "code", "exit_code"),
    [
        (lambda: b"", "truncated-archive", ExitCode.CORRUPT),
        (lambda: b"no archive" * 20, "unsupported-container", ExitCode.UNSUPPORTED),
        (lambda: b"\0no archive" * 20, "malformed-header", ExitCode.CORRUPT),
        (lambda: bytes.fromhex("0aa16776657273696f6e02") + bytes(60), "unsupported-container", ExitCode.UNSUPPORTED),
        (lambda: bytes.fromhex("28b52ffd") + bytes(60), "truncated-archive", ExitCode.CORRUPT),
        (lambda: version_two().to_bytes(), "malformed-source", ExitCode.CORRUPT),
    ],
)
async def test_what_is_no_archive_of_ours_is_named(raw: Callable[[], bytes], code: str, exit_code: ExitCode) -> None:
    """What cannot be known is exit 5, what is broken is exit 4."""
    found = await verify(raw())

    assert (code, exit_code) == (found.findings[0].code, found.exit_code)


def version_two() -> Archive:
    """A manifest of an older version."""
    archive = Archive()
    archive.root = bytes(archive.add({"version": 2, "data_cid": None, "stats": {}}))
    return archive


async def test_documents_are_looked_into() -> None:
    """A document that is none is a finding naming its memory block."""
    found = await verify(agent_archive().to_bytes(), documents=True)

    assert {"checked": 2, "empty": 0, "failed": 2} == found.as_dict()["documents"]
    assert [("damaged-document", "b1"), ("damaged-document", "b2")] == [
        (finding.code, finding.where.row_id) for finding in found.findings
    ]


async def test_a_document_that_is_too_large_is_unsupported() -> None:
    """It is named and left out; the rest is looked at."""
    found = await verify(agent_archive().to_bytes(), max_document_bytes=20)

    assert ["limit-exceeded"] == [finding.code for finding in found.findings]
    assert ExitCode.UNSUPPORTED == found.exit_code


# --- archives of the real program --------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["family", "quiet", "edges"])
async def test_real_archives_are_sound(folder: str, shared: Path) -> None:
    """Everything the real program wrote as version 3 is whole; what it counts twice is a warning."""
    for path in sorted((shared / "fixtures" / folder).glob("*.car*")):
        found = await verify_archive(path)
        assert {"stats-mismatch"} >= {finding.code for finding in found.findings}, path.name
        assert found.ok


async def test_converted_archives_are_sound(shared: Path) -> None:
    """So is what its converters wrote, whose statistics count in their own way."""
    legacy = shared / "fixtures/legacy"
    for path in [*legacy.glob("letta*/*.converted-v3.car*"), *legacy.glob("2b-compat/*.converted-v3.car*")]:
        found = await verify_archive(path)
        assert found.ok, (path.name, found.findings)


async def test_older_archives_are_verified(shared: Path) -> None:
    """Archives of versions 1 and 2 are hashed, converted and found good, with the numbers of the old file."""
    paths = [path for path in (shared / "fixtures/legacy").glob("[12]*/*.car*") if "converted" not in path.name]
    for path in paths[::5]:
        found = await verify_archive(path)
        assert found.ok, path.name
        assert found.version in (1, 2)
        assert found.converted is not None
        assert found.sections == found.converted.report.facts["archive"]["sections"]


async def test_public_archives_are_named(shared: Path) -> None:
    """CARs of other programs are refused with exit 4 or 5 and a reason."""
    for path in sorted((shared / "vectors").rglob("*.car")):
        found = await verify_archive(path)
        assert found.exit_code in (ExitCode.CORRUPT, ExitCode.UNSUPPORTED), path.name


async def test_against_the_database_it_came_from(shared: Path, tmp_path: Path) -> None:
    """Every carried row equals the database; only documents differ, which the real program exports without edits."""
    database = unpacked(shared / "fixtures/family/constellation.db.gz", tmp_path / "family.db")

    found = await verify_archive(shared / "fixtures/family/constellation.car.gz", against=database)

    assert found.against is not None
    assert (938, ExitCode.DIFFERS) == (found.against.records, found.exit_code)
    assert {"loro_snapshot"} == {finding.where.field for finding in found.against.log.findings()}


async def test_against_a_database_that_has_changed(shared: Path, tmp_path: Path) -> None:
    """A changed cell and a missing row are named with table, row and field."""
    import sqlite3

    database = unpacked(shared / "fixtures/quiet/constellation.db.gz", tmp_path / "quiet.db")
    with sqlite3.connect(database) as connection:
        (first, second), *_ = connection.execute("SELECT min(id), max(id) FROM agents").fetchall()
        connection.execute("UPDATE agents SET system_prompt = 'changed' WHERE id = ?", (first,))
        connection.execute("DELETE FROM agents WHERE id = ?", (second,))
    connection.close()

    found = await verify_archive(shared / "fixtures/quiet/constellation.car", against=database)

    assert found.against is not None
    places = {(each.code, each.where.row_id, each.where.field) for each in found.against.log.findings()}
    assert {("differs", first, "system_prompt"), ("not-in-database", second, None)} <= places


def unpacked(packed: Path, target: Path) -> Path:
    """A database of the fixtures as a file of its own."""
    import gzip

    plain = packed.with_suffix("")
    target.write_bytes(gzip.decompress(packed.read_bytes()) if packed.exists() else plain.read_bytes())
    return target


async def test_against_a_database_with_updates_that_no_export_takes(tmp_path: Path) -> None:
    """More of them than are ever gathered is a difference, not all of memory."""
    import sqlite3

    from pattern_stream import export_archive
    from pattern_stream.demo.database import make_demo

    database, archive = tmp_path / "demo.db", tmp_path / "demo.car"
    await make_demo(database, messages=3, seed=5)
    await export_archive(database, archive)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE memory_block_updates SET update_blob = zeroblob(68000000) WHERE id = 1")
    connection.close()

    found = await verify_archive(archive, against=database)

    assert found.against is not None
    told = [each.message for each in found.against.log.findings() if each.where.field == "loro_snapshot"]
    assert any("documents cannot be compared" in message and "limit is 67108864 bytes" in message for message in told)
