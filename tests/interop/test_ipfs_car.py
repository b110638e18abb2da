"""ipfs-car, the command: what it can say of an archive that is neither UnixFS nor hashed with SHA-256."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.acceptance.running import Export
from tests.cli.terminal import call
from tests.interop.foreign import Tool, listing_of, text_of


def test_blocks_and_roots_agree(ipfs_car: Tool, ours: Export) -> None:
    """Every CID in order, and the root."""
    expected = listing_of(ours.archive)

    assert [section.cid for section in expected.sections] == ipfs_car.lines("blocks", "--no-verify", ours.path)
    assert list(expected.roots) == ipfs_car.lines("roots", ours.path)


def test_it_has_no_blake3(ipfs_car: Tool, ours: Export) -> None:
    """Its verification is for other hashes; should it learn this one, then it is to be used here."""
    assert b"multihash code 30 is not supported" in ipfs_car.run("blocks", ours.path).stderr


def test_the_file_has_the_same_hash(ipfs_car: Tool, ours: Export) -> None:
    """The CID of the archive as a whole: v1, CAR (0x0202), SHA-256."""
    digest = hashlib.sha256(ours.path.read_bytes()).digest()

    assert [text_of(b"\x01\x82\x04\x12\x20" + digest)] == ipfs_car.lines("hash", ours.path)


def test_what_it_packs_is_refused_by_name(ipfs_car: Tool, tmp_path: Path) -> None:
    """A CAR of files has other codecs and hashes: unsupported, not corrupt."""
    (tmp_path / "file.txt").write_text("not a constellation")
    ipfs_car.output("pack", tmp_path / "file.txt", "--output", tmp_path / "files.car")
    outcome = call(tmp_path, "verify", "--json", tmp_path / "files.car")

    assert (5, False) == (outcome.code, outcome.json["ok"])
    assert "codec dag-pb (0x70), hash sha2-256 (0x12)" in outcome.json["findings"][0]["message"]
