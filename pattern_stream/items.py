"""What flows through the line. Items are plain frozen values; batches are lists that the receiver may keep.

Export:  Rows/Open/Ref/Close (of rows) -> the same of records -> with Draft -> Begin | Block | Root
Import:  Section -> Node -> Open/Records/Close -> Rows

The archive is a tree and the line is a stream, so the tree travels as events, like SAX: `Open`, then batches and
further opened nodes, then `Close`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pattern_stream.codec.car import Section
from pattern_stream.format import FORMAT_VERSION
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.model.cells import HISTORY_COLUMNS, Row
from pattern_stream.schema.model.nodes import (
    ConstellationExport,
    GroupConfigExport,
    History,
    MemoryBlockExport,
    NodeType,
    TableExport,
)
from pattern_stream.schema.model.records import Message, Record

CELLS_TABLE = ""
"""`Cells.table` of rows that are single cells: see `schema.nodes.CELL_COLUMNS`."""

RecordDict = dict[str, Any]
"""The same data keyed by wire names."""


@dataclass(frozen=True, slots=True)
class Open:
    """A node starts. `record` is its own row (before mapping: a `Row`) or record (after), None where it has none.

    `key` is the id that later `Ref`s use; None where nothing refers to it. `archive_id`: the id in the archive, where
    the record has a new one. Five types of node have more to say, each in an event of its own.
    """

    node: type[NodeType]
    record: Any = None
    key: str | None = None
    archive_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenConstellation(Open):
    """A constellation starts. `version` and `exported_at`: as the archive has them, None on the way out."""

    node: type[NodeType] = ConstellationExport
    owner_id: str
    version: int | None = None
    exported_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGroupConfig(Open):
    """A group without its members starts. `member_candidates`: for each member the ids that it may have here."""

    node: type[NodeType] = GroupConfigExport
    member_agent_ids: Sequence[str]
    member_candidates: Sequence[tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenMemoryBlock(Open):
    """A memory block starts.

    `document`: with all active updates in it; None before mapping, where it is a cell of the row, and where it is
    damaged. `history`: the stored form, on the way in; on the way out `has_history`, and an OpenHistory inside.
    """

    node: type[NodeType] = MemoryBlockExport
    document: bytes | None = None
    history: MemoryHistory | None = None
    has_history: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenHistory(Open):
    """The history of a memory block starts, on the way out."""

    node: type[NodeType] = History
    stored: MemoryHistory


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTable(Open):
    """An extension table starts, or the lossy cells (None). `count`: of its rows, as the archive says.

    `key_columns`: those of its key, on the way out; none where it has no key. `untranslated`: nobody knows which of its
    columns hold ids, and the ids of all other rows are new.
    """

    node: type[NodeType] = TableExport
    table: str | None
    columns: Sequence[Mapping[str, Any]]
    count: int | None = None
    key_columns: Sequence[str] = ()
    untranslated: bool = False

    @property
    def cells_table(self) -> str:
        """The table of the Cells inside."""
        return CELLS_TABLE if self.table is None else self.table

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns of the Cells inside."""
        return tuple(column["name"] for column in self.columns)

    @property
    def rowid_at(self) -> int | None:
        """Where the Cells inside have their rowids, which are the key of a table that has no other."""
        return next((at for at, column in enumerate(self.columns) if column.get("rowid")), None)


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
    """A batch of rows of one record type, belonging to the innermost open node.

    On the way in some messages are rows already where others are records: see MadeRows.
    """

    record: type[Record]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Records:
    """A batch of records of one type, belonging to the innermost open node.

    `most_containers`: for each record a number that its arrays and maps do not exceed, None where nobody knows it.
    """

    record: type[Record]
    records: list[RecordDict]
    most_containers: list[int] | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch of messages that were read, mapped and encoded elsewhere, belonging to the innermost open node.

    One element a message: what names it, its position, its length in `data`, where it follows the one before, and
    `most_containers` as in Records. None of them is larger than MAX_BLOCK_CONTAINERS bytes. `borders`: the places of
    those that start a chunk, see `codec.chunk_borders`.
    """

    ids: list[str]
    positions: list[str]
    sizes: list[int]
    most_containers: list[int]
    borders: list[int]
    data: bytes


@dataclass(frozen=True, slots=True)
class Cells:
    """A batch of whole rows of an extension table or of memory history, inside the TableExport or memory block.

    A row has a cell for each column of the table, as `schema.stored` has them: NotUtf8 and Large among them. Rows of a
    memory block (its history) have the columns that the block's `history` names.
    """

    table: str
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Piece:
    """The next bytes of a Large cell of the row or record that came before: VALUE_PIECE_BYTES, the last one fewer."""

    column: str
    data: bytes


@dataclass(frozen=True, slots=True)
class MemoryHistory:
    """What is stored of a memory block whose own document has all active updates in it.

    `base`: the stored document, None where it is the folded one. `frontier`: the stored column. `columns`: of the two
    tables of history, whose rows follow as Cells, updates by seq and then checkpoints by id.
    """

    base: bytes | None
    frontier: bytes | None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: HISTORY_COLUMNS)


@dataclass(frozen=True, slots=True)
class Draft:
    """A node to be, before it is encoded: its own fields, and ready-encoded records or rows to splice in, if any.

    `wide`: instead of them, one record or row that is not encoded yet: it outgrows a block, or has Large cells whose
    Pieces follow. `count`: how many records or rows the parts are, where that is not one each.
    """

    node: type[NodeType]
    fields: RecordDict
    parts: tuple[bytes, ...] = ()
    row_id: str | None = None
    wide: RecordDict | Row | None = None
    count: int | None = None


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
class MadeRows:
    """The messages of a chunk, in its node's `value`, decoded, checked and made into rows already.

    `fields`: the chunk's other ones. `batches` may be called while the node is looked at, not later; a batch has rows,
    or the records of messages of which something is to be reported.
    """

    fields: RecordDict
    count: int
    batches: Callable[[], Iterator[list[Any]]]

    def __len__(self) -> int:
        return self.count

    def events(self) -> Iterator[Rows | Records]:
        """The batches as they flow on."""
        for batch in self.batches():
            yield Records(Message, batch) if type(batch[0]) is dict else Rows(Message, batch)


@dataclass(frozen=True, slots=True)
class Counted:
    """Records of a type, or rows of a table, which a walk only counted: the first value of the node of their block.

    `ends`: the first and the last of them, where these were decoded.
    """

    kind: type[Record] | str
    count: int
    ends: list[RecordDict] = field(default_factory=list)

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True, slots=True)
class Begin:
    """A block that is made later belongs here: before everything that follows until its own `Block`.

    `page`: this is a place for a page of the innermost node, of which there may turn out to be none. Its Block names
    the place by its number among all Begins of the archive, counted from 0.
    """

    page: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """(CID, bytes), always the IPLD sense. `closes`: this is the block of the innermost `Begin` that is for no page.

    `place`: this is a page, which belongs at the Begin of that number.
    """

    cid: bytes
    data: bytes
    closes: bool = False
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Root:
    """The archive is complete: its root, its statistics (the nine keys of the manifest) and its version."""

    cid: bytes
    stats: Mapping[str, int]
    version: int = FORMAT_VERSION


class AsyncWriter(Protocol):
    """Anything that takes bytes asynchronously. The return value is not used."""

    async def write(self, data: bytes, /) -> object: ...


@runtime_checkable
class RangeWriter(AsyncWriter, Protocol):
    """A writer that can also take bytes straight out of a file: `count` bytes from `offset` of a descriptor."""

    async def copy_range(self, source_fd: int, offset: int, count: int, /) -> object: ...


class Placement(NamedTuple):
    """`size` bytes from `offset` of one file, and their place in another."""

    offset: int
    size: int
    place: int


@runtime_checkable
class PlacedWriter(AsyncWriter, Protocol):
    """A writer into a file of its own, which takes pieces of another file in any order.

    `device`: the file system of that file, as `st_dev` has it; None where bytes can only be written one after another.
    """

    @property
    def device(self) -> int | None: ...

    async def place(self, source_fd: int, pieces: Sequence[Placement], /) -> object: ...


@runtime_checkable
class BoundedWriter(AsyncWriter, Protocol):
    """A writer that knows how much room there is. `require_room` raises StorageFull where so many bytes have none."""

    async def require_room(self, count: int, /) -> object: ...


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
    `deleted_text`: whether its history holds values that were deleted or written over; asked for in portable archives.
    `damage`: why folding stopped early (salvage only), with the seq of the update at fault; None where all is well.
    """

    snapshot: bytes
    frontier: bytes
    changed: bool
    rendered: str | None = None
    deleted_text: bool = False
    damage: str | None = None
    damaged_seq: int | None = None


Fold = Callable[[bytes, Sequence[tuple[int, bytes]], str | None], Awaitable[Folded]]
"""fold(stored snapshot, [(seq, update bytes), ...] in seq order, metadata JSON text) -> Folded."""

__all__ = [
    "CELLS_TABLE", "AsyncWriter", "Begin", "Block", "BlockEvent", "Cells", "Close", "Counted", "Draft", "DraftEvent",
    "Fold", "Folded", "MadeRows", "MemoryHistory", "Node", "Open", "OpenConstellation", "OpenGroupConfig",
    "OpenHistory", "OpenMemoryBlock", "OpenTable", "Piece", "Progress", "ProgressCallback", "RangeWriter", "Record",
    "RecordDict", "RecordEvent", "Records", "Ref", "Root", "Row", "RowEvent", "Rows", "Section", "WalkEvent",
]  # fmt: skip

RowEvent = Open | Rows | Encoded | Cells | Piece | Ref | Close
RecordEvent = Open | Records | Rows | Encoded | Cells | Piece | Ref | Close
DraftEvent = Open | Records | Cells | Piece | Ref | Draft | Close
BlockEvent = Begin | Block | Root
WalkEvent = Node | Ref | Close
