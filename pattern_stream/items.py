"""What flows through the line. Items are plain frozen values; batches are lists that the receiver may keep.

Export:  Rows/Open/Ref/Close (of rows) -> the same of records -> with Draft -> Begin | Block | Root
Import:  Section -> Node -> Open/Records/Close -> Rows

The archive is a tree and the line is a stream, so the tree travels as events, like SAX: `Open`, then batches and
further opened nodes, then `Close`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pattern_stream.codec.car import Section
from pattern_stream.schema.nodes import NodeType
from pattern_stream.schema.records import Record

Row = tuple[Any, ...]
"""Cells as SQLite holds them, in the order of `Record.columns`."""

RecordDict = dict[str, Any]
"""The same data keyed by wire names."""


@dataclass(frozen=True, slots=True)
class Open:
    """A node starts. `record` is its own row (before mapping: a `Row`) or record (after), None where it has none.

    `key` is the id that later `Ref`s use; None where nothing refers to it.
    """

    node: type[NodeType]
    record: Any = None
    key: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Close:
    """The innermost open node ends."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A link, in `field` of the innermost open node, to a node that was opened before with the same key."""

    node: type[NodeType]
    field: str
    key: str


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of rows of one record type, belonging to the innermost open node."""

    record: type[Record]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Records:
    """A batch of records of one type, belonging to the innermost open node."""

    record: type[Record]
    records: list[RecordDict]


@dataclass(frozen=True, slots=True)
class Draft:
    """A node to be, before it is encoded: its own fields, and ready-encoded records to splice in, if any."""

    node: type[NodeType]
    fields: RecordDict
    parts: tuple[bytes, ...] = ()
    row_id: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A decoded block with its declared type, checked: links are lists of CIDs, instants have their usual form.

    `value` has the known keys only. An inline node (one without a block of its own) has the CID and offset of the block
    that holds it, and no `size_bytes`.
    """

    node: type[NodeType]
    value: RecordDict
    cid: bytes
    offset: int | None = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Begin:
    """A block that is made later belongs here: before everything that follows until its own `Block`."""


@dataclass(frozen=True, slots=True)
class Block:
    """(CID, bytes), always the IPLD sense. `closes`: this is the block of the innermost `Begin`."""

    cid: bytes
    data: bytes
    closes: bool = False


@dataclass(frozen=True, slots=True)
class Root:
    """The archive is complete: its root and its statistics (the nine keys of the manifest)."""

    cid: bytes
    stats: Mapping[str, int]


class AsyncWriter(Protocol):
    """Anything that takes bytes asynchronously. The return value is not used."""

    async def write(self, data: bytes, /) -> object: ...


@runtime_checkable
class RangeWriter(AsyncWriter, Protocol):
    """A writer that can also take bytes straight out of a file: `count` bytes from `offset` of a descriptor."""

    async def copy_range(self, source_fd: int, offset: int, count: int, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pipeline is: `done` of `total` (None where unknown) in `unit`s ("rows", "bytes", ...)."""

    stage: str
    done: int
    total: int | None
    unit: str


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Folded:
    """A memory document with its active updates in it.

    `snapshot`: the stored bytes untouched where nothing was to fold, else a new Loro snapshot.
    `frontier`: the canonical (sorted by peer) encoded version vector of `snapshot`.
    `rendered`: the text of the document as the original would show it; None where it was not asked for.
    `damage`: why folding stopped early (salvage only), with the seq of the update at fault; None where all is well.
    """

    snapshot: bytes
    frontier: bytes
    changed: bool
    rendered: str | None = None
    damage: str | None = None
    damaged_seq: int | None = None


Fold = Callable[[bytes, Sequence[tuple[int, bytes]], str | None], Awaitable[Folded]]
"""fold(stored snapshot, [(seq, update bytes), ...] in seq order, metadata JSON text) -> Folded."""

__all__ = [
    "AsyncWriter", "Begin", "Block", "BlockEvent", "Close", "Draft", "DraftEvent", "Fold", "Folded", "Node", "Open",
    "Progress", "ProgressCallback", "RangeWriter", "Record", "RecordDict", "RecordEvent", "Records", "Ref", "Root",
    "Row", "RowEvent", "Rows", "Section", "WalkEvent",
]  # fmt: skip

RowEvent = Open | Rows | Ref | Close
RecordEvent = Open | Records | Ref | Close
DraftEvent = Open | Records | Ref | Draft | Close
BlockEvent = Begin | Block | Root
WalkEvent = Node | Ref | Close
