"""Small archives under edits that bytes choose, with every CID made right again: no fuzzer would guess a digest.

The first byte chooses the archive, each further one or two an edit and what it needs. Any bytes mean something, and the
same bytes always the same.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.acceptance.car import Link, Wrong, cid_of, decode, encode, links_in
from tests.archives import (
    Archive,
    agent_archive,
    constellation_archive,
    framed,
    group_archive,
    thin_archive,
)

_SAMPLES: tuple[Callable[..., Archive], ...] = (agent_archive, group_archive, thin_archive, constellation_archive)

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**32, 2**63, 2**64 - 1, -(2**64), 1.0, -0.0, 1e300, "", "a1", "b1", "g1",
    "x" * 5000, "\x00", "2026-01-02T03:04:05Z", "+9999-99-99", b"", b"\x00" * 40, [], {}, [[]], {"": None}, [0, 255],
    {"schema": {"Text": {}}}, "a1-e1", "a1-e2", "_constellation_",
)  # fmt: skip
"""What an edit may put in the place of a value."""


class Choices:
    """Bytes as a row of choices; at their end everything is the first choice."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def ended(self) -> bool:
        """Whether nothing is left to choose."""
        return self._at >= len(self._data)

    def below(self, count: int) -> int:
        """A number from 0 to below `count`."""
        self._at += 1
        return self._data[self._at - 1] % count if self._at <= len(self._data) and count else 0

    def rest(self, count: int) -> bytes:
        """The next bytes."""
        found = self._data[self._at : self._at + count]
        self._at += count
        return found


@dataclass(frozen=True, slots=True)
class _Sample:
    """An archive before any edit: its root and blocks, and what each block links to."""

    root: bytes
    blocks: dict[bytes, bytes]
    links: dict[bytes, list[Link]]


@cache
def _sample(number: int) -> _Sample:
    archive = _SAMPLES[number](created_by="pattern-stream 0.1") if number % 2 else _SAMPLES[number]()
    blocks = dict(archive.blocks)
    return _Sample(archive.root, blocks, {cid: list(links_in(decode(block))) for cid, block in blocks.items()})


class _Edited:
    """Blocks under edits: `values` of those changed, `raws` of those that are no value any more, and their order."""

    def __init__(self, sample: _Sample) -> None:
        self.sample = sample
        self.order = list(sample.blocks)
        self.values: dict[bytes, Any] = {}
        self.raws: dict[bytes, bytes] = {}
        self.made: dict[bytes, tuple[Link, bytes]] = {}

    def value(self, cid: bytes) -> Any:
        """A block's value, to be changed."""
        if cid not in self.values:
            self.values[cid] = decode(self.sample.blocks[cid])
        return self.values[cid]

    def make(self, cid: bytes) -> tuple[Link, bytes]:
        """Encode a block after those that it links to. A link that an edit made lead back stays: a dead end."""
        if cid not in self.made:
            self.made[cid] = (Link(cid), self.sample.blocks[cid])
            block = self.raws.get(cid)
            if block is None and (cid in self.values or self._moved(cid)):
                block = encode_anyway(self._relinked(self.value(cid)))
            if block is not None:
                self.made[cid] = (cid_of(block), block)
        return self.made[cid]

    def _moved(self, cid: bytes) -> bool:
        return any(self.make(link)[0] != link for link in self.sample.links[cid])

    def _relinked(self, value: Any) -> Any:
        if isinstance(value, Link):
            return self.make(bytes(value))[0] if bytes(value) in self.sample.blocks else value
        if isinstance(value, dict):
            return {key: self._relinked(found) for key, found in value.items()}
        return [self._relinked(found) for found in value] if isinstance(value, list) else value


def edited_archive(data: bytes) -> bytes:
    """The archive that some bytes stand for."""
    choices = Choices(data)
    edited = _Edited(_sample(choices.below(len(_SAMPLES))))
    while not choices.ended:
        _edit(choices, edited)
    header = framed(encode({"roots": [edited.make(edited.sample.root)[0]], "version": 1}))
    return header + b"".join(framed(b"".join(edited.make(cid))) for cid in edited.order)


def _edit(choices: Choices, edited: _Edited) -> None:
    order, raws = edited.order, edited.raws
    kind, cid = choices.below(8), order[choices.below(len(order))] if order else b""
    if not order:
        choices.rest(1)
    elif kind == 0:
        order.remove(cid)
    elif kind == 1:
        order.insert(choices.below(len(order) + 1), cid)
    elif kind == 2:
        order.remove(cid)
        order.insert(choices.below(len(order) + 1), cid)
    elif kind == 3:
        raws[cid] = _spliced(choices, encode_anyway(edited.value(cid)))
    else:
        _change(choices, edited.value(cid), list(edited.sample.blocks))


def _spliced(choices: Choices, block: bytes) -> bytes:
    """A block with some bytes in the place of others."""
    place, gone = choices.below(256) * max(1, len(block)) // 256, choices.below(8)
    return block[:place] + choices.rest(choices.below(8)) + block[place + gone :]


def _change(choices: Choices, value: Any, cids: list[bytes]) -> None:
    """Go down into a value, then put, drop, or link something there."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
        if not keys:
            return
        key = keys[choices.below(len(keys))]
        inner = value[key]
        if isinstance(inner, dict | list) and inner and choices.below(2):
            value = inner
            continue
        break
    action = choices.below(6)
    if action == 0:
        del value[key]
    elif action == 1 and isinstance(value, list):
        value.insert(choices.below(len(value) + 1), deepcopy(inner))
    elif action == 2:
        value[key] = Link(cids[choices.below(len(cids))])
    elif action == 3 and isinstance(value, dict):
        value[chr(97 + choices.below(26)) * (1 + choices.below(24))] = deepcopy(inner)
    elif action == 4:
        value[key] = choices.rest(8).decode("utf-8", "replace")
    else:
        value[key] = deepcopy(_VALUES[choices.below(len(_VALUES))])


def encode_anyway(value: Any) -> bytes:
    """The encoding of a value; of one that has none, null."""
    try:
        return encode(value)
    except Wrong:
        return b"\xf6"
