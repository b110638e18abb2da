"""go-car (Filecoin's and Kubo's) reads every block as we wrote it, and we read what go-car writes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.acceptance.running import Export
from tests.cli.terminal import call
from tests.interop.foreign import Tool, listing_of, text_of
from tests.interop.rewriting import check_copy, check_reversed
from tests.interop.samples import Archives


def test_every_block_agrees(carprobe: Tool, ours: Export) -> None:
    """Root, order, CIDs and bytes are the same, every hash is right, and each block re-encodes to its own bytes."""
    assert listing_of(ours.archive) == carprobe.listing("list", ours.path)


def test_inspection_agrees(carprobe: Tool, ours: Export) -> None:
    """One root, which is there; DAG-CBOR (0x71) and blake3 (0x1e) alone, hashes checked; as many blocks, as large."""
    archive = ours.archive
    count = len(archive.sections)
    expected = {
        "version": 1, "roots": [text_of(archive.root)], "roots_present": True, "blocks": count,
        "codecs": {str(0x71): count}, "hashes": {str(0x1E): count},
        "longest": max(len(data) for _, data in archive.sections),
    }  # fmt: skip

    assert expected == carprobe.said("inspect", ours.path)


def test_a_block_is_found_by_its_cid(carprobe: Tool, ours: Export) -> None:
    """The root, the last block and the largest, byte for byte."""
    sections = ours.archive.sections
    for cid, data in (sections[0], sections[-1], max(sections, key=lambda section: len(section[1]))):
        assert data == carprobe.output("get", ours.path, text_of(cid))


def test_a_flipped_byte_is_noticed(carprobe: Tool, archives: Archives, tmp_path: Path) -> None:
    """go-car hashes with blake3 indeed, so that its agreement says something."""
    damaged = tmp_path / "damaged.car"
    whole = archives["numbers"].path.read_bytes()
    damaged.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])

    for command in ("list", "inspect"):
        assert b"mismatch" in carprobe.run(command, damaged).stderr


def test_a_copy_is_the_same_file(carprobe: Tool, ours: Export, tmp_path: Path) -> None:
    """Our sections through go-car's writer."""
    carprobe.output("copy", ours.path, tmp_path / "copy.car")

    check_copy(ours, tmp_path / "copy.car")


def test_a_walk_writes_the_same_file(carprobe: Tool, ours: Export, tmp_path: Path) -> None:
    """go-car follows every link from the root, depth first, and writes what it meets: our bytes, to the last."""
    carprobe.output("walk", ours.path, tmp_path / "walked.car")

    check_copy(ours, tmp_path / "walked.car")


def test_another_order_is_read(carprobe: Tool, ours: Export, tmp_path: Path) -> None:
    """From the last section to the first."""
    carprobe.output("reverse", ours.path, tmp_path / "reversed.car")

    check_reversed(ours, tmp_path / "reversed.car", tmp_path)


def test_version_2_is_refused_and_unwrapped(carprobe: Tool, ours: Export, tmp_path: Path) -> None:
    """What go-car wraps as CAR version 2 is refused with a hint, and the hint gives our file back; so does go-car."""
    wrapped, unwrapped = tmp_path / "wrapped.car", tmp_path / "unwrapped.car"
    carprobe.output("wrap", ours.path, wrapped)
    refused = call(tmp_path, "inspect", wrapped)
    hint = re.search(r"first: (tail .*) FILE (\| head .*) > FILE", refused.err)
    assert hint
    carprobe.output("unwrap", wrapped, unwrapped)

    assert 5 == refused.code
    assert ours.path.read_bytes() == subprocess.check_output(
        f"{hint[1]} wrapped.car {hint[2]}", shell=True, cwd=tmp_path
    )
    check_copy(ours, unwrapped)
