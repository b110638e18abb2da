"""Chunks of messages: blocks that are mostly an array of similar maps, read a few maps at a time.
Source: docs/format.md#dag-cbor, #message-chunks.

A few maps stay in the processor's cache while they are decoded, encoded again, compared, checked and made into rows. A
thousand maps with all their values do not fit there, which costs as much as the work itself. So a MessageArray stands
for the array: it keeps the bytes, and decodes a few maps whenever a caller asks for them.

libipld decodes twice as fast as cbor2, but allocates by declared lengths before the bytes are there, gives links and
bytes the same type, and loses the lists that it was filling when it fails. So it only gets maps without a byte that
could be such a head, and no more after a few failures. Every other block goes to `dagcbor.decode`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, Final, NamedTuple, TypeVar, overload

from pattern_stream.codec.dagcbor import decode, decode_harmless
from pattern_stream.codec.heads import array_head
from pattern_stream.errors import ArchiveError
from pattern_stream.format import MAX_BLOCK_BYTES, MAX_BLOCK_CONTAINERS, MAX_DEPTH

Read = TypeVar("Read")

_SMALL_BYTES: Final = 4096
"""Blocks up to this size are decoded as any other."""

_GROUP: Final = 32
"""Maps that are proved at a time."""

CACHED_MAPS: Final = 256
"""Maps that stay in the processor's cache until they are made into something else."""

_MOST_FAILURES: Final = 8
"""Blocks that may turn out to be something else before this is given up for an archive."""

_MOST_CONTAINERS: Final = MAX_DEPTH - 16
"""Arrays and maps in one map that libipld gets, so that they cannot be nested too deep."""

_FEWEST_HARMLESS: Final = 4
"""Of so many maps, at most one may have to be decoded as others are: more would gain nothing."""

_LONGEST_MARK: Final = 9
"""Bytes of a map's start that are looked for: in messages as far as the `msg_` that ids begin with."""

_MAPS: Final = range(0xA1, 0xB8)
_KEYS: Final = range(0x60, 0x78)
_ARRAYS: Final = range(0x81, 0x9A)
_FIRST_WIDE: Final = 0x98

_CONTAINER: Final = 1
_HARMFUL: Final = 2
_WIDE_HEADS: Final = (0x99, 0x9A, 0x9B, 0xB9, 0xBA, 0xBB)
_TAG_HEAD: Final = 0xD8
_CLASSES: Final = bytes(
    _HARMFUL if byte in (*_WIDE_HEADS, _TAG_HEAD) else _CONTAINER if 0x80 <= byte <= 0xBB else 0 for byte in range(256)
)
"""The heads a byte could be: of an array or map, or of a value that libipld must not see."""


class NotMessageArray(Exception):
    """The block has to be decoded as any other, which tells what it is and what is wrong with it."""


class MessageArray(Sequence[dict[str, Any]]):
    """An array of maps, decoded when they are looked at. `groups` with `prove` comes first, all of it.

    Memory:  the bytes of the maps, and the values of the few that are `known`.
    """

    def __init__(self, data: bytes, starts: Sequence[int], known: Mapping[int, dict[str, Any]]) -> None:
        self._data = data
        self._starts = starts
        self._known = known

    def __len__(self) -> int:
        return len(self._starts)

    def groups(self, size: int = _GROUP, *, prove: bool = False) -> Iterator[list[dict[str, Any]]]:
        """All maps, `size` at a time; `prove`: raise NotMessageArray where they are not whole and canonical."""
        for first in range(0, len(self), size):
            yield self._group(range(first, min(first + size, len(self))), prove=prove)

    def _group(self, places: range, *, prove: bool = False) -> list[dict[str, Any]]:
        known, data, starts = self._known, self._data, self._starts
        inside = [place for place in places if place in known]
        if inside:
            maps = [data[starts[place] : starts[place + 1]] for place in places if place not in known]
        else:
            maps = [data[start:end] for start, end in pairwise(starts[places.start : places.stop + 1])]
        values = decode_harmless(maps, prove=prove)
        if values is None:
            raise NotMessageArray
        for place in inside:
            values.insert(place - places.start, known[place])
        return values

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return chain.from_iterable(self.groups())

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self._group(range(one, one + 1))[0] for one in range(*place.indices(len(self)))]
        at = range(len(self))[place]
        return self._group(range(at, at + 1))[0]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, (MessageArray, list)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a list


class MessageArrayReader:
    """Reads the blocks of one archive that are mostly such an array, as a map's first value."""

    def __init__(self) -> None:
        self._failures = 0

    def read(self, data: bytes, check: Callable[[Any], Read]) -> Read | None:
        """The result of `check` for the block's value, in which a MessageArray, to be proved there, is the array.

        None where the block is to be decoded and checked as any other: it may be one, or bad.
        """
        if self._failures >= _MOST_FAILURES or (found := _find_array(data)) is None:
            return None
        try:
            value = _open_array(data, found)
            return None if value is None else check(value)
        except (ArchiveError, NotMessageArray):
            self._failures += 1
            return None


class _ArrayPlace(NamedTuple):
    """A map's first value, an array: its key, where its head is, and where the maps in it may start."""

    key: str
    head: int
    starts: list[int]


def _find_array(data: bytes) -> _ArrayPlace | None:
    """The place of what may be an array of maps with as many keys each and the same first one; None for all else."""
    if not _SMALL_BYTES < len(data) <= MAX_BLOCK_BYTES or data[0] not in _MAPS or data[1] not in _KEYS:
        return None
    head = 2 + data[1] - _KEYS.start
    first = head + 1 + max(0, data[head] - _FIRST_WIDE + 1)
    if data[head] not in _ARRAYS or data[first] not in _MAPS or data[first + 1] not in _KEYS:
        return None
    short = 2 + data[first + 1] - _KEYS.start
    for size in (_mark_bytes(data, first, short), short):
        sizes = [len(part) + size for part in data[first:].split(data[first : first + size])]
        starts = [first + start for start in accumulate(sizes[1:-1], initial=0)]
        if sizes[0] == size and data[head:first] == array_head(len(starts)):
            return _ArrayPlace(data[2:head].decode("utf-8", "replace"), head, starts)
    return None


def _mark_bytes(data: bytes, first: int, short: int) -> int:
    """How many bytes the first two maps have in common at their start, within bounds: a longer mark is found sooner."""
    second = data.find(data[first : first + short], first + short)
    size = short
    while size < _LONGEST_MARK and data[first + size : first + size + 1] == data[second + size : second + size + 1]:
        size += 1
    return size


def _open_array(data: bytes, found: _ArrayPlace) -> dict[str, Any] | None:
    """The block's value, with MessageArray in it; None where that would gain nothing. Raises ArchiveError."""
    starts = found.starts
    excluded = _excluded(data, starts)
    if len(excluded) * _FEWEST_HARMLESS > len(starts):
        return None
    known = dict(zip(excluded, _decode_excluded([data[starts[at] : starts[at + 1]] for at in excluded]), strict=True))
    # The block is canonical if and only if all its maps are, and it is with the last of them alone.
    value: dict[str, Any] = decode(data[: found.head] + array_head(1) + data[starts[-1] :])
    known[len(starts) - 1] = value[found.key][0]
    value[found.key] = MessageArray(data, starts, known)
    return value


def _excluded(data: bytes, starts: list[int]) -> list[int]:
    """The maps, in order but for the last, that libipld must not get. Raises NotMessageArray: too many containers."""
    classes, end = data.translate(_CLASSES), starts[-1]
    found, containers = list[int](), 0
    at = classes.find(_HARMFUL, starts[0], end)
    while at >= 0:
        place = bisect_right(starts, at) - 1
        found.append(place)
        containers += starts[place + 1] - starts[place]  # more than there can be
        at = classes.find(_HARMFUL, starts[place + 1], end)
    crowded = list[int]()
    for first in range(0, len(starts) - 1, _GROUP):
        bounds = starts[first : first + _GROUP + 1]
        count = classes.count(_CONTAINER, bounds[0], bounds[-1])
        containers += count
        if count > _MOST_CONTAINERS:
            counts = (classes.count(_CONTAINER, *pair) for pair in pairwise(bounds))
            crowded += [place for place, count in enumerate(counts, first) if count > _MOST_CONTAINERS]
    if containers > MAX_BLOCK_CONTAINERS:
        raise NotMessageArray
    return sorted({*found, *crowded})


def _decode_excluded(maps: Sequence[bytes]) -> list[Any]:
    """Maps as they would be in their block, two levels down. Raises ArchiveError, NotMessageArray."""
    values: list[Any] = decode(array_head(1) + array_head(len(maps)) + b"".join(maps))[0]
    return values
