"""@ipld/car and @ipld/dag-cbor (JavaScript) read every block as we wrote it, and we read what they write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.car import Archive
from tests.acceptance.running import Export
from tests.interop.foreign import Tool, listing_of, text_of
from tests.interop.rewriting import check_copy, check_reversed
from tests.interop.samples import Archives

SAFE = (1 << 53) - 1


def has_integral_float(value: Any) -> bool:
    """Whether a float of the value is an integer to JavaScript, which has one type for both and writes it as one."""
    if isinstance(value, dict | list):
        return any(map(has_integral_float, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and value.is_integer() and abs(value) <= SAFE


def blurred(archive: Archive) -> frozenset[str]:
    """The CIDs of blocks that JavaScript's numbers cannot keep."""
    return frozenset(text_of(cid) for cid, _ in archive.sections if has_integral_float(archive.blocks[cid]))


@pytest.mark.parametrize("reader", ["iterator", "reader", "indexed"])
def test_every_block_agrees(list_js: Tool, ours: Export, reader: str) -> None:
    """Root, order, CIDs, bytes and blake3 digests are the same by each of its readers."""
    expected, found = listing_of(ours.archive), list_js.listing(ours.path, reader)

    assert (expected.roots, expected.sections) == (found.roots, found.sections)


def test_blocks_are_encoded_to_the_same_bytes(list_js: Tool, ours: Export) -> None:
    """Decoded and encoded again, a block is itself, unless it has a float like 1.0 or -0.0: those become integers."""
    assert blurred(ours.archive) == list_js.listing(ours.path).changed


def test_numbers_are_told_apart(archives: Archives) -> None:
    """The archives have blocks of both kinds, and one whose large integers and fractions JavaScript keeps."""
    archive = archives["numbers"].archive
    messages = [node["messages"] for node in archive.blocks.values() if "messages" in node]
    changed = blurred(archive)

    assert 0 < len(changed) < len(archive.sections)
    assert any(0.1 in found["content_json"].get("n", ()) for found in messages[-1] if "n" in found["content_json"])


def test_a_flipped_byte_is_noticed(list_js: Tool, archives: Archives, tmp_path: Path) -> None:
    """The digests are computed indeed."""
    damaged = tmp_path / "damaged.car"
    whole = archives["numbers"].path.read_bytes()
    damaged.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])

    assert b"does not hash to its CID" in list_js.run(damaged).stderr


def test_a_copy_is_the_same_file(write_js: Tool, ours: Export, tmp_path: Path) -> None:
    """Our sections through its CarWriter."""
    write_js.output(ours.path, tmp_path / "copy.car", "copy")

    check_copy(ours, tmp_path / "copy.car")


def test_another_order_is_read(write_js: Tool, ours: Export, tmp_path: Path) -> None:
    """From the last section to the first."""
    write_js.output(ours.path, tmp_path / "reversed.car", "reverse")

    check_reversed(ours, tmp_path / "reversed.car", tmp_path)
