"""libipld and the atproto package (Bluesky's) decode every block to the values that we put in."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

import libipld

from tests.acceptance.car import Link
from tests.acceptance.running import Export
from tests.acceptance.wire import difference
from tests.interop.foreign import Tool, text_of


def plain(value: Any) -> Any:
    """A value with its links as bytes, as libipld has them."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return bytes(value) if isinstance(value, Link) else value


def check_blocks(ours: Export, found: Iterable[tuple[str, Any]]) -> None:
    """The same CIDs, each once, and values that are the same in type and content, -0.0 included."""
    values = dict(found)
    expected = {text_of(cid): plain(value) for cid, value in ours.archive.blocks.items()}

    assert expected.keys() == values.keys()
    for cid, value in expected.items():
        assert difference(value, values[cid], cid) is None


def test_libipld_agrees_on_every_block(ours: Export) -> None:
    """`libipld.decode_car` of the whole file."""
    header, blocks = libipld.decode_car(ours.path.read_bytes())

    assert {"roots": [bytes(ours.archive.root)], "version": 1} == header
    check_blocks(ours, ((text_of(cid), value) for cid, value in blocks.items()))


def test_atproto_agrees_on_every_block(atproto: Tool, ours: Export) -> None:
    """`atproto.CAR.from_bytes` of the whole file."""
    root, blocks = pickle.loads(atproto.output(ours.path))

    assert text_of(ours.archive.root) == root
    check_blocks(ours, blocks)
